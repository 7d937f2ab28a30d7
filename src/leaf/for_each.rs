use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that gives each event to a closure. Made by [`for_each`].
///
/// # Examples
///
/// ```
/// use outflow::sink::{self, ForEach};
///
/// fn print(event: u32) {
///     println!("{event}");
/// }
/// let sink: ForEach<u32, fn(u32)> = sink::for_each(print);
/// # let _ = sink;
/// ```
pub struct ForEach<E, F> {
    f: F,
    closed: AtomicBool,
    event: PhantomData<fn(E)>,
}

/// Makes a reliable sink of a closure that takes each event. It runs on the writer's thread, on several at
/// once if there are several writers. `write_ref` clones, unless the sink is closed.
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
    ForEach { f, closed: AtomicBool::new(false), event: PhantomData }
}

impl<E, F> Sink<E> for ForEach<E, F>
where
    F: Fn(E),
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(event));
        }
        (self.f)(event);
        Ok(())
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(()));
        }
        (self.f)(event.clone());
        Ok(())
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

impl<E, F> fmt::Debug for ForEach<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("closed", &self.closed).finish_non_exhaustive()
    }
}
