//! What a follower's thread and everybody else know of each other.
//!
//! # Who has an event
//!
//! The thread claims every event before it writes it, by a compare-and-swap on `claim`, which holds the
//! number of the next event and three flags. Whoever stops the follower (an abort, a detach, the thread
//! itself at its end) sets `STOPPED` there: the first who does owns everything that is not claimed by then,
//! and no claim succeeds any more. So each event is either the thread's or the stopper's, and the two can
//! give up their own at the same time. `ASKED` makes the next claim fail once, so that the thread looks up:
//! at a flush, or at a new end. It costs a write nothing.
//!
//! The place where the follower reads stands in `reader`, under a lock that the thread takes once a segment;
//! it holds on to that segment alone while it writes. What is behind it is free once somebody has taken the
//! reader out, however long the write under way takes.
//!
//! # Who goes last
//!
//! The thread and whoever aborts are *parties*. The last one to leave closes the spill, since only parties
//! write to it, and tells the outcome.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::FollowerStats;
use super::options::Bound;
use super::reader::{Look, Reader};
use super::segment::Passed;
use super::shared::{Pace, Shared};
use crate::buffer::shed::Shed;
use crate::contract::SharedSink;
use crate::lifecycle::completion::{Abort, Completion, Outcome};
use crate::lifecycle::ended::EndedEntry;
use crate::lifecycle::{CloseError, MaybeDone, Remaining, Trail, join};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::caught::{drop_caught, run_caught};
use crate::sync::scope::Scope;
use crate::sync::{Label, SinkId};
use crate::worker::Downstream;

const STOPPED: u64 = 1;
const ASKED: u64 = 2;
const DETACHED: u64 = 4;
const FLAGS: u32 = 3;

pub(super) struct Following<E> {
    pub(super) id: SinkId,
    pub(super) shared: Arc<Shared<E>>,
    /// The thread is in it all its life.
    pub(super) scope: Scope,
    pub(super) bound: Bound,
    pub(super) start: u64,
    claim: AtomicU64,
    /// The event that it stops before; `u64::MAX` is the end of the log.
    end: AtomicU64,
    pub(super) counts: Counts,
    pub(super) shed: Shed<E>,
    /// `None` once somebody has stopped it and seen to the rest.
    pub(super) reader: Mutex<Option<Reader<E>>>,
    requests: Mutex<Requests>,
    /// Until it is closed or handed back.
    sink: Downstream<SharedSink<E>>,
    cause: Mutex<Option<Cause>>,
    through: Mutex<bool>,
    through_changed: Condvar,
    parties: AtomicUsize,
    pub(super) completion: Arc<Completion>,
}

/// What became of the events. The thread alone writes the first four, so it needs no read-modify-write.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) delivered: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Claimed, refused, and given up.
    pub(super) returned: AtomicU64,
    /// Never claimed, and given up.
    rest: AtomicU64,
}

#[derive(Default)]
struct Requests {
    /// Flushes, and the event up to which each has to see everything delivered.
    flushes: Vec<(u64, Arc<Completion>, Trail)>,
    /// Nobody sees any more.
    ended: bool,
}

/// Why a follower ended before its time.
#[derive(Clone)]
pub(super) enum Cause {
    Panicked(Arc<str>),
    DownstreamClosed,
    Lagged,
}

/// What came of a claim.
pub(super) enum Claim {
    Claimed,
    Stopped,
    Asked,
}

impl<E> Following<E> {
    pub(super) fn new(
        shared: &Arc<Shared<E>>,
        reader: Reader<E>,
        spill: Option<SharedSink<E>>,
        sink: SharedSink<E>,
    ) -> Arc<Self> {
        let (scope, shed) = (Scope::new(), Shed::new(spill));
        // Its writes to the log, if it has any, wait for a snapshot to end.
        let completion = Completion::within(vec![scope, shed.scope, shared.snapshot]);
        let id = SinkId::new();
        shed.log.of_sink(&Label { id, name: None });
        Arc::new(Self {
            id,
            shared: Arc::clone(shared),
            scope,
            bound: reader.bound.clone(),
            start: reader.position,
            claim: AtomicU64::new(reader.position << FLAGS),
            end: AtomicU64::new(u64::MAX),
            counts: Counts::default(),
            shed,
            reader: Mutex::new(Some(reader)),
            requests: Mutex::default(),
            sink: Downstream::new(sink),
            cause: Mutex::new(None),
            through: Mutex::new(false),
            through_changed: Condvar::new(),
            parties: AtomicUsize::new(1),
            completion,
        })
    }

