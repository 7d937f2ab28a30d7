use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::sync::clock::{Clock, ClockSlot, nanos};

/// Waits the same time after every failure. Never gives up. Writers that share a strategy wait after each
/// other's failures too. A clone starts anew.
#[derive(Debug)]
pub struct Constant {
    /// Nanoseconds, as `until`.
    backoff: u64,
    /// Until when to wait, by the clock; 0 after a success.
    until: AtomicU64,
    clock: ClockSlot,
}

impl Constant {
    /// Waits `backoff` after every failure; with zero, not at all.
    pub fn new(backoff: Duration) -> Self {
        Self { backoff: nanos(backoff), until: AtomicU64::new(0), clock: ClockSlot::default() }
    }

    /// Goes by another clock than the monotonic one: for tests. The retry that waits has one of its own.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }
}

impl Clone for Constant {
    /// The same settings, for another endpoint: nothing has failed yet. To share one, clone an `Arc` of it.
    fn clone(&self) -> Self {
        Self { backoff: self.backoff, until: AtomicU64::new(0), clock: self.clock.clone() }
    }
}

impl<E, X> RetryStrategy<E, X> for Constant {
    type Stop = Infallible;

    fn backoff(&self, _event: &E) -> Duration {
        // SeqCst, as in `success`: see `Alarm`.
        match self.until.load(Ordering::SeqCst) {
            0 => Duration::ZERO,
            until => Duration::from_nanos(until.saturating_sub(nanos(self.clock.now()))),
        }
    }

    fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        let until = nanos(self.clock.now()).saturating_add(self.backoff);
        self.until.fetch_max(until, Ordering::AcqRel);
        Ok(())
    }

    fn success(&self) {
        if self.until.load(Ordering::Relaxed) > 0 {
            self.until.store(0, Ordering::SeqCst);
        }
    }
}
