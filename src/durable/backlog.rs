//! What is on disk, as the events of a worker: read in order, delivered, confirmed by a flush of the sink, acknowledged.
//!
//! # Why an event is acknowledged only after the sink has it for certain
//!
//! An event that the sink accepted is in the *open* group. The group is closed when a flush of the sink begins, and
//! acknowledged when that comes through; what is delivered meanwhile is in the next group. One flush is under way at a
//! time. If it fails, everything that is not acknowledged is read and delivered once more, in order.
//!
//! The worker's position is the number of the next event, which goes back then: a flush that was asked for waits until
//! all before it is delivered again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::confirm::Step;
use super::disk_log::{Next as Record, Reader, StoreError};
use super::encoding::Encoding;
use super::options::{Delivery, Undecodable};
use super::state::DurableState;
use crate::contract::Sink;
use crate::lifecycle::{Flushing, MaybeDone, Trail, flush_caught};
use crate::sync::caught::{drop_caught, panic_message};
use crate::worker::{Drain, End, Next, Source, count};

/// How long a sink whose flush failed is left alone: the first time, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long the sink is not flushed when there are no more events, since one may come.
const CONFIRM_AFTER: Duration = Duration::from_millis(20);

pub(super) struct Backlog<E> {
    state: Arc<DurableState>,
    reader: Reader,
    encoding: Arc<dyn Encoding<E>>,
    /// Flushes the sink.
    flush: Box<dyn Fn() -> Flushing + Send>,
    delivery: Delivery<E>,
    /// The event that is read next.
    next: u64,
    /// Events before this were read before.
    seen: u64,
    /// The number of the first event that was written since the store was opened.
    recovered: u64,
    /// What may have been with the sink when an earlier process ended; known with the first event.
    suspects: Option<Range<u64>>,
    /// The event that is with the sink, and when it was written.
    current: Option<(u64, u64)>,
    /// Whether this attempt of it is counted.
    attempt_counted: bool,
    open: Group,
    flushing: Option<(Group, MaybeDone)>,
    /// When the open group is to be confirmed, if no event comes before.
    confirm_at: Option<Instant>,
    /// It is to be confirmed as soon as there is no event.
    hurries: bool,
    /// Nothing is read before this.
    resume_at: Option<Instant>,
    backoff: Duration,
}

/// Events that the sink has accepted, or another sink that is to be flushed as well.
#[derive(Default)]
struct Group {
    events: Vec<Range<u64>>,
    count: u64,
    /// When the first was written.
    millis: u64,
    has_letters: bool,
}

impl Group {
    fn add(&mut self, number: u64, millis: u64) {
        if self.count == 0 {
            self.millis = millis;
        }
        self.count += 1;
        match self.events.last_mut().filter(|range| range.end == number) {
            Some(range) => range.end += 1,
            None => self.events.push(number..number + 1),
        }
    }
}

