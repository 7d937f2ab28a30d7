//! A user's code that runs where a panic must go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a panic was raised with.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs what is a user's, such as a destructor; a panic of it goes no further.
///
/// What the panic was raised with has a destructor too, and that may panic like any other. What it raises then
/// is leaked: it could go on so for ever.
pub(crate) fn run_caught(f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(another);
        }
    }
}

/// Drops what is a user's: an event, a sink, or what a panic was raised with.
pub(crate) fn drop_caught<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        run_caught(|| drop(value));
    }
}

/// Wakes a task. It is the executor's code, and its panic goes no further.
pub(crate) fn wake_caught(waker: std::task::Waker) {
    run_caught(|| waker.wake());
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
