use std::fmt;
use std::time::Duration;

use super::{
    CountRetries, Failure, GiveUpWhen, HonorRetryAfter, MaxAttempts, OnFailure, RetryAfter, RetryStrategy,
    Stop,
};
use crate::adapter::Counter;
use crate::contract::{Sink, WriteError, delegate};
use crate::lifecycle::Closing;
use crate::sync::clock::{Alarm, Clock, ClockSlot};
use crate::trace;

/// The longest single wait; then the strategy is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Writes again what failed, when a strategy says so. Made by [`retry`](crate::SinkExt::retry).
///
/// A write waits on the caller's thread, for as long as the strategy says; `close` wakes it at once, with
/// its event handed back as `Closed`. A sink that is closed behind its back ends it at the next attempt.
/// Never clones an event, in `write_ref` either. When an attempt succeeds, or an event is given up,
/// writers that wait out a backoff of this retry ask the strategy again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, retry::Constant, sink};
///
/// let mut attempts = 0;
/// let flaky = sink::from_fn_mut(move |_: &&str| {
///     attempts += 1;
///     if attempts < 3 { Err("service unavailable") } else { Ok(()) }
/// });
/// let reliable = flaky.retry(Constant::new(Duration::from_millis(1)));
/// assert!(reliable.write("push").is_ok());
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Retry<S, R> {
    sink: S,
    strategy: R,
    alarm: Alarm,
    clock: ClockSlot,
    given_up: trace::Losses,
}

impl<S, R> Retry<S, R> {
    pub(crate) fn new(sink: S, strategy: R) -> Self {
        Self {
            sink,
            strategy,
            alarm: Alarm::default(),
            clock: ClockSlot::default(),
            given_up: trace::Losses::of_retry(),
        }
    }

    /// Waits by another clock than the monotonic one: for tests. A strategy has one of its own.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// The strategy.
    pub fn strategy(&self) -> &R {
        &self.strategy
    }

