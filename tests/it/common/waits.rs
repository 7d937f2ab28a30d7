//! Waits that end, so that what hangs fails.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::factor;
#[cfg(feature = "testing")]
use outflow::{Queue, SinkExt, sink, testing::Latch};

/// Longer than anything here takes, and short enough to wait for when something hangs.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for something that nothing signals.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Runs `f` on a thread of its own and panics if it takes too long: a deadlock fails the test. More rounds have more
/// time.
#[track_caller]
pub fn in_time<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = sender.send(f());
    });
    match receiver.recv_timeout(SOON.mul_f64(factor().max(1.0))) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("{what} answered nothing"),
        },
    }
}

/// A queue whose sink holds each event until the latch is open.
#[cfg(feature = "testing")]
pub fn queue_behind<E: Send + 'static>(latch: &Latch) -> Queue<E> {
    let latch = latch.clone();
    sink::for_each(move |_: E| latch.pass()).queued()
}
