use std::fmt;
use std::marker::PhantomData;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Writes what a closure makes of each event, which the closure takes by value. Made by
/// [`map_owned`](crate::SinkExt::map_owned).
///
/// For events that are too large to copy: if the write fails, a second closure turns what came back into the
/// event again. `write_ref` clones the event, unless the sink is closed. Whether a filter behind it
/// [`wants`](Sink::wants) an event cannot be asked without that event, so this answers `true`.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let bodies = sink::collector();
/// let sink = bodies.clone().map_owned(String::into_bytes, |body| String::from_utf8(body).unwrap());
/// sink.write("push".to_string()).unwrap();
/// sink.close().wait()?;
/// assert_eq!(sink.write("pull".to_string()).unwrap_err().into_event(), "pull");
/// assert_eq!(bodies.events(), [b"push"]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct MapOwned<S, T, E, I, B> {
    sink: S,
    into: I,
    back: B,
    events: PhantomData<fn(T) -> E>,
}

impl<S, T, E, I, B> MapOwned<S, T, E, I, B> {
    pub(crate) fn new(sink: S, into: I, back: B) -> Self {
        Self { sink, into, back, events: PhantomData }
    }
}

impl<S, T, E, I, B> Sink<T> for MapOwned<S, T, E, I, B>
where
    S: Sink<E>,
    I: Fn(T) -> E,
    B: Fn(E) -> T,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        self.sink.write((self.into)(event)).map_err(|refused| refused.map_event(&self.back))
    }

    fn write_ref(&self, event: &T) -> Result<(), WriteError<(), S::Error>>
    where
        T: Clone,
    {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(()));
        }
        self.sink.write((self.into)(event.clone())).map_err(|refused| refused.map_event(drop))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, I, B> AsyncSink<T> for MapOwned<S, T, E, I, B>
where
    T: Send,
    S: AsyncSink<E>,
    I: Fn(T) -> E + Send + Sync,
    B: Fn(E) -> T + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, event: T) -> Result<(), WriteError<T, S::Error>> {
        self.sink.write((self.into)(event)).await.map_err(|refused| refused.map_event(&self.back))
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, T, E, I, B> fmt::Debug for MapOwned<S, T, E, I, B>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapOwned").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl<S: Clone, T, E, I: Clone, B: Clone> Clone for MapOwned<S, T, E, I, B> {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone(), self.into.clone(), self.back.clone())
    }
}
