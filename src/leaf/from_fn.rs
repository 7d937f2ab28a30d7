use std::fmt;
use std::marker::PhantomData;

use crate::contract::{ClosedFlag, Sink, WriteError};

/// A sink that calls a closure with a reference to each event. Made by [`from_fn`].
pub struct FromFn<E, F> {
    f: F,
    closed: ClosedFlag,
    event: PhantomData<fn(E)>,
}

/// Makes a sink of a closure that may fail. It runs on the writer's thread, on several at once if there are
/// several writers, and clones nothing. A panic in it goes on to the writer.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, sink};
///
/// let sink = sink::from_fn(|event: &u32| if *event < 10 { Ok(()) } else { Err("too large") });
/// assert!(sink.write(1).is_ok());
/// assert_eq!(sink.write(10).unwrap_err().error(), Some(&"too large"));
/// ```
pub fn from_fn<E, X, F>(f: F) -> FromFn<E, F>
where
    F: Fn(&E) -> Result<(), X>,
{
    FromFn { f, closed: ClosedFlag::default(), event: PhantomData }
}

impl<E, X, F> Sink<E> for FromFn<E, F>
where
    F: Fn(&E) -> Result<(), X>,
{
    type Error = X;

    fn write(&self, event: E) -> Result<(), WriteError<E, X>> {
        match self.write_ref_any(&event) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.map_event(|()| event)),
        }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), X>> {
        self.write_ref_any(event)
    }

    closed_by_flag!(closed);
}

impl<E, X, F> FromFn<E, F>
where
    F: Fn(&E) -> Result<(), X>,
{
    fn write_ref_any(&self, event: &E) -> Result<(), WriteError<(), X>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(()));
        }
        (self.f)(event).map_err(|error| WriteError::failed((), error))
    }
}

impl<E, F> fmt::Debug for FromFn<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").field("closed", &self.closed).finish_non_exhaustive()
    }
}
