use std::fmt;
use std::marker::PhantomData;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Writes what a closure makes of an event, if it makes something. Made by
/// [`filter_map`](crate::SinkExt::filter_map).
///
/// An event of which it makes nothing is dropped, as asked. Once the sink is closed, the write of such an
/// event too is answered with `Closed`.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let numbers = sink::collector();
/// let sink = numbers.clone().filter_map(|event: &&str| event.parse::<u32>().ok());
/// sink.write_all(["1", "two", "3"]).unwrap();
/// assert_eq!(numbers.events(), [1, 3]);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct FilterMap<S, T, E, F> {
    sink: S,
    f: F,
    events: PhantomData<fn(T) -> E>,
}

impl<S, T, E, F> FilterMap<S, T, E, F> {
    pub(crate) fn new(sink: S, f: F) -> Self {
        Self { sink, f, events: PhantomData }
    }
}

impl<S, T, E, F> Sink<T> for FilterMap<S, T, E, F>
where
    S: Sink<E>,
    F: Fn(&T) -> Option<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        match (self.f)(&event) {
            Some(mapped) => match self.sink.write(mapped) {
                Ok(()) => Ok(()),
                Err(refused) => Err(refused.map_event(|_| event)),
            },
            None if self.sink.is_closed() => Err(WriteError::Closed(event)),
            None => Ok(()),
        }
    }

    #[inline]
    fn write_ref(&self, event: &T) -> Result<(), WriteError<(), S::Error>> {
        match (self.f)(event) {
            Some(mapped) => self.sink.write(mapped).map_err(|refused| refused.map_event(drop)),
            None if self.sink.is_closed() => Err(WriteError::Closed(())),
            None => Ok(()),
        }
    }

    fn wants(&self, event: &T) -> bool {
        (self.f)(event).is_some_and(|mapped| self.sink.wants(&mapped))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, F> AsyncSink<T> for FilterMap<S, T, E, F>
where
    T: Send,
    E: Send,
    S: AsyncSink<E>,
    F: Fn(&T) -> Option<E> + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        match (self.f)(&event) {
            Some(mapped) => self.sink.write(mapped).await.map_err(|refused| refused.map_event(|_| event)),
            None if self.sink.is_closed() => Err(WriteError::Closed(event)),
            None => Ok(()),
        }
    }

    fn wants(&self, event: &T) -> bool {
        (self.f)(event).is_some_and(|mapped| self.sink.wants(&mapped))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, F> fmt::Debug for FilterMap<S, T, E, F>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterMap").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl<S: Clone, T, E, F: Clone> Clone for FilterMap<S, T, E, F> {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone(), self.f.clone())
    }
}
