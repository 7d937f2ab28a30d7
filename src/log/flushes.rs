//! The flushes of a follower.
//!
//! A flush has a *mark*, taken once: the number of events that have to be delivered before the sink is flushed. Flushes
//! with the same mark share a completion, so asking again and again costs nothing. That holds for the one whose sink is
//! flushing as well: everything before its mark was delivered before that began.
//!
//! A sink that leads back to the log asks the same follower for a flush from within its own. That is the same flush, and
//! shares its completion; the lifecycle sees the ring that this makes, and leaves it open.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::lifecycle::completion::{Completion, Node};
use crate::lifecycle::{Closing, FlushError, Flushing};

type FlushCompletion = Arc<Completion<FlushError>>;

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
    /// The worker is in the call of the sink's `flush`.
    in_sink: bool,
    /// No flush is taken any more.
    ended: bool,
}

struct Flush {
    mark: u64,
    completion: FlushCompletion,
}

/// What came of asking for a flush.
pub(super) enum Request {
    /// The worker has to be notified of this one.
    New(FlushCompletion),
    Shared(FlushCompletion),
    /// The follower has ended: its close says what was delivered.
    Ended,
}

impl Flushes {
    /// `within` says whether the caller is in the sink's own code. The marks that `mark` returns must not go back.
    pub(super) fn request(
        &self,
        within: bool,
        mark: impl FnOnce() -> u64,
        completion: impl FnOnce() -> FlushCompletion,
    ) -> Request {
        let mut state = self.state.lock();
        if state.ended {
            return Request::Ended;
        }
        let mark = mark();
        let nested = within && state.in_sink;
        let current = state.current.as_ref().filter(|flush| nested || flush.covers(mark));
        let waiting = state.waiting.back().filter(|flush| flush.covers(mark));
        if let Some(flush) = current.or(waiting) {
            return Request::Shared(Arc::clone(&flush.completion));
        }
        let completion = completion();
        state.waiting.push_back(Flush { mark, completion: Arc::clone(&completion) });
        Request::New(completion)
    }

    /// The mark of the first flush that waits.
    pub(super) fn first_mark(&self) -> u64 {
        self.state.lock().first_mark()
    }

    /// Begins the flushes that are due when everything before `position` is delivered; and the mark of the next. To be
    /// followed by `begun`.
    pub(super) fn begin_due(&self, position: u64) -> (Vec<FlushCompletion>, u64) {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        let mut last = None;
        while state.first_mark() <= position {
            let Some(flush) = state.waiting.pop_front() else {
                break;
            };
            due.push(Arc::clone(&flush.completion));
            last = Some(flush);
        }
        let before = last.and_then(|flush| state.current.replace(flush));
        state.in_sink = true;
        let next = state.first_mark();
        drop(state);
        // Without the lock: a completion holds whatever awaits it.
        drop(before);
        (due, next)
    }

    /// The sink's `flush` has returned.
    pub(super) fn begun(&self) {
        self.state.lock().in_sink = false;
    }

    /// The flushes that wait. None is taken after this.
    pub(super) fn end(&self) -> Vec<FlushCompletion> {
        let mut state = self.state.lock();
        state.ended = true;
        std::mem::take(&mut state.waiting).into_iter().map(|flush| flush.completion).collect()
    }
}

impl State {
    fn first_mark(&self) -> u64 {
        self.waiting.front().map_or(u64::MAX, |flush| flush.mark)
    }
}

impl Flush {
    /// Whether a flush with this mark can share it.
    fn covers(&self, mark: u64) -> bool {
        mark <= self.mark && !self.completion.is_done()
    }
}

/// The flush of something that is closed: done when the close is, and one for all that ask.
#[derive(Default)]
pub(super) struct FlushOfClose(OnceLock<Flushing>);

impl FlushOfClose {
    pub(super) fn get(&self, closing: &Closing) -> Flushing {
        self.0.get_or_init(|| Flushing::of_close(closing)).clone()
    }
}
