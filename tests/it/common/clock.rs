//! Waits by a clock that take no time.

use std::thread;

use outflow::testing::VirtualClock;

/// Calls `f` on another thread, and has time pass at once whenever something waits by `clock`.
pub fn without_waiting<T: Send>(clock: &VirtualClock, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let running = scope.spawn(f);
        while !running.is_finished() {
            clock.advance_to_next();
            thread::yield_now();
        }
        running.join().unwrap()
    })
}
