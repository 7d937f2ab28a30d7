use std::sync::Arc;

use crate::contract::WriteError;
use crate::lifecycle::{Closing, Flushing};

/// Accepts events of type `E`, with a write that is awaited: the twin of [`Sink`](crate::Sink) for a client that is
/// asynchronous.
///
/// The laws in [`docs::guarantees`](crate::docs::guarantees) hold for the asynchronous sinks of this crate too. An
/// implementation of your own does what one of `Sink` does:
///
/// - a write that fails hands back the event that was passed in;
/// - once `close` has returned, every write whose first poll comes after that answers [`WriteError::Closed`];
/// - `flush` and `close` begin something and return at once. They are not awaited, and must not block.
///
/// There is no `write_ref`: a future owns what it writes while it waits.
///
/// A type is a `Sink` or an `AsyncSink`, not both, so that `sink.filter(..)` is clear where both
/// [`SinkExt`](crate::SinkExt) and [`AsyncSinkExt`](crate::AsyncSinkExt) are imported.
///
/// # Examples
///
/// ```
/// use outflow::{AsyncSink, Closing, Flushing, WriteError};
/// # struct Client;
/// # impl Client { async fn publish(&self, _: &str) -> std::io::Result<()> { Ok(()) } }
///
/// struct Publish {
///     client: Client,
/// }
///
/// impl AsyncSink<String> for Publish {
///     type Error = std::io::Error;
///
///     async fn write(&self, event: String) -> Result<(), WriteError<String, Self::Error>> {
///         match self.client.publish(&event).await {
///             Ok(()) => Ok(()),
///             Err(error) => Err(WriteError::failed(event, error)),
///         }
///     }
///
///     fn flush(&self) -> Flushing {
///         Flushing::done()
///     }
///
///     fn close(&self) -> Closing {
///         Closing::done()
///     }
/// }
/// # fn send<T: Send>(_: T) {}
/// # send(Publish { client: Client }.write("pushed".to_string()));
/// ```
///
/// This sink never refuses an event as closed; [`closeable`](crate::AsyncSinkExt::closeable) makes one that does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an asynchronous sink of `{E}`",
    label = "needs an asynchronous sink: an implementation of `AsyncSink<{E}>`",
    note = "make one of a closure: `sink::from_async_fn(|event| async move {{ .. }})`",
    note = "a `Sink` is none, since its writes may block an executor: let a thread of its own wait, `.queued()`, and \
            write to that queue without `.await`"
)]
pub trait AsyncSink<E>: Send + Sync {
    /// Why a write can fail while the sink is open. [`Infallible`](std::convert::Infallible) marks a *reliable* sink,
    /// which refuses an event only by being closed.
    type Error;

    /// Writes an event, or hands it back with the reason.
    ///
    /// Nothing happens before the first poll of the future. It is `Send`, and may be polled by any executor and on a
    /// current-thread runtime: it must not block. A panic in a poll is a panic of the sink.
    ///
    /// # Cancellation
    ///
    /// This crate polls the future of a write to its end, with one exception that is asked for by name:
    /// [`timeout`](crate::AsyncSinkExt::timeout). If you drop the future before that, the event is dropped with it, and
    /// may have arrived or not; the sink stays usable. If it was never polled, the event has not arrived.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] once the sink is closed, [`WriteError::Failed`] when this write failed. Both carry the
    /// event.
    fn write(&self, event: E) -> impl Future<Output = Result<(), WriteError<E, Self::Error>>> + Send;

    /// Begins to deliver everything accepted so far, and returns what waits for it. See
    /// [`Sink::flush`](crate::Sink::flush).
    fn flush(&self) -> Flushing;

    /// Refuses writes from now on, begins to deliver what was accepted and then to close what is downstream, and returns
    /// what waits for that. Does not wait itself, and may be called any number of times. A write that waits, for a backoff
    /// say, is woken and hands its event back as `Closed`. See [`Sink::close`](crate::Sink::close).
    fn close(&self) -> Closing;

    /// Whether writes are refused. Provided: `false`.
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether `event` is meant for this sink. Provided: `true`. See [`Sink::wants`](crate::Sink::wants).
    fn wants(&self, event: &E) -> bool {
        let _ = event;
        true
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<E, S> AsyncSink<E> for $pointer
        where
            S: AsyncSink<E> + ?Sized,
        {
            type Error = S::Error;

            fn write(&self, event: E) -> impl Future<Output = Result<(), WriteError<E, Self::Error>>> + Send {
                (**self).write(event)
            }

            fn flush(&self) -> Flushing {
                (**self).flush()
            }

            fn close(&self) -> Closing {
                (**self).close()
            }

            fn is_closed(&self) -> bool {
                (**self).is_closed()
            }

            fn wants(&self, event: &E) -> bool {
                (**self).wants(event)
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);
