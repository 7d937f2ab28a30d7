use std::fmt;

use crate::contract::{AsyncSink, ClosedFlag, Sink, WriteError, delegate};
use crate::lifecycle::Closing;

/// Refuses writes once it was closed, whatever its sink does. Made by
/// [`closeable`](crate::SinkExt::closeable).
///
/// A close does not wait for writes under way: it closes the sink at once, which wakes a write that waits
/// there.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let sink = sink::discard().keep_open().closeable();
/// sink.close().wait()?;
/// assert_eq!(sink.write(1).unwrap_err().into_event(), 1);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Closeable<S> {
    pub(super) sink: S,
    pub(super) closed: ClosedFlag,
}

impl<S> Closeable<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, closed: ClosedFlag::default() }
    }
}

impl<E, S> Sink<E> for Closeable<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        self.sink.write(event)
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if self.closed.is_set() {
            return Err(WriteError::Closed(()));
        }
        self.sink.write_ref(event)
    }

    fn close(&self) -> Closing {
        self.closed.set();
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.closed.is_set() || self.sink.is_closed()
    }

    delegate!(sink: flush, wants);
}

impl<E, S> AsyncSink<E> for Closeable<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        self.sink.write(event).await
    }

    fn close(&self) -> Closing {
        self.closed.set();
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.closed.is_set() || self.sink.is_closed()
    }

    delegate!(sink: flush, wants);
}

impl<S> fmt::Debug for Closeable<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closeable").field("sink", &self.sink).finish_non_exhaustive()
    }
}
