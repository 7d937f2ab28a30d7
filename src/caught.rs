//! A user's code that runs where a panic must go no further.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops what is a user's: an event, a sink, or what a panic was raised with, whose destructors may panic too.
pub(crate) fn drop_caught<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

/// Wakes a task. It is the executor's code, and its panic no affair of whoever brings the news.
#[cfg(feature = "futures")]
pub(crate) fn wake_caught(waker: std::task::Waker) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        drop_caught(panic);
    }
}
