use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::adapter::{CatchPanicError, ExpireError};
use crate::sync::clock::{Clock, ClockSlot, nanos};

/// The longest wait that an endpoint is granted by default.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// An error in which an endpoint may say how long to wait before the next attempt, as HTTP's `Retry-After` does.
/// [`honor_retry_after`](super::Retry::honor_retry_after) has an example.
pub trait RetryAfter {
    /// How long to wait, from now on; `None` if the endpoint did not say.
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

impl<X> RetryAfter for ExpireError<X>
where
    X: RetryAfter,
{
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Expired { .. } => None,
            Self::Sink(error) => error.retry_after(),
        }
    }
}

/// A strategy that waits as long as the endpoint asks, if that is longer than its own wait. Made by
/// [`honor_retry_after`](super::Retry::honor_retry_after).
pub struct HonorRetryAfter<R> {
    strategy: R,
    /// In nanoseconds, as `until`.
    longest: u64,
    /// The end of the wait that the endpoint asked for, by the clock; 0 when it is over.
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

    /// Uses `clock` instead of the monotonic one: for tests.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// Notes the wait that the endpoint asked for. It holds for all writers, even if this event is given up.
    fn note(&self, asked: Option<Duration>) {
        let Some(wait) = asked.map(|wait| nanos(wait).min(self.longest)).filter(|wait| *wait > 0) else {
            return;
        };
        // If two writers got different times, the later one holds.
        self.until.fetch_max(nanos(self.clock.now()).saturating_add(wait), Ordering::AcqRel);
    }

    /// The time that remains of the wait that the endpoint asked for.
    #[inline]
    fn remaining(&self) -> Duration {
        // Acquire: pairs with the release in `note`, so that the clock reading below is not older than the one from
        // which `until` was computed.
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return Duration::ZERO;
        }
        let remaining = until.saturating_sub(nanos(self.clock.now()));
        if remaining == 0 {
            // It is over, and the next write need not read the clock. A time that was set meanwhile stays.
            let _ = self.until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        Duration::from_nanos(remaining)
    }
}

impl<E, X, R> RetryStrategy<E, X> for HonorRetryAfter<R>
where
    X: RetryAfter,
    R: RetryStrategy<E, X>,
{
    type Stop = R::Stop;

    fn backoff(&self, event: &E) -> Duration {
        // The strategy comes second, since a zero from a breaker makes this writer the probe.
        match self.remaining() {
            Duration::ZERO => self.strategy.backoff(event),
            remaining => remaining,
        }
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), R::Stop> {
        let verdict = self.strategy.failure(failure);
        self.note(failure.error.retry_after());
        verdict
    }

    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        self.strategy.own_backoff(failure)
    }

    fn final_failure(&self, failure: Failure<'_, E, X>) {
        self.strategy.final_failure(failure);
        self.note(failure.error.retry_after());
    }

    #[inline]
    fn success(&self) {
        // The endpoint's time stays: a request that was under way when the endpoint asked for it may still succeed.
        self.strategy.success();
    }
}

impl<R: Clone> Clone for HonorRetryAfter<R> {
    /// A strategy with the same settings, for another endpoint, which has not asked for any wait.
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
