use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use crate::contract::{ClosedFlag, Sink, WriteError};

/// A sink that gives each event to a closure. Made by [`for_each`].
pub struct ForEach<E, F> {
    f: F,
    closed: ClosedFlag,
    event: PhantomData<fn(E)>,
}

/// Makes a reliable sink of a closure that takes each event. It runs on the writer's thread, on several at
/// once if there are several writers. `write_ref` clones the event, unless the sink is closed. A panic in it
/// goes on to the writer.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, sink};
///
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let sink = sink::for_each(move |event: u32| sender.send(event).unwrap());
/// sink.write(1).unwrap();
/// assert_eq!(receiver.recv(), Ok(1));
/// ```
pub fn for_each<E, F>(f: F) -> ForEach<E, F>
where
    F: Fn(E),
{
    ForEach { f, closed: ClosedFlag::default(), event: PhantomData }
}

impl<E, F> Sink<E> for ForEach<E, F>
where
    F: Fn(E),
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        (self.f)(event);
        Ok(())
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        if self.closed.is_set() {
            return Err(WriteError::Closed(()));
        }
        (self.f)(event.clone());
        Ok(())
    }

    closed_by_flag!(closed);
}

impl<E, F> fmt::Debug for ForEach<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("closed", &self.closed).finish_non_exhaustive()
    }
}
