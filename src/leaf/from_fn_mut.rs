use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

use parking_lot::ReentrantMutex;

use crate::contract::{ClosedFlag, Sink, WriteError};

/// A sink that calls a closure that changes something, one event at a time. Made by [`from_fn_mut`].
pub struct FromFnMut<E, F> {
    f: ReentrantMutex<RefCell<F>>,
    closed: ClosedFlag,
    event: PhantomData<fn(E)>,
}

/// Makes a sink of a closure that may fail and that changes what it owns: a connection, a file, a counter. It
/// runs on the writer's thread, for one writer at a time; the others wait. Clones nothing. A panic in it goes
/// on to the writer, and the next write calls it again.
///
/// # Panics
///
/// A write panics if it comes from within the closure itself.
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
    FromFnMut { f: ReentrantMutex::new(RefCell::new(f)), closed: ClosedFlag::default(), event: PhantomData }
}

impl<E, X, F> FromFnMut<E, F>
where
    F: FnMut(&E) -> Result<(), X>,
{
    fn write_ref_any(&self, event: &E) -> Result<(), WriteError<(), X>> {
        // Before the lock: a closed sink refuses at once, even while a write is stuck in the closure.
        if self.closed.is_set() {
            return Err(WriteError::Closed(()));
        }
        let f = self.f.lock();
        // And under it: a write that has waited for its turn sees a close that came meanwhile.
        if self.closed.is_set() {
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

    closed_by_flag!(closed);
}

impl<E, F> fmt::Debug for FromFnMut<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFnMut").field("closed", &self.closed).finish_non_exhaustive()
    }
}
