use std::fmt;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// Writes to another sink what one fails or refuses. Made by [`fallback`](crate::SinkExt::fallback).
///
/// A close closes the other first, so that a shutdown diverts nothing: a write under way that fails then
/// comes back as `Closed`. It is closed when both are: an other that is [kept open](crate::SinkExt::keep_open)
/// goes on taking events, unless the whole is made [`closeable`](crate::SinkExt::closeable). The event handed
/// back is the other's to hand back; the first error is dropped.
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
        Flushing::all([self.sink.flush(), self.other.flush()])
    }

    fn close(&self) -> Closing {
        let other = self.other.close();
        Closing::all([self.sink.close(), other])
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed() && self.other.is_closed()
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for Fallback<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("sink", &self.sink).field("other", &self.other).finish()
    }
}
