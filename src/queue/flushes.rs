//! The flushes of a queue that its worker has not passed on yet, or whose downstream has not ended yet.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::lifecycle::completion::Completion;
use crate::lifecycle::{CloseError, Closing, Flushing, MaybeDone, Trail};
use crate::sync::scope::Scope;

/// A flush that waits for its turn.
pub(super) struct Flush {
    pub(super) completion: Arc<Completion>,
    pub(super) trail: Trail,
}

/// In how many ways flushes may arrive before those of one flush are merged.
const WAYS: usize = 16;

#[derive(Default)]
pub(super) struct Flushes(Mutex<State>);

#[derive(Default)]
struct State {
    /// Not yet seen by the worker. Requests that can share one do, so that asking again and again while the worker is
    /// stuck costs nothing.
    new: Vec<Flush>,
    /// Every flush that may not have ended yet.
    outstanding: Vec<Weak<Completion>>,
    /// How many there may be before those that have ended are removed.
    prune_at: usize,
    /// The worker sees no more.
    ended: bool,
}

impl Flushes {
    /// Has everything that is in the queue now delivered, and then what is below flushed. Calls `wake` if the worker
    /// has to look.
    pub(super) fn request(&self, scope: Scope, closing: &Closing, wake: impl FnOnce()) -> Flushing {
        const FEW: usize = 16;

        let Some(trail) = Trail::at(scope) else {
            // It comes back to where it has been.
            return Flushing::done();
        };
        let mut state = self.0.lock();
        if state.ended {
            drop(state);
            return Flushing::of_close(closing);
        }
        let mut shared = state.new.iter().position(|flush| flush.trail.is_same_way(&trail));
        if shared.is_none() && state.new.len() >= WAYS {
            shared = state.new.iter_mut().position(|flush| flush.trail.merge(&trail));
        }
        if let Some(flush) = shared.and_then(|at| state.new.get(at)) {
            return Flushing::of(MaybeDone::Pending(Arc::clone(&flush.completion)));
        }
        if state.outstanding.len() >= state.prune_at.max(FEW) {
            state.outstanding.retain(|flush| flush.upgrade().is_some_and(|flush| !flush.is_done()));
            state.prune_at = 2 * state.outstanding.len();
        }
        let completion = Completion::within(vec![scope]);
        state.outstanding.push(Arc::downgrade(&completion));
        state.new.push(Flush { completion: Arc::clone(&completion), trail });
        drop(state);
        wake();
        Flushing::of(MaybeDone::Pending(completion))
    }

    /// Those that are new.
    pub(super) fn take(&self) -> Vec<Flush> {
        std::mem::take(&mut self.0.lock().new)
    }

    /// The last ones: those that come after this are of the close.
    pub(super) fn end(&self) -> Vec<Flush> {
        let mut state = self.0.lock();
        state.ended = true;
        std::mem::take(&mut state.new)
    }

    /// Ends all that have not ended. Those that come after this are of the close.
    pub(super) fn fail(&self, error: &CloseError) {
        let new = self.end();
        let outstanding = std::mem::take(&mut self.0.lock().outstanding);
        for flush in outstanding.iter().filter_map(Weak::upgrade) {
            flush.complete(Err(error.clone()));
        }
        drop(new);
    }
}
