use std::fmt;
use std::time::Duration;

use super::{Failure, GiveUp, RetryStrategy};

/// A strategy that gives up when a predicate returns `true`. Made by [`give_up_when`](super::Retry::give_up_when), which
/// says how such a failure counts.
#[derive(Clone)]
pub struct GiveUpWhen<R, F> {
    strategy: R,
    predicate: F,
}

/// A strategy that gives up after a number of attempts. Made by [`max_attempts`](super::Retry::max_attempts).
#[derive(Clone, Debug)]
pub struct MaxAttempts<R> {
    strategy: R,
    attempts: u32,
}

/// A strategy that calls a closure for each failure. Made by [`on_failure`](super::Retry::on_failure).
#[derive(Clone)]
pub struct OnFailure<R, F> {
    strategy: R,
    f: F,
}

impl<R, F> GiveUpWhen<R, F> {
    /// As [`give_up_when`](super::Retry::give_up_when), without a retry.
    pub fn new<E, X>(strategy: R, predicate: F) -> Self
    where
        F: Fn(&Failure<'_, E, X>) -> bool,
    {
        Self { strategy, predicate }
    }
}

impl<R> MaxAttempts<R> {
    /// As [`max_attempts`](super::Retry::max_attempts), without a retry.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0.
    #[track_caller]
    pub fn new(strategy: R, attempts: u32) -> Self {
        assert!(attempts > 0, "a retry of 0 attempts would write nothing: allow at least 1");
        Self { strategy, attempts }
    }
}

impl<R, F> OnFailure<R, F> {
    /// As [`on_failure`](super::Retry::on_failure), without a retry.
    pub fn new<E, X>(strategy: R, f: F) -> Self
    where
        F: Fn(&Failure<'_, E, X>),
    {
        Self { strategy, f }
    }
}

impl<E, X, R, F> RetryStrategy<E, X> for GiveUpWhen<R, F>
where
    R: RetryStrategy<E, X>,
    F: Fn(&Failure<'_, E, X>) -> bool,
{
    type Stop = GiveUp;

    #[inline]
    fn backoff(&self, event: &E) -> Duration {
        self.strategy.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), GiveUp> {
        if (self.predicate)(&failure) {
            self.strategy.final_failure(failure);
            return Err(GiveUp);
        }
        self.strategy.failure(failure).map_err(|_| GiveUp)
    }

    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        self.strategy.own_backoff(failure)
    }

    fn final_failure(&self, failure: Failure<'_, E, X>) {
        self.strategy.final_failure(failure);
    }

    #[inline]
    fn success(&self) {
        self.strategy.success();
    }
}

impl<E, X, R> RetryStrategy<E, X> for MaxAttempts<R>
where
    R: RetryStrategy<E, X>,
{
    type Stop = GiveUp;

    #[inline]
    fn backoff(&self, event: &E) -> Duration {
        self.strategy.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), GiveUp> {
        self.strategy.failure(failure).map_err(|_| GiveUp)?;
        if failure.attempt >= self.attempts { Err(GiveUp) } else { Ok(()) }
    }

    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        self.strategy.own_backoff(failure)
    }

    fn final_failure(&self, failure: Failure<'_, E, X>) {
        self.strategy.final_failure(failure);
    }

    #[inline]
    fn success(&self) {
        self.strategy.success();
    }
}

impl<E, X, R, F> RetryStrategy<E, X> for OnFailure<R, F>
where
    R: RetryStrategy<E, X>,
    F: Fn(&Failure<'_, E, X>),
{
    type Stop = R::Stop;

    #[inline]
    fn backoff(&self, event: &E) -> Duration {
        self.strategy.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), R::Stop> {
        // The strategy first, so that the failure counts even if `f` panics.
        let verdict = self.strategy.failure(failure);
        (self.f)(&failure);
        verdict
    }

    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        self.strategy.own_backoff(failure)
    }

    fn final_failure(&self, failure: Failure<'_, E, X>) {
        self.strategy.final_failure(failure);
        (self.f)(&failure);
    }

    #[inline]
    fn success(&self) {
        self.strategy.success();
    }
}

impl<R: fmt::Debug, F> fmt::Debug for GiveUpWhen<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GiveUpWhen").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}

impl<R: fmt::Debug, F> fmt::Debug for OnFailure<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnFailure").field("strategy", &self.strategy).finish_non_exhaustive()
    }
}
