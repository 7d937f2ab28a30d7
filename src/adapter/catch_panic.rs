use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::caught::panic_message;

/// Turns a panic of a sink into an error, with the event. Made by
/// [`catch_panic`](crate::SinkExt::catch_panic).
///
/// Writes by reference, so that the caller's own event can be handed back; a sink that must own it clones.
/// What a closure leaves behind half done when it panics is its author's to see to.
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

impl<S> fmt::Debug for CatchPanic<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchPanic").field("sink", &self.sink).finish_non_exhaustive()
    }
}