    /// Gives up when `predicate` holds for a failure; the event comes back at once, with that error.
    ///
    /// Such a failure says something of the event, and the endpoint answered: it does not count in the strategy, nor
    /// does it end a row of failures that do. So one event that is malformed holds up no other, wherever in the
    /// chain this stands. [`on_failure`](Retry::on_failure) is called for it, and a
    /// [`Retry-After`](Retry::honor_retry_after) in it holds.
    ///
    /// For an endpoint that is down it is the wrong way to give up, since nothing backs off after such a failure:
    /// what [`max_attempts`](Retry::max_attempts) gives up counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Breaker, sink};
    ///
    /// let http = sink::from_fn(|_: &&str| Err(400))
    ///     .retry(Breaker::new(5, Duration::from_secs(1)))
    ///     .give_up_when(|failure| (400..500).contains(failure.error));
    /// assert_eq!(http.write("malformed").unwrap_err().error(), Some(&400));
    /// ```
    pub fn give_up_when<E, F>(self, predicate: F) -> Retry<S, GiveUpWhen<R, F>>
    where
        S: Sink<E>,
        F: Fn(&Failure<'_, E, S::Error>) -> bool,
    {
        self.with(|strategy| GiveUpWhen::new(strategy, predicate))
    }

    /// Gives up when `attempts` attempts for an event have failed; it comes back with the last error. The strategy
    /// counts each of them, and the next event waits as it says.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: there is always a first one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{DeadLetter, Sink, SinkExt, retry::Constant, sink};
    ///
    /// let dead = sink::collector();
    /// let http = sink::from_fn(|_: &&str| Err("no route to host"))
    ///     .retry(Constant::new(Duration::from_millis(1)))
    ///     .max_attempts(3)
    ///     .dead_letter(dead.clone());
    /// http.write("push").unwrap();
    /// assert_eq!(dead.take(), [DeadLetter { event: "push", error: "no route to host" }]);
    /// ```
    #[track_caller]
    pub fn max_attempts(self, attempts: u32) -> Retry<S, MaxAttempts<R>> {
        self.with(|strategy| MaxAttempts::new(strategy, attempts))
    }

    /// Calls `f` for every failure, on the writer's thread: to log, or to count. Also for the last one of an event
    /// that is given up.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    ///
    /// let failures = sink::collector();
    /// let seen = failures.clone();
    /// let http = sink::from_fn(|_: &&str| Err("no route to host"))
    ///     .retry(Constant::new(Duration::ZERO))
    ///     .max_attempts(2)
    ///     .on_failure(move |failure| seen.write(failure.attempt).unwrap());
    /// assert!(http.write("push").is_err());
    /// assert_eq!(failures.take(), [1, 2]);
    /// ```
    pub fn on_failure<E, F>(self, f: F) -> Retry<S, OnFailure<R, F>>
    where
        S: Sink<E>,
        F: Fn(&Failure<'_, E, S::Error>),
    {
        self.with(|strategy| OnFailure::new(strategy, f))
    }

    /// Waits as long as the endpoint asks in its error, if that is longer than the strategy's own wait; at
    /// most [5 minutes](Retry::max_retry_after). All writers of this retry wait: it is the endpoint that is
    /// to be left alone. A success does not shorten the time. What is asked for when an event is given up holds
    /// too, for the others; the writer of that event has it back at once.
    ///
    /// It goes by the clock that this retry has now, so a [`clock`](Retry::clock) of its own is set before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use outflow::{Sink, SinkExt, retry::{Breaker, RetryAfter}, sink};
    ///
    /// #[derive(Debug)]
    /// struct Throttled;
    ///
    /// impl RetryAfter for Throttled {
    ///     fn retry_after(&self) -> Option<Duration> {
    ///         Some(Duration::from_millis(20))
    ///     }
    /// }
    ///
    /// let mut attempts = 0;
    /// let http = sink::from_fn_mut(move |_: &&str| {
    ///     attempts += 1;
    ///     if attempts == 1 { Err(Throttled) } else { Ok(()) }
    /// })
    /// .retry(Breaker::new(5, Duration::from_secs(1)))
    /// .honor_retry_after();
    ///
    /// let begun = Instant::now();
    /// assert!(http.write("push").is_ok());
    /// assert!(begun.elapsed() >= Duration::from_millis(20));
    /// ```
    pub fn honor_retry_after<E>(self) -> Retry<S, HonorRetryAfter<R>>
    where
        S: Sink<E>,
        S::Error: RetryAfter,
    {
        let clock = self.clock.clone();
        self.with(|strategy| HonorRetryAfter::by_clock(strategy, clock))
    }

    /// Counts into `counter`, which can be read once the sink is out of reach, the failed attempts after
    /// which there is to be another. Called last, so that it knows of those that are given up. (Should a
    /// close end the backoff, that retry was counted and never came.)
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Counter, Sink, SinkExt, retry::Constant, sink};
    ///
    /// let retries = Counter::new();
    /// let http = sink::from_fn(|_: &&str| Err("no route to host"))
    ///     .retry(Constant::new(Duration::ZERO))
    ///     .max_attempts(3)
    ///     .count_retries(&retries);
    /// assert!(http.write("push").is_err());
    /// assert_eq!(retries.get(), 2);
    /// ```
    pub fn count_retries(self, counter: &Counter) -> Retry<S, CountRetries<R>> {
        self.with(|strategy| CountRetries::new(strategy, counter))
    }

    pub(super) fn with<Q>(self, f: impl FnOnce(R) -> Q) -> Retry<S, Q> {
        Retry {
            sink: self.sink,
            strategy: f(self.strategy),
            alarm: self.alarm,
            clock: self.clock,
            given_up: self.given_up,
        }
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
        self.with(|strategy| strategy.max_retry_after(longest))
    }
}

type Handed<T, R, E, X> = WriteError<T, <<R as RetryStrategy<E, X>>::Stop as Stop>::Error<X>>;

impl<S, R> Retry<S, R> {
    /// Attempts until one succeeds. `T` is what goes in and comes back: an event, or nothing of it where the
    /// caller keeps it.
    #[inline]
    fn attempt<E, T>(
        &self,
        event: T,
        look: impl for<'a> Fn(&'a T) -> &'a E,
        write: impl Fn(T) -> Result<(), WriteError<T, S::Error>>,
    ) -> Result<(), Handed<T, R, E, S::Error>>
    where
        S: Sink<E>,
        R: RetryStrategy<E, S::Error>,
    {
        if self.alarm.is_raised() {
            return Err(WriteError::Closed(event));
        }
        if !self.strategy.backoff(look(&event)).is_zero() {
            return self.attempt_again(event, None, look, write);
        }
        match write(event) {
            Ok(()) => {
                self.succeeded::<E, S::Error>();
                Ok(())
            }
            Err(WriteError::Closed(event)) => Err(WriteError::Closed(event)),
            Err(WriteError::Failed { event, error }) => self.attempt_again(event, Some(error), look, write),
        }
    }

