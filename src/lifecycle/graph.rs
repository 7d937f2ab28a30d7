//! Walks through the graph of completions: whether a wait would be for itself, and how an abort goes down.
//!
//! None of them recurses, so that a chain may be as long as memory allows.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::completion::{Completion, Edge};

/// Which completions a walk has seen.
#[derive(Default)]
struct Seen(HashSet<*const Completion>);

impl Seen {
    /// Whether it was not seen before.
    fn add(&mut self, completion: &Arc<Completion>) -> bool {
        self.0.insert(Arc::as_ptr(completion))
    }
}

/// Adds that `from` awaits `to`; `false`, and nothing is added, if `to` awaits `from`. In a ring of sinks each is
/// done when the rest of the ring is.
pub(super) fn link(from: &Arc<Completion>, to: &Arc<Completion>, aborts: bool) -> bool {
    // So that two edges that make a ring together are not both found to make none.
    static EDGES: Mutex<()> = Mutex::new(());

    let edges = EDGES.lock();
    if reaches(to, from) {
        return false;
    }
    to.add_dependent(from);
    from.add_edge(Edge { to: Arc::clone(to), aborts });
    drop(edges);
    if Completion::has_scoped_waiters() {
        notify_upwards(from);
    }
    true
}

/// Visits what `completion` awaits, each once, as long as `visit` goes on, which says whether to look behind it.
fn visit_awaited(
    completion: &Completion,
    mut visit: impl FnMut(&Edge) -> ControlFlow<(), bool>,
) -> ControlFlow<()> {
    let mut seen = Seen::default();
    let mut rest = completion.awaited();
    while let Some(edge) = rest.pop() {
        if seen.add(&edge.to) && visit(&edge)? {
            rest.append(&mut edge.to.awaited());
        }
    }
    ControlFlow::Continue(())
}

fn reaches(from: &Arc<Completion>, to: &Arc<Completion>) -> bool {
    let look = |edge: &Edge| match Arc::ptr_eq(&edge.to, to) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(true),
    };
    Arc::ptr_eq(from, to) || visit_awaited(from, look).is_break()
}

/// Whether this thread is in a scope that has to be left before `completion` can complete.
pub(super) fn would_deadlock(completion: &Completion) -> bool {
    let is_inside = |completion: &Completion| completion.scopes.iter().any(|scope| scope.is_current());
    let look = |edge: &Edge| match (edge.to.is_done(), is_inside(&edge.to)) {
        (false, true) => ControlFlow::Break(()),
        (is_done, _) => ControlFlow::Continue(!is_done),
    };
    !completion.is_done() && (is_inside(completion) || visit_awaited(completion, look).is_break())
}

fn notify_upwards(completion: &Arc<Completion>) {
    let mut seen = Seen::default();
    let mut rest = vec![Arc::clone(completion)];
    while let Some(completion) = rest.pop() {
        if seen.add(&completion) {
            completion.notify();
            rest.append(&mut completion.dependents());
        }
    }
}

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
    let mut rest = completion.awaited();
    while let Some(edge) = rest.pop() {
        if edge.aborts && begun.add(&edge.to) {
            edge.to.begin_abort();
            // Looked up after that, which may add to it.
            rest.append(&mut edge.to.awaited());
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

/// What a drain still has to deliver, in all the queues that it goes through.
#[derive(Default)]
pub(crate) struct Remaining {
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    /// How many queues have something left.
    pub(crate) queues: u64,
    /// The name of the one that has the most.
    pub(crate) longest: Option<String>,
    most: u64,
}

impl Remaining {
    pub(super) fn of(completion: &Completion) -> Self {
        let mut remaining = Self::default();
        completion.count_remaining(&mut remaining);
        let _ = visit_awaited(completion, |edge| {
            edge.to.count_remaining(&mut remaining);
            ControlFlow::Continue(true)
        });
        remaining
    }

    pub(crate) fn add(&mut self, queue: Option<&str>, pending: u64, in_flight: u64) {
        let left = pending + in_flight;
        if left == 0 {
            return;
        }
        self.pending += pending;
        self.in_flight += in_flight;
        self.queues += 1;
        if left > self.most {
            self.most = left;
            self.longest = queue.map(str::to_owned);
        }
    }
}
