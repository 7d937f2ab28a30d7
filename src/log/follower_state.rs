//! What a follower's worker, its handles, an abort and the log share.
//!
//! Which events are the worker's is decided in `claims`. The place where the follower reads is in `reader`, under a lock
//! that the worker takes once a segment; while it writes it keeps that segment alone. What is behind it is free once
//! the reader is taken out, however long the write under way lasts.
//!
//! The worker and each abort are *parties*. Only parties write to the spill, so the last to leave closes it, and
//! completes the follower's close.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::bound::Bound;
use super::claims::Claims;
use super::flushes::{Flushes, Request};
use super::reader::{ReadResult, Reader};
use super::register::Member;
use super::segment::DropLater;
use super::shared::Shared;
use super::stats::{Counts, FollowerStats};
use crate::buffer::shed::Shed;
use crate::contract::SharedSink;
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::ended::EndedEntry;
use crate::lifecycle::{CloseError, Closing, Flushing, MaybeDone, Trail, join};
use crate::sync::Label;
use crate::sync::scope::Scope;
use crate::worker::Downstream;

pub(super) struct FollowerState<E> {
    pub(super) label: Label,
    pub(super) shared: Arc<Shared<E>>,
    /// Entered by the worker for all its life, and by a thread that closes the sink.
    pub(super) scope: Scope,
    pub(super) bound: Bound,
    /// The event that it began with.
    pub(super) start: u64,
    pub(super) claims: Claims,
    /// The event that it stops before; `u64::MAX` is the end of the log.
    end: AtomicU64,
    pub(super) counts: Counts,
    pub(super) shed: Shed<E>,
    /// `None` once it has stopped and what is left is seen to.
    pub(super) reader: Mutex<Option<Reader<E>>>,
    pub(super) flushes: Flushes,
    /// Until it is closed or handed back.
    pub(super) sink: Downstream<SharedSink<E>>,
    cause: Mutex<Option<Cause>>,
    /// Whether the worker is done with the sink.
    finished: Mutex<bool>,
    finished_changed: Condvar,
    parties: AtomicUsize,
    pub(super) completion: Arc<Completion>,
}

/// Why a follower ended before its time.
#[derive(Clone)]
pub(super) enum Cause {
    Panicked(Arc<str>),
    DownstreamClosed,
    Lagged,
}

impl<E> FollowerState<E> {
    pub(super) fn new(
        shared: &Arc<Shared<E>>,
        reader: Reader<E>,
        spill: Option<SharedSink<E>>,
        sink: SharedSink<E>,
        name: Option<Arc<str>>,
    ) -> Arc<Self> {
        let (scope, shed) = (Scope::new(), Shed::new(spill));
        // The follower's writes to the log, if it has any, wait for a snapshot to end.
        let completion = Completion::within(vec![scope, shed.scope, shared.snapshot]);
        let label = Label::new(name);
        shed.log.of_sink(&label);
        Arc::new(Self {
            label,
            shared: Arc::clone(shared),
            scope,
            bound: reader.bound.clone(),
            start: reader.position,
            claims: Claims::new(reader.position),
            end: AtomicU64::new(u64::MAX),
            counts: Counts::default(),
            shed,
            reader: Mutex::new(Some(reader)),
            flushes: Flushes::default(),
            sink: Downstream::new(sink),
            cause: Mutex::new(None),
            finished: Mutex::new(false),
            finished_changed: Condvar::new(),
            parties: AtomicUsize::new(1),
            completion,
        })
    }

