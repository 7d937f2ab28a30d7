use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::contract::{Never, refused};
use crate::contract::{Sink, WriteError};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::join;
use crate::lifecycle::{CloseError, Closing, Flushing};
use crate::sync::caught::drop_caught;
use crate::sync::gate::Gate;
use crate::sync::scope::Scope;

/// Writes every event to two sinks. Made by [`tee`](crate::SinkExt::tee).
///
/// Both are always tried, on the writer's thread; if one panics, the other still gets the event, and the
/// panic goes on. The first gets the event by reference, so that nothing is cloned that need not be. It is
/// closed when both are; while only one is, the events that it misses are counted, and the close tells.
///
/// A close goes on to both sides at once, so that it wakes a write that waits in one of them, and is through
/// when both sides are closed and the writes under way have come back. An abort gives these 100 ms; if one
/// does not come back, the outcome has [`CloseError::Aborted`] in it.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let (left, right) = (sink::collector(), sink::collector());
/// let both = left.clone().tee(right.clone());
/// both.write("push").unwrap();
/// left.close();
/// both.write("pull").unwrap();
/// assert_eq!((left.len(), right.len(), both.missed()), (1, 2, 1));
/// ```
///
/// A side that can fail has to say first what happens to what fails:
///
/// ```compile_fail,E0277
/// use outflow::{SinkExt, sink};
///
/// sink::discard().tee(sink::from_fn(|_: &u32| Err("full")));
/// ```
///
/// ```
/// use outflow::{SinkExt, sink};
///
/// let both = sink::discard().tee(sink::from_fn(|_: &u32| Err("full")).lossy());
/// # let _: &dyn outflow::Sink<u32, Error = std::convert::Infallible> = &both;
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Tee<S, T> {
    sink: S,
    other: T,
    missed: Arc<AtomicU64>,
    closing: OnceLock<Closing>,
    /// Shut when both sides are closed: a write that finds it shut is refused by both, and misses nothing.
    gate: Gate<Pass>,
    left: Arc<Completion>,
    scope: Scope,
}

/// Dropped when the last write has left that may have reached one side and not the other.
struct Pass {
    left: Arc<Completion>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.left.complete(Ok(()));
    }
}

impl<S, T> Tee<S, T> {
    pub(crate) fn new(sink: S, other: T) -> Self {
        let scope = Scope::new();
        let left = Completion::within(vec![scope]);
        let gate = Gate::empty();
        gate.fill(Arc::new(Pass { left: Arc::clone(&left) }));
        Self { sink, other, missed: Arc::default(), closing: OnceLock::new(), gate, left, scope }
    }

    /// How many events reached only one of the two.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let left = sink::collector();
    /// let both = left.clone().tee(sink::discard());
    /// left.close();
    /// both.write("push").unwrap();
    /// assert_eq!(both.missed(), 1);
    /// assert_eq!(both.close().wait().unwrap_err().undelivered(), 1);
    /// ```
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// The first panic goes on to the writer.
    fn settle<E>(
        &self,
        left: thread::Result<bool>,
        right: thread::Result<Result<(), E>>,
    ) -> Result<(), WriteError<E, Infallible>> {
        match (left, right) {
            (Ok(left), Ok(right)) => self.outcome(left, right),
            (Err(first), Err(second)) => {
                drop_caught(second);
                resume_unwind(first)
            }
            (Err(panic), Ok(_)) | (Ok(_), Err(panic)) => resume_unwind(panic),
        }
    }

    fn outcome<E>(&self, left: bool, right: Result<(), E>) -> Result<(), WriteError<E, Infallible>> {
        match (left, right) {
            (true, Ok(())) => Ok(()),
            (false, Err(event)) => Err(WriteError::Closed(event)),
            (true, Err(_)) | (false, Ok(())) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl<E, S, T> Sink<E> for Tee<S, T>
where
    E: Clone,
    S: Sink<E>,
    T: Sink<E>,
    S::Error: Never,
    T::Error: Never,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let _visit = self.gate.enter();
        let _inside = self.scope.enter();
        let left = catch_unwind(AssertUnwindSafe(|| self.sink.write_ref(&event).is_ok()));
        let right = catch_unwind(AssertUnwindSafe(|| self.other.write(event).map_err(refused)));
        self.settle(left, right)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>> {
        let _visit = self.gate.enter();
        let _inside = self.scope.enter();
        let left = catch_unwind(AssertUnwindSafe(|| self.sink.write_ref(event).is_ok()));
        let right = catch_unwind(AssertUnwindSafe(|| self.other.write_ref(event).map_err(refused)));
        self.settle(left, right)
    }

    fn flush(&self) -> Flushing {
        Flushing::all([self.sink.flush(), self.other.flush()])
    }

    fn close(&self) -> Closing {
        if let Some(closing) = self.closing.get() {
            return closing.clone();
        }
        // Begun outside of the cell, so that one that calls back finds nobody at it.
        let both = [self.sink.close(), self.other.close()];
        drop(self.gate.shut());
        let missed = Arc::clone(&self.missed);
        let all = both.into_iter().chain([Closing::pending_on(&self.left)]);
        let closing = Closing::all(all).map(move |outcome| match missed.load(Ordering::Relaxed) {
            0 => outcome,
            events => join([Err(CloseError::Missed { events }), outcome]),
        });
        self.closing.get_or_init(|| closing).clone()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed() && self.other.is_closed()
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for Tee<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee")
            .field("sink", &self.sink)
            .field("other", &self.other)
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}
