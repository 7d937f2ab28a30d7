use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Decides whether a failed event is written again, and after which wait.
///
/// One strategy may serve many writers at the same time, and many sinks through `Arc<R>` or `&R`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::retry::{Failure, GiveUp, RetryStrategy};
/// use outflow::{Sink, SinkExt, sink};
///
/// /// Tries again at once, for a while.
/// struct ForAWhile;
///
/// impl<E, X> RetryStrategy<E, X> for ForAWhile {
///     type Stop = GiveUp;
///
///     fn backoff(&self, _event: &E) -> Duration {
///         Duration::ZERO
///     }
///
///     fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), GiveUp> {
///         if failure.elapsed < Duration::from_millis(5) { Ok(()) } else { Err(GiveUp) }
///     }
///
///     fn success(&self) {}
/// }
///
/// let retry = sink::from_fn(|_: &u32| Err("down")).retry(ForAWhile);
/// assert_eq!(retry.write(1).unwrap_err().error(), Some(&"down"));
/// ```
pub trait RetryStrategy<E, X> {
    /// [`Infallible`] if it never gives up, [`GiveUp`] if it may.
    type Stop: Stop;

    /// The time that remains to wait before the next attempt. Called before every attempt, the first included, and
    /// again after every wait, until it returns zero.
    fn backoff(&self, event: &E) -> Duration;

    /// Called when an attempt failed.
    ///
    /// # Errors
    ///
    /// An error gives the event up: the write fails, and hands it back with the error of the attempt.
    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), Self::Stop>;

    /// The time that this one write waits before its next attempt, whatever other writers do meanwhile. Called after
    /// [`failure`](RetryStrategy::failure), unless the event was given up. A wait that [`backoff`](RetryStrategy::backoff)
    /// asks for when that time is over comes after it.
    ///
    /// The provided method returns zero: waits are those of the endpoint, for all writers. A strategy that wraps another
    /// one passes the call on, or else [`per_write`](super::ExponentialBackoff::per_write) under it does not wait.
    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        let _ = failure;
        Duration::ZERO
    }

    /// Called instead of [`failure`](RetryStrategy::failure) when a strategy around this one,
    /// [`give_up_when`](super::Retry::give_up_when), has given the event up: the failure is due to the event and not to
    /// the endpoint. Then other writers that wait in the same retry call `backoff` again.
    ///
    /// The provided method does nothing, so that such a failure neither counts nor ends a row of failures that do. A
    /// strategy that wraps another one passes the call on. The orderings that [`success`](RetryStrategy::success) needs
    /// are needed here too.
    fn final_failure(&self, failure: Failure<'_, E, X>) {
        let _ = failure;
    }

    /// Called when an attempt succeeded. Then other writers that wait in the same retry call `backoff` again.
    ///
    /// A writer that begins to wait at the same time is not missed if the state that this method changes and `backoff`
    /// reads is atomic, accessed with [`SeqCst`](std::sync::atomic::Ordering::SeqCst), or behind a lock.
    fn success(&self);
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<E, X, R> RetryStrategy<E, X> for $pointer
        where
            R: RetryStrategy<E, X> + ?Sized,
        {
            type Stop = R::Stop;

            #[inline]
            fn backoff(&self, event: &E) -> Duration {
                (**self).backoff(event)
            }

            fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), R::Stop> {
                (**self).failure(failure)
            }

            fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
                (**self).own_backoff(failure)
            }

            fn final_failure(&self, failure: Failure<'_, E, X>) {
                (**self).final_failure(failure);
            }

            fn success(&self) {
                (**self).success();
            }
        }
    )*};
}

forward!(&R, Arc<R>);

/// Says in the types whether a strategy can give up. Sealed; implemented by [`Infallible`] and [`GiveUp`].
pub trait Stop: sealed::Stop {
    /// The error of a retry over a sink that fails with `X`.
    type Error<X>;

    /// The error that the write fails with.
    fn with<X>(self, error: X) -> Self::Error<X>;
}

/// The [`Stop`] of a strategy that can give up, and the error with which it does. [`RetryStrategy`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("given up")]
pub struct GiveUp;

impl Stop for Infallible {
    type Error<X> = Infallible;

    fn with<X>(self, _error: X) -> Infallible {
        self
    }
}

impl Stop for GiveUp {
    type Error<X> = X;

    fn with<X>(self, error: X) -> X {
        error
    }
}

mod sealed {
    pub trait Stop {}

    impl Stop for std::convert::Infallible {}
    impl Stop for super::GiveUp {}
}

/// One failed attempt, as a strategy and the closures of [`give_up_when`](super::Retry::give_up_when) and
/// [`on_failure`](super::Retry::on_failure) see it.
pub struct Failure<'a, E, X> {
    /// The event.
    pub event: &'a E,
    /// The error of the attempt.
    pub error: &'a X,
    /// How many attempts for this event have failed, this one included.
    pub attempt: u32,
    /// The time since the first of them failed.
    pub elapsed: Duration,
}

impl<E, X> Clone for Failure<'_, E, X> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, X> Copy for Failure<'_, E, X> {}

impl<E, X: fmt::Debug> fmt::Debug for Failure<'_, E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("error", &self.error)
            .field("attempt", &self.attempt)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}
