//! What is on disk, as the events of a worker: read in order, delivered, confirmed by a flush of the sink, acknowledged.
//!
//! # Why an event is acknowledged only after the sink has it for certain
//!
//! An event that the sink accepted is in the *open* group. The group is closed when a flush of the sink begins, and
//! acknowledged when that comes through; what is delivered meanwhile is in the next group. One flush is under way at a
//! time. If it fails, everything that is not acknowledged is read and delivered once more, in order.
//!
//! A flush is done, too, when a buffer below has shed what it had accepted. So it carries a [`GivenUp`]: if a node below has
//! given up more than at the flush before, this one counts as failed. What was given up between the two may be of events that
//! were delivered after this flush began and come again as well, so the counts are taken anew before anything is delivered.
//!
//! # Why an event is delivered alone
//!
//! If a flush failed, or a process ended, nobody knows for which of a group of events. So each of them is delivered alone
//! then: the next comes only when it is acknowledged. A buffer that sheds a burst takes events one by one, an event at
//! which the process ends is found, and no other pays for it.
//!
//! The worker's position is the number of the next event, which goes back then: a flush that was asked for waits until
//! all before it is delivered again.

use std::collections::BTreeMap;
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
use crate::lifecycle::{Flushing, GivenUp, MaybeDone, Trail, flush_caught};
use crate::sync::caught::{drop_caught, panic_message};
use crate::sync::scope::Scope;
use crate::trace;
use crate::worker::{Drain, End, Next, Source, count};

/// How long a sink whose flush failed is left alone: the first time, and at most.
const BACKOFF: (Duration, Duration) = match cfg!(test) {
    true => (Duration::from_micros(100), Duration::from_micros(400)),
    false => (Duration::from_millis(100), Duration::from_secs(10)),
};

const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long the sink is not flushed when there are no more events, since one may come.
const CONFIRM_AFTER: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 20 });

pub(super) struct Backlog<E> {
    state: Arc<DurableState>,
    reader: Reader,
    /// What it has read ahead, so that the age of the oldest is known before that is delivered. Its bytes are the reader's.
    ahead: Option<Record>,
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
    /// Events before this are delivered alone; known with the first event.
    alone_before: Option<u64>,
    /// The event that is with the sink, and when it was written.
    current: Option<(u64, u64)>,
    open: Group,
    flushing: Option<Confirmation>,
    /// What was given up below, as far as it is known.
    given_up: BTreeMap<Scope, u64>,
    /// It is not, and to be asked for before anything is delivered.
    asks_given_up: bool,
    /// An event that has been tried as often as it may just now.
    exhausted: Option<u64>,
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
    /// How many of them went to a dead-letter sink.
    letters: u64,
    /// It is one event, to be acknowledged before another is delivered.
    is_alone: bool,
}

/// A flush that is under way.
struct Confirmation {
    /// Empty if the flush is only to find out what was given up.
    group: Group,
    flushing: MaybeDone,
    given_up: Arc<GivenUp>,
}

