//! What a follower's worker, its handles, an abort and the log share.
//!
//! Which events are the worker's is decided in `claims`. The place where the follower reads is in `reader`, under a lock
//! that the worker takes once a segment; while it writes it keeps that segment alone. What is behind it is free once
//! the reader is taken out, however long the write under way lasts.
//!
//! The worker and each abort are *parties*. Only parties write to the spill, so the last to leave closes it, and
//! completes the follower's close.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::bound::Bound;
use super::claims::Claims;
use super::follower_sink::FollowerSink;
use super::reader::{ReadResult, Reader};
use super::register::Member;
use super::segment::DropLater;
use super::shared::Shared;
use super::stats::FollowerStats;
use crate::buffer::shed::Shed;
use crate::contract::SharedSink;
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::ended::EndedEntry;
use crate::lifecycle::{Closing, Flushing, MaybeDone, Remaining, join};
use crate::sync::{Label, Parties};
use crate::trace;
use crate::worker::{Cause, Drain, WorkerState};

pub(super) struct FollowerState<E> {
    pub(super) label: Label,
    pub(super) shared: Arc<Shared<E>>,
    pub(super) worker: WorkerState<FollowerSink<E>>,
    pub(super) is_async: bool,
    pub(super) bound: Bound,
    /// The event that it began with.
    pub(super) start: u64,
    pub(super) claims: Claims,
    /// The event that it stops before; `u64::MAX` is the end of the log.
    end: AtomicU64,
    /// How many events were never claimed, and shed.
    unclaimed: AtomicU64,
    pub(super) shed: Shed<E>,
    /// `None` once it has stopped and what is left is seen to.
    pub(super) reader: Mutex<Option<Reader<E>>>,
    parties: Parties,
    pub(super) completion: Arc<Completion>,
}

