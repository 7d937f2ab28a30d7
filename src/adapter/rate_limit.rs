use std::fmt;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::Closing;
use crate::sync::Rate;
use crate::sync::clock::{Clock, ClockSlot};
use crate::sync::limiter::Limiter;

/// Writes events at a limited rate: a write waits until it may. Made by [`rate_limit`](crate::SinkExt::rate_limit).
///
/// A write that may go on at once takes a lock for a moment. Any other waits on the writer's thread, and the writers that
/// wait go on in the order in which they came. The rate holds for all writers together and for every attempt, whether it
/// succeeds or not: above a retry (`http.retry(..).rate_limit(..)`) it limits events, below one
/// (`http.rate_limit(..).retry(..)`) requests, which is what most endpoints count. Put a filter above it, so that it is
/// not asked for events that nobody gets.
///
/// `close` wakes the writers that wait, and each gets its event back as `Closed`. Behind a queue a close first delivers
/// what is pending, at this rate; an abort ends the wait.
///
/// Nothing is cloned, by `write_ref` either: it waits as `write` does.
///
/// Over an [`AsyncSink`](crate::AsyncSink) the task waits, for a timer that needs no runtime. A write that waits and is no
/// longer polled holds up those behind it, as with any fair lock; one that is dropped leaves the queue.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use outflow::{Rate, Sink, SinkExt, sink};
///
/// let http = sink::discard().rate_limit(Rate::per_second(100).burst(3));
/// let begun = Instant::now();
/// http.write_all(0..5).unwrap(); // Three at once, and the others 10 ms apart.
/// assert!(begun.elapsed() >= Duration::from_millis(20));
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct RateLimit<S> {
    sink: S,
    limiter: Limiter,
}

impl<S> RateLimit<S> {
    pub(crate) fn new(sink: S, rate: Rate) -> Self {
        Self { sink, limiter: Limiter::new(rate) }
    }

    /// Uses `clock` instead of the monotonic one: for tests.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.limiter.set_clock(ClockSlot::of(clock));
        self
    }

    /// The rate.
    pub fn rate(&self) -> Rate {
        self.limiter.rate()
    }
}

impl<E, S> Sink<E> for RateLimit<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.limiter.pass() { self.sink.write(event) } else { Err(WriteError::Closed(event)) }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if self.limiter.pass() { self.sink.write_ref(event) } else { Err(WriteError::Closed(())) }
    }

    fn close(&self) -> Closing {
        self.limiter.close();
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.limiter.is_closed() || self.sink.is_closed()
    }

    delegate!(sink: flush, wants);
}

impl<E, S> AsyncSink<E> for RateLimit<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.limiter.pass_async().await {
            self.sink.write(event).await
        } else {
            Err(WriteError::Closed(event))
        }
    }

    fn close(&self) -> Closing {
        self.limiter.close();
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.limiter.is_closed() || self.sink.is_closed()
    }

    delegate!(sink: flush, wants);
}

impl<S> fmt::Debug for RateLimit<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("sink", &self.sink)
            .field("rate", &self.rate())
            .finish_non_exhaustive()
    }
}
