use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::contract::{Never, refused};
use crate::lifecycle::{CloseError, Closing, FlushError, Flushing};
use crate::sink::ImmediateSink;

/// A `futures::Sink`, of a sink whose writes never wait. Made by
/// [`into_futures`](crate::SinkExt::into_futures).
///
/// It is ready as long as the sink is open; an event is written as soon as it is sent, on the sender's
/// thread. Flushing and closing are the sink's own, awaited: what that waits for are the threads downstream,
/// and they wake the task. A close awaits a flush too, for a sink that is
/// [kept open](crate::SinkExt::keep_open), whose close is through at once. Nothing makes a sender slow down:
/// what is sent faster than it is delivered is in the buffer, whose bound and policy say how far that goes.
///
/// Dropped, it drops the sink; nothing is closed that a drop does not close.
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
/// sink.close();
///
/// let queue = delivered.clone().queued().filter(|event| event % 2 == 0);
/// futures::executor::block_on(events.map(Ok).forward(queue.into_futures()))?;
/// assert_eq!(delivered.events(), [0, 2, 4]);
/// assert!(delivered.is_closed());
/// # Ok::<(), outflow::adapter::IntoFuturesError<u32>>(())
/// ```
///
/// A write that may wait for room would block an executor, and does not compile:
///
/// ```compile_fail,E0277
/// use outflow::{Buffer, SinkExt, sink};
///
/// sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8)).into_futures();
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct IntoFutures<S, E> {
    sink: S,
    /// The flush under way, unless something was sent since it began.
    flushing: Option<Flushing>,
    closing: Option<Closing>,
    event: PhantomData<fn(E)>,
}

impl<S, E> IntoFutures<S, E> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, flushing: None, closing: None, event: PhantomData }
    }

    /// The sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SinkExt, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued().into_futures();
    /// assert_eq!(queue.get_ref().len(), 0);
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.sink
    }

    /// Takes the sink back. A flush or a close that has begun goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SinkExt, sink};
    ///
    /// let sink = sink::collector::<u32>().into_futures();
    /// assert!(sink.into_inner().is_empty());
    /// ```
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

/// The sink is moved, never pinned.
impl<S, E> Unpin for IntoFutures<S, E> {}

impl<S, E> futures_sink::Sink<E> for IntoFutures<S, E>
where
    S: ImmediateSink<E>,
    S::Error: Never,
{
    type Error = IntoFuturesError<E>;

    fn poll_ready(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(if self.sink.is_closed() { Err(IntoFuturesError::Closed(None)) } else { Ok(()) })
    }

    fn start_send(self: Pin<&mut Self>, event: E) -> Result<(), Self::Error> {
        let this = self.get_mut();
        // The next flush has to be for this event too.
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
    /// A sink of its own over a clone, with no flush or close under way.
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
/// queue.close();
/// assert!(block_on(sender.send(2)).unwrap_err().is_closed());
/// # Ok::<(), outflow::adapter::IntoFuturesError<u32>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum IntoFuturesError<E> {
    /// The sink is closed. With the event that was sent; without one if the sink was found closed before
    /// anything was.
    Closed(Option<E>),
    /// The flush could not deliver everything.
    Flush(FlushError),
    /// The close could not deliver everything.
    Close(CloseError),
}

impl<E> IntoFuturesError<E> {
    /// Takes the event back that was sent into a closed sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::adapter::IntoFuturesError;
    ///
    /// assert_eq!(IntoFuturesError::Closed(Some("pushed")).into_event(), Some("pushed"));
    /// ```
    pub fn into_event(self) -> Option<E> {
        match self {
            Self::Closed(event) => event,
            Self::Flush(_) | Self::Close(_) => None,
        }
    }

    /// Whether the sink is closed and refuses events.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::SinkExt as _;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let log = sink::collector();
    /// log.close();
    /// let mut sink = log.into_futures();
    /// let error = futures::executor::block_on(sink.send("refused")).unwrap_err();
    /// assert!(error.is_closed());
    /// ```
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
