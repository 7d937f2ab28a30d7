use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::sync::caught::panic_message;

/// Turns a panic of a sink into an error, with the event. Made by
/// [`catch_panic`](crate::SinkExt::catch_panic).
///
/// It writes by reference, so that after a panic it still has the event to hand back; a sink that must own
/// the event clones it. Over an [`AsyncSink`](crate::AsyncSink) it writes a clone, and catches a panic of that clone and
/// of each poll. Only a panic of a write is caught. What a closure had half done when it panicked stays so.
///
/// # Examples
///
/// ```
/// use outflow::{CatchPanicError, Sink, SinkExt, sink};
///
/// let sink = sink::for_each(|event: u32| assert!(event < 10, "too large")).catch_panic();
/// let refused = sink.write(10).unwrap_err();
/// assert_eq!(refused.error(), Some(&CatchPanicError::Panicked("too large".into())));
/// assert_eq!(refused.into_event(), 10);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct CatchPanic<S> {
    sink: S,
}

/// Why a write through [`CatchPanic`] failed.
///
/// # Examples
///
/// ```
/// use outflow::{CatchPanicError, Sink, SinkExt, sink};
///
/// let sink = sink::from_fn(|event: &u32| if *event < 10 { Err("refused") } else { panic!("too large") })
///     .catch_panic();
/// assert_eq!(sink.write(1).unwrap_err().error(), Some(&CatchPanicError::Sink("refused")));
/// assert_eq!(sink.write(10).unwrap_err().error().unwrap().to_string(), "the sink panicked: too large");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatchPanicError<X> {
    /// The sink panicked with this message.
    #[error("the sink panicked: {0}")]
    Panicked(Arc<str>),
    /// The sink failed.
    #[error(transparent)]
    Sink(X),
}

impl<S> CatchPanic<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink }
    }
}

impl<E, S> Sink<E> for CatchPanic<S>
where
    E: Clone,
    S: Sink<E>,
{
    type Error = CatchPanicError<S::Error>;

    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        match self.write_ref(&event) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.map_event(|()| event)),
        }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>> {
        match catch_unwind(AssertUnwindSafe(|| self.sink.write_ref(event))) {
            Ok(written) => written.map_err(|refused| refused.map_error(CatchPanicError::Sink)),
            Err(panic) => Err(WriteError::failed((), CatchPanicError::Panicked(panic_message(panic)))),
        }
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for CatchPanic<S>
where
    E: Clone + Send,
    S: AsyncSink<E>,
{
    type Error = CatchPanicError<S::Error>;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        let copy = match catch_unwind(AssertUnwindSafe(|| event.clone())) {
            Ok(copy) => copy,
            Err(panic) => {
                return Err(WriteError::failed(event, CatchPanicError::Panicked(panic_message(panic))));
            }
        };
        let written = {
            // In a block of its own: `write` itself may panic.
            let mut write = pin!(async { self.sink.write(copy).await });
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| write.as_mut().poll(context))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic_message(panic))),
            })
            .await
        };
        match written {
            Ok(written) => {
                written.map_err(|refused| refused.map_event(|_| event).map_error(CatchPanicError::Sink))
            }
            Err(message) => Err(WriteError::failed(event, CatchPanicError::Panicked(message))),
        }
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S> fmt::Debug for CatchPanic<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchPanic").field("sink", &self.sink).finish_non_exhaustive()
    }
}