    /// The next event that it claims.
    pub(super) fn position(&self) -> u64 {
        self.claim.load(Ordering::Acquire) >> FLAGS
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.claim.load(Ordering::Acquire) & STOPPED != 0
    }

    pub(super) fn is_detached(&self) -> bool {
        self.claim.load(Ordering::Acquire) & DETACHED != 0
    }

    /// Whether the thread has to look up.
    pub(super) fn has_news(&self) -> bool {
        self.claim.load(Ordering::Acquire) & (STOPPED | ASKED) != 0
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Claims the events from `position` up to `to`. The thread's.
    #[inline]
    pub(super) fn claim(&self, position: u64, to: u64) -> Claim {
        let (from, to) = (position << FLAGS, to << FLAGS);
        match self.claim.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Claim::Claimed,
            Err(word) if word & STOPPED != 0 => Claim::Stopped,
            Err(_) => Claim::Asked,
        }
    }

    /// The thread has looked up: answers up to where the first flush is waiting.
    pub(super) fn see(&self) -> u64 {
        // Before the requests are looked at: one that comes after asks again.
        self.claim.fetch_and(!ASKED, Ordering::AcqRel);
        self.first_flush()
    }

    fn first_flush(&self) -> u64 {
        self.requests.lock().flushes.iter().map(|(until, ..)| *until).min().unwrap_or(u64::MAX)
    }

    /// The flushes that have to see no more than the events before `position` delivered.
    pub(super) fn take_due(&self, position: u64) -> (Vec<(Arc<Completion>, Trail)>, u64) {
        let mut requests = self.requests.lock();
        let (due, later): (Vec<_>, _) =
            std::mem::take(&mut requests.flushes).into_iter().partition(|(until, ..)| *until <= position);
        requests.flushes = later;
        drop(requests);
        (due.into_iter().map(|(_, flush, trail)| (flush, trail)).collect(), self.first_flush())
    }

    /// The last flushes: none is taken after this.
    pub(super) fn end_requests(&self) -> Vec<(Arc<Completion>, Trail)> {
        let mut requests = self.requests.lock();
        requests.ended = true;
        std::mem::take(&mut requests.flushes).into_iter().map(|(_, flush, trail)| (flush, trail)).collect()
    }

    pub(super) fn request_flush(&self) -> Flushing {
        let Some(trail) = Trail::at(self.scope) else {
            return Flushing::done();
        };
        // A follower's own write may wait for a snapshot to end, so a thread in one must not wait for it.
        let completion = Completion::within(vec![self.scope, self.shared.snapshot]);
        let mut requests = self.requests.lock();
        if requests.ended {
            drop(requests);
            return Flushing::of_close(&self.closing());
        }
        let until = self.shared.head().min(self.end());
        requests.flushes.push((until, Arc::clone(&completion), trail));
        drop(requests);
        self.claim.fetch_or(ASKED, Ordering::AcqRel);
        self.shared.interrupt(|_| {});
        Flushing::of(MaybeDone::Pending(completion))
    }

    pub(super) fn label(&self) -> Label {
        Label { id: self.id, name: None }
    }

    pub(super) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    /// Has it end with what is in the log now.
    pub(super) fn close(&self) -> Closing {
        self.shared.interrupt(|head| {
            // No event is appended between the two, so the thread cannot claim one beyond the end before it
            // looks up.
            let _ = self.end.compare_exchange(u64::MAX, head, Ordering::AcqRel, Ordering::Acquire);
            self.claim.fetch_or(ASKED, Ordering::AcqRel);
        });
        self.closing()
    }

    /// No event is claimed any more. Whether this was the first to stop it, and so gave the cause.
    pub(super) fn stop(&self, why: Option<Cause>) -> bool {
        // Held until both are done: who finds it stopped, finds the cause.
        let mut cause = self.cause.lock();
        let first = self.claim.fetch_or(STOPPED, Ordering::AcqRel) & STOPPED == 0;
        if first {
            *cause = why;
        }
        first
    }

    /// Of one that is stopped: it ends with what is in the log now, if it had no end before. From then on it is
    /// certain what it did not deliver.
    fn fix_end(&self) {
        self.shared.interrupt(|head| {
            self.end.fetch_min(head, Ordering::AcqRel);
        });
    }

