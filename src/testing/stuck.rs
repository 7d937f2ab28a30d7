use std::fmt;

use super::Latch;
use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink of which every write waits at a [`Latch`] before it goes on: an endpoint that takes a connection and
/// never answers.
///
/// A close does not open the latch, as it does not bring back a write that is stuck in a system call;
/// [`released_by_close`](Stuck::released_by_close) makes one that can be woken. What is under way when the
/// test ends is stuck until the process does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::testing::{Latch, Stuck};
/// use outflow::{Sink, SinkExt, sink};
///
/// let latch = Latch::new();
/// let queue = Stuck::new(sink::discard(), &latch).queued();
/// queue.write("push").unwrap();
/// queue.write("pull").unwrap();
/// latch.arrived(1);
///
/// // It is never released, and the close ends all the same.
/// let error = queue.close().within(Duration::from_millis(10)).unwrap_err();
/// assert_eq!(error.undelivered(), 2);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Stuck<S> {
    sink: S,
    latch: Latch,
    released_by_close: bool,
}

impl<S> Stuck<S> {
    /// Has every write to `sink` wait at `latch`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Latch, Stuck};
    /// use outflow::{Sink, sink};
    ///
    /// let latch = Latch::new();
    /// let stuck = Stuck::new(sink::discard(), &latch);
    /// std::thread::scope(|scope| {
    ///     let writer = scope.spawn(|| stuck.write(1).is_ok());
    ///     latch.arrived(1);
    ///     assert!(!writer.is_finished());
    ///     latch.open();
    ///     assert!(writer.join().unwrap());
    /// });
    /// ```
    pub fn new(sink: S, latch: &Latch) -> Self {
        Self { sink, latch: latch.clone(), released_by_close: false }
    }

    /// Opens the latch when it is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Latch, Stuck};
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let latch = Latch::new();
    /// let stuck = Stuck::new(sink::discard::<u32>(), &latch).released_by_close();
    /// stuck.close().wait()?;
    /// assert!(latch.is_open());
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn released_by_close(mut self) -> Self {
        self.released_by_close = true;
        self
    }
}

impl<E, S> Sink<E> for Stuck<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.latch.pass();
        self.sink.write(event)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        self.latch.pass();
        self.sink.write_ref(event)
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        // First the sink, so that a write that is let go finds it closed.
        let closing = self.sink.close();
        if self.released_by_close {
            self.latch.open();
        }
        closing
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

impl<S: fmt::Debug> fmt::Debug for Stuck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stuck").field("sink", &self.sink).field("latch", &self.latch).finish_non_exhaustive()
    }
}
