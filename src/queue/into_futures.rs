use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::Queue;
use crate::adapter::IntoFuturesError;
use crate::buffer::Block;
use crate::contract::Sink;
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::Reserved;

/// A `futures::Sink` made of a queue whose buffer is bounded: it is ready when there is room. Made by
/// [`Queue::into_futures`].
///
/// Room is reserved by `poll_ready`, in line with other writers, and used by `start_send`, which panics without it.
/// `poll_flush` and `poll_close` are as those of [`IntoFutures`](crate::adapter::IntoFutures). A drop gives the room back,
/// and drops the queue.
#[must_use = "sinks do nothing unless written to"]
pub struct IntoFutures<E> {
    queue: Queue<E, Block>,
    reserved: Option<Reserved>,
    reserving: Option<Pin<Box<dyn Future<Output = Reserved> + Send>>>,
    /// `None` again once something is sent, which the next flush has to include.
    flushing: Option<Flushing>,
    closing: Option<Closing>,
}

impl<E> Queue<E, Block> {
    /// Makes a `futures::Sink` of this queue, which is ready when there is room. Needs the feature `futures`. See
    /// [`IntoFutures`].
    ///
    /// # Panics
    ///
    /// If the buffer [weighs](crate::Buffer::weighing) its events: room depends on the event then, which a `futures::Sink` gets
    /// only when it has said that it is ready.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use outflow::{Buffer, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued_with(Buffer::bounded(8));
    /// futures::executor::block_on(stream::iter(0..100).map(Ok).forward(queue.into_futures()))?;
    /// assert_eq!(delivered.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn into_futures(self) -> IntoFutures<E> {
        assert!(
            self.weight().is_none(),
            "a buffer that weighs its events reserves no room for a `futures::Sink`"
        );
        IntoFutures { queue: self, reserved: None, reserving: None, flushing: None, closing: None }
    }
}

impl<E> IntoFutures<E> {
    /// The queue.
    pub fn get_ref(&self) -> &Queue<E, Block> {
        &self.queue
    }

    fn give_back(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.queue.writer.give_back(reserved);
        }
    }

    fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), IntoFuturesError<E>>> {
        let flushing = self.flushing.get_or_insert_with(|| self.queue.flush());
        let flushed = ready!(Future::poll(Pin::new(flushing), context));
        self.flushing = None;
        Poll::Ready(flushed.map_err(IntoFuturesError::Flush))
    }
}

// The queue is never pinned.
impl<E> Unpin for IntoFutures<E> {}

impl<E> futures_sink::Sink<E> for IntoFutures<E>
where
    E: Send + 'static,
{
    type Error = IntoFuturesError<E>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        // While it closes itself it is ready: a buffer before it asks on each poll of its own close.
        if this.closing.is_some() {
            return Poll::Ready(Ok(()));
        }
        if this.reserved.is_none() {
            let reserving = match &mut this.reserving {
                Some(reserving) => reserving,
                None => match this.queue.writer.try_reserve(0) {
                    Some(reserved) => {
                        this.reserved = Some(reserved);
                        return this.ready();
                    }
                    None => {
                        let writer = this.queue.writer.clone();
                        this.reserving.insert(Box::pin(async move { writer.reserve(0).await }))
                    }
                },
            };
            this.reserved = Some(ready!(reserving.as_mut().poll(context)));
            this.reserving = None;
        }
        this.ready()
    }

    fn start_send(self: Pin<&mut Self>, event: E) -> Result<(), Self::Error> {
        let this = self.get_mut();
        let closed = |event| IntoFuturesError::Closed(Some(event));
        if this.queue.is_closed() {
            this.give_back();
            return Err(closed(event));
        }
        let Some(reserved) = this.reserved.take() else {
            panic!("`start_send` without `poll_ready`");
        };
        this.flushing = None;
        this.queue.writer.send_reserved(reserved, event).map_err(|refused| closed(refused.into_event()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_flushed(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.reserving = None;
        this.give_back();
        let closing = this.closing.get_or_insert_with(|| this.queue.close());
        ready!(Future::poll(Pin::new(closing), context)).map_err(IntoFuturesError::Close)?;
        this.poll_flushed(context)
    }
}

impl<E> IntoFutures<E> {
    fn ready(&mut self) -> Poll<Result<(), IntoFuturesError<E>>> {
        if self.queue.is_closed() {
            self.give_back();
            return Poll::Ready(Err(IntoFuturesError::Closed(None)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<E> Drop for IntoFutures<E> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<E> fmt::Debug for IntoFutures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoFutures").field("queue", &self.queue).finish_non_exhaustive()
    }
}
