//! The thread between a queue and its sink.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Select, TryRecvError};

use super::Batch;
use super::backlog::{Backlog, Cause};
use crate::caught::{drop_caught, panic_message};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{Answer, CloseError, FlushError, flush_caught};
use crate::pipe::{Pipe, linger};
use crate::sink::{Never, refused};
use crate::{Sink, trace};

pub(super) struct Worker<E, S> {
    pipe: Arc<Pipe<E>>,
    sink: Arc<S>,
    /// Events taken so far.
    taken: u64,
    /// Flushes to answer once so many events are taken and delivered, in order.
    flushes: Vec<(u64, Arc<Completion<FlushError>>)>,
    /// Whether writers may take events out too.
    evicts: bool,
}

/// How many events a batch takes between two looks at the clock.
const LOOK: usize = 64;

fn is_up(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// What a worker finds when it looks for an event.
enum Next<E> {
    Event(E),
    /// There is none now.
    Empty,
    /// There will be none any more.
    Drained,
    Aborted,
}

/// Why a worker stops.
enum End {
    Drained,
    Aborted,
    DownstreamClosed,
}

impl<E, S> Worker<E, S> {
    pub(super) fn new(pipe: Arc<Pipe<E>>, sink: Arc<S>, evicts: bool) -> Self {
        Self { pipe, sink, taken: 0, flushes: Vec::new(), evicts }
    }

    fn backlog(&self) -> &Backlog<E> {
        match &self.pipe.backlog {
            Some(backlog) => backlog,
            None => unreachable!("a worker reads the pipe of a queue, which has a backlog"),
        }
    }

    /// The next event, without waiting.
    #[inline]
    fn next(&mut self) -> Next<E> {
        let Some(backlog) = &self.pipe.backlog else {
            return Next::Drained;
        };
        // Acquire: pairs with the release of whoever asks.
        if backlog.asked.load(Ordering::Acquire) {
            if backlog.aborted.load(Ordering::Acquire) {
                return Next::Aborted;
            }
            self.see_requests();
        }
        let Some(backlog) = &self.pipe.backlog else {
            return Next::Drained;
        };
        // Odd while an event is being taken: see `Backlog::stats`.
        backlog.counts.taken.store(2 * self.taken + 1, Ordering::Release);
        if backlog.has_own() {
            if let Some(event) = backlog.take_due(self.taken) {
                return self.took(event);
            }
        }
        match self.pipe.receiver.try_recv() {
            Ok(event) => self.took(event),
            Err(empty) => {
                // Own events wait for what was in front of them, unless that was taken by somebody else.
                let own = if backlog.has_own() { backlog.take_own() } else { None };
                if let Some(event) = own {
                    return self.took(event);
                }
                backlog.counts.taken.store(2 * self.taken, Ordering::Release);
                match empty {
                    TryRecvError::Empty => Next::Empty,
                    TryRecvError::Disconnected => Next::Drained,
                }
            }
        }
    }

    #[inline]
    fn took(&mut self, event: E) -> Next<E> {
        self.taken += 1;
        if let Some(backlog) = &self.pipe.backlog {
            backlog.counts.taken.store(2 * self.taken, Ordering::Release);
        }
        Next::Event(event)
    }

    #[cold]
    fn see_requests(&mut self) {
        let backlog = self.backlog();
        // A swap, so that it acquires what the one it overtakes has released.
        backlog.asked.swap(false, Ordering::AcqRel);
        let new = backlog.take_requests();
        // Looked at after the requests are taken: what was accepted before one of them is taken already, or
        // in the channel, or the worker's own.
        let until = self.taken + self.pipe.receiver.len() as u64 + backlog.own_len() as u64;
        self.flushes.extend(new.into_iter().map(|flush| (until, flush)));
        // An abort that asked just before the flag was lowered.
        let backlog = self.backlog();
        if backlog.aborted.load(Ordering::Acquire) {
            backlog.asked.store(true, Ordering::Release);
        }
    }

    /// Sleeps until there may be something to do.
    fn rest(&self, deadline: Option<Instant>) {
        let backlog = self.backlog();
        if linger(|| !self.pipe.receiver.is_empty() || backlog.asked.load(Ordering::Acquire)) {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.pipe.receiver);
        let woken = select.recv(&backlog.woken);
        let ready = match deadline {
            None => Ok(select.ready()),
            Some(deadline) => select.ready_deadline(deadline),
        };
        if ready == Ok(woken) {
            let _ = backlog.woken.try_recv();
        }
    }
}

impl<E, S> Worker<E, S> {
    /// Answers the flushes whose events are all delivered; all of them if nothing is `waiting`.
    #[cold]
    fn answer_flushes<T>(&mut self, waiting: bool)
    where
        S: Sink<T>,
    {
        if self.backlog().aborted.load(Ordering::Acquire) {
            // What is missing from the channel was given up, not delivered: `run` tells them so.
            return;
        }
        let taken = self.taken;
        let reached = self.flushes.iter().take_while(|(until, _)| !waiting || *until <= taken).count();
        for (_, flush) in self.flushes.drain(..reached) {
            let downstream = flush_caught(|| self.sink.flush()).0;
            let evicted = if self.evicts { self.pipe.writes_under_way() } else { Answer::Told(Ok(())) };
            Answer::resolve_all(&flush, [(downstream, true), (evicted, true)], |outcome| outcome);
        }
    }

    /// Runs `pump` and sees to what is left when it ends, however that is.
    fn run<T>(mut self, pump: impl FnOnce(&mut Self) -> End)
    where
        S: Sink<T>,
    {
        let _inside = self.backlog().scope().enter();
        trace::on_worker_of(&self.pipe.outlet.told);
        let end = catch_unwind(AssertUnwindSafe(|| pump(&mut self)));
        let pipe = Arc::clone(&self.pipe);
        let backlog = self.backlog();
        // An abort that emptied the channel before the worker saw it.
        let aborted = backlog.aborted.load(Ordering::Acquire);
        let end = end.map(|end| if aborted { End::Aborted } else { end });
        let error = match end {
            Ok(End::Drained) => None,
            Ok(End::Aborted) => Some(CloseError::Undelivered { events: pipe.left(), in_flight: 0 }),
            Ok(End::DownstreamClosed) => {
                backlog.set_cause(Cause::DownstreamClosed);
                pipe.reader_is_gone();
                trace::downstream_closed(pipe.outlet.told.queue(), pipe.left());
                Some(CloseError::DownstreamClosed { events: pipe.left() })
            }
            Err(panic) => {
                let message = panic_message(panic);
                backlog.set_cause(Cause::Panicked(Arc::clone(&message)));
                let lost = self.account_for_panic();
                pipe.reader_is_gone();
                trace::panicked(pipe.outlet.told.queue(), lost, pipe.left());
                Some(CloseError::Panicked { message, events: pipe.left() + lost })
            }
        };
        let backlog = self.backlog();
        let last = backlog.end_requests();
        match error {
            None => {
                self.flushes.extend(last.into_iter().map(|flush| (0, flush)));
                self.answer_flushes(false);
            }
            Some(error) => {
                let rest = self.flushes.drain(..).map(|(_, flush)| flush).chain(last);
                for flush in rest {
                    flush.complete(Err(FlushError::Closed(error.clone())));
                }
            }
        }
        let backlog = self.backlog();
        drop(backlog.close_downstream(&pipe));
        // The sink is dropped before the close is told, as far as this worker holds it.
        drop_caught(self);
        if let Some(backlog) = &pipe.backlog {
            backlog.worker_is_through();
        }
        pipe.leave();
    }

    /// What the worker held when the sink panicked is lost.
    fn account_for_panic(&self) -> u64 {
        let counts = &self.backlog().counts;
        let taken = self.taken;
        // The panic may have come between the two stores of taking, from a destructor, say.
        counts.taken.store(2 * taken, Ordering::Release);
        let done = counts.delivered.load(Ordering::Acquire) + counts.returned.load(Ordering::Acquire);
        let lost = taken.saturating_sub(done);
        counts.lost.store(lost, Ordering::Release);
        lost
    }

    fn delivered(&self, events: u64) {
        let delivered = &self.backlog().counts.delivered;
        delivered.store(delivered.load(Ordering::Relaxed) + events, Ordering::Release);
    }

    /// Gives up an event that was taken and came back.
    fn give_back(&self, event: E) {
        let returned = &self.backlog().counts.returned;
        self.pipe.give_up_left(|| {
            returned.store(returned.load(Ordering::Relaxed) + 1, Ordering::Release);
            event
        });
    }

    fn refused(&self) -> End {
        if self.backlog().aborted.load(Ordering::SeqCst) { End::Aborted } else { End::DownstreamClosed }
    }
}

impl<E, S> Worker<E, S>
where
    S: Sink<E>,
    S::Error: Never,
{
    pub(super) fn run_single(self) {
        self.run(|worker| {
            loop {
                match worker.next() {
                    Next::Event(event) => {
                        if let Err(error) = worker.sink.write(event) {
                            worker.give_back(refused(error));
                            return worker.refused();
                        }
                        worker.delivered(1);
                        if !worker.flushes.is_empty() {
                            worker.answer_flushes(true);
                        }
                    }
                    Next::Empty => {
                        if !worker.flushes.is_empty() {
                            worker.answer_flushes(false);
                        }
                        worker.rest(None);
                    }
                    Next::Drained => return End::Drained,
                    Next::Aborted => return End::Aborted,
                }
            }
        });
    }
}

impl<E, S> Worker<E, S>
where
    S: Sink<Vec<E>>,
    S::Error: Never,
{
    pub(super) fn run_batched(self, batch: Batch) {
        self.run(|worker| {
            let mut events = Vec::new();
            loop {
                let end = worker.assemble(&mut events, batch);
                if matches!(end, Some(End::Aborted)) {
                    events.drain(..).for_each(|event| worker.give_back(event));
                    return End::Aborted;
                }
                if !events.is_empty() {
                    let written = events.len() as u64;
                    let next = Vec::with_capacity(events.len());
                    if let Err(error) = worker.sink.write(std::mem::replace(&mut events, next)) {
                        let rest = refused(error);
                        worker.delivered(written.saturating_sub(rest.len() as u64));
                        rest.into_iter().for_each(|event| worker.give_back(event));
                        return worker.refused();
                    }
                    worker.delivered(written);
                }
                if !worker.flushes.is_empty() {
                    worker.answer_flushes(true);
                }
                if let Some(end) = end {
                    return end;
                }
            }
        });
    }

    /// Takes events until the batch is full, its time is up, a flush has asked for it, or there are no more.
    fn assemble(&mut self, events: &mut Vec<E>, batch: Batch) -> Option<End> {
        let mut deadline: Option<Instant> = None;
        while events.len() < batch.size() {
            match self.next() {
                Next::Event(event) => {
                    if events.is_empty() && batch.time() > Duration::ZERO {
                        deadline = Instant::now().checked_add(batch.time());
                    }
                    events.push(event);
                    // With a backlog the channel is never found empty: so this is looked at on the way, too.
                    let flush = self.flushes.first().is_some_and(|(until, _)| *until <= self.taken);
                    if flush || (events.len() % LOOK == 0 && is_up(deadline)) {
                        return None;
                    }
                }
                Next::Drained => return Some(End::Drained),
                Next::Aborted => return Some(End::Aborted),
                Next::Empty if events.is_empty() => {
                    if !self.flushes.is_empty() {
                        self.answer_flushes(false);
                    }
                    self.rest(None);
                }
                Next::Empty => {
                    let up = batch.time().is_zero() || !self.flushes.is_empty() || is_up(deadline);
                    if up {
                        return None;
                    }
                    self.rest(deadline);
                }
            }
        }
        None
    }
}
