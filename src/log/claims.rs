//! Which of a follower's events are its worker's, and which belong to whatever stopped it.
//!
//! The worker claims every event before it writes it, by a compare-and-swap on one word: the number of the next event
//! and three flags. An abort, a detach or the worker's own end sets `STOPPED` there. Whichever sets it first owns every
//! event that is not claimed by then, and no claim succeeds any more. So each event belongs to one thread, and both can
//! see to theirs at the same time. `ASKED` makes the next claim fail once, so that the worker looks for a flush or a new
//! end. It costs a write nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// No event is claimed any more.
const STOPPED: u64 = 1;
/// The worker has to look for news.
const ASKED: u64 = 2;
/// The sink was handed back, and is not the follower's.
const DETACHED: u64 = 4;
const FLAGS: u32 = 3;

// Acquire and release throughout: what a thread has set before it stops or asks is seen by the worker that finds that.
pub(super) struct Claims(AtomicU64);

/// What came of a claim.
pub(super) enum Claim {
    Claimed,
    Stopped,
    Asked,
}

impl Claims {
    pub(super) fn new(position: u64) -> Self {
        Self(AtomicU64::new(position << FLAGS))
    }

    fn word(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// The next event to be claimed.
    pub(super) fn position(&self) -> u64 {
        self.word() >> FLAGS
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.word() & STOPPED != 0
    }

    pub(super) fn is_detached(&self) -> bool {
        self.word() & DETACHED != 0
    }

    /// Whether the worker has to look for news.
    pub(super) fn has_news(&self) -> bool {
        self.word() & (STOPPED | ASKED) != 0
    }

    /// Claims the events from `position` up to `to`. Only the worker does.
    #[inline]
    pub(super) fn claim(&self, position: u64, to: u64) -> Claim {
        let (from, to) = (position << FLAGS, to << FLAGS);
        match self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Claim::Claimed,
            Err(word) if word & STOPPED != 0 => Claim::Stopped,
            Err(_) => Claim::Asked,
        }
    }

    /// Has the worker look for news.
    pub(super) fn ask(&self) {
        self.0.fetch_or(ASKED, Ordering::AcqRel);
    }

    /// The worker is about to look for news: whatever comes after this asks again.
    pub(super) fn take_ask(&self) {
        self.0.fetch_and(!ASKED, Ordering::AcqRel);
    }

    /// Whether this was the first to stop it.
    pub(super) fn stop(&self) -> bool {
        self.0.fetch_or(STOPPED, Ordering::AcqRel) & STOPPED == 0
    }

    /// Stops it for good, with the sink handed back; `false` if it was stopped before.
    pub(super) fn detach(&self) -> bool {
        let detach = |word: u64| (word & STOPPED == 0).then_some(word | STOPPED | DETACHED);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, detach).is_ok()
    }
}
