use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::sync::clock::{Clock, ClockSlot, nanos};
use crate::trace;

/// The bit of [`Breaker::reopen`] that a failure sets.
const FAILED: u64 = 1;

/// A circuit breaker: lets attempts through until `threshold` of them in a row have failed, then makes
/// writers wait until `backoff` after the last failure. When that is over, *one* writer probes and the
/// others wait for another `backoff`; a success closes the breaker at once. Never gives up. A clone starts anew, closed.
///
/// Every failed attempt is one in the row, whichever writer made it: with a threshold of 5, eight writers that fail at
/// once open it, though each has failed once. Behind a queue there is one writer.
///
/// A failure that [`give_up_when`](super::Retry::give_up_when) judges final neither opens nor closes it. A probe that
/// ends so is followed by the next at once: the endpoint answered. (If the answer is that of a write that was under way
/// when the breaker opened, there may be two probes for that reason.)
///
/// The pattern is Michael Nygard's (*Release It!*); the names of the states are his. This one does not
/// fail writes while it is open, it makes them wait, as go-events' does.
///
/// The clock is monotonic. The success path is two loads.
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
    /// Nanoseconds, as `reopen`.
    backoff: u64,
    /// Consecutive failures.
    failures: AtomicU32,
    /// When the next writer may probe, by the clock, to an even nanosecond. The lowest bit says what set it:
    /// a failure (1) or a probe (0). Of the two at one time the failure is the greater, so that
    /// `fetch_max` lets it win.
    reopen: AtomicU64,
    clock: ClockSlot,
    name: Option<Arc<str>>,
}

/// What a [`Breaker`] does: see [`Breaker::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts go through.
    Closed,
    /// Writers wait.
    Open,
    /// The backoff is over: a writer may probe, or is at it.
    HalfOpen,
}

impl Breaker {
    /// Opens after `threshold` failures in a row, for `backoff`.
    ///
    /// A threshold of 0 is one of 1: every failure backs off. With a backoff of zero no writer ever waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::retry::Breaker;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// // What Docker Registry does by default: after 10 failures in a row, leave the endpoint alone for a second.
    /// let sink = sink::discard().retry(Breaker::new(10, Duration::from_secs(1)));
    /// assert!(sink.write("push").is_ok());
    /// ```
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

    /// What `Debug` and the events of the `tracing` feature call it.
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<Arc<str>>,
    {
        self.name = Some(name.into());
        self
    }

    /// Goes by another clock than the monotonic one: for tests. The retry that waits has one of its own.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// What it does now. By the time you look, it may do something else.
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

    /// What is left of the backoff; zero for one writer once it is over, which is the probe.
    #[cold]
    fn wait_or_probe(&self) -> Duration {
        loop {
            // SeqCst, as in `final_failure`, which wakes those that wait too.
            let reopen = self.reopen.load(Ordering::SeqCst);
            let now = self.now();
            let due = reopen & !FAILED;
            if now < due {
                return Duration::from_nanos(due - now);
            }
            // One writer moves the time forward and is the probe; for the others it has not come yet. A
            // probe that hangs or panics holds up the others for no longer than that.
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
    /// The same settings and name, for another endpoint: closed, and nothing has failed yet. To share one, clone an
    /// `Arc` of it.
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
        // Acquire: pairs with the release in `failure`, which sets `reopen` first. And SeqCst, as in `success`:
        // a writer that takes a ticket and asks, and a success that comes and looks for tickets, do not miss
        // each other (see `Alarm`).
        if self.failures.load(Ordering::SeqCst) < self.threshold {
            Duration::ZERO
        } else {
            self.wait_or_probe()
        }
    }

    fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        // First the time, then the count: a writer that sees the count at the threshold sees the time. A failure only
        // moves the time forward, so that one that comes late does not undo another's.
        self.reopen.fetch_max(self.now().saturating_add(self.backoff) | FAILED, Ordering::AcqRel);
        let before = self.failures.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |failures| {
            (failures < u32::MAX).then(|| failures + 1)
        });
        // One failure reaches the threshold, as one success takes the count back from there.
        if before == Ok(self.threshold - 1) {
            trace::breaker_opened(self.name.as_deref(), self.threshold, Duration::from_nanos(self.backoff));
        }
        Ok(())
    }

    fn final_failure(&self, _failure: Failure<'_, E, X>) {
        // Gives back the claim of a probe, if nothing has failed since. The count stays: the breaker is half-open.
        let now = self.now() & !FAILED;
        let _ = self.reopen.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |reopen| {
            (reopen & FAILED == 0 && reopen > now).then_some(now)
        });
    }

    #[inline]
    fn success(&self) {
        // Nothing is written while all is well, so that writers share the cache line.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.reset();
        }
    }
}