impl<E> Backlog<E>
where
    E: Send + 'static,
{
    /// Has to be called before an event is written: what is on disk by now may have been with a sink before.
    pub(super) fn new(
        state: Arc<DurableState>,
        flush: Box<dyn Fn() -> Flushing + Send>,
        encoding: Arc<dyn Encoding<E>>,
        delivery: Delivery<E>,
    ) -> Self {
        Self {
            reader: state.store.reader(),
            recovered: state.store.stats().next,
            suspects: None,
            state,
            encoding,
            flush,
            delivery,
            next: 0,
            seen: 0,
            current: None,
            attempt_counted: false,
            open: Group::default(),
            flushing: None,
            confirm_at: None,
            hurries: false,
            resume_at: None,
            backoff: BACKOFF.0,
        }
    }

    fn unconfirmed(&self) -> u64 {
        self.open.count + self.flushing.as_ref().map_or(0, |(group, _)| group.count)
    }

    fn gauge(&self) {
        let counts = &self.state.counts;
        counts.unconfirmed.store(self.unconfirmed() + u64::from(self.current.is_some()), Ordering::Release);
        let first = self.flushing.as_ref().map_or(&self.open, |(group, _)| group);
        let oldest =
            if first.count > 0 { Some(first.millis) } else { self.current.map(|(_, millis)| millis) };
        counts.oldest_millis.store(oldest.unwrap_or(0), Ordering::Release);
    }

    /// Acknowledges what a flush that came through has confirmed, or goes back if it failed.
    fn settle(&mut self) -> Result<(), StoreError> {
        let Some(outcome) = self.flushing.as_ref().and_then(|(_, flushing)| flushing.outcome()) else {
            return Ok(());
        };
        let Some((group, _)) = self.flushing.take() else { return Ok(()) };
        if outcome.is_ok() {
            for events in group.events {
                self.state.store.acknowledge(events)?;
            }
            count(&self.state.counts.acknowledged, group.count);
            self.backoff = BACKOFF.0;
        } else {
            count(&self.state.counts.failed_flushes, 1);
            self.open = Group::default();
            self.reader = self.state.store.reader();
            self.next = group.events.first().map_or(self.next, |events| events.start);
            self.resume_at = Instant::now().checked_add(self.backoff);
            self.backoff = (2 * self.backoff).min(BACKOFF.1);
        }
        self.gauge();
        Ok(())
    }

    /// Closes the open group, and has it acknowledged when the sink is flushed. `last`: the close waits for that.
    fn confirm(&mut self, last: bool) {
        let group = std::mem::take(&mut self.open);
        self.confirm_at = None;
        let flush = || {
            let letters = if group.has_letters {
                [
                    self.delivery.dead_letter.as_ref().map(Sink::flush),
                    self.delivery.undecodable.as_ref().map(Sink::flush),
                ]
            } else {
                [None, None]
            };
            Flushing::all(letters.into_iter().flatten().chain([(self.flush)()]))
        };
        // So that it ends here if it comes back round a ring.
        let flushing = Trail::at(self.state.worker.scope)
            .map_or(MaybeDone::Done(Ok(())), |trail| trail.pass_on(|| flush_caught(flush)).0);
        let flushing = match flushing {
            // A thread below that waits for the close is found by this edge.
            MaybeDone::Pending(_) if last && !flushing.awaited_by(self.state.completion(), false) => {
                MaybeDone::Done(Ok(()))
            }
            flushing => flushing,
        };
        if let MaybeDone::Pending(completion) = &flushing {
            let state = Arc::downgrade(&self.state);
            completion.then(move |_| {
                if let Some(state) = state.upgrade() {
                    state.waker.wake();
                }
            });
        }
        self.flushing = Some((group, flushing));
    }

    /// What is to be done about a record, if anything.
    fn take(
        &mut self,
        number: u64,
        millis: u64,
        attempts: u32,
        bytes: Vec<u8>,
    ) -> Result<Option<E>, StoreError> {
        let is_new = number >= self.seen;
        self.next = number + 1;
        self.seen = self.seen.max(self.next);
        self.current = Some((number, millis));
        self.attempt_counted = false;
        let decoded = catch_unwind(AssertUnwindSafe(|| self.encoding.decode(&bytes)));
        let decoded = match decoded {
            Ok(decoded) => decoded.map_err(|error| error.to_string()),
            Err(panic) => Err(panic_message(panic).to_string()),
        };
        let letter = match decoded {
            Ok(event) if attempts < self.delivery.max_attempts => {
                if is_new && self.delivery.max_attempts < u32::MAX && self.is_suspect(number) {
                    self.state.store.attempt(number)?;
                    self.attempt_counted = true;
                }
                self.gauge();
                return Ok(Some(event));
            }
            Ok(event) => self.delivery.dead_letter.as_ref().map(|sink| sink.write(event).is_ok()),
            Err(error) => {
                let letter = Undecodable { number, bytes, error };
                self.delivery.undecodable.as_ref().map(|sink| sink.write(letter).is_ok())
            }
        };
        self.current = None;
        if letter == Some(true) {
            self.open.add(number, millis);
            self.open.has_letters = true;
            count(&self.state.counts.dead_lettered, 1);
            self.gauge();
        } else if is_new {
            count(&self.state.counts.passed_over, 1);
        }
        Ok(None)
    }

    /// Whether it may have been with the sink when an earlier process ended.
    fn is_suspect(&mut self, number: u64) -> bool {
        let end = self.recovered.min(number.saturating_add(self.delivery.unconfirmed));
        self.suspects.get_or_insert(number..end).contains(&number)
    }

    fn try_next(&mut self) -> Result<Next<Step<E>>, StoreError> {
        loop {
            self.settle()?;
            if self.state.take_asked() {
                self.hurries = true;
                let stopped = self.state.is_stopped();
                return Ok(if stopped { Next::End(End::Stopped) } else { Next::Asked });
            }
            if self.flushing.is_none() && self.open.count >= self.delivery.unconfirmed.div_ceil(2) {
                self.confirm(false);
                continue;
            }
            if let Some((_, flushing)) = &self.flushing
                && self.unconfirmed() >= self.delivery.unconfirmed
            {
                return Ok(Next::Event(Step::Pause { until: None, flushing: Some(flushing.clone()) }));
            }
            if let Some(at) = self.resume_at {
                if Instant::now() < at {
                    return Ok(Next::Event(Step::Pause { until: Some(at), flushing: None }));
                }
                self.resume_at = None;
            }
            let quiet = self.state.is_quiet();
            match self.reader.next() {
                Ok(Some(Record::Event { number, millis, attempts, bytes })) => {
                    if let Some(event) = self.take(number, millis, attempts, bytes)? {
                        self.confirm_at = None;
                        return Ok(Next::Event(Step::Event(event)));
                    }
                }
                Ok(Some(Record::Damaged(events))) => {
                    self.next = events.end;
                    if events.end > self.seen {
                        self.seen = events.end;
                        count(&self.state.counts.damaged, events.end - events.start);
                    }
                    self.state.store.acknowledge(events)?;
                }
                Ok(None) => {
                    if let Some(next) = self.idle(quiet) {
                        return Ok(next);
                    }
                }
                Err(_) => {
                    count(&self.state.counts.failed_reads, 1);
                    self.resume_at = Instant::now().checked_add(READ_AGAIN);
                }
            }
        }
    }

    /// Everything on disk was read.
    fn idle(&mut self, quiet: bool) -> Option<Next<Step<E>>> {
        if self.flushing.is_some() {
            return Some(Next::Empty(None));
        }
        if self.open.count == 0 {
            self.hurries = false;
            return Some(if quiet { Next::End(End::Drained) } else { Next::Empty(None) });
        }
        let now = Instant::now();
        let at = *self.confirm_at.get_or_insert(now + CONFIRM_AFTER);
        if !(self.hurries || quiet || at <= now) {
            return Some(Next::Empty(Some(at)));
        }
        self.confirm(quiet);
        None
    }
}

