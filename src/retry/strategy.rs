use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Says when to write again, and whether.
///
/// One strategy may serve many writers at once, and, through `Arc<R>` or `&R`, many sinks.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
/// use outflow::retry::{Failure, RetryStrategy};
///
/// /// Tries again at once, for ever.
/// struct Eager;
///
/// impl<E, X> RetryStrategy<E, X> for Eager {
///     type Stop = Infallible;
///
///     fn backoff(&self, _event: &E) -> Duration {
///         Duration::ZERO
///     }
///
///     fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
///         Ok(())
///     }
///
///     fn success(&self) {}
/// }
/// ```
pub trait RetryStrategy<E, X> {
    /// [`Infallible`] if it never gives up, [`GiveUp`] if it may.
    type Stop: Stop;

    /// What is left to wait before the next attempt. Asked before every attempt, the first one too, and
    /// again after every wait, until it is zero.
    fn backoff(&self, event: &E) -> Duration;

    /// An attempt failed.
    ///
    /// # Errors
    ///
    /// To give up: the event goes back to the writer, with this error.
    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), Self::Stop>;

    /// An attempt failed in a way that says something of the event and nothing of the endpoint: a strategy around
    /// this one, [`give_up_when`](super::Retry::give_up_when), has given the event up. Called instead of
    /// [`failure`](RetryStrategy::failure). Writers of the same retry that wait ask for their backoff again.
    ///
    /// Provided: nothing happens, so that such a failure neither counts nor ends a row of those that do. A strategy
    /// that wraps another passes it on. For what this changes, [`success`](RetryStrategy::success) says which orderings
    /// it takes.
    fn final_failure(&self, failure: Failure<'_, E, X>) {
        let _ = failure;
    }

    /// An attempt succeeded. Writers of the same retry that wait ask for their backoff again.
    ///
    /// One that does so at the same time misses nothing if what this changes, and `backoff` looks at, is
    /// atomic and [`SeqCst`](std::sync::atomic::Ordering::SeqCst), or behind a lock.
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

/// Whether a strategy gives up: sealed, implemented by [`Infallible`] and [`GiveUp`].
pub trait Stop: sealed::Stop {
    /// The error of a retry over a sink that fails with `X`.
    type Error<X>;

    /// The error to hand back.
    fn with<X>(self, error: X) -> Self::Error<X>;
}

/// A strategy gave up.
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

/// One failed attempt.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, retry::Constant, sink};
///
/// let lines = sink::collector();
/// let log = lines.clone();
/// let retry = sink::from_fn(|_: &u32| Err("down"))
///     .retry(Constant::new(Duration::ZERO))
///     .max_attempts(2)
///     .on_failure(move |failure| {
///         log.write(format!("event {}, attempt {}: {}", failure.event, failure.attempt, failure.error)).unwrap();
///     });
/// assert!(retry.write(7).is_err());
/// assert_eq!(lines.events(), ["event 7, attempt 1: down", "event 7, attempt 2: down"]);
/// ```
pub struct Failure<'a, E, X> {
    /// The event that was to be written.
    pub event: &'a E,
    /// Why it was not.
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