    pub(super) fn position(&self) -> u64 {
        self.claims.position()
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    pub(super) fn request_flush(&self) -> Flushing {
        let Some(trail) = Trail::at(self.scope) else {
            // It comes back to where it came through.
            return Flushing::done();
        };
        let mark = || self.shared.head().min(self.end());
        // A follower's own write may wait for a snapshot to end, so a thread in one must not wait for its flush.
        let completion = || Completion::within(vec![self.scope, self.shared.snapshot]);
        match self.flushes.request(trail, mark, completion) {
            Request::New(completion) => {
                self.claims.ask();
                self.shared.interrupt(|_| {});
                Flushing::of(MaybeDone::Pending(completion))
            }
            Request::Shared(completion) => Flushing::of(MaybeDone::Pending(completion)),
            Request::Ended => Flushing::of_close(&self.closing()),
        }
    }

    /// Has it end with what is in the log now.
    pub(super) fn close(&self) -> Closing {
        self.shared.interrupt(|head| {
            // No event is appended between the two, so the worker cannot claim one beyond the end before it looks for
            // news.
            let _ = self.end.compare_exchange(u64::MAX, head, Ordering::AcqRel, Ordering::Acquire);
            self.claims.ask();
        });
        self.closing()
    }

    /// Has no event claimed any more. Whether this was the first to stop it, and so gave the cause.
    pub(super) fn stop(&self, why: Option<Cause>) -> bool {
        // Held until both are done: a thread that finds it stopped finds the cause as well.
        let mut cause = self.cause.lock();
        let first = self.claims.stop();
        if first {
            *cause = why;
        }
        first
    }

    /// The sink panicked. Whatever has stopped the follower, an event is lost.
    pub(super) fn set_panicked(&self, message: Arc<str>) {
        *self.cause.lock() = Some(Cause::Panicked(message));
    }

    /// Has one that is stopped end with what is in the log now, if it had no end before. From then on it is certain
    /// what it did not deliver.
    pub(super) fn fix_end(&self) {
        self.shared.interrupt(|head| {
            self.end.fetch_min(head, Ordering::AcqRel);
        });
    }

    /// Stops it and takes the sink out, unless it has ended or is about to.
    pub(super) fn detach(&self) -> Option<SharedSink<E>> {
        if !self.claims.detach() {
            return None;
        }
        let position = self.position();
        self.shared.interrupt(|_| {
            self.end.fetch_min(position, Ordering::AcqRel);
        });
        self.shared.open_gate(&self.bound);
        let sink = self.sink.take();
        let reader = self.reader.lock().take();
        drop(reader);
        // The log waits no longer for a write that is under way, and what is not delivered is not this follower's.
        self.shared.register.remove(self.label.id, None);
        for flush in self.flushes.end() {
            flush.completion.complete(Ok(()));
        }
        sink
    }

    /// Begins to close the sink, unless that was done, and has the follower's close await it.
    pub(super) fn close_sink(&self) -> Closing {
        // The sink's own close may wait for the follower or for the log, which would wait for this thread.
        let _inside = self.scope.enter();
        self.sink.close(&self.completion, |sink| sink.close())
    }

    /// What the follower itself did not deliver.
    pub(super) fn own_outcome(&self) -> Outcome {
        let lost = self.counts.lost.load(Ordering::Acquire);
        let events = self.undelivered();
        match self.cause.lock().clone() {
            Some(Cause::Panicked(message)) => Err(CloseError::Panicked { message, events: events + lost }),
            Some(Cause::DownstreamClosed) => Err(CloseError::DownstreamClosed { events }),
            Some(Cause::Lagged) => Err(CloseError::Lagged { events }),
            None if self.claims.is_detached() => Ok(()),
            None => match (events, self.in_flight()) {
                (0, 0) => Ok(()),
                (events, in_flight) => Err(CloseError::Undelivered { events, in_flight }),
            },
        }
    }

    /// How many events were shed or, if it is stopped, are being shed: claimed or not.
    pub(super) fn undelivered(&self) -> u64 {
        let end = self.end();
        let fixed = self.claims.is_stopped() && end < u64::MAX;
        let unclaimed = if fixed { end.saturating_sub(self.position()) } else { 0 };
        unclaimed + self.counts.refused.load(Ordering::Acquire)
    }

    /// How many events are claimed and not settled yet.
    pub(super) fn in_flight(&self) -> u64 {
        let settled = self.counts.settled();
        (self.position() - self.start).saturating_sub(settled)
    }

    /// Each term is read before those that its events were counted in earlier, so none is counted twice. What moves on
    /// in between is left over for `in_flight`.
    pub(super) fn stats(&self) -> FollowerStats {
        let shed = self.shed.counts();
        let counts = &self.counts;
        let [delivered, skipped, lost, unclaimed] =
            [&counts.delivered, &counts.skipped, &counts.lost, &counts.unclaimed]
                .map(|count| count.load(Ordering::Acquire));
        let position = self.position();
        let accepted = self.end().min(self.shared.head()).max(position) - self.start;
        let pending = (accepted - (position - self.start)).saturating_sub(unclaimed);
        let settled = delivered + skipped + lost + shed.dropped + shed.spilled;
        let in_flight = accepted.saturating_sub(settled + pending);
        FollowerStats {
            accepted: settled + pending + in_flight,
            delivered,
            skipped,
            dropped: shed.dropped,
            spilled: shed.spilled,
            lost,
            pending,
            in_flight,
        }
    }

    /// The worker is done with the sink.
    pub(super) fn set_finished(&self) {
        *self.finished.lock() = true;
        self.finished_changed.notify_all();
    }

    pub(super) fn wait_finished(&self, deadline: Instant) {
        let mut finished = self.finished.lock();
        while !*finished && !self.finished_changed.wait_until(&mut finished, deadline).timed_out() {}
    }

    /// Joins the parties, unless the last has left.
    pub(super) fn enter(&self) -> bool {
        self.parties
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |parties| (parties > 0).then(|| parties + 1))
            .is_ok()
    }

