use std::fmt;
use std::time::Duration;

use super::{
    CountRetries, Failure, GiveUpWhen, HonorRetryAfter, MaxAttempts, OnFailure, RetryAfter, RetryStrategy,
    Stop,
};
use crate::adapter::Counter;
use crate::contract::{AnySink, AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::Closing;
use crate::sync::clock::{Alarm, Clock, ClockSlot};
use crate::trace;

/// The longest wait before the strategy is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Writes an event again that failed, when a strategy says so. Made by [`retry`](crate::SinkExt::retry).
///
/// A write waits on the caller's thread for as long as the strategy says; over an [`AsyncSink`](crate::AsyncSink) its task
/// waits, for a timer that needs no runtime. `close` wakes it at once, and it hands its
/// event back as `Closed`. If the sink closes by itself, the write fails as `Closed` at its next attempt. No event is
/// cloned, by `write_ref` either. When an attempt succeeds, or an event is given up, all writers that wait in this retry
/// ask the strategy again how long to wait.
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

    /// Uses `clock` instead of the monotonic one for its waits: for tests. Set the clock of the strategy too.
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

    /// Gives up at a failure for which `predicate` returns `true`: the write fails at once, with that error.
    ///
    /// Such a failure is due to the event and not to the endpoint, which responded. So it does not count in the strategy,
    /// nor does it end a row of failures that do: a malformed event does not delay other events, wherever in the chain of
    /// these methods this one stands. [`on_failure`](Retry::on_failure) is called for it, and a wait that it asks for
    /// ([`honor_retry_after`](Retry::honor_retry_after)) holds.
    ///
    /// Do not use it for an endpoint that is down, since no writer backs off after such a failure. Use
    /// [`max_attempts`](Retry::max_attempts), whose failures count.
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
    pub fn give_up_when<E, Face, F>(self, predicate: F) -> Retry<S, GiveUpWhen<R, F>>
    where
        S: AnySink<E, Face>,
        F: Fn(&Failure<'_, E, S::Error>) -> bool,
    {
        self.with(|strategy| GiveUpWhen::new(strategy, predicate))
    }

    /// Gives up when `attempts` attempts for an event have failed: the write fails, with the last error. The strategy
    /// counts each of them, and the next event waits accordingly.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0.
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

    /// Calls `f` for every failed attempt, on the writer's thread: to log, or to count. The last attempt for an event
    /// that is given up is included.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    ///
    /// let lines = sink::collector();
    /// let log = lines.clone();
    /// let http = sink::from_fn(|_: &&str| Err("no route to host"))
    ///     .retry(Constant::new(Duration::ZERO))
    ///     .max_attempts(2)
    ///     .on_failure(move |failure| {
    ///         log.write(format!("{}, attempt {}: {}", failure.event, failure.attempt, failure.error)).unwrap();
    ///     });
    /// assert!(http.write("push").is_err());
    /// assert_eq!(lines.take(), ["push, attempt 1: no route to host", "push, attempt 2: no route to host"]);
    /// ```
    pub fn on_failure<E, Face, F>(self, f: F) -> Retry<S, OnFailure<R, F>>
    where
        S: AnySink<E, Face>,
        F: Fn(&Failure<'_, E, S::Error>),
    {
        self.with(|strategy| OnFailure::new(strategy, f))
    }

    /// Waits as long as the endpoint asks in its error, if that is longer than the strategy's wait, and at most
    /// [5 minutes](Retry::max_retry_after). All writers of this retry wait, and a success does not shorten the time. If
    /// the event is given up at that error, its write fails at once, and the other writers wait.
    ///
    /// It takes over the clock that this retry has, so set a [`clock`](Retry::clock) before.
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
    pub fn honor_retry_after<E, Face>(self) -> Retry<S, HonorRetryAfter<R>>
    where
        S: AnySink<E, Face>,
        S::Error: RetryAfter,
    {
        let clock = self.clock.clone();
        self.with(|strategy| HonorRetryAfter::by_clock(strategy, clock))
    }

    /// Counts retries into `counter`, which can be read when the sink is part of a chain: the failed attempts that
    /// another attempt is to follow. Call it last, so that attempts after which the event is given up do not count. (A
    /// retry is counted when its backoff begins, even if a close ends that.)
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
    /// Limits the wait that the endpoint can ask for to `longest`, so that one that asks for a year does not stop the
    /// chain. Default: 5 minutes. The strategy's own wait may be longer.
    pub fn max_retry_after(self, longest: Duration) -> Self {
        self.with(|strategy| strategy.max_retry_after(longest))
    }
}

/// The attempts for one event.
#[derive(Default)]
struct Attempts {
    failed: u32,
    /// When the first of them failed, by the clock.
    first: Duration,
    /// The end of this write's own wait, by the clock.
    until: Duration,
}

/// The error of a retry over a sink that fails with `X`, with `T` handed back.
type Refused<T, R, E, X> = WriteError<T, <<R as RetryStrategy<E, X>>::Stop as Stop>::Error<X>>;

impl<S, R> Retry<S, R> {
    /// Makes attempts until one succeeds. `T` is `E` in `write` and `&E` in `write_ref`; an error hands it back.
    #[inline]
    fn attempt<E, T>(
        &self,
        event: T,
        as_event: impl for<'a> Fn(&'a T) -> &'a E,
        write: impl Fn(T) -> Result<(), WriteError<T, S::Error>>,
    ) -> Result<(), Refused<T, R, E, S::Error>>
    where
        S: Sink<E>,
        R: RetryStrategy<E, S::Error>,
    {
        if self.alarm.is_raised() {
            return Err(WriteError::Closed(event));
        }
        if !self.strategy.backoff(as_event(&event)).is_zero() {
            return self.attempt_again(event, None, as_event, write);
        }
        match write(event) {
            Ok(()) => {
                self.succeeded::<E, S::Error>();
                Ok(())
            }
            Err(WriteError::Closed(event)) => Err(WriteError::Closed(event)),
            Err(WriteError::Failed { event, error }) => {
                self.attempt_again(event, Some(error), as_event, write)
            }
        }
    }

    /// As [`attempt`](Self::attempt), after a first attempt that failed, or when the first has to wait. A function of its
    /// own, so that the code of a write that succeeds at once stays small.
    #[cold]
    #[inline(never)]
    fn attempt_again<E, T>(
        &self,
        mut event: T,
        mut failed: Option<S::Error>,
        as_event: impl for<'a> Fn(&'a T) -> &'a E,
        write: impl Fn(T) -> Result<(), WriteError<T, S::Error>>,
    ) -> Result<(), Refused<T, R, E, S::Error>>
    where
        S: Sink<E>,
        R: RetryStrategy<E, S::Error>,
    {
        let mut attempts = Attempts::default();
        loop {
            if let Some(error) = failed {
                if let Err(error) = self.failed(as_event(&event), error, &mut attempts) {
                    return Err(WriteError::failed(event, error));
                }
            }
            if !self.wait_out(attempts.until, || self.strategy.backoff(as_event(&event))) {
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

    /// Asks the strategy about a failed attempt. `Err` if the event is given up.
    fn failed<E, X>(
        &self,
        event: &E,
        error: X,
        attempts: &mut Attempts,
    ) -> Result<(), <R::Stop as Stop>::Error<X>>
    where
        R: RetryStrategy<E, X>,
    {
        let now = self.clock.now();
        if attempts.failed == 0 {
            attempts.first = now;
        }
        attempts.failed = attempts.failed.saturating_add(1);
        let (attempt, elapsed) = (attempts.failed, now.saturating_sub(attempts.first));
        trace::attempt_failed(attempt, elapsed, std::any::type_name::<X>());
        let failure = Failure { event, error: &error, attempt, elapsed };
        let Err(stop) = self.strategy.failure(failure) else {
            attempts.until = now.saturating_add(self.strategy.own_backoff(failure));
            return Ok(());
        };
        self.given_up.one(std::any::type_name::<X>());
        // It may have been a breaker's probe, for whose end other writers wait.
        self.alarm.notify();
        Err(stop.with(error))
    }

    #[inline]
    fn succeeded<E, X>(&self)
    where
        R: RetryStrategy<E, X>,
    {
        self.strategy.success();
        self.alarm.notify();
    }

    /// Waits until `until` and until the backoff is over; `false` if the retry is closed before.
    fn wait_out(&self, until: Duration, backoff: impl Fn() -> Duration) -> bool {
        loop {
            // Taken before the strategy is asked, so that a success after that ends the wait.
            let ticket = self.alarm.ticket();
            if self.alarm.is_raised() {
                return false;
            }
            // The strategy comes second, since a zero from a breaker makes this writer the probe.
            let remaining = match self.own_wait(until) {
                Duration::ZERO => backoff(),
                own => own,
            };
            if remaining.is_zero() {
                return true;
            }
            self.clock.wait(&ticket.waiter, remaining.min(LONGEST_WAIT));
        }
    }

    /// What remains of a write's own wait. Most have none, and need not read the clock.
    fn own_wait(&self, until: Duration) -> Duration {
        if until.is_zero() { until } else { until.saturating_sub(self.clock.now()) }
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

impl<E, S, R> AsyncSink<E> for Retry<S, R>
where
    E: Send,
    S: AsyncSink<E>,
    R: RetryStrategy<E, S::Error> + Send + Sync,
{
    type Error = <R::Stop as Stop>::Error<S::Error>;

    async fn write(&self, mut event: E) -> Result<(), WriteError<E, Self::Error>> {
        if self.alarm.is_raised() {
            return Err(WriteError::Closed(event));
        }
        let mut attempts = Attempts::default();
        let mut waits = !self.strategy.backoff(&event).is_zero();
        loop {
            // As in `wait_out`. Not a function that is awaited: it would keep a reference to the event meanwhile, which then
            // had to be `Sync`.
            while waits {
                let ticket = self.alarm.ticket();
                if self.alarm.is_raised() {
                    return Err(WriteError::Closed(event));
                }
                let remaining = match self.own_wait(attempts.until) {
                    Duration::ZERO => self.strategy.backoff(&event),
                    own => own,
                };
                waits = !remaining.is_zero();
                if waits {
                    self.clock.wait_async(&ticket.waiter, remaining.min(LONGEST_WAIT)).await;
                }
            }
            match self.sink.write(event).await {
                Ok(()) => {
                    self.succeeded::<E, S::Error>();
                    return Ok(());
                }
                Err(WriteError::Closed(event)) => return Err(WriteError::Closed(event)),
                Err(WriteError::Failed { event: back, error }) => {
                    event = back;
                    if let Err(error) = self.failed(&event, error, &mut attempts) {
                        return Err(WriteError::failed(event, error));
                    }
                    waits = true;
                }
            }
        }
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
