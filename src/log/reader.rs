//! What cursors and followers have in common: a position in the chain.

use std::sync::{Arc, Weak};

use super::bound::Bound;
use super::segment::{DropLater, Node, Segment};
use super::shared::Shared;

pub(super) struct Reader<E> {
    pub(super) anchor: Anchor<E>,
    /// The number of the next event to read.
    pub(super) position: u64,
    pub(super) bound: Bound,
}

/// How a reader refers to the chain.
pub(super) enum Anchor<E> {
    /// Keeps alive everything behind the node.
    Held(Arc<Node<E>>),
    /// For a reader that may be left behind: keeps no event alive. What it has not read and may still read, the log
    /// itself holds.
    Watched(Weak<Node<E>>),
}

/// What a reader finds.
pub(super) enum ReadResult<E> {
    /// Events; the next one has this index in the segment.
    Events(Arc<Segment<E>>, usize),
    /// None now.
    Empty,
    /// None any more.
    Ended,
    /// The reader is further behind than it may be.
    Behind,
}

impl<E> Reader<E> {
    pub(super) fn new(node: Arc<Node<E>>, position: u64, bound: Bound) -> Self {
        let anchor = match bound.window() {
            None => Anchor::Held(node),
            Some(_) => Anchor::Watched(Arc::downgrade(&node)),
        };
        Self { anchor, position, bound }
    }

    /// Finds the next events, and seals the open segment if they are there. Does not wait, and drops no event: what it
    /// releases is in `later`.
    pub(super) fn read(&mut self, shared: &Shared<E>, later: &mut DropLater<E>) -> ReadResult<E> {
        loop {
            match &mut self.anchor {
                Anchor::Held(node) => match read_at(node, self.position, shared, later) {
                    Ok(result) => return result,
                    Err(next) => later.push(std::mem::replace(node, next)),
                },
                Anchor::Watched(watched) => {
                    let window = self.bound.window().unwrap_or(u64::MAX);
                    if shared.head().saturating_sub(self.position) > window {
                        return ReadResult::Behind;
                    }
                    let node = match watched.upgrade().or_else(|| shared.find(self.position, later)) {
                        Some(node) => node,
                        // The window that the log holds has moved past it since.
                        None => return ReadResult::Behind,
                    };
                    let found = read_at(&node, self.position, shared, later);
                    *watched = Arc::downgrade(found.as_ref().err().unwrap_or(&node));
                    later.push(node);
                    match found {
                        Ok(result) => return result,
                        Err(next) => later.push(next),
                    }
                }
            }
        }
    }

    /// Moves on to `position`. Not under a lock: events may be dropped.
    #[inline]
    pub(super) fn move_to(&mut self, position: u64, shared: &Shared<E>) {
        self.position = position;
        // Before events are dropped, which takes as long as their destructors do.
        if let Bound::Block(gate) = &self.bound {
            shared.moved(gate, position);
        }
        if let Anchor::Held(node) = &mut self.anchor {
            // Past the last event of a segment, that is released at once.
            let next = node.sealed().filter(|sealed| sealed.next.first <= position);
            if let Some(next) = next.map(|sealed| Arc::clone(&sealed.next)) {
                *node = next;
            }
        }
    }

    /// Keeps nothing alive any more. Not under a lock: events may be dropped.
    pub(super) fn let_go(&mut self) {
        self.anchor = Anchor::Watched(Weak::new());
    }
}

/// Looks for `position` in `node`; the error is the next node, if it is further on.
fn read_at<E>(
    node: &Arc<Node<E>>,
    position: u64,
    shared: &Shared<E>,
    later: &mut DropLater<E>,
) -> Result<ReadResult<E>, Arc<Node<E>>> {
    loop {
        if let Some(sealed) = node.sealed() {
            if position >= sealed.next.first {
                return Err(Arc::clone(&sealed.next));
            }
            let at = (position - node.first) as usize;
            return Ok(ReadResult::Events(Arc::clone(&sealed.segment), at));
        }
        // Closed first: `head` does not move after that.
        let closed = shared.is_closed();
        if shared.head() == position {
            return Ok(if closed { ReadResult::Ended } else { ReadResult::Empty });
        }
        shared.seal(node, later);
    }
}
