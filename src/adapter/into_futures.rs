use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::contract::{ImmediateSink, Never, refused};
use crate::lifecycle::{CloseError, Closing, FlushError, Flushing};

/// A `futures::Sink` made of a sink whose writes never wait. Made by
/// [`into_futures`](crate::SinkExt::into_futures).
///
/// It is ready as long as the sink is open: an event is written as soon as it is sent, on the sender's
/// thread. A sender is never slowed down. What is sent faster than it is delivered waits in the buffer, whose
/// bound and policy say how far that goes.
///
/// `poll_flush` and `poll_close` await the sink's own flush and close; the threads downstream wake the task.
/// `poll_close` awaits a flush too, since a sink that is [kept open](crate::SinkExt::keep_open) has nothing
/// to close.
///
/// A drop drops the sink, and closes only what the drop of that closes.
///
/// # Examples
///
/// A stream is forwarded into a sink, which closes the sink at the end:
///
/// ```
/// use futures::{StreamExt, stream};
/// use outflow::{Sink, SinkExt, channel, sink};
///
/// let delivered = sink::collector();
/// let (sink, events) = channel::unbounded();
/// sink.write_all(0..5).unwrap();
/// sink.close().wait()?;
///
/// let queue = delivered.clone().queued().filter(|event| event % 2 == 0);
/// futures::executor::block_on(events.map(Ok).forward(queue.into_futures()))?;
/// assert_eq!(delivered.events(), [0, 2, 4]);
/// assert!(delivered.is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A write that may wait for room would block an executor, and does not compile:
///
/// ```compile_fail,E0277
/// use outflow::{SinkExt, channel};
///
/// channel::bounded::<u32>(8).0.into_futures();
/// ```
///
/// A bounded queue has a method of its own, [`Queue::into_futures`](crate::Queue::into_futures), whose sink is ready when
/// there is room.
#[must_use = "sinks do nothing unless written to"]
pub struct IntoFutures<S, E> {
    sink: S,
    /// The flush under way; `None` again once something is sent, which the next flush has to include.
    flushing: Option<Flushing>,
    closing: Option<Closing>,
    event: PhantomData<fn(E)>,
}

impl<S, E> IntoFutures<S, E> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, flushing: None, closing: None, event: PhantomData }
    }

    /// The sink.
    pub fn get_ref(&self) -> &S {
        &self.sink
    }

    /// Takes the sink out. A flush or a close that has begun goes on.
    pub fn into_inner(self) -> S {
        self.sink
    }

    fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), IntoFuturesError<E>>>
    where
        S: ImmediateSink<E>,
    {
        let flushing = self.flushing.get_or_insert_with(|| self.sink.flush());
        let flushed = ready!(Future::poll(Pin::new(flushing), context));
        self.flushing = None;
        Poll::Ready(flushed.map_err(IntoFuturesError::Flush))
    }
}

// The sink is never pinned.
impl<S, E> Unpin for IntoFutures<S, E> {}

impl<S, E> futures_sink::Sink<E> for IntoFutures<S, E>
where
    S: ImmediateSink<E>,
    S::Error: Never,
{
    type Error = IntoFuturesError<E>;

    fn poll_ready(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // While it closes itself it is ready: a buffer before it asks on each poll of its own close, with
        // nothing left to send. An event that is sent all the same comes back.
        let closed_by_another = self.closing.is_none() && self.sink.is_closed();
        Poll::Ready(if closed_by_another { Err(IntoFuturesError::Closed(None)) } else { Ok(()) })
    }

    fn start_send(self: Pin<&mut Self>, event: E) -> Result<(), Self::Error> {
        let this = self.get_mut();
        this.flushing = None;
        this.sink.write(event).map_err(|error| IntoFuturesError::Closed(Some(refused(error))))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().poll_flushed(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        let closing = this.closing.get_or_insert_with(|| this.sink.close());
        ready!(Future::poll(Pin::new(closing), context)).map_err(IntoFuturesError::Close)?;
        this.poll_flushed(context)
    }
}

impl<S: fmt::Debug, E> fmt::Debug for IntoFutures<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoFutures").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl<S: Clone, E> Clone for IntoFutures<S, E> {
    /// Over a clone of the sink, with no flush or close under way.
    fn clone(&self) -> Self {
        Self::new(self.sink.clone())
    }
}

/// Why an [`IntoFutures`] refused an event, or what its flush or its close could not deliver.
///
/// # Examples
///
/// ```
/// use futures::{SinkExt as _, executor::block_on};
/// use outflow::{Sink, SinkExt, sink};
///
/// let queue = sink::for_each(|_: u32| {}).queued();
/// let mut sender = queue.clone().into_futures();
/// block_on(sender.send(1))?;
/// queue.close().wait()?;
/// assert!(block_on(sender.send(2)).unwrap_err().is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum IntoFuturesError<E> {
    /// The sink is closed. With the event, if one was sent; without one, if the sink was found closed before
    /// that.
    Closed(Option<E>),
    /// The flush could not deliver everything.
    Flush(FlushError),
    /// The close could not deliver everything.
    Close(CloseError),
}

impl<E> IntoFuturesError<E> {
    /// Takes back the event that a closed sink refused.
    pub fn into_event(self) -> Option<E> {
        match self {
            Self::Closed(event) => event,
            Self::Flush(_) | Self::Close(_) => None,
        }
    }

    /// Whether the sink is closed and refuses events.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<E> fmt::Debug for IntoFuturesError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Flush(error) => f.debug_tuple("Flush").field(error).finish(),
            Self::Close(error) => f.debug_tuple("Close").field(error).finish(),
        }
    }
}

impl<E> fmt::Display for IntoFuturesError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the sink is closed"),
            Self::Flush(error) => write!(f, "the flush failed: {error}"),
            Self::Close(error) => write!(f, "the close failed: {error}"),
        }
    }
}

impl<E> Error for IntoFuturesError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed(_) => None,
            Self::Flush(error) => Some(error),
            Self::Close(error) => Some(error),
        }
    }
}