impl<E> FollowerState<E> {
    pub(super) fn new(
        shared: &Arc<Shared<E>>,
        reader: Reader<E>,
        spill: Option<SharedSink<E>>,
        sink: FollowerSink<E>,
        name: Option<Arc<str>>,
    ) -> Arc<Self> {
        let is_async = matches!(sink, FollowerSink::Async(_));
        let (worker, shed) = (WorkerState::new(sink, false), Shed::new(spill));
        // The follower's writes to the log, if it has any, wait for a snapshot to end.
        let completion = Completion::within([worker.scope, shed.scope, shared.snapshot]);
        let label = Label::new(name);
        shed.log.of_sink(&label);
        Arc::new(Self {
            label,
            shared: Arc::clone(shared),
            worker,
            is_async,
            bound: reader.bound.clone(),
            start: reader.position,
            claims: Claims::new(reader.position),
            end: AtomicU64::new(u64::MAX),
            unclaimed: AtomicU64::new(0),
            shed,
            reader: Mutex::new(Some(reader)),
            parties: Parties::new(1),
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

    /// Where everything is delivered that is in the log now.
    pub(super) fn mark(&self) -> u64 {
        self.shared.head().min(self.end())
    }

    pub(super) fn request_flush(&self) -> Flushing {
        // A follower's own write may wait for a snapshot to end, so a thread in one must not wait for its flush.
        let completion = || Completion::within([self.worker.scope, self.shared.snapshot]);
        let wake = || {
            self.claims.ask();
            self.shared.interrupt(|_| {});
        };
        let ended = || Flushing::of_close(&self.closing());
        self.worker.request_flush(|| Some(self.mark()), completion, wake, ended)
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

    /// Stops it and takes the sink out, if it is of that kind, unless it has ended or is about to.
    pub(super) fn detach(&self, is_async: bool) -> Option<FollowerSink<E>> {
        if self.is_async != is_async || !self.claims.detach() {
            return None;
        }
        let position = self.position();
        self.shared.interrupt(|_| {
            self.end.fetch_min(position, Ordering::AcqRel);
        });
        self.shared.open_gate(&self.bound);
        let sink = self.worker.downstream.take();
        let reader = self.reader.lock().take();
        drop(reader);
        // The log waits no longer for a write that is under way, and what is not delivered is not this follower's.
        self.shared.register.remove(self.label.id, None);
        self.worker.flushes.answer(&Ok(()));
        sink
    }

    /// How many events were shed or, if it is stopped, are being shed: claimed or not.
    pub(super) fn undelivered(&self) -> u64 {
        let end = self.end();
        let fixed = self.claims.is_stopped() && end < u64::MAX;
        let unclaimed = if fixed { end.saturating_sub(self.position()) } else { 0 };
        unclaimed + self.worker.counts.returned.load(Ordering::Acquire)
    }

    /// Each term is read before those that its events were counted in earlier, so none is counted twice. What moves on
    /// in between is left over for `in_flight`.
    pub(super) fn stats(&self) -> FollowerStats {
        let shed = self.shed.counts();
        let counts = &self.worker.counts;
        let [delivered, skipped] =
            [&counts.delivered, &counts.skipped].map(|count| count.load(Ordering::Acquire));
        let (lost, unclaimed) = (counts.lost(), self.unclaimed.load(Ordering::Acquire));
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
}

impl<E> FollowerState<E>
where
    E: Clone,
{
    fn shed_unclaimed(&self) {
        let (end, mut position) = (self.end(), self.position());
        let reader = self.reader.lock().take();
        self.shared.open_gate(&self.bound);
        let drop_up_to = |to: u64, position: &mut u64| {
            let events = to.saturating_sub(*position);
            self.unclaimed.fetch_add(events, Ordering::AcqRel);
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
                            self.unclaimed.fetch_add(1, Ordering::AcqRel);
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

impl<E> Drain for FollowerState<E>
where
    E: Clone + Send + Sync + 'static,
{
    type Sink = FollowerSink<E>;

    fn worker(&self) -> &WorkerState<FollowerSink<E>> {
        &self.worker
    }

    fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    fn log(&self) -> &trace::ShedLog {
        &self.shed.log
    }

    fn enter(&self) -> impl Sized {
        let among_workers = self.shared.workers.enter();
        // The first to be dropped.
        (self.worker.scope.enter(), among_workers)
    }

    fn stop(&self) -> bool {
        self.claims.stop()
    }

    fn is_stopped(&self) -> bool {
        self.claims.is_stopped()
    }

    fn is_detached(&self) -> bool {
        self.claims.is_detached()
    }

    /// Has it end with what is in the log now, if it had no end before. From then on it is certain what it did not deliver.
    fn fix_end(&self) {
        self.shared.interrupt(|head| {
            self.end.fetch_min(head, Ordering::AcqRel);
        });
    }

    fn release(&self) {
        let reader = self.reader.lock().take();
        drop(reader);
    }

    fn shed_rest(&self) {
        self.fix_end();
        self.shed_unclaimed();
    }

    fn given_up(&self) -> u64 {
        let shed = self.shed.counts();
        self.worker.counts.skipped.load(Ordering::Acquire) + shed.dropped + shed.spilled + shed.under_way
    }

    fn held(&self) -> u64 {
        let settled = self.worker.counts.settled();
        (self.position() - self.start).saturating_sub(settled)
    }

    fn own_outcome(&self) -> Outcome {
        if self.is_detached() && !self.worker.has_cause() {
            return Ok(());
        }
        self.worker.outcome(self.undelivered(), self.held())
    }

    fn log_end(&self, cause: &Cause, lost: u64) {
        match cause {
            Cause::Panicked(_) => trace::follower_panicked(&self.label, lost, self.undelivered()),
            Cause::DownstreamClosed => trace::follower_ended(&self.label, self.undelivered()),
            Cause::Lagged => trace::follower_lagged(&self.label, self.undelivered()),
        }
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        let stats = self.stats();
        remaining.add(self.label.name.as_deref(), stats.pending, stats.in_flight);
    }

    fn join(&self) -> bool {
        self.parties.join()
    }

    fn leave(&self) {
        if !self.parties.leave() {
            return;
        }
        let own = self.own_outcome();
        let detached = self.is_detached();
        let sink = if detached { Closing::done() } else { self.close_downstream() };
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
