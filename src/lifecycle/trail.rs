//! Which queues, broadcasters and logs a flush has visited, so that it ends in a ring of them.
//!
//! A flush goes on from a queue when everything before it is delivered, on the queue's worker, and may come back to
//! where it began. There it ends: what was accepted before it is delivered by then, and what the ring makes of that
//! is new. A node that is no part of a ring is never found on the trail of a flush that reaches it, so that no other
//! flush is cut short.
//!
//! A trail may carry a [`GivenUp`], in which the nodes that it visits say how many events they have given up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

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
    given_up: Option<Arc<GivenUp>>,
}

/// What each node on the way of a flush had dropped, spilled or skipped of all that it ever accepted, when the flush was
/// passed on there. A flush is done when an event is accounted for; this is for a node above that wants it delivered.
#[derive(Debug, Default)]
pub(crate) struct GivenUp(Mutex<BTreeMap<Scope, u64>>);

impl GivenUp {
    #[cfg(feature = "durable")]
    pub(crate) fn take(&self) -> BTreeMap<Scope, u64> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Trail {
    /// The trail of a flush that this thread begins, or passes on, at `node`; `None` if it has been there: it is
    /// in a ring.
    pub(crate) fn at(node: Scope) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);

        let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        // Relaxed: only uniqueness matters.
        let mut trail = current.unwrap_or_else(|| Self {
            flush: NEXT.fetch_add(1, Ordering::Relaxed),
            nodes: Vec::new(),
            given_up: None,
        });
        let at = trail.nodes.binary_search(&node).err()?;
        trail.nodes.insert(at, node);
        Some(trail)
    }

    /// Has the nodes that it will visit say what they have given up.
    #[cfg(feature = "durable")]
    pub(crate) fn asking(mut self, given_up: &Arc<GivenUp>) -> Self {
        self.given_up = Some(Arc::clone(given_up));
        self
    }

    /// Says what `node` has given up, if that is asked for.
    pub(crate) fn report(&self, node: Scope, events: impl FnOnce() -> u64) {
        if let Some(given_up) = &self.given_up {
            let events = events();
            given_up.0.lock().insert(node, events);
        }
    }

    /// Whether this thread is passing a flush on, and not beginning one.
    pub(crate) fn is_passing() -> bool {
        CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false)
    }

    /// Whether both have come the same way, so that one request at a node can stand for both.
    pub(crate) fn is_same_way(&self, other: &Self) -> bool {
        let asks = |trail: &Self| trail.given_up.as_ref().map(Arc::as_ptr);
        self.nodes == other.nodes && asks(self) == asks(other)
    }

    /// Makes this the trail of both, if they are the same flush, so that one request stands for both. In a ring what
    /// goes on from here is cut short where either has been, so that this is for a node at which a flush arrives in so
    /// many ways that it would not end: in a web of rings there are more of them than there are nodes.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
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
        Self::within(Some(self), f)
    }

    /// Runs `f`, which is no part of the flush that this thread may be passing on: a close that happens to begin now,
    /// and may be a flush of what is kept open.
    pub(super) fn leave<T>(f: impl FnOnce() -> T) -> T {
        Self::within(None, f)
    }

    fn within<T>(trail: Option<Self>, f: impl FnOnce() -> T) -> T {
        struct Restore(Option<Trail>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let before = self.0.take();
                let _ = CURRENT.try_with(|current| current.replace(before));
            }
        }

        let before = CURRENT.try_with(|current| current.replace(trail)).ok().flatten();
        let _restore = Restore(before);
        f()
    }
}
