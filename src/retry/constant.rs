use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::sync::clock::{Clock, ClockSlot, nanos};

/// Waits the same time after every failure, and never gives up. Writers that share it wait after each other's failures
/// too. A clone has the same settings and starts without failures.
#[derive(Debug)]
pub struct Constant {
    /// In nanoseconds, as `until`.
    backoff: u64,
    /// The end of the wait, by the clock; 0 after a success.
    until: AtomicU64,
    clock: ClockSlot,
}

impl Constant {
    /// Waits for `backoff` after every failure; zero means no wait.
    pub fn new(backoff: Duration) -> Self {
        Self { backoff: nanos(backoff), until: AtomicU64::new(0), clock: ClockSlot::default() }
    }

    /// Uses `clock` instead of the monotonic one: for tests. Set the clock of the [`Retry`](super::Retry::clock) too.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }
}

impl Clone for Constant {
    /// A strategy with the same settings, for another endpoint: without failures. To share one, clone an `Arc` of it.
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
