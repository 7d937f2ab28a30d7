use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// Refuses writes once it was closed, whatever its sink does. Made by
/// [`closeable`](crate::SinkExt::closeable).
///
/// A close closes the sink at once, so that it can wake a write that waits in it.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let sink = sink::discard().keep_open().closeable();
/// sink.close();
/// assert_eq!(sink.write(1).unwrap_err().into_event(), 1);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Closeable<S> {
    sink: S,
    closed: AtomicBool,
}

impl<S> Closeable<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, closed: AtomicBool::new(false) }
    }
}

impl<E, S> Sink<E> for Closeable<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        // Acquire: pairs with the release in `close`.
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(event));
        }
        self.sink.write(event)
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(()));
        }
        self.sink.write_ref(event)
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::Release);
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.sink.is_closed()
    }
}

impl<S> fmt::Debug for Closeable<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closeable").field("sink", &self.sink).finish_non_exhaustive()
    }
}
