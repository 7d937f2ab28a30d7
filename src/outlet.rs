use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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
    /// Taken out, not counted yet.
    under_way: AtomicU64,
    /// Tells of them.
    pub(crate) told: trace::GivenUp,
}

/// What an outlet has counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) dropped: u64,
    pub(crate) spilled: u64,
    pub(crate) under_way: u64,
}

impl<E> Outlet<E> {
    pub(crate) fn new(spill: Option<SharedSink<E>>) -> Self {
        Self {
            spill,
            scope: Scope::new(),
            dropped: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
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
        // Counted before it is taken and as long as it is on its way, so that no event is ever missing
        // from the sum. Relaxed: counts, on which nothing else depends.
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let Some(event) = take() else {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        let spilled = self.spill_by(|spill| spill.write(event).is_ok());
        self.under_way.fetch_sub(1, Ordering::Relaxed);
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
        count.fetch_add(events, Ordering::Relaxed);
        self.told.some(spilled, events, std::any::type_name::<E>());
    }

    /// Tells what was given up and is not told yet. Answers when there will be more to tell.
    pub(crate) fn tell_overdue(&self) -> Option<Instant> {
        self.told.overdue(std::any::type_name::<E>())
    }

    /// As [`give_up`](Outlet::give_up), of an event that others still read: cloned only if the spill must.
    pub(crate) fn give_up_ref(&self, event: &E)
    where
        E: Clone,
    {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let spilled = self.spill_by(|spill| spill.write_ref(event).is_ok());
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.count(spilled, 1);
    }

    /// Tells of events that were skipped, and are counted elsewhere.
    pub(crate) fn tell_skipped(&self, events: u64) {
        self.told.some(false, events, std::any::type_name::<E>());
    }

    /// Counts events as dropped that nobody holds any more, or that others drop.
    pub(crate) fn drop_unseen(&self, events: u64) {
        if events > 0 {
            self.count(false, events);
        }
    }

    pub(crate) fn counts(&self) -> GivenUp {
        GivenUp {
            dropped: self.dropped.load(Ordering::Relaxed),
            spilled: self.spilled.load(Ordering::Relaxed),
            under_way: self.under_way.load(Ordering::Relaxed),
        }
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
