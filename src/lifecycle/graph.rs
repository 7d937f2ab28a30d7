//! Edges between completions, and walks along them. No walk recurses, so that a chain may be as long as memory allows.
//!
//! # Why a waiter in a scope learns of a new edge
//!
//! A waiter inside a scope walks the graph without its own lock, so that an edge may be added meanwhile. It counts
//! itself in `SCOPED_WAITERS`, reads its completion's `notified`, and then walks. A thread that adds an edge does that
//! first, then looks at `SCOPED_WAITERS`, and if there is one counts `notified` up wherever the edge may matter. The
//! locks under which edges are added and read order the four: either the walk sees the edge, or the waiter's count is
//! seen, and it walks again.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::completion::{Completion, Edge, Remaining};

/// How many threads wait for a completion from within a scope.
static SCOPED_WAITERS: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread that waits from within a scope.
pub(super) struct ScopedWaiter;

impl ScopedWaiter {
    pub(super) fn new() -> Self {
        SCOPED_WAITERS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for ScopedWaiter {
    fn drop(&mut self) {
        SCOPED_WAITERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which completions a walk has seen.
#[derive(Default)]
pub(super) struct Seen(HashSet<*const Completion>);

impl Seen {
    /// Whether it was not seen before.
    pub(super) fn add(&mut self, completion: &Arc<Completion>) -> bool {
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
    if SCOPED_WAITERS.load(Ordering::SeqCst) > 0 {
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
    let mut unseen = completion.awaited();
    while let Some(edge) = unseen.pop() {
        if seen.add(&edge.to) && visit(&edge)? {
            unseen.append(&mut edge.to.awaited());
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
    let is_inside =
        |completion: &Completion| completion.scopes.iter().flatten().any(|scope| scope.is_current());
    let look = |edge: &Edge| match (edge.to.is_done(), is_inside(&edge.to)) {
        (false, true) => ControlFlow::Break(()),
        (is_done, _) => ControlFlow::Continue(!is_done),
    };
    !completion.is_done() && (is_inside(completion) || visit_awaited(completion, look).is_break())
}

fn notify_upwards(completion: &Arc<Completion>) {
    let mut seen = Seen::default();
    let mut unseen = vec![Arc::clone(completion)];
    while let Some(completion) = unseen.pop() {
        if seen.add(&completion) {
            completion.notify();
            unseen.append(&mut completion.dependents());
        }
    }
}

/// What there still is to deliver, in every queue on its way.
pub(super) fn remaining(completion: &Completion) -> Remaining {
    let mut remaining = Remaining::default();
    completion.count_remaining(&mut remaining);
    let _ = visit_awaited(completion, |edge| {
        edge.to.count_remaining(&mut remaining);
        ControlFlow::Continue(true)
    });
    remaining
}
