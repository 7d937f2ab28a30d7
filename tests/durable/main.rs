//! The durable queue: what it promises, and what a process that is killed leaves.

mod async_sinks;
mod crash;
#[cfg(unix)]
mod full;
mod laws;
mod policies;
mod promises;
mod scratch;
#[cfg(target_os = "linux")]
mod strace;

use std::thread;
use std::time::{Duration, Instant};

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < end, "it did not come to pass");
        thread::sleep(Duration::from_millis(1));
    }
}
