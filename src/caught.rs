//! A user's code that runs where a panic must go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a panic was raised with.
pub(crate) type Payload = Box<dyn Any + Send>;

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

/// What a panic that goes no further says of itself.
pub(crate) fn panic_message(panic: Payload) -> Arc<str> {
    let message = if let Some(message) = panic.downcast_ref::<&str>() {
        Arc::from(*message)
    } else if let Some(message) = panic.downcast_ref::<String>() {
        Arc::from(&**message)
    } else {
        Arc::from("a panic without a message")
    };
    drop_caught(panic);
    message
}
