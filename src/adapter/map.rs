use std::fmt;
use std::marker::PhantomData;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Writes what a closure makes of each event. Made by [`map`](crate::SinkExt::map).
///
/// The closure borrows the event, so that the original can be handed back if the write fails.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let lines = sink::collector();
/// let sink = lines.clone().map(|event: &u32| format!("event {event}"));
/// sink.write(1).unwrap();
/// assert_eq!(lines.events(), ["event 1"]);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Map<S, T, E, F> {
    sink: S,
    f: F,
    events: PhantomData<fn(T) -> E>,
}

impl<S, T, E, F> Map<S, T, E, F> {
    pub(crate) fn new(sink: S, f: F) -> Self {
        Self { sink, f, events: PhantomData }
    }
}

impl<S, T, E, F> Sink<T> for Map<S, T, E, F>
where
    S: Sink<E>,
    F: Fn(&T) -> E,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        match self.sink.write((self.f)(&event)) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.map_event(|_| event)),
        }
    }

    #[inline]
    fn write_ref(&self, event: &T) -> Result<(), WriteError<(), S::Error>> {
        self.sink.write((self.f)(event)).map_err(|refused| refused.map_event(drop))
    }

    fn wants(&self, event: &T) -> bool {
        self.sink.wants(&(self.f)(event))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, F> AsyncSink<T> for Map<S, T, E, F>
where
    T: Send,
    E: Send,
    S: AsyncSink<E>,
    F: Fn(&T) -> E + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        let mapped = (self.f)(&event);
        self.sink.write(mapped).await.map_err(|refused| refused.map_event(|_| event))
    }

    fn wants(&self, event: &T) -> bool {
        self.sink.wants(&(self.f)(event))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, F> fmt::Debug for Map<S, T, E, F>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl<S: Clone, T, E, F: Clone> Clone for Map<S, T, E, F> {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone(), self.f.clone())
    }
}
