use std::fmt;

use super::both::{close_both, flush_both};
use crate::contract::{AsyncSink, ImmediateSink, Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// Writes to another sink, the fallback, what one fails or refuses. Made by
/// [`fallback`](crate::SinkExt::fallback).
///
/// The result of a write is that of the last sink tried; the error of the first is dropped, and
/// [`dead_letter`](crate::SinkExt::dead_letter) is the combinator that keeps it.
///
/// A close closes the fallback first, so that a write that fails because of the close comes back as `Closed`
/// and is not diverted. If the `close` of one of the two panics, the other is closed all the same. The whole
/// is closed when both are: a fallback that is [kept open](crate::SinkExt::keep_open) goes on taking events,
/// unless the whole is made [`closeable`](crate::SinkExt::closeable).
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let backup = sink::collector();
/// let sink = sink::from_fn(|_: &u32| Err("disk full")).fallback(backup.clone());
/// sink.write(1).unwrap();
/// assert_eq!(backup.events(), [1]);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Fallback<S, T> {
    sink: S,
    other: T,
}

impl<S, T> Fallback<S, T> {
    pub(crate) fn new(sink: S, other: T) -> Self {
        Self { sink, other }
    }
}

impl<E, S, T> Sink<E> for Fallback<S, T>
where
    S: Sink<E>,
    T: Sink<E>,
{
    type Error = T::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, T::Error>> {
        match self.sink.write(event) {
            Ok(()) => Ok(()),
            Err(refused) => self.other.write(refused.into_event()),
        }
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), T::Error>>
    where
        E: Clone,
    {
        match self.sink.write_ref(event) {
            Ok(()) => Ok(()),
            Err(_) => self.other.write_ref(event),
        }
    }

    fn flush(&self) -> Flushing {
        flush_both(|| self.sink.flush(), || self.other.flush())
    }

    fn close(&self) -> Closing {
        close_both(|| self.sink.close(), || self.other.close())
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed() && self.other.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.sink.wants(event) || self.other.wants(event)
    }
}

impl<E, S, T> AsyncSink<E> for Fallback<S, T>
where
    E: Send,
    S: AsyncSink<E>,
    T: ImmediateSink<E> + Send + Sync,
{
    type Error = T::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, T::Error>> {
        match self.sink.write(event).await {
            Ok(()) => Ok(()),
            Err(refused) => self.other.write(refused.into_event()),
        }
    }

    fn flush(&self) -> Flushing {
        flush_both(|| self.sink.flush(), || self.other.flush())
    }

    fn close(&self) -> Closing {
        close_both(|| self.sink.close(), || self.other.close())
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed() && self.other.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.sink.wants(event) || self.other.wants(event)
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for Fallback<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("sink", &self.sink).field("other", &self.other).finish()
    }
}
