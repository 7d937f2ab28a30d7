//! The chain that a log's events stand in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A place in the chain: open until it is sealed, and then for good the events that were appended meanwhile
/// and the place behind them.
///
/// A place holds the one behind it and never the one before, so that a segment is freed when nobody can
/// reach it any more: when the last reader has passed it.
pub(super) struct Node<E> {
    /// The sequence number of its first event.
    pub(super) first: u64,
    /// Set once, under the lock of the log. A reader that finds it set reads the events without a lock: what
    /// `OnceLock` publishes is visible to who sees it.
    sealed: OnceLock<Sealed<E>>,
}

pub(super) struct Sealed<E> {
    pub(super) segment: Arc<Segment<E>>,
    pub(super) next: Arc<Node<E>>,
}

/// Events that stand next to each other. Held apart from its place, so that a reader can hold on to these
/// without holding all that follow.
pub(super) struct Segment<E> {
    pub(super) events: Vec<E>,
    alive: Arc<Alive>,
}

/// What there is of a log's sealed segments.
#[derive(Default)]
pub(super) struct Alive {
    pub(super) segments: AtomicU64,
    pub(super) events: AtomicU64,
}

impl<E> Node<E> {
    /// One that is open.
    pub(super) fn open(first: u64) -> Arc<Self> {
        Arc::new(Self { first, sealed: OnceLock::new() })
    }

    #[inline]
    pub(super) fn sealed(&self) -> Option<&Sealed<E>> {
        self.sealed.get()
    }

    /// Seals it; only for who holds the log's lock and knows that it is open.
    pub(super) fn seal(&self, segment: Arc<Segment<E>>, next: Arc<Self>) {
        let sealed = self.sealed.set(Sealed { segment, next }).is_ok();
        debug_assert!(sealed, "a place is sealed once");
    }
}

impl<E> Segment<E> {
    pub(super) fn new(events: Vec<E>, alive: &Arc<Alive>) -> Arc<Self> {
        // Relaxed: counts, on which nothing else depends.
        alive.segments.fetch_add(1, Ordering::Relaxed);
        alive.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        Arc::new(Self { events, alive: Arc::clone(alive) })
    }
}

impl<E> Drop for Segment<E> {
    fn drop(&mut self) {
        self.alive.segments.fetch_sub(1, Ordering::Relaxed);
        self.alive.events.fetch_sub(self.events.len() as u64, Ordering::Relaxed);
    }
}

impl<E> Drop for Node<E> {
    /// Frees what only this place held, one after another: a chain of a million does not recurse.
    fn drop(&mut self) {
        let mut sealed = self.sealed.take();
        while let Some(Sealed { segment, next }) = sealed {
            drop(segment);
            sealed = Arc::into_inner(next).and_then(|mut next| next.sealed.take());
        }
    }
}

/// Places that were let go of under a lock, to be dropped when it is released: with them go events, whose
/// destructors are a user's code.
pub(super) struct Passed<E> {
    first: Option<Arc<Node<E>>>,
    more: Vec<Arc<Node<E>>>,
}

impl<E> Default for Passed<E> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<E> Passed<E> {
    #[inline]
    pub(super) fn push(&mut self, node: Arc<Node<E>>) {
        if self.first.is_none() {
            self.first = Some(node);
        } else {
            self.more.push(node);
        }
    }
}
