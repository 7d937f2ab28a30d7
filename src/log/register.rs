//! The followers of a log, and the ones that have ended before it. Under a lock of its own, which no write takes.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::lifecycle::ended::{EndedEntry, EndedSinks};
use crate::lifecycle::{CloseError, Closing, Ended, Flushing, MaybeDone, Trail, join};
use crate::sync::caught::drop_caught;
use crate::sync::{Label, SinkId};

/// A follower, as the register knows it.
pub(super) trait Member: Send + Sync {
    fn label(&self) -> &Label;
    fn closing(&self) -> Closing;
    fn request_flush(&self) -> Flushing;
}

#[derive(Default)]
pub(super) struct Register {
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    followers: Vec<Arc<dyn Member>>,
    ended: EndedSinks,
    /// The log's close waits for the followers that were here when it began, and for no others.
    closed: bool,
    /// How often a follower came or went.
    changes: u64,
    last_flush: Option<LastFlush>,
}

/// The last flush of the log. While it is under way it serves every caller for which it is the same.
struct LastFlush {
    head: u64,
    changes: u64,
    flushing: Flushing,
}

impl Register {
    pub(super) fn add(&self, follower: Arc<dyn Member>) {
        let mut members = self.members.lock();
        if !members.closed {
            members.followers.push(follower);
            members.changes += 1;
        }
    }

    /// Takes a follower off. `ended` is kept if the log is to know of it later.
    pub(super) fn remove(&self, id: SinkId, ended: Option<EndedEntry>) {
        let mut members = self.members.lock();
        let at = members.followers.iter().position(|other| other.label().id == id);
        let removed = at.map(|at| members.followers.remove(at));
        // A log that is closed waits for it already.
        let ended = ended.filter(|_| removed.is_some() && !members.closed);
        let forgotten = ended.map(|entry| members.ended.push(entry));
        members.changes += 1;
        drop(members);
        drop_caught((removed, forgotten));
    }

    pub(super) fn followers(&self) -> usize {
        self.members.lock().followers.len()
    }

    pub(super) fn ended(&self) -> Ended {
        self.members.lock().ended.list()
    }

    /// Takes no more followers, and returns what the close of the log waits for, named; and what was not delivered for
    /// followers that ended so long ago that they are no longer named.
    pub(super) fn close(&self) -> (Vec<(Label, Closing)>, u64) {
        let mut members = self.members.lock();
        members.closed = true;
        let followers = members.followers.clone();
        let (ended, older) = members.ended.all();
        drop(members);
        let followers = followers.iter().map(|follower| (follower.label().clone(), follower.closing()));
        let ended = ended.into_iter().map(|entry| (entry.label, entry.closing));
        (followers.chain(ended).collect(), older)
    }

    /// Flushes every follower, and waits for the ones that were closed and are still draining. `head` is the number of the
    /// next event, `closing` the log's close.
    pub(super) fn flush(&self, head: impl FnOnce() -> u64, closing: &Closing) -> Flushing {
        let members = self.members.lock();
        if members.closed {
            drop(members);
            return Flushing::of_close(closing);
        }
        let (head, changes) = (head(), members.changes);
        // A flush that is passed on may have come through a follower, and serves no other; nor does another serve it.
        let shares = !Trail::is_passing();
        if let Some(last) = members.last_flush.as_ref().filter(|_| shares) {
            if (last.head, last.changes) == (head, changes) && !last.flushing.is_done() {
                return last.flushing.clone();
            }
        }
        let followers = members.followers.clone();
        let draining = members.ended.draining();
        drop(members);

        let flush = |follower: &Arc<dyn Member>| (follower.label().clone(), follower.request_flush().0);
        // For one that has ended altogether, `ended` and the outcome of the log's close say what it did not deliver.
        let draining = draining.into_iter().map(|entry| (entry.label, entry.closing.0));
        let (labels, parts): (Vec<_>, Vec<_>) = followers.iter().map(flush).chain(draining).unzip();
        let flushing = Flushing::of(MaybeDone::gathered(parts, move |outcomes| {
            let named = outcomes.into_iter().zip(labels);
            join(named.map(|(outcome, label)| outcome.map_err(|error| error.of_sink(&label))))
        }));
        if shares {
            let last = LastFlush { head, changes, flushing: flushing.clone() };
            let before = self.members.lock().last_flush.replace(last);
            drop(before);
        }
        flushing
    }
}

/// What the close of the log makes of the outcomes of its followers. One that was further behind than it might be was
/// closed as asked, which is no error of the log's: it stands in `ended`.
pub(super) fn outcome_of_log(
    outcomes: Vec<Result<(), CloseError>>,
    labels: &[Label],
    older: u64,
) -> Result<(), CloseError> {
    let named = outcomes.into_iter().zip(labels).map(|(outcome, label)| match outcome {
        Err(CloseError::Lagged { .. }) => Ok(()),
        outcome => outcome.map_err(|error| error.of_sink(label)),
    });
    let older = match older {
        0 => Ok(()),
        events => Err(CloseError::DownstreamClosed { events }),
    };
    join(named.chain([older]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::PendingFlush;

    /// Is stuck: its flushes do not end by themselves.
    struct Stuck {
        label: Label,
        pending: Mutex<Vec<PendingFlush>>,
    }

    impl Member for Stuck {
        fn label(&self) -> &Label {
            &self.label
        }

        fn closing(&self) -> Closing {
            Closing::done()
        }

        fn request_flush(&self) -> Flushing {
            let (flushing, pending) = Flushing::pending();
            self.pending.lock().push(pending);
            flushing
        }
    }

    fn is_same(one: &Flushing, other: &Flushing) -> bool {
        match (&one.0, &other.0) {
            (MaybeDone::Pending(one), MaybeDone::Pending(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    #[test]
    fn a_flush_that_is_asked_for_again_costs_nothing_until_there_is_more_to_flush() {
        let register = Register::default();
        let stuck = Arc::new(Stuck { label: Label::new(None), pending: Mutex::default() });
        register.add(stuck.clone());
        let (closing, of_log) = Closing::pending();
        let flush = |head: u64| register.flush(|| head, &closing);
        let begun = || stuck.pending.lock().len();

        let first = flush(5);
        assert!((0..100).all(|_| is_same(&first, &flush(5))));
        assert_eq!(begun(), 1);
        // One more event, and one more follower.
        assert!(!is_same(&first, &flush(6)));
        let other = Arc::new(Stuck { label: Label::new(None), pending: Mutex::default() });
        register.add(other.clone());
        assert!(!is_same(&flush(6), &flush(7)));
        assert_eq!((begun(), other.pending.lock().len()), (4, 2));
        // One that is done is no answer to a new one.
        stuck.pending.lock().iter().chain(&*other.pending.lock()).for_each(|flush| flush.finish(Ok(())));
        assert!(first.is_done());
        assert!(!flush(7).is_done());
        assert_eq!(begun(), 5);

        drop(register.close());
        let of_close = flush(7);
        assert!((0..100).all(|_| is_same(&of_close, &flush(7))));
        of_log.finish(Ok(()));
        assert!(of_close.is_done());
    }
}
