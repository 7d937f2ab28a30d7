//! The chain of segments that holds a log's events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::sync::caught::run_caught;

/// A link of the chain. It is open until it is sealed; from then on it has, for good, the events that were
/// appended meanwhile and the next link.
///
/// A link refers to the one behind it and never to the one before, so a segment is freed when nothing can
/// reach it any more: when the last reader has passed it.
pub(super) struct Node<E> {
    /// The number of its first event.
    pub(super) first: u64,
    /// Set once, under the log's lock. A reader that finds it set reads the events without a lock: whatever
    /// was written before `OnceLock::set` is visible after `OnceLock::get`.
    sealed: OnceLock<Sealed<E>>,
}

pub(super) struct Sealed<E> {
    pub(super) segment: Arc<Segment<E>>,
    pub(super) next: Arc<Node<E>>,
}

/// Consecutive events. They are not in the node itself, so that a reader can keep these without keeping all
/// that follow.
pub(super) struct Segment<E> {
    pub(super) events: Events<E>,
    alive: Arc<Alive>,
}

/// Events that are dropped one by one. If a destructor panics, the others are dropped all the same and the
/// panic goes no further: a reader, a writer and a worker never see a panic of an event that is not theirs.
pub(super) struct Events<E>(pub(super) Vec<E>);

/// How much there is in a log's sealed segments.
#[derive(Default)]
pub(super) struct Alive {
    pub(super) segments: AtomicU64,
    pub(super) events: AtomicU64,
}

impl<E> Node<E> {
    pub(super) fn open(first: u64) -> Arc<Self> {
        Arc::new(Self { first, sealed: OnceLock::new() })
    }

    #[inline]
    pub(super) fn sealed(&self) -> Option<&Sealed<E>> {
        self.sealed.get()
    }

    /// Seals it. The caller holds the log's lock and knows that it is open.
    pub(super) fn seal(&self, segment: Arc<Segment<E>>, next: Arc<Self>) {
        let sealed = self.sealed.set(Sealed { segment, next }).is_ok();
        debug_assert!(sealed, "a node is sealed once");
    }

    /// The node, this one or one behind it, that has or will have the event `position`; `None` if that was
    /// before this one. As slow as the chain is long: not for the log's lock.
    pub(super) fn find(self: &Arc<Self>, position: u64) -> Option<Arc<Self>> {
        if position < self.first {
            return None;
        }
        let mut node = self;
        while let Some(sealed) = node.sealed() {
            if position < sealed.next.first {
                break;
            }
            node = &sealed.next;
        }
        Some(Arc::clone(node))
    }
}

impl<E> Segment<E> {
    pub(super) fn new(events: Events<E>, alive: &Arc<Alive>) -> Arc<Self> {
        // Relaxed: these are counts, and nothing else depends on them.
        alive.segments.fetch_add(1, Ordering::Relaxed);
        alive.events.fetch_add(events.0.len() as u64, Ordering::Relaxed);
        Arc::new(Self { events, alive: Arc::clone(alive) })
    }

    /// The events from the one at index `at` on.
    #[inline]
    pub(super) fn from(&self, at: usize) -> &[E] {
        self.events.0.get(at..).unwrap_or_default()
    }
}

impl<E> Drop for Segment<E> {
    fn drop(&mut self) {
        self.alive.segments.fetch_sub(1, Ordering::Relaxed);
        self.alive.events.fetch_sub(self.events.0.len() as u64, Ordering::Relaxed);
    }
}

impl<E> Drop for Events<E> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<E>() {
            return;
        }
        let mut events = std::mem::take(&mut self.0).into_iter();
        while events.len() > 0 {
            // Goes on behind an event whose destructor panicked.
            run_caught(|| events.by_ref().for_each(drop));
        }
    }
}

impl<E> Drop for Node<E> {
    /// Frees what only this node kept, one after the other: a chain of a million does not recurse.
    fn drop(&mut self) {
        let mut sealed = self.sealed.take();
        while let Some(Sealed { segment, next }) = sealed {
            drop(segment);
            sealed = Arc::into_inner(next).and_then(|mut next| next.sealed.take());
        }
    }
}

/// Nodes that were released under a lock. They are dropped when it is released: events may be dropped with
/// them, whose destructors are a user's code and may call the log.
pub(super) struct DropLater<E> {
    first: Option<Arc<Node<E>>>,
    more: Vec<Arc<Node<E>>>,
}

impl<E> Default for DropLater<E> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<E> DropLater<E> {
    #[inline]
    pub(super) fn push(&mut self, node: Arc<Node<E>>) {
        if self.first.is_none() {
            self.first = Some(node);
        } else {
            self.more.push(node);
        }
    }
}
