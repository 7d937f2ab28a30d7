use std::sync::{Arc, Weak};

use super::options::Bound;
use super::segment::{Node, Passed, Segment};
use super::shared::Shared;

/// Where somebody reads: what cursors and followers have in common.
pub(super) struct Reader<E> {
    pub(super) place: Place<E>,
    /// The number of the next event to read.
    pub(super) position: u64,
    pub(super) bound: Bound,
}

pub(super) enum Place<E> {
    /// Keeps alive what is behind it.
    Held(Arc<Node<E>>),
    /// Of a reader that may be left behind: keeps nothing alive but the room of the node itself. What it has
    /// not read and may still read, the log holds.
    Watched(Weak<Node<E>>),
}

/// What a reader finds.
pub(super) enum Look<E> {
    /// Events, the next one at this index.
    Events(Arc<Segment<E>>, usize),
    /// None now.
    Empty,
    /// None any more.
    Ended,
    /// It is further behind than it may be.
    Behind,
}

impl<E> Reader<E> {
    pub(super) fn new(node: Arc<Node<E>>, position: u64, bound: Bound) -> Self {
        let place = match bound.window() {
            None => Place::Held(node),
            Some(_) => Place::Watched(Arc::downgrade(&node)),
        };
        Self { place, position, bound }
    }

    /// Finds the next events, and seals the open segment if they are there. Does not wait. Calls nothing of a
    /// user's: what it lets go of is in `passed`.
    pub(super) fn look(&mut self, shared: &Shared<E>, passed: &mut Passed<E>) -> Look<E> {
        loop {
            let look = match &mut self.place {
                Place::Held(node) => match look_at(node, self.position, shared, passed) {
                    Ok(look) => look,
                    Err(next) => {
                        passed.push(std::mem::replace(node, next));
                        continue;
                    }
                },
                Place::Watched(watched) => {
                    let window = self.bound.window().unwrap_or(u64::MAX);
                    if shared.head().saturating_sub(self.position) > window {
                        return Look::Behind;
                    }
                    let node = match watched.upgrade().or_else(|| shared.find(self.position)) {
                        Some(node) => node,
                        // The window that the log holds has moved past it since.
                        None => return Look::Behind,
                    };
                    let found = look_at(&node, self.position, shared, passed);
                    *watched = Arc::downgrade(match &found {
                        Ok(_) => &node,
                        Err(next) => next,
                    });
                    passed.push(node);
                    match found {
                        Ok(look) => look,
                        Err(next) => {
                            passed.push(next);
                            continue;
                        }
                    }
                }
            };
            return look;
        }
    }

    /// Moves on to `position`. Not under a lock: events may be dropped.
    #[inline]
    pub(super) fn move_to(&mut self, position: u64, shared: &Shared<E>) {
        self.position = position;
        // Before events are dropped, whose destructors may panic.
        if let Bound::Block(pace) = &self.bound {
            shared.moved(pace, position);
        }
        if let Place::Held(node) = &mut self.place {
            // Past the last event of a segment, that is let go of at once.
            let next = node.sealed().filter(|sealed| sealed.next.first <= position);
            if let Some(next) = next.map(|sealed| Arc::clone(&sealed.next)) {
                *node = next;
            }
        }
    }
}

/// Looks for `position` at `node`; answers the next node if it is further on.
fn look_at<E>(
    node: &Arc<Node<E>>,
    position: u64,
    shared: &Shared<E>,
    passed: &mut Passed<E>,
) -> Result<Look<E>, Arc<Node<E>>> {
    loop {
        if let Some(sealed) = node.sealed() {
            if position >= sealed.next.first {
                return Err(Arc::clone(&sealed.next));
            }
            let at = (position - node.first) as usize;
            return Ok(Look::Events(Arc::clone(&sealed.segment), at));
        }
        // Closed first: `head` does not move after that.
        let closed = shared.is_closed();
        if shared.head() == position {
            return Ok(if closed { Look::Ended } else { Look::Empty });
        }
        shared.seal(node, passed);
    }
}
