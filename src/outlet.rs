use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::caught::drop_caught;
use crate::lifecycle::close_caught;
use crate::scope::Scope;
use crate::trace;
use crate::{Closing, SharedSink};

/// Where a buffer's events go that it gives up: into the spill, if there is one, and into a count.
pub(crate) struct Outlet<E> {
    spill: Option<SharedSink<E>>,
    /// This thread is in the spill: an event that comes back is not spilled again.
    pub(crate) scope: Scope,
    dropped: AtomicU64,
    spilled: AtomicU64,
    /// How often an event was about to be taken out, how often one was, and how often there was none.
    begun: AtomicU64,
    given: AtomicU64,
    vain: AtomicU64,
    /// Tells of them.
    pub(crate) told: trace::GivenUp,
}

/// What an outlet has counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) dropped: u64,
    pub(crate) spilled: u64,
    /// Taken out, and on its way.
    pub(crate) under_way: u64,
    begun: u64,
    /// Whether nothing was being taken out.
    pub(crate) at_rest: bool,
}

impl GivenUp {
    /// Whether `begun` is what it was.
    pub(crate) fn has_begun(&self, begun: u64) -> bool {
        self.begun == begun
    }
}

impl<E> Outlet<E> {
    pub(crate) fn new(spill: Option<SharedSink<E>>) -> Self {
        Self {
            spill,
            scope: Scope::new(),
            dropped: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            given: AtomicU64::new(0),
            vain: AtomicU64::new(0),
            told: trace::GivenUp::default(),
        }
    }

    /// Whether giving up an event may take as long as a sink does.
    pub(crate) fn spills(&self) -> bool {
        self.spill.is_some()
    }

    /// Spills the event, or drops it, and counts it. A panic of the spill goes no further.
    pub(crate) fn give_up(&self, event: E) {
        self.give_up_from(|| Some(event));
    }

    /// Gives up what `take` takes out of the buffer, counted all along; `false` if that was nothing.
    pub(crate) fn give_up_from(&self, take: impl FnOnce() -> Option<E>) -> bool {
        // Whoever adds up sees that one is being taken, and looks again: see `Backlog::stats`.
        self.begun.fetch_add(1, Ordering::AcqRel);
        let Some(event) = take() else {
            self.vain.fetch_add(1, Ordering::Release);
            return false;
        };
        self.given.fetch_add(1, Ordering::Release);
        let spilled = self.spill_by(|spill| spill.write(event).is_ok());
        self.count(spilled, 1);
        true
    }

    /// Whether `write` got its event into the spill. Without one, or inside it, `write` is dropped with what it holds.
    fn spill_by(&self, write: impl FnOnce(&SharedSink<E>) -> bool) -> bool {
        match &self.spill {
            Some(spill) if !self.scope.is_current() => {
                let _inside = self.scope.enter();
                catch_unwind(AssertUnwindSafe(|| write(spill))).unwrap_or_else(|panic| {
                    drop_caught(panic);
                    false
                })
            }
            _ => {
                drop_caught(write);
                false
            }
        }
    }

    fn count(&self, spilled: bool, events: u64) {
        let count = if spilled { &self.spilled } else { &self.dropped };
        count.fetch_add(events, Ordering::Release);
        self.told.some(spilled, events, std::any::type_name::<E>());
    }

    /// As [`give_up`](Outlet::give_up), of an event that others still read: cloned only if the spill must.
    pub(crate) fn give_up_ref(&self, event: &E)
    where
        E: Clone,
    {
        self.found(1);
        let spilled = self.spill_by(|spill| spill.write_ref(event).is_ok());
        self.count(spilled, 1);
    }

    /// Tells of events that were skipped, and are counted elsewhere.
    pub(crate) fn tell_skipped(&self, events: u64) {
        self.told.some(false, events, std::any::type_name::<E>());
    }

    /// Counts events as dropped that nobody holds any more, or that others drop.
    pub(crate) fn drop_unseen(&self, events: u64) {
        if events > 0 {
            self.found(events);
            self.count(false, events);
        }
    }

    /// Events are given up that were not taken out here.
    fn found(&self, events: u64) {
        self.begun.fetch_add(events, Ordering::AcqRel);
        self.given.fetch_add(events, Ordering::Release);
    }

    pub(crate) fn counts(&self) -> GivenUp {
        // In the order opposite to that in which they are counted, so that none goes below zero.
        let dropped = self.dropped.load(Ordering::Acquire);
        let spilled = self.spilled.load(Ordering::Acquire);
        let vain = self.vain.load(Ordering::Acquire);
        let given = self.given.load(Ordering::Acquire);
        let begun = self.begun();
        GivenUp {
            dropped,
            spilled,
            under_way: given.saturating_sub(dropped + spilled),
            begun,
            at_rest: begun == given + vain,
        }
    }

    /// How often an event was about to be taken out so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Begins to close the spill. Nothing is given up after this.
    pub(crate) fn close(&self) -> Closing {
        self.told.rest(std::any::type_name::<E>());
        match &self.spill {
            Some(spill) => close_caught(|| spill.close()),
            None => Closing::done(),
        }
    }
}
