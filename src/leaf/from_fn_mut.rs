use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::ReentrantMutex;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that calls a closure that changes something, one event at a time. Made by [`from_fn_mut`].
///
/// # Examples
///
/// ```
/// use outflow::sink::{self, FromFnMut};
///
/// type Check = Box<dyn FnMut(&u32) -> Result<(), &'static str> + Send>;
/// let mut last = 0;
/// let rising: FromFnMut<u32, Check> = sink::from_fn_mut(Box::new(move |event: &u32| {
///     if *event > last { Ok(last = *event) } else { Err("not greater") }
/// }));
/// # let _ = rising;
/// ```
pub struct FromFnMut<E, F> {
    f: ReentrantMutex<RefCell<F>>,
    closed: AtomicBool,
    event: PhantomData<fn(E)>,
}

/// Makes a sink of a closure that may fail and needs what it owns for itself: a connection, a file, a
/// counter. Writers wait for each other. Clones nothing. A panic in it goes on to the writer, and the next
/// write calls it again.
///
/// # Panics
///
/// A write panics if the closure itself, further down its own calls, writes to this sink.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use outflow::{Sink, sink};
///
/// let mut file = Vec::new();
/// let sink = sink::from_fn_mut(|event: &&str| writeln!(file, "{event}"));
/// sink.write("push").unwrap();
/// drop(sink);
/// assert_eq!(file, b"push\n");
/// ```
pub fn from_fn_mut<E, X, F>(f: F) -> FromFnMut<E, F>
where
    F: FnMut(&E) -> Result<(), X>,
{
    FromFnMut { f: ReentrantMutex::new(RefCell::new(f)), closed: AtomicBool::new(false), event: PhantomData }
}

impl<E, X, F> FromFnMut<E, F>
where
    F: FnMut(&E) -> Result<(), X>,
{
    fn write_ref_any(&self, event: &E) -> Result<(), WriteError<(), X>> {
        // Before the lock, so that a closed sink refuses at once, even while a write is stuck in the closure.
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(()));
        }
        let f = self.f.lock();
        // And under it, so that a write that waited for its turn sees a close meanwhile.
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(()));
        }
        let Ok(mut f) = f.try_borrow_mut() else {
            panic!("the closure of a `from_fn_mut` sink wrote to its own sink");
        };
        f(event).map_err(|error| WriteError::failed((), error))
    }
}

impl<E, X, F> Sink<E> for FromFnMut<E, F>
where
    F: FnMut(&E) -> Result<(), X>,
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

impl<E, F> fmt::Debug for FromFnMut<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFnMut").field("closed", &self.closed).finish_non_exhaustive()
    }
}
