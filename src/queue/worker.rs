//! Where the events of a queue's worker come from: its pipe, one by one or in batches. [`worker`](crate::worker) has the
//! rest of its life.
//!
//! # Why an abort counts exactly
//!
//! What takes an event out of the pipe counts it: the worker as taken, a party that sheds it as left over, under a lock. Each
//! event is taken once. When the worker finds that it was stopped, it takes no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;

use super::batch::Batch;
use super::state::{QueuePipe, QueueState};
use crate::sync::caught::drop_caught;
use crate::sync::spin::spin_then_yield;
use crate::worker::{Drain, End, Next, Source, count};

/// A queue's events, one by one.
pub(super) struct Single<E> {
    pipe: Arc<QueuePipe<E>>,
    /// Events taken so far.
    taken: u64,
}

impl<E> Single<E> {
    pub(super) fn new(pipe: Arc<QueuePipe<E>>) -> Self {
        Self { pipe, taken: 0 }
    }

    fn state(&self) -> &QueueState<E> {
        &self.pipe.end
    }

    #[inline]
    fn took(&mut self, event: E) -> Next<E> {
        self.taken += 1;
        self.state().worker.counts.taken.store(self.taken, Ordering::Release);
        Next::Event(event)
    }

    /// What has no turn of its own in the pipe.
    #[cold]
    fn next_of_both(&mut self) -> Option<Next<E>> {
        // No eviction comes between the look at the turns and the take, which would make a turn due meanwhile.
        let event = self.pipe.take_due(|evicted| self.state().reentrant.take_due(self.taken + evicted));
        event.map(|event| self.took(event))
    }

    fn delivered(&self, events: u64) {
        count(&self.state().worker.counts.delivered, events);
    }

    /// Sheds an event that was taken and came back.
    fn shed(&self, event: E) {
        self.pipe.shed_left_over(|| {
            count(&self.state().worker.counts.returned, 1);
            Some(event)
        });
    }
}

impl<E> Source for Single<E>
where
    E: Send + 'static,
{
    type Drain = QueuePipe<E>;
    type Item = E;
    type Receipt = ();

    fn drain(&self) -> &Arc<QueuePipe<E>> {
        &self.pipe
    }

    #[inline]
    fn next(&mut self, _flush_at: u64) -> Next<E> {
        let state = self.state();
        // Acquire: pairs with the release of the thread that asks.
        if state.asked.load(Ordering::Acquire) {
            // A swap, so that it acquires what the one that it overtakes has released.
            state.asked.swap(false, Ordering::AcqRel);
            return if Drain::is_stopped(&*self.pipe) { Next::End(End::Stopped) } else { Next::Asked };
        }
        if !state.reentrant.is_empty() {
            if let Some(next) = self.next_of_both() {
                return next;
            }
        }
        match self.pipe.try_take() {
            Ok(event) => self.took(event),
            // Reentrant events wait for what was in front of them, unless another thread has taken that.
            Err(empty) => match (self.state().reentrant.take(), empty) {
                (Some(event), _) => self.took(event),
                (None, TryRecvError::Empty) => Next::Empty(None),
                (None, TryRecvError::Disconnected) => Next::End(End::Drained),
            },
        }
    }

    #[inline]
    fn delivered(&mut self, (): ()) {
        Self::delivered(self, 1);
    }

    fn refused(&mut self, event: E, wanted: bool) {
        if wanted {
            self.shed(event);
        } else {
            Self::delivered(self, 1);
            drop_caught(event);
        }
    }

    #[inline]
    fn position(&self) -> u64 {
        self.taken
    }

    /// What was accepted is taken already, or waits.
    fn mark(&self) -> u64 {
        self.taken + self.state().pending(&self.pipe)
    }

    fn spin(&self) -> bool {
        let state = self.state();
        spin_then_yield(|| !self.pipe.receiver.is_empty() || state.asked.load(Ordering::Acquire))
    }

    fn register(&mut self, waker: &Waker) -> bool {
        self.state().waker.register(waker);
        true
    }

    fn unregister(&mut self) {
        // A handle of the closed queue would keep this worker by it, and so the threads of its pool.
        drop_caught(self.state().waker.take());
    }
}

/// How many events a batch takes between two looks at the clock.
const LOOK: usize = 64;

/// The room that a batch is given before it is known how long it gets.
const ROOM: usize = 1024;

/// A queue's events in batches.
pub(super) struct Batches<E> {
    queue: Single<E>,
    batch: Batch,
    /// The batch under assembly.
    events: Vec<E>,
    /// Until when it may wait.
    deadline: Option<Instant>,
    /// How many events there are in the one that is with the sink.
    written: usize,
}

impl<E> Batches<E> {
    pub(super) fn new(pipe: Arc<QueuePipe<E>>, batch: Batch) -> Self {
        Self { queue: Single::new(pipe), batch, events: Vec::new(), deadline: None, written: 0 }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl<E> Source for Batches<E>
where
    E: Send + 'static,
{
    type Drain = QueuePipe<E>;
    type Item = Vec<E>;
    type Receipt = ();

    fn drain(&self) -> &Arc<QueuePipe<E>> {
        &self.queue.pipe
    }

    /// Takes events until the batch is full, its time is up, a flush or a close has asked for it, or there are no more.
    fn next(&mut self, flush_at: u64) -> Next<Vec<E>> {
        let time = self.batch.time();
        while self.events.len() < self.batch.size() {
            match self.queue.next(flush_at) {
                Next::Event(event) => {
                    if self.events.is_empty() && time > Duration::ZERO {
                        self.deadline = Instant::now().checked_add(time);
                    }
                    self.events.push(event);
                    // When many wait the channel is never found empty: so this is looked at on the way, too.
                    let flush = flush_at <= self.queue.taken;
                    if flush || (self.events.len() % LOOK == 0 && self.is_late()) {
                        break;
                    }
                }
                Next::Asked => return Next::Asked,
                Next::Empty(_) if self.events.is_empty() => return Next::Empty(None),
                Next::Empty(_) => {
                    let waits = !time.is_zero() && flush_at == u64::MAX && !self.queue.pipe.is_shut();
                    if !waits || self.is_late() {
                        break;
                    }
                    return Next::Empty(self.deadline);
                }
                // It will be found again.
                Next::End(End::Drained) if !self.events.is_empty() => break,
                Next::End(end) => return Next::End(end),
            }
        }
        self.written = self.events.len();
        // As long as the last one, but a burst is not remembered.
        let next = Vec::with_capacity(self.written.min(ROOM));
        Next::Event(std::mem::replace(&mut self.events, next))
    }

    fn delivered(&mut self, (): ()) {
        Single::delivered(&self.queue, self.written as u64);
    }

    fn refused(&mut self, rest: Vec<E>, _wanted: bool) {
        Single::delivered(&self.queue, self.written.saturating_sub(rest.len()) as u64);
        rest.into_iter().for_each(|event| self.queue.shed(event));
    }

    fn shed_held(&mut self) {
        self.events.drain(..).for_each(|event| self.queue.shed(event));
    }

    fn position(&self) -> u64 {
        self.queue.taken - self.events.len() as u64
    }

    fn mark(&self) -> u64 {
        self.queue.mark()
    }

    fn spin(&self) -> bool {
        self.queue.spin()
    }

    fn register(&mut self, waker: &Waker) -> bool {
        self.queue.register(waker)
    }

    fn unregister(&mut self) {
        self.queue.unregister();
    }
}
