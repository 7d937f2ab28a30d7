use std::fmt;
use std::pin::pin;
use std::time::Duration;

use crate::contract::{AsyncSink, WriteError, delegate};
use crate::sync::clock::{Clock, ClockSlot};
use crate::sync::until::until;

/// Fails a write that takes longer than a given time. Made by [`timeout`](crate::AsyncSinkExt::timeout).
///
/// A clone of the event is written, so that the event itself can be handed back, with
/// [`TimeoutError::TimedOut`]. The write is then given up: its future is dropped. This is the one place where this crate
/// drops a write that has begun. The event may have arrived all the same, and a [`retry`](crate::AsyncSinkExt::retry)
/// above the timeout delivers it a second time: *at least once*. Without a retry, an event that is reported as failed
/// may have been delivered.
///
/// The time begins at the first poll and is that of one write to this sink: in `client.timeout(d).retry(strategy)` that
/// of each attempt, in `client.retry(strategy).timeout(d)` that of all attempts and waits together. A write that is done
/// when its time is up is not failed. A future that blocks its thread cannot be timed out.
///
/// If the destructor of the write that is given up panics, that is a panic of the sink: it goes on to the writer, and
/// [`catch_panic`](crate::AsyncSinkExt::catch_panic) above the timeout hands the event back with it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use std::time::Duration;
/// use outflow::testing::{Latch, Stuck, block_on};
/// use outflow::{AsyncSink, AsyncSinkExt, retry::Constant, sink};
///
/// let never = Latch::new();
/// let endpoint = sink::from_async_fn(|_: u32| async { Ok::<_, &str>(()) });
/// let sink = Stuck::new(endpoint, &never)
///     .timeout(Duration::from_millis(1))
///     .retry(Constant::new(Duration::ZERO))
///     .max_attempts(3);
/// assert_eq!(block_on(sink.write(1)).unwrap_err().into_event(), 1);
/// assert_eq!(never.arrivals(), 3);
/// # }
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Timeout<S> {
    sink: S,
    time: Duration,
    clock: ClockSlot,
}

/// Why a write through [`Timeout`] failed.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use std::time::Duration;
/// use outflow::testing::block_on;
/// use outflow::{AsyncSink, AsyncSinkExt, TimeoutError, sink};
///
/// let time = Duration::from_millis(1);
/// let stuck = sink::from_async_fn(|_: u32| std::future::pending::<Result<(), &str>>()).timeout(time);
/// let refused = block_on(stuck.write(1)).unwrap_err();
/// assert_eq!(refused.error(), Some(&TimeoutError::TimedOut(time)));
/// assert_eq!(refused.into_event(), 1);
///
/// let down = sink::from_async_fn(|_: u32| async { Err("no route to host") }).timeout(time);
/// let refused = block_on(down.write(1)).unwrap_err();
/// assert_eq!(refused.error(), Some(&TimeoutError::Sink("no route to host")));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutError<X> {
    /// It took longer than this, and was given up. The event may have arrived.
    #[error("the write took longer than {0:?}, and was given up")]
    TimedOut(Duration),
    /// The sink failed.
    #[error(transparent)]
    Sink(X),
}

impl<S> Timeout<S> {
    pub(crate) fn new(sink: S, time: Duration) -> Self {
        Self { sink, time, clock: ClockSlot::default() }
    }

    /// Uses `clock` instead of the monotonic one: for tests.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }
}

impl<E, S> AsyncSink<E> for Timeout<S>
where
    E: Clone + Send,
    S: AsyncSink<E>,
{
    type Error = TimeoutError<S::Error>;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        let written = {
            let write = pin!(self.sink.write(event.clone()));
            let time_is_up = pin!(self.clock.sleep(self.time));
            until(write, time_is_up).await
        };
        match written {
            Some(written) => {
                written.map_err(|refused| refused.map_event(|_| event).map_error(TimeoutError::Sink))
            }
            None => Err(WriteError::failed(event, TimeoutError::TimedOut(self.time))),
        }
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S: fmt::Debug> fmt::Debug for Timeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("sink", &self.sink).field("time", &self.time).finish_non_exhaustive()
    }
}
