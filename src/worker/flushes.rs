//! The flushes of a worker.
//!
//! A flush has a *mark*: the position of the worker at which everything is delivered that was accepted before it. At the mark
//! the sink is flushed, and the flush is *passed on*. In a log the mark is known when the flush is asked for. In a queue
//! the worker alone knows it: until the worker looks for it, the flush is *new*.
//!
//! Requests share a completion where they can, so that asking again and again costs nothing: with one that is new, with one
//! whose mark covers them, and with the one whose sink is flushing, since everything before its mark was delivered before
//! that began.
//!
//! A flush that comes back to the worker, from its own sink or round a ring, ends there: see `Trail`.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::deliver::Deliver;
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::{MaybeDone, Trail, flush_caught, join};
use crate::sync::scope::Scope;

/// In how many ways flushes may arrive before those of one flush are merged.
const WAYS: usize = 16;

/// How many flushes may be passed on before those that have ended are looked for.
const FEW: usize = 16;

#[derive(Default)]
pub(crate) struct Flushes(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    /// Allocated with the first flush.
    state: Option<Box<State>>,
    /// No flush is taken any more.
    ended: bool,
}

#[derive(Default)]
struct State {
    /// Without a mark yet.
    new: Vec<Flush>,
    /// None has a lower mark than the one before.
    waiting: VecDeque<(u64, Flush)>,
    /// The last one that was passed on, and its mark.
    current: Option<(u64, Flush)>,
    /// Those that were passed on and may not have ended yet.
    passed: Vec<Weak<Completion>>,
    /// How many of these there may be before those that have ended are removed.
    prune_at: usize,
}

#[derive(Clone)]
pub(super) struct Flush {
    pub(super) completion: Arc<Completion>,
    pub(super) trail: Trail,
}

/// What came of asking for a flush.
pub(super) enum Request {
    /// The worker has to be asked to look for this one.
    New(Arc<Completion>),
    Shared(Arc<Completion>),
    /// The worker has ended: the close says what was delivered.
    Ended,
}

impl Flushes {
    /// `mark` is where the flush is due, and does not go back from one call to the next; `None` if the worker alone can tell,
    /// when it [looks for it](Self::look_up).
    pub(super) fn request(
        &self,
        trail: Trail,
        mark: impl FnOnce() -> Option<u64>,
        completion: impl FnOnce() -> Arc<Completion>,
    ) -> Request {
        let mut asked = self.0.lock();
        if asked.ended {
            return Request::Ended;
        }
        let mark = mark();
        let State { new, waiting, current, .. } = &mut **asked.state.get_or_insert_default();
        let covers = |other: u64| mark.is_some_and(|mark| mark <= other);
        let covered = current.iter().chain(waiting.iter().rev()).filter(|(mark, _)| covers(*mark));
        if let Some(flush) = covered.map(|(_, flush)| flush).chain(&*new).find(|flush| flush.serves(&trail)) {
            return Request::Shared(Arc::clone(&flush.completion));
        }
        if new.len() + waiting.len() >= WAYS {
            let last = waiting.iter_mut().rev().filter(|(mark, _)| covers(*mark)).map(|(_, flush)| flush);
            let mut open = last.chain(&mut *new).filter(|flush| !flush.completion.is_done());
            if let Some(flush) = open.find_map(|flush| flush.trail.merge(&trail).then_some(flush)) {
                return Request::Shared(Arc::clone(&flush.completion));
            }
        }
        let completion = completion();
        let flush = Flush { completion: Arc::clone(&completion), trail };
        match mark {
            Some(mark) => waiting.push_back((mark, flush)),
            None => new.push(flush),
        }
        Request::New(completion)
    }

    /// Gives those that are new the mark that `mark` returns. Returns the first mark of all.
    #[cold]
    pub(super) fn look_up(&self, mark: impl FnOnce() -> u64) -> u64 {
        let mut asked = self.0.lock();
        let Some(state) = &mut asked.state else {
            return u64::MAX;
        };
        let State { new, waiting, .. } = &mut **state;
        if !new.is_empty() {
            // No flush comes in between: what was accepted before any of these is covered.
            let mark = mark();
            waiting.extend(new.drain(..).map(|flush| (mark, flush)));
        }
        state.first_mark()
    }

    /// Takes the flushes that are due at `position`, to be passed on; and the mark of the next.
    #[cold]
    pub(super) fn take_due(&self, position: u64) -> (Vec<Flush>, u64) {
        let mut due = Vec::new();
        let mut asked = self.0.lock();
        let Some(state) = &mut asked.state else {
            return (due, u64::MAX);
        };
        let mut before = None;
        while state.first_mark() <= position {
            let Some((mark, flush)) = state.waiting.pop_front() else {
                break;
            };
            if state.passed.len() >= state.prune_at.max(FEW) {
                state.passed.retain(|flush| flush.upgrade().is_some_and(|flush| !flush.is_done()));
                state.prune_at = 2 * state.passed.len();
            }
            state.passed.push(Arc::downgrade(&flush.completion));
            due.push(flush.clone());
            before = before.or(state.current.replace((mark, flush)));
        }
        let next = state.first_mark();
        drop(asked);
        // Without the lock: a completion holds what it awaits.
        drop(before);
        (due, next)
    }

    /// Those that were not passed on. None is taken after this.
    pub(super) fn end(&self) -> Vec<Flush> {
        let mut asked = self.0.lock();
        asked.ended = true;
        let Some(state) = &mut asked.state else {
            return Vec::new();
        };
        let new = std::mem::take(&mut state.new);
        let waiting = std::mem::take(&mut state.waiting);
        waiting.into_iter().map(|(_, flush)| flush).chain(new).collect()
    }

    /// Ends those that were not passed on. None is taken after this.
    pub(crate) fn answer(&self, outcome: &Outcome) {
        self.end().into_iter().for_each(|flush| flush.completion.complete(outcome.clone()));
    }

    /// Ends all that have not ended, those included that were passed on. None is taken after this.
    pub(super) fn fail(&self, outcome: &Outcome) {
        let waiting = self.end();
        let passed =
            self.0.lock().state.as_mut().map(|state| std::mem::take(&mut state.passed)).unwrap_or_default();
        let passed = passed.iter().filter_map(Weak::upgrade);
        for completion in passed.chain(waiting.into_iter().map(|flush| flush.completion)) {
            completion.complete(outcome.clone());
        }
    }
}

impl State {
    fn first_mark(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |(mark, _)| *mark)
    }
}

impl Flush {
    /// Whether one that has come along `trail` can share it.
    fn serves(&self, trail: &Trail) -> bool {
        self.trail.is_same_way(trail) && !self.completion.is_done()
    }
}

/// Flushes the sink for flushes whose events are all delivered, or among those that the worker of this scope has given up.
#[cold]
pub(super) fn pass_on<T, D>(due: Vec<Flush>, sink: &D, scope: Scope, given_up: impl Fn() -> u64)
where
    D: Deliver<T>,
{
    for flush in due {
        flush.trail.report(scope, &given_up);
        let downstream = flush.trail.pass_on(|| flush_caught(|| sink.flush()));
        MaybeDone::gather(&flush.completion, [(downstream.0, true)], join);
    }
}
