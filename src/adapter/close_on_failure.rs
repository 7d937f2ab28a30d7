use std::convert::Infallible;
use std::fmt;

use super::closeable::Closeable;
use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::{Closing, close_caught};

/// Closes a sink at its first failure. Made by [`close_on_failure`](crate::SinkExt::close_on_failure).
///
/// The event that failed comes back as [`Closed`](WriteError::Closed), and so does every later one. So the
/// sink is reliable: a broadcaster removes it and reports it in [`ended`](crate::Broadcaster::ended), a queue
/// closes with [`DownstreamClosed`](crate::CloseError::DownstreamClosed).
///
/// The close is begun by the write that failed, which does not wait for it; [`close`](Sink::close) does. The
/// error is dropped. To see it, put [`on_failure`](crate::retry::Retry::on_failure) between, or have a
/// [`retry`](crate::SinkExt::retry) try a few times first.
///
/// # Examples
///
/// A watcher that lets events wait for more than a second is cut off:
///
/// ```
/// use std::time::Duration;
/// use outflow::{Broadcaster, Buffer, Sink, SinkExt, channel};
///
/// let (watcher, events) = channel::with(Buffer::bounded(2).block_for(Duration::from_millis(1)));
/// let broadcaster = Broadcaster::new();
/// broadcaster.add(watcher.close_on_failure())?;
/// broadcaster.write_all(0..5).unwrap();
///
/// assert!(broadcaster.is_empty());
/// assert_eq!(broadcaster.ended().undelivered, 1);
/// assert_eq!(events.iter().collect::<Vec<_>>(), [0, 1]);
/// # Ok::<(), outflow::AddError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct CloseOnFailure<S> {
    sink: Closeable<S>,
}

impl<S> CloseOnFailure<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink: Closeable::new(sink) }
    }

    fn outcome<T, X>(
        written: Result<(), WriteError<T, X>>,
        close: impl FnOnce() -> Closing,
    ) -> Result<(), WriteError<T, Infallible>> {
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Closed(event)) => Err(WriteError::Closed(event)),
            Err(WriteError::Failed { event, error: _ }) => {
                // Whatever the close does, the writer gets its event back. `close` returns the same drain.
                drop(close_caught(close));
                Err(WriteError::Closed(event))
            }
        }
    }
}

impl<E, S> Sink<E> for CloseOnFailure<S>
where
    S: Sink<E>,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        Self::outcome(self.sink.write(event), || Sink::<E>::close(&self.sink))
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        Self::outcome(self.sink.write_ref(event), || Sink::<E>::close(&self.sink))
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for CloseOnFailure<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = Infallible;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        Self::outcome(self.sink.write(event).await, || AsyncSink::<E>::close(&self.sink))
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S> fmt::Debug for CloseOnFailure<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseOnFailure")
            .field("sink", &self.sink.sink)
            .field("closed", &self.sink.closed)
            .finish_non_exhaustive()
    }
}
