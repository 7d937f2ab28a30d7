use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use crate::contract::{AsyncSink, SharedSink, Sink};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{Closing, close_caught};
use crate::sync::caught::drop_caught;

/// A sink, as its close sees it.
pub(crate) trait Closes: Send + Sync {
    fn close(&self) -> Closing;
}

impl<E> Closes for SharedSink<E> {
    fn close(&self) -> Closing {
        Sink::close(self)
    }
}

impl Closes for Arc<dyn Closes> {
    fn close(&self) -> Closing {
        (**self).close()
    }
}

/// An asynchronous sink of `T`.
pub(crate) struct ClosesAsync<T, S>(Arc<S>, PhantomData<fn(T)>);

impl<T, S> ClosesAsync<T, S> {
    pub(crate) fn new(sink: Arc<S>) -> Self {
        Self(sink, PhantomData)
    }
}

impl<T, S> Closes for ClosesAsync<T, S>
where
    S: AsyncSink<T>,
{
    fn close(&self) -> Closing {
        self.0.close()
    }
}

/// The sink at the end of a drain, until it is closed: once for all callers.
pub(crate) struct Downstream<S> {
    state: Mutex<State<S>>,
}

struct State<S> {
    sink: Option<S>,
    closing: Option<Closing>,
    /// The threads that are in the sink's close.
    beginning: Vec<ThreadId>,
}

impl<S> Downstream<S>
where
    S: Closes + Clone,
{
    pub(crate) fn new(sink: S) -> Self {
        Self { state: Mutex::new(State { sink: Some(sink), closing: None, beginning: Vec::new() }) }
    }

    /// Whether this thread is in the sink's close, after which the outcome will be set.
    pub(crate) fn is_beginning_here(&self) -> bool {
        self.state.lock().beginning.contains(&thread::current().id())
    }

    /// Takes the sink out, so that it is not closed.
    pub(crate) fn take(&self) -> Option<S> {
        self.state.lock().sink.take()
    }

    /// Begins to close the sink, unless that has begun, and has `completion` await it.
    pub(crate) fn close(&self, completion: &Arc<Completion>) -> Closing {
        let thread = thread::current().id();
        let mut state = self.state.lock();
        if let Some(closing) = &state.closing {
            return closing.clone();
        }
        if state.beginning.contains(&thread) {
            // The sink's own close has come back here: what there is to wait for is not known yet.
            return Closing::pending_on(completion);
        }
        state.beginning.push(thread);
        let sink = state.sink.clone();
        drop(state);
        // Two threads may get here at once: a sink may be closed more than once, and each closing is of the same
        // drain. No lock is held, since this calls into a user's sink.
        let begun = match &sink {
            Some(sink) => close_caught(|| sink.close()),
            None => Closing::done(),
        };
        let mut state = self.state.lock();
        state.beginning.retain(|other| *other != thread);
        // Awaited before the lock is released: whatever finds the closing can rely on that. A downstream that
        // awaits `completion` itself is done when the rest of the ring is.
        let closing = state
            .closing
            .get_or_insert_with(|| if begun.0.awaited_by(completion, true) { begun } else { Closing::done() })
            .clone();
        let last = state.sink.take();
        drop(state);
        drop_caught(sink);
        drop_caught(last);
        closing
    }
}
