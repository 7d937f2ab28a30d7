//! Which queues, broadcasters and logs a flush has visited, so that it ends in a ring of them.
//!
//! A flush goes on from a queue when everything before it is delivered, on the queue's worker, and may come back to
//! where it began. There it ends: what was accepted before it is delivered by then, and what the ring makes of that
//! is new. A node that is no part of a ring is never found on the trail of a flush that reaches it, so that no other
//! flush is cut short.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::scope::Scope;

thread_local! {
    /// The trail of the flush that this thread is passing on.
    static CURRENT: RefCell<Option<Trail>> = const { RefCell::new(None) };
}

#[derive(Clone, Debug)]
pub(crate) struct Trail {
    /// Which flush it is.
    flush: u64,
    /// The nodes that it has visited, named by their scopes, in order of their names.
    nodes: Vec<Scope>,
}

impl Trail {
    /// The trail of a flush that this thread begins, or passes on, at `node`; `None` if it has been there: it is
    /// in a ring.
    pub(crate) fn at(node: Scope) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        // Relaxed: only uniqueness matters.
        let mut trail = current
            .unwrap_or_else(|| Self { flush: NEXT.fetch_add(1, Ordering::Relaxed), nodes: Vec::new() });
        let at = trail.nodes.binary_search(&node).err()?;
        trail.nodes.insert(at, node);
        Some(trail)
    }

    /// Makes this the trail of both, if one request can stand for them at a node: they are the same flush, or have come
    /// the same way. Where no ring is involved the node is behind all that is on either.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        if self.nodes == other.nodes {
            return true;
        }
        if self.flush != other.flush {
            return false;
        }
        self.nodes.extend_from_slice(&other.nodes);
        self.nodes.sort_unstable();
        self.nodes.dedup();
        true
    }

    /// Runs `f`, whose flushes are passed on from here.
    pub(crate) fn pass_on<T>(self, f: impl FnOnce() -> T) -> T {
        struct Restore(Option<Trail>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let before = self.0.take();
                let _ = CURRENT.try_with(|current| current.replace(before));
            }
        }

        let before = CURRENT.try_with(|current| current.replace(Some(self))).ok().flatten();
        let _restore = Restore(before);
        f()
    }
}
