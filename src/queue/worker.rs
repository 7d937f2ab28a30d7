//! The thread between a queue and its sink.
//!
//! [`run_single`](Worker::run_single) and [`run_batched`](Worker::run_batched) are the loops; what becomes of what is left
//! when one of them ends, however that is, stands in [`run`](Worker::run).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Select, TryRecvError};

use super::batch::Batch;
use super::flushes::Flush;
use super::state::{Cause, QueuePipe, QueueState};
use crate::contract::{Never, Sink, refused};
use crate::lifecycle::{CloseError, MaybeDone, flush_caught, join};
use crate::sync::caught::{drop_caught, panic_message};
use crate::sync::spin::spin_then_yield;
use crate::trace;

pub(super) struct Worker<E, S> {
    pipe: Arc<QueuePipe<E>>,
    sink: Arc<S>,
    /// Events taken so far.
    taken: u64,
    /// Flushes to pass on once so many events are taken and delivered, in order.
    flushes: Vec<(u64, Flush)>,
}

/// How many events a batch takes between two looks at the clock.
const LOOK: usize = 64;

/// The room that a batch is given before it is known how long it gets.
const ROOM: usize = 1024;

fn is_past(deadline: Option<Instant>) -> bool {
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
                            return worker.refused([refused(error)], |sink, event| sink.wants(event));
                        }
                        worker.delivered(1);
                        worker.pass_flushes_on(true);
                    }
                    Next::Empty => {
                        worker.pass_flushes_on(false);
                        worker.park(None);
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
                    events.drain(..).for_each(|event| worker.shed(event));
                    return End::Aborted;
                }
                if !events.is_empty() {
                    let written = events.len();
                    // As long as the last one, but a burst is not remembered.
                    let next = Vec::with_capacity(written.min(ROOM));
                    if let Err(error) = worker.sink.write(std::mem::replace(&mut events, next)) {
                        let rest = refused(error);
                        worker.delivered(written.saturating_sub(rest.len()) as u64);
                        return worker.refused(rest, |_, _| true);
                    }
                    worker.delivered(written as u64);
                }
                worker.pass_flushes_on(true);
                if let Some(end) = end {
                    return end;
                }
            }
        });
    }

    /// Takes events until the batch is full, its time is up, a flush or a close has asked for it, or there are no more.
    fn assemble(&mut self, events: &mut Vec<E>, batch: Batch) -> Option<End> {
        let mut deadline: Option<Instant> = None;
        while events.len() < batch.size() {
            match self.next() {
                Next::Event(event) => {
                    if events.is_empty() && batch.time() > Duration::ZERO {
                        deadline = Instant::now().checked_add(batch.time());
                    }
                    events.push(event);
                    // When many wait the channel is never found empty: so this is looked at on the way, too.
                    let flush = self.flushes.first().is_some_and(|(until, _)| *until <= self.taken);
                    if flush || (events.len() % LOOK == 0 && is_past(deadline)) {
                        return None;
                    }
                }
                Next::Drained => return Some(End::Drained),
                Next::Aborted => return Some(End::Aborted),
                Next::Empty if events.is_empty() => {
                    self.pass_flushes_on(false);
                    self.park(None);
                }
                Next::Empty => {
                    let waits = !batch.time().is_zero() && self.flushes.is_empty() && !self.pipe.is_shut();
                    if !waits || is_past(deadline) {
                        return None;
                    }
                    self.park(deadline);
                }
            }
        }
        None
    }
}

impl<E, S> Worker<E, S> {
    pub(super) fn new(pipe: Arc<QueuePipe<E>>, sink: Arc<S>) -> Self {
        Self { pipe, sink, taken: 0, flushes: Vec::new() }
    }

    fn state(&self) -> &QueueState<E> {
        &self.pipe.end
    }

    fn is_aborted(&self) -> bool {
        self.state().aborted.load(Ordering::Acquire)
    }

    /// The next event, without waiting.
    #[inline]
    fn next(&mut self) -> Next<E> {
        // Acquire: pairs with the release of the thread that asks.
        if self.state().asked.load(Ordering::Acquire) {
            if self.is_aborted() {
                return Next::Aborted;
            }
            self.look_up();
        }
        if !self.state().reentrant.is_empty() {
            // No eviction comes between the look at the turns and the take, which would make a turn due meanwhile.
            let event = self.pipe.between_evictions(|evicted| {
                let due = self.state().reentrant.take_due(self.taken + evicted);
                due.or_else(|| self.pipe.receiver.try_recv().ok())
            });
            if let Some(event) = event {
                return self.took(event);
            }
        }
        match self.pipe.receiver.try_recv() {
            Ok(event) => self.took(event),
            // Reentrant events wait for what was in front of them, unless another thread has taken that.
            Err(empty) => match (self.state().reentrant.take(), empty) {
                (Some(event), _) => self.took(event),
                (None, TryRecvError::Empty) => Next::Empty,
                (None, TryRecvError::Disconnected) => Next::Drained,
            },
        }
    }

    #[inline]
    fn took(&mut self, event: E) -> Next<E> {
        self.taken += 1;
        self.state().counts.taken.store(self.taken, Ordering::Release);
        Next::Event(event)
    }

