use std::fmt;

use super::both::{close_both, flush_both};
use crate::contract::{AsyncSink, ImmediateSink, Sink, WriteError, delegate};
use crate::lifecycle::{Closing, Flushing};

/// An event that could not be delivered, and why. [`dead_letter`](crate::SinkExt::dead_letter) writes these.
///
/// # Examples
///
/// ```
/// use outflow::{DeadLetter, Sink, SinkExt, sink};
///
/// let report = sink::collector();
/// let lines = report.clone().map(|letter: &DeadLetter<u32, &str>| format!("{}: {}", letter.event, letter.error));
/// sink::from_fn(|_: &u32| Err("malformed")).dead_letter(lines).write(7).unwrap();
/// assert_eq!(report.events(), ["7: malformed"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter<E, X> {
    /// The event.
    pub event: E,
    /// The error of the sink that it was written to first.
    pub error: X,
}

/// Writes to another sink what fails, with the error. Made by
/// [`dead_letter`](crate::SinkExt::dead_letter).
///
/// Only failures go there: an event that the sink refuses because it is closed comes back as `Closed`. A
/// close closes the dead letter sink first, so that a write that fails because of the close is handed back
/// and not diverted. If the `close` of one of the two panics, the other is closed all the same. `write_ref`
/// clones an event that fails, since the dead letter owns it.
///
/// # Examples
///
/// ```
/// use outflow::{DeadLetter, Sink, SinkExt, sink};
///
/// let dead = sink::collector();
/// let sink = sink::from_fn(|_: &u32| Err("malformed")).dead_letter(dead.clone());
/// sink.write(1).unwrap();
/// assert_eq!(dead.take(), [DeadLetter { event: 1, error: "malformed" }]);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct DeadLettered<S, T> {
    sink: S,
    other: T,
}

impl<S, T> DeadLettered<S, T> {
    pub(crate) fn new(sink: S, other: T) -> Self {
        Self { sink, other }
    }

    fn outcome<E, X>(&self, written: Result<(), WriteError<E, X>>) -> Result<(), WriteError<E, T::Error>>
    where
        T: Sink<DeadLetter<E, X>>,
    {
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Closed(event)) => Err(WriteError::Closed(event)),
            Err(WriteError::Failed { event, error }) => self
                .other
                .write(DeadLetter { event, error })
                .map_err(|refused| refused.map_event(|letter| letter.event)),
        }
    }
}

impl<E, S, T> Sink<E> for DeadLettered<S, T>
where
    S: Sink<E>,
    T: Sink<DeadLetter<E, S::Error>>,
{
    type Error = T::Error;

    fn write(&self, event: E) -> Result<(), WriteError<E, T::Error>> {
        self.outcome(self.sink.write(event))
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), T::Error>>
    where
        E: Clone,
    {
        match self.sink.write_ref(event) {
            Ok(()) => Ok(()),
            Err(WriteError::Closed(())) => Err(WriteError::Closed(())),
            Err(WriteError::Failed { event: (), error }) => self
                .other
                .write(DeadLetter { event: event.clone(), error })
                .map_err(|refused| refused.map_event(drop)),
        }
    }

    fn flush(&self) -> Flushing {
        flush_both(|| self.sink.flush(), || self.other.flush())
    }

    fn close(&self) -> Closing {
        close_both(|| self.sink.close(), || self.other.close())
    }

    delegate!(sink: is_closed, wants);
}

impl<E, S, T> AsyncSink<E> for DeadLettered<S, T>
where
    E: Send,
    S: AsyncSink<E>,
    T: ImmediateSink<DeadLetter<E, S::Error>> + Send + Sync,
{
    type Error = T::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, T::Error>> {
        self.outcome(self.sink.write(event).await)
    }

    fn flush(&self) -> Flushing {
        flush_both(|| self.sink.flush(), || self.other.flush())
    }

    fn close(&self) -> Closing {
        close_both(|| self.sink.close(), || self.other.close())
    }

    delegate!(sink: is_closed, wants);
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for DeadLettered<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLettered").field("sink", &self.sink).field("other", &self.other).finish()
    }
}
