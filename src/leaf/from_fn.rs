use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that calls a closure with a reference to each event. Made by [`from_fn`].
///
/// # Examples
///
/// ```
/// use outflow::sink::{self, FromFn};
///
/// type Check = fn(&u32) -> Result<(), &'static str>;
/// let sink: FromFn<u32, Check> = sink::from_fn(|event| if *event < 9 { Ok(()) } else { Err("too large") });
/// # let _ = sink;
/// ```
pub struct FromFn<E, F> {
    f: F,
    closed: AtomicBool,
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
    FromFn { f, closed: AtomicBool::new(false), event: PhantomData }
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

impl<E, X, F> FromFn<E, F>
where
    F: Fn(&E) -> Result<(), X>,
{
    fn write_ref_any(&self, event: &E) -> Result<(), WriteError<(), X>> {
        if self.closed.load(Ordering::Acquire) {
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
