//! A state, and a reader of exactly the events after it.
//!
//! While a snapshot is taken, `limit` is 0 and writes wait. Several may be taken at once. So that threads that take
//! one after the other do not hold a write back for ever, a snapshot begins only when the writes that others have
//! held back have gone in. One within another does not wait for them: they wait for the outer one.

use std::sync::Arc;

use super::bound::Bound;
use super::segment::Node;
use super::shared::Shared;
use crate::sync::blocking::blocking;

/// Runs `f` while no write can go in, and registers a reader that begins where it began.
pub(super) fn take<E, T>(shared: &Shared<E>, f: impl FnOnce() -> T) -> (T, Arc<Node<E>>, u64) {
    let mut state = shared.state.lock();
    if !shared.snapshot.is_current() {
        while state.held_back > 0 && !state.closed {
            blocking(|| shared.turn.wait(&mut state));
        }
    }
    state.snapshots += 1;
    state.set_limit();
    let (node, position) = state.join_at_head();
    drop(state);
    let taking = Taking(shared);
    let mut joined = Joined(Some(shared));
    let inside = shared.snapshot.enter();
    let value = f();
    drop(inside);
    joined.0 = None;
    drop(taking);
    (value, node, position)
}

/// Lets writes go on when it is dropped.
struct Taking<'a, E>(&'a Shared<E>);

impl<E> Drop for Taking<'_, E> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.snapshots -= 1;
        state.set_limit();
        drop(state);
        self.0.room.notify_all();
    }
}

/// Unregisters the reader when it is dropped, if the closure panicked.
struct Joined<'a, E>(Option<&'a Shared<E>>);

impl<E> Drop for Joined<'_, E> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.leave(&Bound::None);
        }
    }
}
