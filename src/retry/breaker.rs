use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::sync::clock::{Clock, ClockSlot, nanos};
use crate::trace;

/// The bit of [`Breaker::reopen`] that a failure sets.
const FAILED: u64 = 1;

/// A circuit breaker: it lets attempts through until `threshold` of them in a row have failed, and then makes
/// writers wait until `backoff` after the last failure. When that time is over, *one* writer makes an attempt, the probe,
/// and the others wait for another `backoff`. A success closes the breaker at once. It never gives up. A clone has the
/// same settings and starts closed.
///
/// A failed attempt counts whichever writer made it: with a threshold of 5, eight writers that fail at the same
/// time open it, though each has failed once. Behind a queue there is one writer.
///
/// A failure that gives an event up by [`give_up_when`](super::Retry::give_up_when) neither opens nor closes it. When a
/// probe ends so, the next writer may probe at once, since the endpoint responded. (A write that was under way
/// when the breaker opened may end so too; then there may be two probes at a time.)
///
/// The pattern, and the names of its states, are Michael Nygard's (*Release It!*). This breaker does not fail writes
/// while it is open but makes them wait, as that of go-events does.
///
/// Time is measured by the monotonic clock. A successful write costs two loads.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::retry::{Breaker, BreakerState};
/// use outflow::{Sink, SinkExt, sink};
///
/// let breaker = Breaker::new(2, Duration::from_secs(60));
/// let retry = sink::from_fn(|_: &u32| Err("no route to host")).retry(&breaker).max_attempts(1);
/// assert!(retry.write(1).is_err());
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// assert!(retry.write(2).is_err());
/// assert_eq!(breaker.state(), BreakerState::Open);
/// ```
#[derive(Debug)]
pub struct Breaker {
    threshold: u32,
    /// In nanoseconds, as `reopen`.
    backoff: u64,
    /// Consecutive failures.
    failures: AtomicU32,
    /// When the next writer may probe, by the clock, rounded to an even nanosecond. The lowest bit is 1 if a failure
    /// set it and 0 if a probe did, so that `fetch_max` prefers the failure if both set the same time.
    reopen: AtomicU64,
    clock: ClockSlot,
    name: Option<Arc<str>>,
}

/// What a [`Breaker`] does: see [`Breaker::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts go through.
    Closed,
    /// Writers wait for the backoff to pass.
    Open,
    /// The backoff is over: one writer may probe, or is probing.
    HalfOpen,
}

impl Breaker {
    /// Makes a breaker that opens after `threshold` failures in a row, for `backoff`. The default of Docker Registry is
    /// 10 failures and 1 second.
    ///
    /// A threshold of 0 counts as 1: every failure opens it. With a backoff of zero no writer ever waits.
    pub fn new(threshold: u32, backoff: Duration) -> Self {
        Self {
            threshold: threshold.max(1),
            backoff: nanos(backoff),
            failures: AtomicU32::new(0),
            reopen: AtomicU64::new(0),
            clock: ClockSlot::default(),
            name: None,
        }
    }

    /// Sets the name that `Debug` and the events of the `tracing` feature show.
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<Arc<str>>,
    {
        self.name = Some(name.into());
        self
    }

    /// Uses `clock` instead of the monotonic one: for tests. Set the clock of the [`Retry`](super::Retry::clock) too.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// Its state at this moment, which other threads may change at any time.
    pub fn state(&self) -> BreakerState {
        if self.failures.load(Ordering::Acquire) < self.threshold {
            return BreakerState::Closed;
        }
        let reopen = self.reopen.load(Ordering::Acquire);
        if reopen & FAILED == 0 || self.now() >= reopen & !FAILED {
            BreakerState::HalfOpen
        } else {
            BreakerState::Open
        }
    }

    /// The time that remains of the backoff. When it is over, zero for one writer, which makes the probe.
    #[cold]
    fn wait_or_probe(&self) -> Duration {
        loop {
            // SeqCst, as in `final_failure`, which wakes waiting writers too.
            let reopen = self.reopen.load(Ordering::SeqCst);
            let now = self.now();
            let due = reopen & !FAILED;
            if now < due {
                return Duration::from_nanos(due - now);
            }
            // The writer that moves the time forward makes the probe, and the others wait until then. So a probe that
            // hangs or panics delays them by no more than one backoff.
            let next = now.saturating_add(self.backoff) & !FAILED;
            if self.reopen.compare_exchange(reopen, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Duration::ZERO;
            }
        }
    }

    #[cold]
    fn reset(&self) {
        // SeqCst: see `backoff`.
        if self.failures.swap(0, Ordering::SeqCst) >= self.threshold {
            trace::breaker_closed(self.name.as_deref());
        }
    }

    fn now(&self) -> u64 {
        nanos(self.clock.now())
    }
}

impl Clone for Breaker {
    /// A breaker with the same settings and name, for another endpoint: closed, without failures. To share one breaker,
    /// clone an `Arc` of it.
    fn clone(&self) -> Self {
        Self {
            threshold: self.threshold,
            backoff: self.backoff,
            failures: AtomicU32::new(0),
            reopen: AtomicU64::new(0),
            clock: self.clock.clone(),
            name: self.name.clone(),
        }
    }
}

impl<E, X> RetryStrategy<E, X> for Breaker {
    type Stop = Infallible;

    #[inline]
    fn backoff(&self, _event: &E) -> Duration {
        // Acquire: pairs with the release in `failure`, which sets `reopen` first. SeqCst, as in `success`: a writer
        // takes a ticket and then loads, a success stores and then looks for tickets, and one of them sees the other
        // (see `Alarm`).
        if self.failures.load(Ordering::SeqCst) < self.threshold {
            Duration::ZERO
        } else {
            self.wait_or_probe()
        }
    }

    fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        // The time before the count, so that a writer that sees the count at the threshold sees the time. `fetch_max`,
        // since a failure that is reported late must not undo a later time.
        self.reopen.fetch_max(self.now().saturating_add(self.backoff) | FAILED, Ordering::AcqRel);
        let before = self.failures.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |failures| {
            (failures < u32::MAX).then(|| failures + 1)
        });
        // Exactly one failure takes the count to the threshold, and is logged.
        if before == Ok(self.threshold - 1) {
            trace::breaker_opened(self.name.as_deref(), self.threshold, Duration::from_nanos(self.backoff));
        }
        Ok(())
    }

    fn final_failure(&self, _failure: Failure<'_, E, X>) {
        // Lets the next writer probe at once, if nothing has failed since. The count stays: the breaker is half-open.
        let now = self.now() & !FAILED;
        let _ = self.reopen.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |reopen| {
            (reopen & FAILED == 0 && reopen > now).then_some(now)
        });
    }

    #[inline]
    fn success(&self) {
        // Without failures nothing is stored, so that the cache line stays shared between writers.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.reset();
        }
    }
}
