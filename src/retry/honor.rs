use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::adapter::CatchPanicError;
use crate::sync::clock::{Clock, ClockSlot, nanos};

/// The most that an endpoint gets by default.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// An error in which an endpoint may say when to come back, as HTTP's `Retry-After` does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::retry::RetryAfter;
///
/// struct Throttled {
///     wait_seconds: u64,
/// }
///
/// impl RetryAfter for Throttled {
///     fn retry_after(&self) -> Option<Duration> {
///         Some(Duration::from_secs(self.wait_seconds))
///     }
/// }
///
/// assert_eq!(Throttled { wait_seconds: 7 }.retry_after(), Some(Duration::from_secs(7)));
/// ```
pub trait RetryAfter {
    /// How long to wait from now on; `None` if the error says nothing of it.
    fn retry_after(&self) -> Option<Duration>;
}

impl<X> RetryAfter for CatchPanicError<X>
where
    X: RetryAfter,
{
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Panicked(_) => None,
            Self::Sink(error) => error.retry_after(),
        }
    }
}

/// A strategy that waits as long as the endpoint asks, if that is longer than its own wait. Made by
/// [`honor_retry_after`](super::Retry::honor_retry_after).
pub struct HonorRetryAfter<R> {
    strategy: R,
    /// Nanoseconds, as `until`.
    longest: u64,
    /// Until when the endpoint is to be left alone, by the clock; 0 when that is over.
    until: AtomicU64,
    clock: ClockSlot,
}

impl<R> HonorRetryAfter<R> {
    /// As [`honor_retry_after`](super::Retry::honor_retry_after), without a retry and by the monotonic clock.
    pub fn new(strategy: R) -> Self {
        Self::by_clock(strategy, ClockSlot::default())
    }

    pub(super) fn by_clock(strategy: R, clock: ClockSlot) -> Self {
        Self { strategy, longest: nanos(LONGEST), until: AtomicU64::new(0), clock }
    }

    /// As [`max_retry_after`](super::Retry::max_retry_after), without a retry.
    pub fn max_retry_after(mut self, longest: Duration) -> Self {
        self.longest = nanos(longest);
        self
    }

    /// Goes by another clock than the monotonic one: for tests.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// The endpoint may have asked to be left alone: for all writers, also if this event is given up.
    fn heed(&self, asked: Option<Duration>) {
        let Some(wait) = asked.map(|wait| nanos(wait).min(self.longest)).filter(|wait| *wait > 0) else {
            return;
        };
        // Of two writers that are asked for different times the later time holds.
        self.until.fetch_max(nanos(self.clock.now()).saturating_add(wait), Ordering::AcqRel);
    }

    /// What is left of the time that the endpoint asked for.
    #[inline]
    fn left(&self) -> Duration {
        // Acquire: pairs with the release in `failure`, so that the clock read below is not older than the
        // one that `until` was made of.
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return Duration::ZERO;
        }
        let left = until.saturating_sub(nanos(self.clock.now()));
        if left == 0 {
            // Over: the next write reads no clock. A failure that has asked for more meanwhile is left alone.
            let _ = self.until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        Duration::from_nanos(left)
    }
}

impl<E, X, R> RetryStrategy<E, X> for HonorRetryAfter<R>
where
    X: RetryAfter,
    R: RetryStrategy<E, X>,
{
    type Stop = R::Stop;

    fn backoff(&self, event: &E) -> Duration {
        // The strategy is asked only when the endpoint's time is over: a breaker's zero claims the probe.
        match self.left() {
            Duration::ZERO => self.strategy.backoff(event),
            left => left,
        }
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), R::Stop> {
        let verdict = self.strategy.failure(failure);
        self.heed(failure.error.retry_after());
        verdict
    }

    fn final_failure(&self, failure: Failure<'_, E, X>) {
        self.strategy.final_failure(failure);
        self.heed(failure.error.retry_after());
    }

    #[inline]
    fn success(&self) {
        // Leaves the time alone: a request that was under way when the endpoint asked for it may still
        // succeed.
        self.strategy.success();
    }
}

impl<R: Clone> Clone for HonorRetryAfter<R> {
    /// The same settings, for another endpoint: nothing has been asked for yet.
    fn clone(&self) -> Self {
        Self { longest: self.longest, ..Self::by_clock(self.strategy.clone(), self.clock.clone()) }
    }
}

impl<R: fmt::Debug> fmt::Debug for HonorRetryAfter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HonorRetryAfter")
            .field("strategy", &self.strategy)
            .field("longest", &Duration::from_nanos(self.longest))
            .finish_non_exhaustive()
    }
}
