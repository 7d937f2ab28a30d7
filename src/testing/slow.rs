use std::fmt;
use std::time::Duration;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::sync::clock::{Clock, ClockSlot, Waiter};

/// A sink whose every write waits for a given time before it goes on to the sink that it wraps. A close does not
/// shorten the wait. Over an [`AsyncSink`](crate::AsyncSink) the task waits, and not its thread.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::testing::{Slow, VirtualClock};
/// use outflow::{Sink, SinkExt, sink};
///
/// let clock = VirtualClock::new();
/// let delivered = sink::collector();
/// let queue = Slow::new(delivered.clone(), Duration::from_secs(60)).clock(clock.clone()).queued();
/// queue.write("push").unwrap();
/// clock.until_sleeping(1);
/// assert!(delivered.is_empty());
///
/// clock.advance(Duration::from_secs(60));
/// queue.close().wait()?;
/// assert_eq!(delivered.events(), ["push"]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Slow<S> {
    sink: S,
    time: Duration,
    clock: ClockSlot,
}

impl<S> Slow<S> {
    /// Waits for `time` before every write to `sink`, on the writer's thread. Several writers wait concurrently.
    pub fn new(sink: S, time: Duration) -> Self {
        Self { sink, time, clock: ClockSlot::default() }
    }

    /// Waits by `clock` instead of the monotonic one: by a [`VirtualClock`](super::VirtualClock), say.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    fn wait(&self) {
        let begun = self.clock.now();
        loop {
            let remaining = self.time.saturating_sub(self.clock.now().saturating_sub(begun));
            if remaining.is_zero() {
                return;
            }
            // A new one for each wait: a waiter that was notified stays so.
            self.clock.wait(&Waiter::default(), remaining);
        }
    }
}

impl<E, S> Sink<E> for Slow<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.wait();
        self.sink.write(event)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        self.wait();
        self.sink.write_ref(event)
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Slow<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.clock.sleep(self.time).await;
        self.sink.write(event).await
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S: fmt::Debug> fmt::Debug for Slow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slow").field("sink", &self.sink).field("time", &self.time).finish_non_exhaustive()
    }
}
