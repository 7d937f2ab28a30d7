use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::contract::SharedSink;
use crate::lifecycle::{Closing, close_caught};
use crate::sync::blocking::blocking;
use crate::sync::caught::drop_caught;
use crate::sync::scope::Scope;
use crate::trace;

/// Where the events go that a buffer sheds: into the spill, if there is one, and into a count.
pub(crate) struct Shed<E> {
    /// Until it is closed. A lock, since it is on no write's way but that of one that sheds.
    spill: Mutex<Option<SharedSink<E>>>,
    /// A thread is in the spill: an event that comes back is not spilled again.
    pub(crate) scope: Scope,
    dropped: AtomicU64,
    spilled: AtomicU64,
    /// How many events are being shed, or looked for to be.
    under_way: AtomicU64,
    pub(crate) log: trace::ShedLog,
}

/// What was shed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShedCounts {
    pub(crate) dropped: u64,
    pub(crate) spilled: u64,
    /// Taken out of the buffer, and on the way.
    pub(crate) under_way: u64,
}

impl<E> Shed<E> {
    pub(crate) fn new(spill: Option<SharedSink<E>>) -> Self {
        Self {
            spill: Mutex::new(spill),
            scope: Scope::new(),
            dropped: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            log: trace::ShedLog::default(),
        }
    }

    pub(crate) fn spills(&self) -> bool {
        self.spill.lock().is_some()
    }

    /// Spills the event, or drops it, and counts it. A panic of the spill goes no further.
    pub(crate) fn shed(&self, event: E) {
        self.shed_from(|| Some(event));
    }

    /// Sheds what `take` takes out of the buffer; `false` if that was nothing.
    pub(crate) fn shed_from(&self, take: impl FnOnce() -> Option<E>) -> bool {
        let under_way = self.begin();
        let event = take();
        let found = event.is_some();
        if let Some(event) = event {
            under_way.shed(event);
        }
        found
    }

    /// Counts an event as under way before it leaves where it is counted now.
    pub(crate) fn begin(&self) -> UnderWay<'_, E> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay { shed: self }
    }

    /// Whether `write` got its event into the spill. Without one, or inside it, `write` is dropped with what it holds.
    fn spill_by(&self, write: impl FnOnce(&SharedSink<E>) -> bool) -> bool {
        let spill = if self.scope.is_current() { None } else { self.spill.lock().clone() };
        let Some(spill) = spill else {
            drop_caught(write);
            return false;
        };
        let _inside = self.scope.enter();
        let spilled = catch_unwind(AssertUnwindSafe(|| blocking(|| write(&spill)))).unwrap_or_else(|panic| {
            drop_caught(panic);
            false
        });
        drop_caught(spill);
        spilled
    }

    fn count(&self, spilled: bool, events: u64) {
        let count = if spilled { &self.spilled } else { &self.dropped };
        count.fetch_add(events, Ordering::SeqCst);
        self.log.count(spilled, events, std::any::type_name::<E>());
    }

    /// As [`shed`](Shed::shed), of an event that others still read: cloned only if the spill must.
    pub(crate) fn shed_ref(&self, event: &E)
    where
        E: Clone,
    {
        let spilled = self.spill_by(|spill| spill.write_ref(event).is_ok());
        self.count(spilled, 1);
    }

    /// Logs events that were skipped, and are counted elsewhere.
    pub(crate) fn log_skipped(&self, events: u64) {
        self.log.count(false, events, std::any::type_name::<E>());
    }

    /// Counts events as dropped that nothing holds any more, or that are dropped elsewhere.
    pub(crate) fn count_dropped(&self, events: u64) {
        if events > 0 {
            self.count(false, events);
        }
    }

    pub(crate) fn counts(&self) -> ShedCounts {
        let dropped = self.dropped.load(Ordering::SeqCst);
        let spilled = self.spilled.load(Ordering::SeqCst);
        ShedCounts { dropped, spilled, under_way: self.under_way.load(Ordering::SeqCst) }
    }

    /// Begins to close the spill, and drops it: what it holds may have to be dropped to be written out. Nothing is shed
    /// after this.
    pub(crate) fn close(&self) -> Closing {
        self.log.flush(std::any::type_name::<E>());
        let spill = self.spill.lock().take();
        let Some(spill) = spill else {
            return Closing::done();
        };
        let closing = close_caught(|| spill.close());
        drop_caught(spill);
        closing
    }
}

/// An event that is being shed. Counted as that until this is dropped.
pub(crate) struct UnderWay<'a, E> {
    shed: &'a Shed<E>,
}

impl<E> UnderWay<'_, E> {
    pub(crate) fn shed(self, event: E) {
        let spilled = self.shed.spill_by(|spill| spill.write(event).is_ok());
        self.shed.count(spilled, 1);
    }
}

impl<E> Drop for UnderWay<'_, E> {
    fn drop(&mut self) {
        self.shed.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