    /// As [`attempt`](Self::attempt), after a first attempt that failed, or that has to wait. Apart from it, so that a
    /// write that succeeds at once carries nothing of this.
    #[cold]
    #[inline(never)]
    fn attempt_again<E, T>(
        &self,
        mut event: T,
        mut failed: Option<S::Error>,
        look: impl for<'a> Fn(&'a T) -> &'a E,
        write: impl Fn(T) -> Result<(), WriteError<T, S::Error>>,
    ) -> Result<(), Handed<T, R, E, S::Error>>
    where
        S: Sink<E>,
        R: RetryStrategy<E, S::Error>,
    {
        let mut attempt = 0_u32;
        let mut first = Duration::ZERO;
        loop {
            if let Some(error) = failed {
                let now = self.clock.now();
                if attempt == 0 {
                    first = now;
                }
                attempt = attempt.saturating_add(1);
                let elapsed = now.saturating_sub(first);
                trace::attempt_failed(attempt, elapsed, std::any::type_name::<S::Error>());
                let failure = Failure { event: look(&event), error: &error, attempt, elapsed };
                if let Err(stop) = self.strategy.failure(failure) {
                    self.given_up.one(std::any::type_name::<S::Error>());
                    // A final failure may have ended a probe, for which others wait.
                    self.alarm.notify();
                    return Err(WriteError::failed(event, stop.with(error)));
                }
            }
            if !self.wait_out(|| self.strategy.backoff(look(&event))) {
                return Err(WriteError::Closed(event));
            }
            match write(event) {
                Ok(()) => {
                    self.succeeded::<E, S::Error>();
                    return Ok(());
                }
                Err(WriteError::Closed(event)) => return Err(WriteError::Closed(event)),
                Err(WriteError::Failed { event: back, error }) => {
                    event = back;
                    failed = Some(error);
                }
            }
        }
    }

    #[inline]
    fn succeeded<E, X>(&self)
    where
        R: RetryStrategy<E, X>,
    {
        self.strategy.success();
        self.alarm.notify();
    }

    /// Waits until nothing is left of the backoff; `false` if it is closed before.
    fn wait_out(&self, left: impl Fn() -> Duration) -> bool {
        loop {
            // Before the strategy is asked, so that a success after that ends the wait.
            let ticket = self.alarm.ticket();
            if self.alarm.is_raised() {
                return false;
            }
            let left = left();
            if left.is_zero() {
                return true;
            }
            self.clock.wait(&ticket.waiter, left.min(LONGEST_WAIT));
        }
    }
}

impl<E, S, R> Sink<E> for Retry<S, R>
where
    S: Sink<E>,
    R: RetryStrategy<E, S::Error>,
{
    type Error = <R::Stop as Stop>::Error<S::Error>;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        self.attempt(event, |event| event, |event| self.sink.write(event))
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        self.attempt(
            event,
            |event| event,
            |event| self.sink.write_ref(event).map_err(|refused| refused.map_event(|()| event)),
        )
        .map_err(|refused| refused.map_event(|_| ()))
    }

    fn close(&self) -> Closing {
        self.alarm.raise();
        self.given_up.rest();
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.alarm.is_raised() || self.sink.is_closed()
    }

    delegate!(sink: flush, wants);
}

impl<S: fmt::Debug, R: fmt::Debug> fmt::Debug for Retry<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("sink", &self.sink)
            .field("strategy", &self.strategy)
            .field("closed", &self.alarm.is_raised())
            .finish_non_exhaustive()
    }
}
