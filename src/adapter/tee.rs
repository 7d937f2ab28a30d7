use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::both::flush_both;
use crate::contract::{Never, Sink, WriteError, refused};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{CloseError, Closing, Flushing, close_caught, join};
use crate::sync::caught::drop_caught;
use crate::sync::gate::Gate;
use crate::sync::scope::Scope;

/// Writes every event to two sinks, the first and then the second. Made by [`tee`](crate::SinkExt::tee).
///
/// Both are always tried, on the writer's thread; if one panics, the other still gets the event, and the
/// panic goes on to the writer. The first gets the event by reference, so that it is cloned only if the first
/// must own it.
///
/// A tee is closed when both sinks are. While only one of them is, the events that it misses are counted, and
/// the outcome of the close has [`CloseError::Missed`] in it. What a [`filter`](crate::SinkExt::filter)
/// before that sink would have rejected is not missed.
///
/// A close closes both sinks at once, which wakes a write that waits in one of them. It is done when both are
/// closed and the writes under way have returned. An abort gives these 100 ms; if one does not return, the
/// outcome has [`CloseError::Aborted`] in it. If the `close` of one sink panics, the other is closed all the
/// same, and the outcome has [`CloseError::Panicked`] in it.
///
/// There is none of asynchronous sinks: a write whose future is dropped between the two would have reached one of them,
/// and the caller could not know which. A tee of two queues has no such gap, since a write to a queue is not awaited.
///
/// # A write from within a write
///
/// If the first sink, in the middle of a write, writes another event to the tee, that one reaches the second
/// sink before the outer one does. A queue before the tee keeps one order for both:
///
/// ```
/// use std::sync::{Arc, OnceLock};
/// use outflow::{Queue, Sink, SinkExt, sink};
///
/// let (first, second) = (sink::collector(), sink::collector());
/// let queue: Arc<OnceLock<Queue<u32>>> = Arc::default();
/// let (kept, back) = (first.clone(), Arc::clone(&queue));
/// let answering = sink::for_each(move |event| {
///     kept.write(event).unwrap();
///     if event == 1 {
///         back.get().unwrap().write(2).unwrap();
///     }
/// });
/// let queue = queue.get_or_init(|| answering.tee(second.clone()).queued());
/// queue.write(1).unwrap();
/// queue.flush().wait()?; // The 1 is delivered, and the 2 written.
/// queue.flush().wait()?;
/// assert_eq!((first.events(), second.events()), (vec![1, 2], vec![1, 2]));
/// # queue.close().wait().unwrap();
/// # Ok::<(), outflow::FlushError>(())
/// ```
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let (first, second) = (sink::collector(), sink::collector());
/// let both = first.clone().tee(second.clone());
/// both.write("push").unwrap();
/// first.close().wait()?;
/// both.write("pull").unwrap();
/// assert_eq!((first.len(), second.len(), both.missed()), (1, 2, 1));
/// # Ok::<(), outflow::CloseError>(())
/// ```
///
/// A sink that can fail has to say first what happens to what fails:
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
    first: S,
    second: T,
    missed: Arc<AtomicU64>,
    closing: OnceLock<Closing>,
    /// Shut when both sinks are closed: a write that begins after that is refused by both, and misses
    /// nothing.
    gate: Gate<OpenWrites>,
    /// Complete when no write is left that may have reached one sink and not the other.
    quiesced: Arc<Completion>,
    scope: Scope,
}

/// Held by the writes that entered before the gate was shut, and dropped with the last of them.
struct OpenWrites {
    quiesced: Arc<Completion>,
}

impl Drop for OpenWrites {
    fn drop(&mut self) {
        self.quiesced.complete(Ok(()));
    }
}

/// An event that a closed sink handed back.
struct Refused<E> {
    event: E,
    /// Whether the sink would have taken it, had it been open.
    wanted: bool,
}

impl<S, T> Tee<S, T> {
    pub(crate) fn new(first: S, second: T) -> Self {
        let scope = Scope::new();
        let quiesced = Completion::within([scope]);
        let gate = Gate::empty();
        gate.fill(Arc::new(OpenWrites { quiesced: Arc::clone(&quiesced) }));
        Self { first, second, missed: Arc::default(), closing: OnceLock::new(), gate, quiesced, scope }
    }

    /// How many events reached only one of the two, because the other was closed.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// What the writer gets. If both panicked, the first panic goes on.
    fn settle<E>(
        &self,
        first: thread::Result<Result<(), Refused<()>>>,
        second: thread::Result<Result<(), Refused<E>>>,
    ) -> Result<(), WriteError<E, Infallible>> {
        match (first, second) {
            (Ok(first), Ok(second)) => self.outcome(first, second),
            (Err(first), Err(second)) => {
                drop_caught(second);
                resume_unwind(first)
            }
            (Err(panic), Ok(_)) | (Ok(_), Err(panic)) => resume_unwind(panic),
        }
    }

    fn outcome<E>(
        &self,
        first: Result<(), Refused<()>>,
        second: Result<(), Refused<E>>,
    ) -> Result<(), WriteError<E, Infallible>> {
        let missed = match (first, second) {
            (Ok(()), Ok(())) => false,
            (Ok(()), Err(refused)) => refused.wanted,
            (Err(refused), Ok(())) => refused.wanted,
            (Err(_), Err(refused)) => return Err(WriteError::Closed(refused.event)),
        };
        if missed {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn write_to<E, S>(sink: &S, event: E) -> Result<(), Refused<E>>
where
    S: Sink<E>,
    S::Error: Never,
{
    sink.write(event).map_err(|error| {
        let event = refused(error);
        Refused { wanted: sink.wants(&event), event }
    })
}

fn write_ref_to<E, S>(sink: &S, event: &E) -> Result<(), Refused<()>>
where
    E: Clone,
    S: Sink<E>,
    S::Error: Never,
{
    sink.write_ref(event).map_err(|error| Refused { event: refused(error), wanted: sink.wants(event) })
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
        let _open = self.gate.enter();
        let _inside = self.scope.enter();
        let first = catch_unwind(AssertUnwindSafe(|| write_ref_to(&self.first, &event)));
        let second = catch_unwind(AssertUnwindSafe(|| write_to(&self.second, event)));
        self.settle(first, second)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>> {
        let _open = self.gate.enter();
        let _inside = self.scope.enter();
        let first = catch_unwind(AssertUnwindSafe(|| write_ref_to(&self.first, event)));
        let second = catch_unwind(AssertUnwindSafe(|| write_ref_to(&self.second, event)));
        self.settle(first, second)
    }

    fn flush(&self) -> Flushing {
        flush_both(|| self.first.flush(), || self.second.flush())
    }

    fn close(&self) -> Closing {
        if let Some(closing) = self.closing.get() {
            return closing.clone();
        }
        // Not inside of `get_or_init`: a sink may close the tee again while it is being closed.
        let both = [close_caught(|| self.first.close()), close_caught(|| self.second.close())];
        drop(self.gate.shut());
        let missed = Arc::clone(&self.missed);
        let all = both.into_iter().chain([Closing::pending_on(&self.quiesced)]);
        let closing = Closing::all(all).map(move |outcome| match missed.load(Ordering::Relaxed) {
            0 => outcome,
            events => join([Err(CloseError::Missed { events }), outcome]),
        });
        self.closing.get_or_init(|| closing).clone()
    }

    fn is_closed(&self) -> bool {
        self.first.is_closed() && self.second.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.first.wants(event) || self.second.wants(event)
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for Tee<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tee")
            .field("first", &self.first)
            .field("second", &self.second)
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}
