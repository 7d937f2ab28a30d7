use super::{Failure, RetryStrategy};
use crate::adapter::Counter;
use std::time::Duration;

/// A strategy that counts retries. Made by [`count_retries`](super::Retry::count_retries).
#[derive(Clone, Debug)]
pub struct CountRetries<R> {
    strategy: R,
    counter: Counter,
}

impl<R> CountRetries<R> {
    /// As [`count_retries`](super::Retry::count_retries), without a retry.
    pub fn new(strategy: R, counter: &Counter) -> Self {
        Self { strategy, counter: counter.clone() }
    }
}

impl<E, X, R> RetryStrategy<E, X> for CountRetries<R>
where
    R: RetryStrategy<E, X>,
{
    type Stop = R::Stop;

    #[inline]
    fn backoff(&self, event: &E) -> Duration {
        self.strategy.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), R::Stop> {
        self.strategy.failure(failure)?;
        self.counter.add_one();
        Ok(())
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
