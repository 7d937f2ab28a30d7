use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that drops every event, as asked. Made by [`discard`].
///
/// # Examples
///
/// ```
/// use outflow::sink::{self, Discard};
///
/// let nowhere: Discard<u32> = sink::discard();
/// # let _ = nowhere;
/// ```
pub struct Discard<E> {
    closed: AtomicBool,
    event: PhantomData<fn(E)>,
}

/// Makes a reliable sink that drops every event. Clones nothing.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, sink};
///
/// let sink = sink::discard();
/// assert!(sink.write(1).is_ok());
/// sink.close();
/// assert!(sink.write(2).is_err());
/// ```
pub fn discard<E>() -> Discard<E> {
    Discard { closed: AtomicBool::new(false), event: PhantomData }
}

impl<E> Sink<E> for Discard<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        if self.closed.load(Ordering::Acquire) { Err(WriteError::Closed(event)) } else { Ok(()) }
    }

    fn write_ref(&self, _event: &E) -> Result<(), WriteError<(), Infallible>> {
        if self.closed.load(Ordering::Acquire) { Err(WriteError::Closed(())) } else { Ok(()) }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::Release);
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<E> fmt::Debug for Discard<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discard").field("closed", &self.closed).finish_non_exhaustive()
    }
}
