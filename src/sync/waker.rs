//! How a task that has nothing to read is woken: one that reads a channel, or a queue's worker on a pool.
//!
//! # Why no wake-up is lost
//!
//! A reader that finds nothing registers its waker, then looks again. A writer sends, then looks for a waker. Each has
//! a sequentially consistent fence between its two steps, so they cannot both miss: if the writer does not see
//! `asleep`, its fence comes before the reader's, and the reader's second look sees what was sent. If the writer sees
//! it and another has taken the waker meanwhile, that one wakes the task, and the task, should it find nothing,
//! registers anew: the same holds for that round. The end of the events counts as something sent.
//!
//! On x86-64 no test can tell whether the fences are there. Miri can: without the writer's, the tests in
//! `tests/weak_memory.rs` come to a deadlock.
//!
//! # Why a writer that waits is found
//!
//! A writer that finds no room looks for a waker before it waits. If the channel holds something, that is there for
//! the reader to see, as above. A rendezvous holds nothing: a reader finds the event only when the writer is already
//! waiting, and one that it woke may come too early. So a writer is counted before it looks for a waker, until it has
//! waited. A reader at a rendezvous that has registered and finds nothing looks at that count, and while it is not zero
//! looks again. Between the two there is the same pair of fences: either the reader sees the count or the writer the
//! waker. It is a matter of a few instructions of the writer's thread.
//!
//! A waker may poll the reader at once, on the writer's own thread, or wait for a poll on another to be over. So a writer
//! that calls one is not counted meanwhile, and looks once more afterwards. It lays its event into the slot of an `Offer`
//! before the call: where the waker polls, the writer cannot be found waiting.

use std::fmt;
#[cfg(feature = "futures")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

use parking_lot::Mutex;

use super::caught::{drop_caught, wake_caught};

/// Where the one reader of a channel leaves its waker. See the module for why this is right.
pub(crate) struct ReaderWaker {
    waker: Mutex<Option<Waker>>,
    /// Whether there is a waker. Changed with it, under its lock; `Relaxed`, since the fences order it.
    asleep: AtomicBool,
    /// How many writers wait, or are about to. A queue's worker does not ask.
    #[cfg(feature = "futures")]
    waiting: AtomicUsize,
}

impl ReaderWaker {
    pub(crate) fn new() -> Self {
        Self {
            waker: Mutex::new(None),
            asleep: AtomicBool::new(false),
            #[cfg(feature = "futures")]
            waiting: AtomicUsize::new(0),
        }
    }

    /// To be called by the reader, which must then look once more.
    pub(crate) fn register(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut slot = self.waker.lock();
        let before = slot.replace(waker);
        self.asleep.store(true, Ordering::Relaxed);
        drop(slot);
        // Pairs with the one in `wake`.
        fence(Ordering::SeqCst);
        // Without the lock: it may be the last that keeps a task.
        drop_caught(before);
    }

    /// Whether there is a waker, or was a moment ago: whatever has taken it since calls it.
    pub(crate) fn is_registered(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        let mut slot = self.waker.lock();
        self.asleep.store(false, Ordering::Relaxed);
        slot.take()
    }

    /// To be called after there is something new to find.
    #[inline]
    pub(crate) fn wake(&self) {
        // Pairs with the one in `register`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_it();
        }
    }

    #[cold]
    fn wake_it(&self) {
        if let Some(waker) = self.take() {
            wake_caught(waker);
        }
    }

    /// How many writers wait, or are about to, or have done so a moment ago.
    #[cfg(feature = "futures")]
    pub(crate) fn waiting(&self) -> usize {
        // Relaxed: a reader's fence orders it, see the module.
        self.waiting.load(Ordering::Relaxed)
    }

    /// To be called by a writer before it waits, and kept until it has waited.
    #[cfg(feature = "futures")]
    pub(crate) fn announce(&self) -> Announced<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Announced { waker: self }
    }
}

impl fmt::Debug for ReaderWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderWaker").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

#[cfg(feature = "futures")]
pub(crate) struct Announced<'a> {
    waker: &'a ReaderWaker,
}

#[cfg(feature = "futures")]
impl Announced<'_> {
    /// Whether a task sleeps. If not, one that is going to sleep finds this writer.
    pub(crate) fn finds_task(&self) -> bool {
        // Pairs with the one in `register`.
        fence(Ordering::SeqCst);
        self.waker.asleep.load(Ordering::Relaxed)
    }

    /// Wakes the task, and is not counted meanwhile.
    pub(crate) fn wake(&self) {
        self.waker.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waker.wake();
        self.waker.waiting.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(feature = "futures")]
impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.waker.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
