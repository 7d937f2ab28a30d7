//! The thread that notices code that blocks without a word.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

/// How long nothing must move. What has stalled is noticed by the second look at it.
const PERIOD: Duration = Duration::from_millis(1);

/// How often it finds nothing to watch before it sleeps: waking it costs a system call.
const QUIET_LOOKS: u32 = 8;

/// How long it waits after a thread could not be started.
const RETRY: Duration = Duration::from_millis(50);

/// What is watched.
pub(super) trait Watched {
    /// Whether something waits that one more thread could see to.
    fn is_worth_watching(&self) -> bool;

    /// Changes when something moves; `None` while a thread is about to see to what waits.
    fn moves(&self) -> Option<usize>;

    /// Adds so many threads, or as many as there is something to do for.
    fn add_threads(&self, threads: usize) -> io::Result<()>;
}

/// A thread that sleeps for good while there is nothing to watch. It starts when first needed.
#[derive(Default)]
pub(super) struct Watcher {
    /// Whether it looks. While it does, waking it is a load.
    awake: AtomicBool,
    stopped: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Watcher {
    /// Sees to it that the watcher looks. `start` starts its thread, which is to call [`run`](Self::run).
    ///
    /// If that cannot be started nothing is watched, until the next call tries again.
    pub(super) fn wake(&self, start: impl FnOnce() -> io::Result<Thread>) {
        // SeqCst: see `run`.
        if self.awake.load(Ordering::SeqCst) || self.awake.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut thread = self.thread.lock();
        match &*thread {
            Some(thread) => thread.unpark(),
            None => match start() {
                Ok(started) => *thread = Some(started),
                Err(_) => self.awake.store(false, Ordering::SeqCst),
            },
        }
    }

    /// Has the thread end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }

    /// Looks every [`PERIOD`] while something waits, and adds threads when nothing has moved since the last look: twice
    /// as many each time, `first` to begin with, until nothing waits any more.
    pub(super) fn run(&self, watched: &impl Watched, first: usize) {
        while !self.stopped.load(Ordering::Acquire) {
            if !self.awake.load(Ordering::SeqCst) {
                thread::park();
                continue;
            }
            self.watch(watched, first);
            // A thread that adds something to do looks at `awake` afterwards, and this looks for something to do after
            // `awake` is false, with a fence between the two on both sides: one of them sees the other.
            self.awake.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if watched.is_worth_watching() {
                self.awake.store(true, Ordering::SeqCst);
            }
        }
    }

    fn watch(&self, watched: &impl Watched, first: usize) {
        let mut step = first;
        let mut quiet = 0;
        // What had moved at the last look, if something waited then.
        let mut before = watched.moves();
        while quiet < QUIET_LOOKS && !self.stopped.load(Ordering::Acquire) {
            thread::sleep(PERIOD);
            if !watched.is_worth_watching() {
                quiet += 1;
                before = None;
                continue;
            }
            quiet = 0;
            let now = watched.moves();
            if now.is_some() && now == before {
                match watched.add_threads(step) {
                    Ok(()) => step = step.saturating_mul(2),
                    Err(_) => thread::sleep(RETRY),
                }
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Something that is stuck until so many threads are added.
    struct Stuck {
        watcher: Watcher,
        needed: AtomicUsize,
        looks: AtomicUsize,
        added: Mutex<Vec<usize>>,
    }

    impl Watched for Arc<Stuck> {
        fn is_worth_watching(&self) -> bool {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.needed.load(Ordering::SeqCst) > 0
        }

        fn moves(&self) -> Option<usize> {
            Some(0)
        }

        fn add_threads(&self, threads: usize) -> io::Result<()> {
            self.added.lock().push(threads);
            self.needed.fetch_sub(threads.min(self.needed.load(Ordering::SeqCst)), Ordering::SeqCst);
            Ok(())
        }
    }

    #[test]
    fn threads_are_doubled_until_nothing_waits_and_then_the_watcher_sleeps_for_good() {
        let stuck = Arc::new(Stuck {
            watcher: Watcher::default(),
            needed: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            added: Mutex::default(),
        });
        let wake = || {
            stuck.watcher.wake(|| {
                let stuck = Arc::clone(&stuck);
                Ok(thread::spawn(move || stuck.watcher.run(&stuck, 2)).thread().clone())
            });
        };
        for _ in 0..3 {
            stuck.needed.store(30, Ordering::SeqCst);
            wake();
            while stuck.watcher.awake.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            assert_eq!(std::mem::take(&mut *stuck.added.lock()), [2, 4, 8, 16]);
            // The look after it was set to sleep may still come; then there is none.
            while stuck.looks.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            thread::sleep(2 * PERIOD);
            let looks = stuck.looks.load(Ordering::SeqCst);
            thread::sleep(10 * PERIOD);
            assert_eq!(stuck.looks.load(Ordering::SeqCst), looks);
        }
        stuck.watcher.stop();
        while Arc::strong_count(&stuck) > 1 {
            thread::yield_now();
        }
    }
}