impl<E> Source for Backlog<E>
where
    E: Send + 'static,
{
    type Drain = DurableState;
    type Item = Step<E>;
    /// Whether it was an event.
    type Receipt = bool;

    fn drain(&self) -> &Arc<DurableState> {
        &self.state
    }

    fn next(&mut self, _flush_at: u64) -> Next<Step<E>> {
        self.try_next().unwrap_or_else(|error| {
            self.state.fail(error);
            Next::End(End::Stopped)
        })
    }

    fn delivered(&mut self, is_event: bool) {
        if let Some((number, millis)) = self.current.take_if(|_| is_event) {
            self.open.add(number, millis);
            count(&self.state.counts.delivered, 1);
            self.gauge();
        }
    }

    /// It stays on disk.
    fn refused(&mut self, step: Step<E>, _wanted: bool) {
        self.current = None;
        self.gauge();
        drop_caught(step);
    }

    /// An event that is still here has panicked.
    fn shed_held(&mut self) {
        if let Some((number, _)) = self.current.take().filter(|_| !self.attempt_counted) {
            // If that fails, it is tried once more often.
            let _ = self.state.store.attempt(number);
        }
        self.gauge();
    }

    fn position(&self) -> u64 {
        self.next
    }

    fn mark(&self) -> u64 {
        self.state.store.stats().next
    }

    fn spin(&self) -> bool {
        false
    }

    fn register(&mut self, waker: &Waker) -> bool {
        self.state.waker.register(waker);
        true
    }

    fn unregister(&mut self) {
        drop_caught(self.state.waker.take());
    }
}
