use std::fmt;

use super::Latch;
use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::Closing;

/// A sink whose every write waits at a [`Latch`] before it goes on, as with an endpoint that takes a connection and
/// never answers.
///
/// A close does not open the latch, just as it does not interrupt a write that blocks in a system call;
/// [`released_by_close`](Stuck::released_by_close) makes a sink whose close does. A thread whose latch is never opened
/// stays blocked until the process ends. Over an [`AsyncSink`](crate::AsyncSink) the task waits, and not its thread.
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
/// // The latch stays closed, and the close ends all the same: the deadline aborts it.
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
    /// Makes every write to `sink` wait at `latch`.
    pub fn new(sink: S, latch: &Latch) -> Self {
        Self { sink, latch: latch.clone(), released_by_close: false }
    }

    /// Makes `close` open the latch.
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

    fn close(&self) -> Closing {
        // The sink first, so that a write that the latch held back finds it closed.
        let closing = self.sink.close();
        if self.released_by_close {
            self.latch.open();
        }
        closing
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Stuck<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.latch.passed().await;
        self.sink.write(event).await
    }

    fn close(&self) -> Closing {
        // The sink first, so that a write that the latch held back finds it closed.
        let closing = self.sink.close();
        if self.released_by_close {
            self.latch.open();
        }
        closing
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<S: fmt::Debug> fmt::Debug for Stuck<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stuck").field("sink", &self.sink).field("latch", &self.latch).finish_non_exhaustive()
    }
}
