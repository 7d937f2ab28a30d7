use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, Retry, RetryStrategy};
use crate::adapter::CatchPanicError;
use crate::sync::clock::{ClockSlot, nanos};

/// The most that an endpoint gets unless told otherwise.
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
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{CatchPanicError, retry::RetryAfter};
    ///
    /// struct Throttled;
    ///
    /// impl RetryAfter for Throttled {
    ///     fn retry_after(&self) -> Option<Duration> {
    ///         Some(Duration::from_secs(1))
    ///     }
    /// }
    ///
    /// assert_eq!(CatchPanicError::Sink(Throttled).retry_after(), Some(Duration::from_secs(1)));
    /// assert_eq!(CatchPanicError::<Throttled>::Panicked("oops".into()).retry_after(), None);
    /// ```
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
/// [`honor_retry_after`](Retry::honor_retry_after).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::retry::{Constant, HonorRetryAfter, Retry, RetryAfter};
/// use outflow::{Sink, SinkExt, sink};
///
/// struct Throttled;
///
/// impl RetryAfter for Throttled {
///     fn retry_after(&self) -> Option<Duration> {
///         None // As long as the strategy says, then.
///     }
/// }
///
/// let http = sink::from_fn(|_: &u32| Ok::<(), Throttled>(()));
/// let retry: Retry<_, HonorRetryAfter<Constant>> =
///     http.retry(Constant::new(Duration::from_secs(1))).honor_retry_after();
/// assert!(retry.write(1).is_ok());
/// ```
pub struct HonorRetryAfter<R> {
    strategy: R,
    /// Nanoseconds, as `until`.
    longest: u64,
    /// Until when the endpoint is to be left alone, by the clock; 0 when that is over.
    until: AtomicU64,
    clock: ClockSlot,
}

impl<R> HonorRetryAfter<R> {
    pub(super) fn new(strategy: R, clock: ClockSlot) -> Self {
        Self { strategy, longest: nanos(LONGEST), until: AtomicU64::new(0), clock }
    }

    /// What is left of the time that the endpoint asked for.
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

impl<S, R> Retry<S, HonorRetryAfter<R>> {
    /// Waits at most `longest` for the endpoint's sake: one that asks for a year does not get one. Default:
    /// 5 minutes. The strategy's own wait may be longer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use outflow::{Sink, SinkExt, retry::{Constant, RetryAfter}, sink};
    ///
    /// #[derive(Debug)]
    /// struct NextYear;
    ///
    /// impl RetryAfter for NextYear {
    ///     fn retry_after(&self) -> Option<Duration> {
    ///         Some(Duration::from_secs(365 * 24 * 60 * 60))
    ///     }
    /// }
    ///
    /// let begun = Instant::now();
    /// let sink = sink::from_fn(|_: &&str| Err(NextYear))
    ///     .retry(Constant::new(Duration::ZERO))
    ///     .honor_retry_after()
    ///     .max_retry_after(Duration::from_millis(5))
    ///     .max_attempts(2);
    /// assert!(sink.write("push").is_err());
    /// assert!(begun.elapsed() >= Duration::from_millis(5));
    /// ```
    pub fn max_retry_after(self, longest: Duration) -> Self {
        self.with(|strategy| HonorRetryAfter { longest: nanos(longest), ..strategy })
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
        // Of an event that is given up, too: what was asked for is for the others as well.
        if let Some(wait) = failure.error.retry_after() {
            let wait = nanos(wait).min(self.longest);
            if wait > 0 {
                // Two writers may be told different times; the later one holds.
                self.until.fetch_max(nanos(self.clock.now()).saturating_add(wait), Ordering::AcqRel);
            }
        }
        verdict
    }

    fn success(&self) {
        // Leaves the time alone: a request that was under way when the endpoint asked for it may still
        // succeed.
        self.strategy.success();
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