    /// Stops it and takes the sink out, unless it has ended or is about to.
    pub(super) fn detach(&self) -> Option<SharedSink<E>> {
        let detach = |word: u64| (word & STOPPED == 0).then_some(word | STOPPED | DETACHED);
        self.claim.fetch_update(Ordering::AcqRel, Ordering::Acquire, detach).ok()?;
        let position = self.position();
        self.shared.interrupt(|_| {
            self.end.fetch_min(position, Ordering::AcqRel);
        });
        self.let_writers_go();
        let sink = self.sink.take();
        let reader = self.reader.lock().take();
        // Even the destructor of an event is a user's code.
        drop_caught(reader);
        // The log waits no longer for a write that is under way, and what is not delivered is not this one's.
        drop(self.take_off(false));
        for (flush, _) in self.end_requests() {
            flush.complete(Ok(()));
        }
        sink
    }

    fn let_writers_go(&self) {
        if let Bound::Block(pace) = &self.bound {
            self.shared.moved(pace, Pace::GONE);
        }
    }

    pub(super) fn set_cause(&self, cause: Cause) {
        *self.cause.lock() = Some(cause);
    }

    /// Begins to close the sink, unless somebody has, and has the follower's close await it.
    pub(super) fn close_sink(&self) -> Closing {
        self.sink.close(&self.completion, |sink| sink.close())
    }

    /// What the follower itself did not deliver.
    fn own_outcome(&self) -> Outcome {
        let lost = self.counts.lost.load(Ordering::Acquire);
        let events = self.left();
        match self.cause.lock().clone() {
            Some(Cause::Panicked(message)) => Err(CloseError::Panicked { message, events: events + lost }),
            Some(Cause::DownstreamClosed) => Err(CloseError::DownstreamClosed { events }),
            Some(Cause::Lagged) => Err(CloseError::Lagged { events }),
            None if self.is_detached() => Ok(()),
            None => match (events, self.in_flight()) {
                (0, 0) => Ok(()),
                (events, in_flight) => Err(CloseError::Undelivered { events, in_flight }),
            },
        }
    }

    /// How many events were given up or, of one that is stopped, are being given up: claimed or not.
    pub(super) fn left(&self) -> u64 {
        let end = self.end();
        let unclaimed =
            if self.is_stopped() && end < u64::MAX { end.saturating_sub(self.position()) } else { 0 };
        unclaimed + self.counts.returned.load(Ordering::Acquire)
    }

    /// Claimed, and nothing became of them yet.
    pub(super) fn in_flight(&self) -> u64 {
        let counts = &self.counts;
        let done = counts.delivered.load(Ordering::Acquire)
            + counts.skipped.load(Ordering::Acquire)
            + counts.lost.load(Ordering::Acquire)
            + counts.returned.load(Ordering::Acquire);
        (self.position() - self.start).saturating_sub(done)
    }

    /// The terms of law 4. They are read in the order opposite to that in which an event passes through
    /// them, so that none is counted twice, and once more until nothing has moved meanwhile.
    pub(super) fn stats(&self) -> FollowerStats {
        const TRIES: usize = 64;
        let mut tries = 0;
        loop {
            let given_up = self.shed.counts();
            let [delivered, skipped, lost, rest] =
                [&self.counts.delivered, &self.counts.skipped, &self.counts.lost, &self.counts.rest]
                    .map(|count| count.load(Ordering::Acquire));
            let claim = self.claim.load(Ordering::Acquire);
            let position = claim >> FLAGS;
            let accepted = self.end().min(self.shared.head()).max(position) - self.start;
            let settled = delivered + skipped + lost + given_up.dropped + given_up.spilled;
            let pending = (accepted - (position - self.start)).saturating_sub(rest);
            let stable = given_up == self.shed.counts()
                && delivered == self.counts.delivered.load(Ordering::Acquire)
                && rest == self.counts.rest.load(Ordering::Acquire)
                && claim == self.claim.load(Ordering::Acquire)
                && settled + pending <= accepted;
            tries += 1;
            if !stable && tries < TRIES {
                std::hint::spin_loop();
                continue;
            }
            return FollowerStats {
                accepted,
                delivered,
                skipped,
                dropped: given_up.dropped,
                spilled: given_up.spilled,
                lost,
                pending,
                in_flight: accepted.saturating_sub(settled + pending),
            };
        }
    }

    /// The thread is through.
    pub(super) fn set_through(&self) {
        *self.through.lock() = true;
        self.through_changed.notify_all();
    }

    fn wait_through(&self, deadline: Instant) {
        let mut through = self.through.lock();
        while !*through && !self.through_changed.wait_until(&mut through, deadline).timed_out() {}
    }

