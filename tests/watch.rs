//! `examples/watch` keeps to its timeouts.

#[allow(dead_code, reason = "the watches of it are tested here")]
#[path = "../examples/watch.rs"]
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::log::{Log, TryRecvError};
use outflow::{Sink, SinkExt};

use watch::{Change, Target, Watch, WatchQueue};

/// How long changes keep coming at most, so that a watch that does not time out fails the test, and ends.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_watch_times_out_though_changes_that_do_not_pass_keep_coming() {
    static LOOKED_AT: AtomicU64 = AtomicU64::new(0);
    let timeout = Duration::from_millis(50);
    let queue = WatchQueue { log: Log::new() };
    let mut watch = queue.watch(|_| {
        LOOKED_AT.fetch_add(1, Ordering::SeqCst);
        false
    });
    let returned = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            // The next comes as soon as the last was looked at, so that the watch never waits for long.
            let begun = Instant::now();
            let mut written = 0;
            while !returned.load(Ordering::SeqCst) && begun.elapsed() < LONG {
                if LOOKED_AT.load(Ordering::SeqCst) == written {
                    queue.log.write(change("pull")).unwrap();
                    written += 1;
                }
                thread::yield_now();
            }
        });
        let begun = Instant::now();
        let next = watch.next(timeout);
        let took = begun.elapsed();
        returned.store(true, Ordering::SeqCst);
        assert!(matches!(next, Err(TryRecvError::Empty)));
        took
    });
    assert!(took >= timeout, "{took:?}");
    assert!(took < LONG / 2, "{took:?}");
}

#[test]
fn a_watch_takes_what_is_there_whatever_its_timeout() {
    let queue = WatchQueue { log: Log::new() };
    let mut watch = queue.watch(|change| change.action == "push");
    queue.log.write_all(["push", "pull", "push"].map(change)).unwrap();
    assert_eq!(action(&mut watch, Duration::ZERO), Some("push".to_string()));
    assert_eq!(action(&mut watch, Duration::MAX), Some("push".to_string()));
    assert_eq!(action(&mut watch, Duration::ZERO), None);
}

fn action(watch: &mut Watch, timeout: Duration) -> Option<String> {
    watch.next(timeout).ok().map(|change| change.action.clone())
}

fn change(action: &str) -> Arc<Change> {
    let target = Target { repository: "library/alpine".to_string() };
    Arc::new(Change { id: "id".to_string(), action: action.to_string(), target })
}