    /// Leaves the parties. The last closes the spill and completes the follower's close.
    pub(super) fn leave(&self) {
        if self.parties.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let own = self.own_outcome();
        let detached = self.claims.is_detached();
        let sink = if detached { Closing::done() } else { self.close_sink() };
        let spill = {
            // As the sink's: its close may wait for the log.
            let _inside = self.shed.scope.enter();
            self.shed.close()
        };
        // The log does not forget a follower whose sink still drains: its close and its flushes wait for that.
        let is_clean = |closing: &Closing| matches!(closing.0.outcome(), Some(Ok(())));
        let clean = own.is_ok() && (detached || is_clean(&sink) && is_clean(&spill));
        self.shared.leave(&self.bound);
        // What it refused is in its own outcome.
        let entry =
            || EndedEntry { label: self.label.clone(), refusals: Arc::default(), closing: self.closing() };
        self.shared.register.remove(self.label.id, (!clean).then(entry));
        MaybeDone::gather(&self.completion, [(sink.0, true), (spill.0, false)], move |outcomes| {
            join([own].into_iter().chain(outcomes))
        });
    }
}

impl<E> FollowerState<E>
where
    E: Clone,
{
    /// Sheds everything that is not claimed. For the thread that has stopped it.
    pub(super) fn shed_rest(&self) {
        self.fix_end();
        let (end, mut position) = (self.end(), self.position());
        let reader = self.reader.lock().take();
        self.shared.open_gate(&self.bound);
        let drop_up_to = |to: u64, position: &mut u64| {
            let events = to.saturating_sub(*position);
            self.counts.unclaimed.fetch_add(events, Ordering::AcqRel);
            self.shed.count_dropped(events);
            *position += events;
        };
        if let Some(mut reader) = reader.filter(|_| self.shed.spills()) {
            while position < end {
                reader.position = position;
                let mut later = DropLater::default();
                match reader.read(&self.shared, &mut later) {
                    ReadResult::Events(segment, at) => {
                        for event in segment.from(at).iter().take((end - position) as usize) {
                            self.counts.unclaimed.fetch_add(1, Ordering::AcqRel);
                            position += 1;
                            self.shed.shed_ref(event);
                        }
                    }
                    ReadResult::Behind => {
                        let window = self.bound.window().unwrap_or(0);
                        let held = self.shared.exact_head().saturating_sub(window).max(position + 1);
                        drop_up_to(held.min(end), &mut position);
                    }
                    ReadResult::Empty | ReadResult::Ended => break,
                }
            }
        }
        drop_up_to(end, &mut position);
    }
}

impl<E> Member for FollowerState<E>
where
    E: Send + Sync,
{
    fn label(&self) -> &Label {
        &self.label
    }

    fn closing(&self) -> Closing {
        self.closing()
    }

    fn request_flush(&self) -> Flushing {
        self.request_flush()
    }
}
