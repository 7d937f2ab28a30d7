//! The followers of a log, and the ones that have ended before it. Under a lock of its own, which no write takes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::flushes::FlushOfClose;
use crate::lifecycle::ended::{EndedSinks, One};
use crate::lifecycle::{CloseError, Closing, Ended, Flushing};
use crate::sync::SinkId;
use crate::sync::caught::drop_caught;
use crate::sync::scope::Scope;

/// A follower, as the register knows it.
pub(super) trait Member: Send + Sync {
    fn id(&self) -> SinkId;
    fn closing(&self) -> Closing;
    fn request_flush(&self) -> Flushing;
}

#[derive(Default)]
pub(super) struct Register {
    members: Mutex<Members>,
    flush_of_close: FlushOfClose,
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
    pub(super) fn remove(&self, id: SinkId, ended: Option<One>) {
        let mut members = self.members.lock();
        let at = members.followers.iter().position(|other| other.id() == id);
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

    /// Takes no more followers, and returns what the close of the log waits for.
    pub(super) fn close(&self) -> Vec<Closing> {
        let mut members = self.members.lock();
        members.closed = true;
        let followers = members.followers.clone();
        let (ended, older) = members.ended.all();
        drop(members);
        let of_followers = followers.iter().map(|follower| follower.closing().of_sink(follower.id()));
        let of_older = (older > 0).then(|| Closing::failed(CloseError::DownstreamClosed { events: older }));
        of_followers.chain(ended.iter().map(One::closing)).chain(of_older).collect()
    }

    /// Flushes every follower, and waits for the ones that were closed and are still draining. `head` is the number of the
    /// next event, `closing` the log's close.
    pub(super) fn flush(&self, head: impl FnOnce() -> u64, closing: &Closing) -> Flushing {
        let members = self.members.lock();
        if members.closed {
            drop(members);
            return self.flush_of_close.get(closing);
        }
        let (head, changes) = (head(), members.changes);
        if let Some(last) = &members.last_flush {
            if (last.head, last.changes) == (head, changes) && !last.flushing.is_done() {
                return last.flushing.clone();
            }
        }
        let followers = members.followers.clone();
        let (ended, _) = members.ended.all();
        drop(members);

        let of_followers = followers.iter().map(|follower| {
            let id = follower.id();
            follower.request_flush().map(move |outcome| outcome.map_err(|error| error.of_sink(id)))
        });
        // For one that has ended altogether, `ended` and the outcome of the log's close say what it did not deliver.
        let draining = ended.iter().filter(|entry| !entry.closing.is_done());
        let flushing =
            Flushing::all(of_followers.chain(draining.map(|entry| Flushing::of_close(&entry.closing()))));
        // One that came round a ring may have a follower's earlier mark in it, and serves no other.
        if !Scope::any_is_current() {
            let last = LastFlush { head, changes, flushing: flushing.clone() };
            let before = self.members.lock().last_flush.replace(last);
            drop(before);
        }
        flushing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Answer, PendingFlush};

    /// Is stuck: its flushes do not end by themselves.
    struct Stuck {
        id: SinkId,
        pending: Mutex<Vec<PendingFlush>>,
    }

    impl Member for Stuck {
        fn id(&self) -> SinkId {
            self.id
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
            (Answer::Pending(one), Answer::Pending(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    #[test]
    fn a_flush_that_is_asked_for_again_costs_nothing_until_there_is_more_to_flush() {
        let register = Register::default();
        let stuck = Arc::new(Stuck { id: SinkId::new(), pending: Mutex::default() });
        register.add(stuck.clone());
        let (closing, of_log) = Closing::pending();
        let flush = |head: u64| register.flush(|| head, &closing);
        let begun = || stuck.pending.lock().len();

        let first = flush(5);
        assert!((0..100).all(|_| is_same(&first, &flush(5))));
        assert_eq!(begun(), 1);
        // One more event, and one more follower.
        assert!(!is_same(&first, &flush(6)));
        let other = Arc::new(Stuck { id: SinkId::new(), pending: Mutex::default() });
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
