//! The thread between a queue and its sink.
//!
//! [`run_single`](Worker::run_single) and [`run_batched`](Worker::run_batched) are the loops; what becomes of what is left
//! when one of them ends, however that is, stands in [`run`](Worker::run).

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_channel::{Select, TryRecvError};

use super::batch::Batch;
use super::flushes::Flush;
use super::state::{Cause, QueuePipe, QueueState};
use crate::contract::{Never, Sink, refused};
use crate::lifecycle::{CloseError, MaybeDone, flush_caught, join};
use crate::sync::blocking::blocking;
use crate::sync::caught::{Payload, drop_caught, panic_message};
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
pub(super) enum End {
    Drained,
    Aborted,
    DownstreamClosed,
}

/// What a worker did.
pub(super) enum Step {
    /// It delivered something, or has to look again.
    Moved,
    /// There is nothing to do now.
    Idle,
    End(End),
}

impl<E, S> Worker<E, S>
where
    S: Sink<E>,
    S::Error: Never,
{
    /// Delivers an event, if there is one.
    #[inline]
    pub(super) fn step(&mut self) -> Step {
        match self.next() {
            Next::Event(event) => {
                if let Err(error) = self.sink.write(event) {
                    return Step::End(self.refused([refused(error)], |sink, event| sink.wants(event)));
                }
                self.delivered(1);
                self.pass_flushes_on(true);
                Step::Moved
            }
            Next::Empty => Step::Idle,
            Next::Drained => Step::End(End::Drained),
            Next::Aborted => Step::End(End::Aborted),
        }
    }
}

impl<E, S> Worker<E, S>
where
    S: Sink<Vec<E>>,
    S::Error: Never,
{
    /// Delivers a batch, if there is an event. `events` is kept from one step to the next, and empty in between.
    pub(super) fn step_batched(&mut self, events: &mut Vec<E>, batch: Batch) -> Step {
        let end = match self.assemble(events, batch) {
            Step::Idle => return Step::Idle,
            Step::Moved => None,
            Step::End(End::Aborted) => {
                events.drain(..).for_each(|event| self.shed(event));
                return Step::End(End::Aborted);
            }
            Step::End(end) => Some(end),
        };
        if !events.is_empty() {
            let written = events.len();
            // As long as the last one, but a burst is not remembered.
            let next = Vec::with_capacity(written.min(ROOM));
            if let Err(error) = self.sink.write(std::mem::replace(events, next)) {
                let rest = refused(error);
                self.delivered(written.saturating_sub(rest.len()) as u64);
                return Step::End(self.refused(rest, |_, _| true));
            }
            self.delivered(written as u64);
        }
        self.pass_flushes_on(true);
        end.map_or(Step::Moved, Step::End)
    }

    /// Takes events until the batch is full, its time is up, a flush or a close has asked for it, or there are no more.
    fn assemble(&mut self, events: &mut Vec<E>, batch: Batch) -> Step {
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
                        return Step::Moved;
                    }
                }
                Next::Drained => return Step::End(End::Drained),
                Next::Aborted => return Step::End(End::Aborted),
                Next::Empty if events.is_empty() => return Step::Idle,
                Next::Empty => {
                    let waits = !batch.time().is_zero() && self.flushes.is_empty() && !self.pipe.is_shut();
                    if !waits || is_past(deadline) {
                        return Step::Moved;
                    }
                    blocking(|| self.park(deadline));
                }
            }
        }
        Step::Moved
    }
}

/// How many steps a task takes before it gives way to others of its pool.
const STEPS: usize = 256;

/// A worker as a task of a pool.
///
/// # Why no wake-up is lost
///
/// One that finds nothing registers its waker and looks once more, at the channel and at `asked`. Writers and whatever
/// asks look for the waker afterwards: see `ReaderWaker`. So does the last write, once the channel is disconnected.
pub(super) struct Task<E, S, F, T> {
    worker: Option<Worker<E, S>>,
    step: F,
    event: PhantomData<fn(T)>,
}

impl<E, S, F, T> Task<E, S, F, T> {
    pub(super) fn new(worker: Worker<E, S>, step: F) -> Self {
        Self { worker: Some(worker), step, event: PhantomData }
    }
}

/// Nothing in it is pinned.
impl<E, S, F, T> Unpin for Task<E, S, F, T> {}

impl<E, S, F, T> Future for Task<E, S, F, T>
where
    F: FnMut(&mut Worker<E, S>) -> Step,
    S: Sink<T>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { worker: slot, step, .. } = self.get_mut();
        let Some(worker) = slot else {
            return Poll::Ready(());
        };
        let pipe = Arc::clone(&worker.pipe);
        let _inside = pipe.end.scope().enter();
        trace::on_worker_of(&pipe.shed.log);
        let end = match catch_unwind(AssertUnwindSafe(|| worker.steps(step, context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(end)) => Ok(end),
            Err(panic) => Err(panic),
        };
        if let Some(worker) = slot.take() {
            worker.wind_up(end);
        }
        // A handle to the closed queue would keep this task by it, and so the threads of the pool.
        drop(pipe.end.task.as_ref().and_then(|task| task.take()));
        Poll::Ready(())
    }
}

impl<E, S> Worker<E, S> {
    fn steps<T>(&mut self, step: &mut impl FnMut(&mut Self) -> Step, context: &Context<'_>) -> Poll<End>
    where
        S: Sink<T>,
    {
        let mut registered = false;
        for _ in 0..STEPS {
            match step(self) {
                Step::Moved => registered = false,
                Step::End(end) => return Poll::Ready(end),
                Step::Idle if !self.flushes.is_empty() => self.pass_flushes_on(false),
                Step::Idle if registered => return Poll::Pending,
                Step::Idle => {
                    if let Some(task) = &self.state().task {
                        task.register(context.waker());
                    }
                    registered = true;
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
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
            let event = self.pipe.take_due(|evicted| self.state().reentrant.take_due(self.taken + evicted));
            if let Some(event) = event {
                return self.took(event);
            }
        }
        match self.pipe.try_take() {
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
            // What is missing from the channel was shed, not delivered: `wind_up` ends the flushes.
            return;
        }
        let taken = self.taken;
        let due = self.flushes.iter().take_while(|(until, _)| !waiting || *until <= taken).count();
        for (_, flush) in self.flushes.drain(..due) {
            let downstream = flush.trail.pass_on(|| flush_caught(|| self.sink.flush()));
            MaybeDone::gather(&flush.completion, [(downstream.0, true)], join);
        }
    }

    /// Delivers by `step` on this thread until that ends, and sees to what is left.
    pub(super) fn run<T>(mut self, mut step: impl FnMut(&mut Self) -> Step)
    where
        S: Sink<T>,
    {
        let _inside = self.pipe.end.scope().enter();
        trace::on_worker_of(&self.pipe.shed.log);
        let end = catch_unwind(AssertUnwindSafe(|| {
            loop {
                match step(&mut self) {
                    Step::Moved => {}
                    Step::Idle => {
                        self.pass_flushes_on(false);
                        self.park(None);
                    }
                    Step::End(end) => return end,
                }
            }
        }));
        self.wind_up(end);
    }

    /// Sees to what is left when the worker ends, however that is.
    fn wind_up<T>(mut self, end: Result<End, Payload>)
    where
        S: Sink<T>,
    {
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
