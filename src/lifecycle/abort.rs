use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::completion::{Completion, Edge};
use super::deferred;
use super::error::CloseError;
use super::graph::{self, Seen};
use crate::sync::scope::Scope;

/// Aborts `completion` and what it awaits: begins from above to below, then waits from below to above, all of them
/// together until `deadline`.
pub(super) fn abort(completion: &Arc<Completion>, deadline: Instant) {
    struct Visit {
        completion: Arc<Completion>,
        edges: Vec<Edge>,
        next: usize,
    }
    let visit = |completion: &Arc<Completion>| Visit {
        completion: Arc::clone(completion),
        edges: completion.awaited(),
        next: 0,
    };

    completion.begin_abort();
    let mut begun = Seen::default();
    let mut unseen = completion.awaited();
    while let Some(edge) = unseen.pop() {
        if edge.aborts && begun.add(&edge.to) {
            edge.to.begin_abort();
            // Looked up after that, which may add to it.
            unseen.append(&mut edge.to.awaited());
        }
    }

    let mut settled = Seen::default();
    let mut path = vec![visit(completion)];
    while let Some(top) = path.last_mut() {
        if let Some(edge) = top.edges.get(top.next) {
            top.next += 1;
            if edge.aborts && settled.add(&edge.to) {
                // An edge may be added meanwhile, by a close that another thread is in the middle of beginning.
                if begun.add(&edge.to) {
                    edge.to.begin_abort();
                }
                let next = visit(&edge.to);
                path.push(next);
            }
        } else if top.completion.settle_abort(top.edges.len(), deadline) {
            path.pop();
        } else {
            top.edges = top.completion.awaited();
        }
    }
}

impl Completion {
    /// Waits until `deadline` for an outcome, and then sets one. `false` if it awaits more than `known` meanwhile.
    fn settle_abort(self: &Arc<Self>, known: usize, deadline: Instant) -> bool {
        let state = self.state.lock();
        // In the aborter, further up this thread's stack, which will complete.
        let is_under_way_here = state.aborting.contains(&thread::current().id());
        let aborter = state.aborter.clone();
        drop(state);
        if is_under_way_here {
            return true;
        }
        if let Some(aborter) = aborter {
            aborter.settle(deadline);
            if aborter.is_under_way_here() {
                return true;
            }
        }
        deferred::run_all();
        if Scope::any_is_current() && graph::would_deadlock(self) {
            // What it would have to wait for is this very call.
            self.complete(Err(CloseError::Aborted));
            return true;
        }
        let mut state = self.state.lock();
        loop {
            if state.outcome.is_some() {
                return true;
            }
            if state.awaits.len() > known {
                return false;
            }
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                drop(state);
                self.complete(Err(CloseError::Aborted));
                return true;
            }
        }
    }
}
