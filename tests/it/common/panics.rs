//! Panics that are planned, which print nothing.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::task::{Wake, Waker};

/// The message of a panic that is planned.
pub const PLANNED: &str = "planned panic";

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps planned panics from being printed, and those of a thread that is in `panic_message`.
///
/// The only hook that the tests of a binary set, and never taken back: hooks belong to the process, and tests that swap
/// them beside each other would undo each other's.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&PLANNED) && !QUIET.get() {
                before(info);
            }
        }));
    });
}

/// Panics as planned.
pub fn planned_panic() -> ! {
    // Not while this thread panics, when a hook cannot be set, and the next panic aborts in any case.
    if !std::thread::panicking() {
        hush();
    }
    std::panic::panic_any(PLANNED)
}

/// The message of the panic that `f` ends in, which is not printed.
#[track_caller]
pub fn panic_message<T>(f: impl FnOnce() -> T) -> String {
    hush();
    QUIET.set(true);
    let unwound = catch_unwind(AssertUnwindSafe(f)).map(drop);
    QUIET.set(false);
    match unwound.expect_err("it did not panic").downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().expect("a message")).to_string(),
    }
}

/// Panics when it is dropped, unless another panic is going on.
#[derive(Clone, Debug)]
pub struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            planned_panic();
        }
    }
}

/// Panics when it is woken.
pub struct PanicsOnWake;

impl PanicsOnWake {
    pub fn waker() -> Waker {
        Waker::from(Arc::new(Self))
    }
}

impl Wake for PanicsOnWake {
    fn wake(self: Arc<Self>) {
        planned_panic();
    }
}