impl Group {
    /// Whether the sink itself has accepted nothing of it.
    fn is_letters(&self) -> bool {
        self.count > 0 && self.letters == self.count
    }

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
        let mut backlog = Self {
            reader: state.store.reader(),
            ahead: None,
            recovered: state.store.stats().next,
            alone_before: None,
            state,
            encoding,
            flush,
            delivery,
            next: 0,
            seen: 0,
            current: None,
            open: Group::default(),
            flushing: None,
            given_up: BTreeMap::new(),
            asks_given_up: false,
            exhausted: None,
            confirm_at: None,
            hurries: false,
            resume_at: None,
            backoff: BACKOFF.0,
        };
        backlog.read_ahead();
        backlog
    }

    /// Begins to read anew.
    fn read_ahead(&mut self) {
        self.reader = self.state.store.reader();
        // An error is found once more when the worker reads on.
        self.ahead = self.reader.next().ok().flatten();
        self.gauge();
    }

    fn unconfirmed(&self) -> u64 {
        self.open.count + self.flushing.as_ref().map_or(0, |confirmation| confirmation.group.count)
    }

    /// How many events may be unconfirmed now.
    fn most_unconfirmed(&self) -> u64 {
        let is_alone = |confirmation: &Confirmation| confirmation.group.is_alone;
        let next_is_alone = self.alone_before.is_some_and(|end| self.next < end);
        match next_is_alone || self.open.is_alone || self.flushing.as_ref().is_some_and(is_alone) {
            true => 1,
            false => self.delivery.unconfirmed,
        }
    }

    fn gauge(&self) {
        let counts = &self.state.counts;
        counts.unconfirmed.store(self.unconfirmed() + u64::from(self.current.is_some()), Ordering::Release);
        let first = self.flushing.as_ref().map_or(&self.open, |confirmation| &confirmation.group);
        let ahead = match self.ahead {
            Some(Record::Event { millis, .. }) => Some(millis),
            _ => None,
        };
        let unconfirmed = (first.count > 0).then_some(first.millis);
        let oldest = unconfirmed.or(self.current.map(|(_, millis)| millis)).or(ahead);
        counts.oldest_millis.store(oldest.unwrap_or(0), Ordering::Release);
    }

    /// Acknowledges what a flush that came through has confirmed, or goes back if it failed.
    fn settle(&mut self) -> Result<(), StoreError> {
        let is_done = |confirmation: &mut Confirmation| confirmation.flushing.is_done();
        let Some(Confirmation { group, flushing, given_up }) = self.flushing.take_if(is_done) else {
            return Ok(());
        };
        let asked_only = std::mem::take(&mut self.asks_given_up);
        let is_shed = match (flushing.outcome(), given_up.take()) {
            (Some(Err(_)), now) => {
                // Not all below may have said it.
                self.given_up.extend(now);
                None
            }
            (_, now) => Some(!group.is_letters() && self.has_given_up(now)),
        };
        match is_shed {
            _ if asked_only => {}
            None => self.go_back(group, false)?,
            Some(true) => self.go_back(group, true)?,
            Some(false) => {
                for events in group.events {
                    self.state.store.acknowledge(events)?;
                }
                count(&self.state.counts.acknowledged, group.count);
                self.state.has_room();
                self.backoff = BACKOFF.0;
            }
        }
        self.gauge();
        Ok(())
    }

    /// Whether something below has given up more than when it was asked last.
    fn has_given_up(&mut self, now: BTreeMap<Scope, u64>) -> bool {
        let before = std::mem::replace(&mut self.given_up, now);
        let is_more = |(node, events): (&Scope, &u64)| *events > before.get(node).copied().unwrap_or(0);
        !self.delivery.acknowledges_shed && self.given_up.iter().any(is_more)
    }

    /// Has everything come again that is not acknowledged: its flush failed, or something was shed.
    fn go_back(&mut self, group: Group, shed: bool) -> Result<(), StoreError> {
        count(&self.state.counts.failed_flushes, 1);
        let events = group.count + std::mem::take(&mut self.open).count;
        trace::flush_failed(self.state.queue(), events, self.backoff, shed);
        let first = group.events.first().map_or(self.next, |events| events.start);
        if group.is_alone && group.letters == 0 && self.delivery.max_attempts < u32::MAX {
            let attempts = self.state.store.attempt(first, false)?;
            self.exhausted = (attempts >= self.delivery.max_attempts).then_some(first);
        }
        self.alone_before = self.alone_before.max(Some(self.next));
        self.asks_given_up = !self.given_up.is_empty();
        // What those were for comes again.
        drop(self.state.take_passed_on());
        self.next = first;
        self.read_ahead();
        self.resume_at = Instant::now().checked_add(self.backoff);
        self.backoff = (2 * self.backoff).min(BACKOFF.1);
        Ok(())
    }

    /// Closes the open group, and has it acknowledged when the sink is flushed. `last`: the close waits for that.
    fn confirm(&mut self, last: bool) {
        let group = std::mem::take(&mut self.open);
        self.confirm_at = None;
        let flush = || {
            let letters = if group.letters > 0 {
                [
                    self.delivery.dead_letter.as_ref().map(Sink::flush),
                    self.delivery.undecodable.as_ref().map(Sink::flush),
                ]
            } else {
                [None, None]
            };
            // Nothing but letters: the sink has no part in it, and may have ended.
            let is_letters = group.is_letters();
            let sink = (!is_letters).then(|| (self.flush)());
            let others = if is_letters { Vec::new() } else { self.state.take_passed_on() };
            Flushing::all(letters.into_iter().flatten().chain(others).chain(sink))
        };
        // So that it ends here if it comes back round a ring.
        let given_up = Arc::new(GivenUp::default());
        let pass_on = |trail: Trail| trail.asking(&given_up).pass_on(|| flush_caught(flush)).0;
        let flushing = Trail::at(self.state.worker.scope).map_or(MaybeDone::Done(Ok(())), pass_on);
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
        self.flushing = Some(Confirmation { group, flushing, given_up });
    }

    /// What is to be done about a record, if anything.
    fn take(&mut self, number: u64, millis: u64, attempts: u32) -> Result<Option<E>, StoreError> {
        let is_new = number >= self.seen;
        self.next = number + 1;
        self.seen = self.seen.max(self.next);
        self.state.has_read(self.seen);
        self.current = Some((number, millis));
        let is_alone = number < *self.alone_before.get_or_insert(self.suspects(number));
        let decoded = catch_unwind(AssertUnwindSafe(|| self.encoding.decode(self.reader.payload())));
        let decoded = match decoded {
            Ok(decoded) => decoded.map_err(|error| error.to_string()),
            Err(panic) => Err(panic_message(panic).to_string()),
        };
        let letter = match decoded {
            Ok(event) if attempts < self.delivery.max_attempts => {
                if is_alone && self.delivery.max_attempts < u32::MAX {
                    self.state.store.attempt(number, true)?;
                }
                self.gauge();
                return Ok(Some(event));
            }
            Ok(event) => self.delivery.dead_letter.as_ref().map(|sink| sink.write(event).is_ok()),
            Err(error) => {
                let letter = Undecodable { number, bytes: self.reader.payload().to_vec(), error };
                self.delivery.undecodable.as_ref().map(|sink| sink.write(letter).is_ok())
            }
        };
        self.current = None;
        let is_exhausted = self.exhausted.take_if(|exhausted| *exhausted == number).is_some();
        if letter == Some(true) {
            self.add(number, millis);
            self.open.letters += 1;
            count(&self.state.counts.dead_lettered, 1);
            self.gauge();
        } else if is_new || is_exhausted {
            count(&self.state.counts.passed_over, 1);
        }
        Ok(None)
    }

    /// The number after those that may have been with the sink when an earlier process ended; of an event, the first.
    fn suspects(&self, first: u64) -> u64 {
        match self.delivery.max_attempts {
            u32::MAX => 0,
            _ => self.recovered.min(first.saturating_add(self.delivery.unconfirmed)),
        }
    }

    /// The sink has accepted it.
    fn add(&mut self, number: u64, millis: u64) {
        self.open.add(number, millis);
        self.open.is_alone |= self.alone_before.is_some_and(|end| number < end);
    }

    fn try_next(&mut self) -> Result<Next<Step<E>>, StoreError> {
        loop {
            self.settle()?;
            if self.state.take_asked() {
                self.hurries = true;
                let stopped = self.state.is_stopped();
                return Ok(if stopped { Next::End(End::Stopped) } else { Next::Asked });
            }
            let most = self.most_unconfirmed();
            if self.flushing.is_none() && self.open.count >= most.div_ceil(2) {
                self.confirm(false);
                continue;
            }
            if let Some(Confirmation { flushing, .. }) = &self.flushing
                && (self.unconfirmed() >= most || self.asks_given_up)
            {
                return Ok(Next::Event(Step::Pause { until: None, flushing: Some(flushing.clone()) }));
            }
            if let Some(at) = self.resume_at {
                if Instant::now() < at {
                    return Ok(Next::Event(Step::Pause { until: Some(at), flushing: None }));
                }
                self.resume_at = None;
            }
            if self.asks_given_up {
                self.confirm(false);
                continue;
            }
            let quiet = self.state.is_quiet();
            let record = self.ahead.take().map_or_else(|| self.reader.next(), |record| Ok(Some(record)));
            match record {
                Ok(Some(Record::Event { number, millis, attempts })) => {
                    if let Some(event) = self.take(number, millis, attempts)? {
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
                    self.state.has_room();
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
            // The gauges stay as they are.
            self.add(number, millis);
            count(&self.state.counts.delivered, 1);
        }
    }

    /// It stays on disk.
    fn refused(&mut self, step: Step<E>, _wanted: bool) {
        self.current = None;
        self.gauge();
        drop_caught(step);
    }

    fn shed_held(&mut self, panicked: bool) {
        if let Some((number, _)) = self.current.take().filter(|_| panicked) {
            // If that fails, it is tried once more often.
            let _ = self.state.store.attempt(number, false);
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