    fn enter(&self) -> bool {
        self.parties
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |parties| (parties > 0).then(|| parties + 1))
            .is_ok()
    }

    /// The last party to leave closes the spill and tells the outcome.
    pub(super) fn leave(&self) {
        if self.parties.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let own = self.own_outcome();
        let sink = if self.is_detached() { Closing::done() } else { self.close_sink() };
        let spill = self.shed.close();
        // One whose sink is still draining is not lost sight of: the log's close waits for that.
        let is_through = |closing: &Closing| matches!(closing.0.outcome(), Some(Ok(())));
        let clean = own.is_ok() && (self.is_detached() || is_through(&sink) && is_through(&spill));
        self.retire(!clean);
        MaybeDone::gather(&self.completion, [(sink.0, true), (spill.0, false)], move |outcomes| {
            join([own].into_iter().chain(outcomes))
        });
    }

    /// Takes it off the log, which remembers it if it has something to tell.
    pub(super) fn retire(&self, failed: bool) {
        self.shared.leave(&self.bound);
        drop(self.take_off(failed));
    }

    /// Takes it off the list of followers. What it answers is to be dropped.
    fn take_off(&self, failed: bool) -> impl Sized + use<E> {
        let mut state = self.shared.lock();
        let at = state.followers.iter().position(|other| other.id == self.id);
        let removed = at.map(|at| state.followers.remove(at));
        // A log that is closed already waits for it.
        let forgotten = match (&removed, failed && !state.closed) {
            // Whether it refused an event is in its own outcome.
            (Some(_), true) => state.ended.push(EndedEntry {
                label: self.label(),
                refusals: Arc::default(),
                closing: self.closing(),
            }),
            _ => Vec::new(),
        };
        drop(state);
        (removed, forgotten)
    }
}

impl<E> Following<E>
where
    E: Clone,
{
    /// Gives up everything that is not claimed: for who has stopped it.
    pub(super) fn give_up_rest(&self) {
        self.fix_end();
        let (end, mut position) = (self.end(), self.position());
        let reader = self.reader.lock().take();
        self.let_writers_go();
        let drop_up_to = |to: u64, position: &mut u64| {
            let events = to.saturating_sub(*position);
            self.counts.rest.fetch_add(events, Ordering::AcqRel);
            self.shed.count_dropped(events);
            *position += events;
        };
        // Only destructors of events can panic here.
        run_caught(|| {
            let Some(mut reader) = reader.filter(|_| self.shed.spills()) else {
                return;
            };
            while position < end {
                reader.position = position;
                let mut passed = Passed::default();
                match reader.look(&self.shared, &mut passed) {
                    Look::Events(segment, at) => {
                        let events = segment.events.get(at..).unwrap_or_default();
                        for event in events.iter().take((end - position) as usize) {
                            self.counts.rest.fetch_add(1, Ordering::AcqRel);
                            position += 1;
                            self.shed.shed_ref(event);
                        }
                    }
                    Look::Behind => {
                        let window = self.bound.window().unwrap_or(0);
                        let held = self.shared.exact_head().saturating_sub(window).max(position + 1);
                        drop_up_to(held.min(end), &mut position);
                    }
                    Look::Empty | Look::Ended => return,
                }
            }
        });
        drop_up_to(end, &mut position);
    }
}

/// Ends a follower's drain.
pub(super) struct AbortFollower<E>(pub(super) Weak<Following<E>>);

impl<E> Abort for AbortFollower<E>
where
    E: Clone + Send + Sync,
{
    fn begin(&self) {
        let Some(following) = self.0.upgrade() else {
            return;
        };
        if !following.enter() {
            // The thread is through, and so is everything but what is downstream.
            return;
        }
        let first = following.stop(None);
        following.fix_end();
        if !following.is_detached() {
            drop(following.close_sink());
        }
        if first {
            following.give_up_rest();
            let left = CloseError::Undelivered { events: following.left(), in_flight: 0 };
            for (flush, _) in following.end_requests() {
                flush.complete(Err(left.clone()));
            }
        }
        following.leave();
    }

    fn count_remaining(&self, left: &mut Remaining) {
        if let Some(following) = self.0.upgrade() {
            let stats = following.stats();
            left.add(None, stats.pending, stats.in_flight);
        }
    }

    fn is_under_way_here(&self) -> bool {
        self.0.upgrade().is_some_and(|following| following.sink.is_beginning_here())
    }

    fn settle(&self, deadline: Instant) {
        let Some(following) = self.0.upgrade() else {
            return;
        };
        if following.sink.is_beginning_here() {
            return;
        }
        if !following.scope.is_current() {
            following.wait_through(deadline);
        }
        let own = following.own_outcome();
        let downstream = if following.is_detached() {
            Ok(())
        } else {
            // If it is not told, it is awaited only since the abort last looked, which looks again.
            match following.close_sink().0.outcome() {
                Some(outcome) => outcome,
                None => return,
            }
        };
        following.completion.complete(join([own, downstream]));
    }
}
