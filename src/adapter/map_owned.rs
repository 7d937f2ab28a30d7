use std::fmt;
use std::marker::PhantomData;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// Writes what a closure makes of each event, which it takes. Made by
/// [`map_owned`](crate::SinkExt::map_owned).
///
/// For events too large to copy: a second closure turns what is handed back into the event again.
/// `write_ref` clones, unless the sink is closed.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let bodies = sink::collector();
/// let sink = bodies.clone().map_owned(String::into_bytes, |body| String::from_utf8(body).unwrap());
/// sink.write("push".to_string()).unwrap();
/// sink.close();
/// assert_eq!(sink.write("pull".to_string()).unwrap_err().into_event(), "pull");
/// assert_eq!(bodies.events(), [b"push"]);
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

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
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
