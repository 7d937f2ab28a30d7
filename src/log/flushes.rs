//! The flushes of a follower.
//!
//! A flush has a *mark*, taken once: the number of events that have to be delivered before the sink is flushed. Flushes
//! with the same mark share a completion, so asking again and again costs nothing. That holds for the one whose sink is
//! flushing as well: everything before its mark was delivered before that began.
//!
//! A flush that comes back to the follower, from its own sink or round a ring, ends there: see `Trail`.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::lifecycle::Trail;
use crate::lifecycle::completion::Completion;

/// How many flushes may wait before those of one flush that has come in several ways are merged.
const WAYS: usize = 16;

#[derive(Default)]
pub(super) struct Flushes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Not due yet. Each has a higher mark than the one before.
    waiting: VecDeque<Flush>,
    /// The last one that was due: its sink is flushing, or has done so.
    current: Option<Flush>,
    /// No flush is taken any more.
    ended: bool,
}

#[derive(Clone)]
pub(super) struct Flush {
    mark: u64,
    pub(super) completion: Arc<Completion>,
    pub(super) trail: Trail,
}

/// What came of asking for a flush.
pub(super) enum Request {
    /// The worker has to be notified of this one.
    New(Arc<Completion>),
    Shared(Arc<Completion>),
    /// The follower has ended: its close says what was delivered.
    Ended,
}

impl Flushes {
    /// The marks that `mark` returns must not go back.
    pub(super) fn request(
        &self,
        trail: Trail,
        mark: impl FnOnce() -> u64,
        completion: impl FnOnce() -> Arc<Completion>,
    ) -> Request {
        let mut state = self.state.lock();
        if state.ended {
            return Request::Ended;
        }
        let mark = mark();
        let current = state.current.as_ref().filter(|flush| flush.covers(mark, &trail));
        let mut waiting = state.waiting.iter().rev();
        let shared = current.or_else(|| waiting.find(|flush| flush.covers(mark, &trail)));
        if let Some(flush) = shared {
            return Request::Shared(Arc::clone(&flush.completion));
        }
        if state.waiting.len() >= WAYS {
            // One that waits for the last mark is merged, if it is the same flush.
            let last = state.waiting.back_mut().filter(|flush| mark <= flush.mark);
            if let Some(flush) = last.filter(|flush| !flush.completion.is_done()) {
                if flush.trail.merge(&trail) {
                    return Request::Shared(Arc::clone(&flush.completion));
                }
            }
        }
        let completion = completion();
        state.waiting.push_back(Flush { mark, completion: Arc::clone(&completion), trail });
        Request::New(completion)
    }

    /// The mark of the first flush that waits.
    pub(super) fn first_mark(&self) -> u64 {
        self.state.lock().first_mark()
    }

    /// Takes the flushes that are due when everything before `position` is delivered; and the mark of the next.
    pub(super) fn take_due(&self, position: u64) -> (Vec<Flush>, u64) {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while state.first_mark() <= position {
            due.extend(state.waiting.pop_front());
        }
        let last = due.last().cloned();
        let before = last.and_then(|flush| state.current.replace(flush));
        let next = state.first_mark();
        drop(state);
        // Without the lock: a completion holds what it awaits.
        drop(before);
        (due, next)
    }

    /// The flushes that wait. None is taken after this.
    pub(super) fn end(&self) -> Vec<Flush> {
        let mut state = self.state.lock();
        state.ended = true;
        std::mem::take(&mut state.waiting).into()
    }
}

impl State {
    fn first_mark(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |flush| flush.mark)
    }
}

impl Flush {
    /// Whether a flush with this mark that has come along `trail` can share it.
    fn covers(&self, mark: u64, trail: &Trail) -> bool {
        mark <= self.mark && self.trail.is_same_way(trail) && !self.completion.is_done()
    }
}
