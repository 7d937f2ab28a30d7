//! A retry under a breaker, over a leaf that may fail and does not.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outflow::retry::Breaker;
use outflow::{Closing, Flushing, Sink, SinkExt, WriteError, sink};
use parking_lot::{Condvar, Mutex};

const THRESHOLD: u32 = 5;
const BACKOFF: Duration = Duration::from_secs(1);

struct Down;

fn post(event: &u64) -> Result<(), Down> {
    if black_box(*event) == u64::MAX { Err(Down) } else { Ok(()) }
}

pub fn ours(writes: u64) {
    crate::write_all(&sink::from_fn(post).retry(Breaker::new(black_box(THRESHOLD), BACKOFF)), writes);
}

pub fn by_hand(writes: u64) {
    crate::write_all(
        &ByHand {
            post: Post { closed: AtomicBool::new(false) },
            threshold: black_box(THRESHOLD),
            failures: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            sleepers: AtomicU32::new(0),
            reopen: Mutex::new(None),
            woken: Condvar::new(),
        },
        writes,
    );
}

/// The endpoint, which can be closed by itself.
struct Post {
    closed: AtomicBool,
}

impl Post {
    #[inline]
    fn write(&self, event: u64) -> Result<(), WriteError<u64, Down>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(event));
        }
        match post(&event) {
            Ok(()) => Ok(()),
            Err(error) => Err(WriteError::Failed { event, error }),
        }
    }
}

/// Writes until the endpoint accepts. After so many failures in a row writers wait, then one probes; a success wakes
/// those that wait, and so does a close.
struct ByHand {
    post: Post,
    threshold: u32,
    failures: AtomicU32,
    closed: AtomicBool,
    sleepers: AtomicU32,
    /// When the next writer may probe.
    reopen: Mutex<Option<Instant>>,
    woken: Condvar,
}

impl ByHand {
    /// Waits until this writer may try; `false` if it was closed before.
    #[cold]
    fn wait(&self) -> bool {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut reopen = self.reopen.lock();
        let may_try = loop {
            if self.closed.load(Ordering::Acquire) {
                break false;
            }
            let now = Instant::now();
            match *reopen {
                Some(due) if self.failures.load(Ordering::SeqCst) >= self.threshold && now < due => {
                    self.woken.wait_until(&mut reopen, due);
                }
                _ => {
                    *reopen = Some(now + BACKOFF);
                    break true;
                }
            }
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        may_try
    }

    #[cold]
    fn failed(&self) {
        *self.reopen.lock() = Some(Instant::now() + BACKOFF);
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    #[cold]
    fn wake(&self) {
        drop(self.reopen.lock());
        self.woken.notify_all();
    }
}

impl Sink<u64> for ByHand {
    type Error = Infallible;

    #[inline]
    fn write(&self, mut event: u64) -> Result<(), WriteError<u64, Infallible>> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(WriteError::Closed(event));
            }
            if self.failures.load(Ordering::SeqCst) >= self.threshold && !self.wait() {
                return Err(WriteError::Closed(event));
            }
            match self.post.write(event) {
                Ok(()) => {
                    if self.failures.load(Ordering::Relaxed) > 0 {
                        self.failures.store(0, Ordering::SeqCst);
                    }
                    if self.sleepers.load(Ordering::SeqCst) > 0 {
                        self.wake();
                    }
                    return Ok(());
                }
                Err(WriteError::Closed(event)) => return Err(WriteError::Closed(event)),
                Err(WriteError::Failed { event: back, error: Down }) => {
                    self.failed();
                    event = back;
                }
            }
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::Release);
        self.wake();
        self.post.closed.store(true, Ordering::Release);
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