    #[cold]
    fn look_up(&mut self) {
        // A swap, so that it acquires what the one that it overtakes has released.
        self.state().asked.swap(false, Ordering::AcqRel);
        let new = self.state().flushes.take();
        // Looked at after the flushes are taken: what was accepted before one of them is taken already, or waits.
        let until = self.taken + self.state().pending(&self.pipe);
        self.flushes.extend(new.into_iter().map(|flush| (until, flush)));
        // An abort that asked just before the flag was lowered.
        if self.is_aborted() {
            self.state().asked.store(true, Ordering::Release);
        }
    }

    /// Sleeps until there may be something to do.
    fn park(&self, deadline: Option<Instant>) {
        let state = self.state();
        if spin_then_yield(|| !self.pipe.receiver.is_empty() || state.asked.load(Ordering::Acquire)) {
            return;
        }
        let mut select = Select::new();
        select.recv(&self.pipe.receiver);
        let woken = select.recv(&state.woken);
        let ready = match deadline {
            None => Ok(select.ready()),
            Some(deadline) => select.ready_deadline(deadline),
        };
        if ready == Ok(woken) {
            let _ = state.woken.try_recv();
        }
    }

    /// Flushes the sink for those flushes whose events are all delivered; for all of them if nothing is `waiting`.
    #[inline]
    fn pass_flushes_on<T>(&mut self, waiting: bool)
    where
        S: Sink<T>,
    {
        if !self.flushes.is_empty() {
            self.pass_due_flushes_on(waiting);
        }
    }

    #[cold]
    fn pass_due_flushes_on<T>(&mut self, waiting: bool)
    where
        S: Sink<T>,
    {
        if self.is_aborted() {
            // What is missing from the channel was shed, not delivered: `run` ends the flushes.
            return;
        }
        let taken = self.taken;
        let due = self.flushes.iter().take_while(|(until, _)| !waiting || *until <= taken).count();
        for (_, flush) in self.flushes.drain(..due) {
            let downstream = flush.trail.pass_on(|| flush_caught(|| self.sink.flush()));
            MaybeDone::gather(&flush.completion, [(downstream.0, true)], join);
        }
    }

    /// Runs `pump` and sees to what is left when it ends, however that is.
    fn run<T>(mut self, pump: impl FnOnce(&mut Self) -> End)
    where
        S: Sink<T>,
    {
        let _inside = self.pipe.end.scope().enter();
        trace::on_worker_of(&self.pipe.shed.log);
        let end = catch_unwind(AssertUnwindSafe(|| pump(&mut self)));
        let pipe = Arc::clone(&self.pipe);
        let state = &pipe.end;
        // An abort that emptied the channel before the worker saw it.
        let end = end.map(|end| if self.is_aborted() { End::Aborted } else { end });
        let error = match end {
            Ok(End::Drained) => None,
            Ok(End::Aborted) => Some(CloseError::Undelivered { events: pipe.left_over(), in_flight: 0 }),
            Ok(End::DownstreamClosed) => {
                state.set_cause(Cause::DownstreamClosed);
                pipe.reader_is_gone();
                trace::downstream_closed(pipe.shed.log.queue(), pipe.left_over());
                Some(CloseError::DownstreamClosed { events: pipe.left_over() })
            }
            Err(panic) => {
                let message = panic_message(panic);
                state.set_cause(Cause::Panicked(Arc::clone(&message)));
                let lost = self.account_for_panic();
                pipe.reader_is_gone();
                trace::panicked(pipe.shed.log.queue(), lost, pipe.left_over());
                Some(CloseError::Panicked { message, events: pipe.left_over() + lost })
            }
        };
        let last = state.flushes.end();
        match error {
            None => {
                self.flushes.extend(last.into_iter().map(|flush| (0, flush)));
                self.pass_flushes_on(false);
            }
            Some(error) => {
                for flush in self.flushes.drain(..).map(|(_, flush)| flush).chain(last) {
                    flush.completion.complete(Err(error.clone()));
                }
            }
        }
        drop(state.close_downstream(&pipe));
        // The sink is dropped before the close completes, as far as this worker holds it.
        drop_caught(self);
        state.worker_finished();
        pipe.leave();
    }

    /// What the worker held when the sink panicked is lost.
    fn account_for_panic(&self) -> u64 {
        let counts = &self.state().counts;
        let done = counts.delivered.load(Ordering::Acquire) + counts.returned.load(Ordering::Acquire);
        let lost = self.taken.saturating_sub(done);
        counts.lost.store(lost, Ordering::Release);
        lost
    }

    fn delivered(&self, events: u64) {
        let delivered = &self.state().counts.delivered;
        delivered.store(delivered.load(Ordering::Relaxed) + events, Ordering::Release);
    }

    /// Sheds an event that was taken and came back.
    fn shed(&self, event: E) {
        let returned = &self.state().counts.returned;
        self.pipe.shed_left_over(|| {
            returned.store(returned.load(Ordering::Relaxed) + 1, Ordering::Release);
            Some(event)
        });
    }

    /// The sink is closed, and these events came back. One that it did not want, as a filter does not, counts as
    /// delivered, as it does while the sink is open.
    fn refused(&self, events: impl IntoIterator<Item = E>, wants: impl Fn(&S, &E) -> bool) -> End {
        for event in events {
            let wanted = catch_unwind(AssertUnwindSafe(|| wants(&self.sink, &event)));
            if wanted.map_err(drop_caught).unwrap_or(true) {
                self.shed(event);
            } else {
                self.delivered(1);
                drop_caught(event);
            }
        }
        if self.is_aborted() { End::Aborted } else { End::DownstreamClosed }
    }
}
