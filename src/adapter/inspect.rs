use std::fmt;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Calls a closure before each write, whatever becomes of the write. Made by
/// [`inspect`](crate::SinkExt::inspect).
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let seen = sink::collector();
/// let log = seen.clone();
/// let sink = sink::discard().inspect(move |event: &u32| log.write(*event).unwrap());
/// sink.write(1).unwrap();
/// assert_eq!(seen.events(), [1]);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Inspect<S, F> {
    sink: S,
    f: F,
}

impl<S, F> Inspect<S, F> {
    pub(crate) fn new(sink: S, f: F) -> Self {
        Self { sink, f }
    }
}

impl<E, S, F> Sink<E> for Inspect<S, F>
where
    S: Sink<E>,
    F: Fn(&E),
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        (self.f)(&event);
        self.sink.write(event)
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        (self.f)(event);
        self.sink.write_ref(event)
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S, F> AsyncSink<E> for Inspect<S, F>
where
    E: Send,
    S: AsyncSink<E>,
    F: Fn(&E) + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        (self.f)(&event);
        self.sink.write(event).await
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S, F> fmt::Debug for Inspect<S, F>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").field("sink", &self.sink).finish_non_exhaustive()
    }
}
