use std::fmt;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Writes the events that a predicate holds for. Made by [`filter`](crate::SinkExt::filter).
///
/// The others are dropped, as asked; nothing is cloned for them. Once the sink is closed, the write of a
/// rejected event too is answered with `Closed`, so that every writer learns of the close.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let even = sink::collector();
/// even.clone().filter(|event: &u32| event % 2 == 0).write_all(0..5).unwrap();
/// assert_eq!(even.events(), [0, 2, 4]);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Filter<S, P> {
    sink: S,
    predicate: P,
}

impl<S, P> Filter<S, P> {
    pub(crate) fn new(sink: S, predicate: P) -> Self {
        Self { sink, predicate }
    }
}

impl<E, S, P> Sink<E> for Filter<S, P>
where
    S: Sink<E>,
    P: Fn(&E) -> bool,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if (self.predicate)(&event) {
            self.sink.write(event)
        } else if self.sink.is_closed() {
            Err(WriteError::Closed(event))
        } else {
            Ok(())
        }
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if (self.predicate)(event) {
            self.sink.write_ref(event)
        } else if self.sink.is_closed() {
            Err(WriteError::Closed(()))
        } else {
            Ok(())
        }
    }

    fn wants(&self, event: &E) -> bool {
        (self.predicate)(event) && self.sink.wants(event)
    }

    delegate!(sink: flush, close, is_closed);
}

impl<E, S, P> AsyncSink<E> for Filter<S, P>
where
    E: Send,
    S: AsyncSink<E>,
    P: Fn(&E) -> bool + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if (self.predicate)(&event) {
            self.sink.write(event).await
        } else if self.sink.is_closed() {
            Err(WriteError::Closed(event))
        } else {
            Ok(())
        }
    }

    fn wants(&self, event: &E) -> bool {
        (self.predicate)(event) && self.sink.wants(event)
    }

    delegate!(sink: flush, close, is_closed);
}

impl<S, P> fmt::Debug for Filter<S, P>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("sink", &self.sink).finish_non_exhaustive()
    }
}
