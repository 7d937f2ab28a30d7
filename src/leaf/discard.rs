use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use crate::contract::{ClosedFlag, Sink, WriteError};

/// A sink that drops every event. Made by [`discard`].
pub struct Discard<E> {
    closed: ClosedFlag,
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
/// sink.close().wait()?;
/// assert!(sink.write(2).is_err());
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub fn discard<E>() -> Discard<E> {
    Discard { closed: ClosedFlag::default(), event: PhantomData }
}

impl<E> Sink<E> for Discard<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        if self.closed.is_set() { Err(WriteError::Closed(event)) } else { Ok(()) }
    }

    fn write_ref(&self, _event: &E) -> Result<(), WriteError<(), Infallible>> {
        if self.closed.is_set() { Err(WriteError::Closed(())) } else { Ok(()) }
    }

    closed_by_flag!(closed);
}

impl<E> fmt::Debug for Discard<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discard").field("closed", &self.closed).finish_non_exhaustive()
    }
}
