use std::fmt;
use std::time::Duration;

use crate::contract::{Sink, WriteError, delegate};
use crate::sync::clock::{Clock, ClockSlot, Waiter};

/// A sink of which every write takes a given time, and then goes on to the sink that it wraps. A close does
/// not shorten it.
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
    /// Has every write to `sink` take `time`, on the writer's thread; several writers wait side by side.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use outflow::testing::Slow;
    /// use outflow::{Sink, sink};
    ///
    /// let slow = Slow::new(sink::discard(), Duration::from_millis(2));
    /// let before = Instant::now();
    /// slow.write(1).unwrap();
    /// assert!(before.elapsed() >= Duration::from_millis(2));
    /// ```
    pub fn new(sink: S, time: Duration) -> Self {
        Self { sink, time, clock: ClockSlot::default() }
    }

    /// Waits by another clock than the monotonic one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::testing::{Slow, VirtualClock};
    /// use outflow::{Sink, sink};
    ///
    /// let clock = VirtualClock::new();
    /// let slow = Slow::new(sink::discard(), Duration::from_secs(3600)).clock(clock.clone());
    /// std::thread::scope(|scope| {
    ///     let writer = scope.spawn(|| slow.write(1).is_ok());
    ///     clock.until_sleeping(1);
    ///     clock.advance_to_next();
    ///     assert!(writer.join().unwrap());
    /// });
    /// ```
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
            let left = self.time.saturating_sub(self.clock.now().saturating_sub(begun));
            if left.is_zero() {
                return;
            }
            // One for each wait: a clock that notifies a waiter has done so for good.
            self.clock.wait(&Waiter::default(), left);
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

impl<S: fmt::Debug> fmt::Debug for Slow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slow").field("sink", &self.sink).field("time", &self.time).finish_non_exhaustive()
    }
}
