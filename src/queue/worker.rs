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
use std::time::Instant;

use crossbeam_channel::TryRecvError;

use super::batch::{Batch, ROOM};
use super::state::{QueuePipe, QueueState};
use crate::buffer::Weighing;
use crate::sync::caught::drop_caught;
use crate::sync::spin::spin_then_yield;
use crate::worker::{Drain, End, Next, Source, count};

/// A queue's events, one by one.
pub(super) struct Single<E> {
    pipe: Arc<QueuePipe<E>>,
    /// Events taken so far.
    taken: u64,
}

impl<E> Single<E>
where
    E: Send + 'static,
{
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

    /// What the worker is asked to look up for, if it is.
    #[inline]
    fn asked<T>(&self) -> Option<Next<T>> {
        let state = self.state();
        // Acquire: pairs with the release of the thread that asks.
        if !state.asked.load(Ordering::Acquire) {
            return None;
        }
        // A swap, so that it acquires what the one that it overtakes has released.
        state.asked.swap(false, Ordering::AcqRel);
        Some(if Drain::is_stopped(&*self.pipe) { Next::End(End::Stopped) } else { Next::Asked })
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
        if let Some(asked) = self.asked() {
            return asked;
        }
        if !self.state().reentrant.is_empty() {
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

/// A queue's events in batches.
pub(super) struct Batches<E> {
    queue: Single<E>,
    batch: Batch<E>,
    /// The batch under assembly.
    events: Vec<E>,
    /// What it weighs, if it is weighed.
    weight: u64,
    /// An event that is being weighed, or that would have made the batch too heavy; and its weight.
    aside: Option<(E, u64)>,
    /// Until when the batch may wait.
    deadline: Option<Instant>,
    /// How many events there are in the one that is with the sink.
    written: usize,
}

impl<E> Batches<E>
where
    E: Send + 'static,
{
    pub(super) fn new(pipe: Arc<QueuePipe<E>>, batch: Batch<E>) -> Self {
        let queue = Single::new(pipe);
        Self { queue, batch, events: Vec::new(), weight: 0, aside: None, deadline: None, written: 0 }
    }

    /// Puts an event into the batch; or aside, if that makes it too heavy. Whether it is in the batch.
    fn add(&mut self, event: E) -> bool {
        if self.events.is_empty() {
            self.start_timer();
        }
        let Some(Weighing { max, weigh }) = &self.batch.weighing else {
            self.events.push(event);
            return true;
        };
        // If `weigh` panics, it is shed from there.
        let (event, weight) = self.aside.insert((event, 0));
        *weight = weigh(event);
        if !self.events.is_empty() && *weight > max.saturating_sub(self.weight) {
            return false;
        }
        self.add_aside();
        true
    }

    fn add_aside(&mut self) {
        if let Some((event, weight)) = self.aside.take() {
            self.events.push(event);
            self.weight += weight;
        }
    }

    fn is_full(&self) -> bool {
        let heavy = || self.batch.weighing.as_ref().is_some_and(|weighing| self.weight >= weighing.max);
        self.events.len() >= self.batch.size || (!self.events.is_empty() && heavy())
    }

    fn start_timer(&mut self) {
        if !self.batch.time.is_zero() {
            self.deadline = Instant::now().checked_add(self.batch.time);
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn hand_over(&mut self) -> Next<Vec<E>> {
        self.weight = 0;
        if self.aside.is_some() {
            self.start_timer();
        }
        self.written = self.events.len();
        // As long as the last one, but a burst is not remembered.
        let next = Vec::with_capacity(self.written.min(ROOM));
        Next::Event(std::mem::replace(&mut self.events, next))
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
        if self.aside.is_some() {
            if let Some(asked) = self.queue.asked() {
                return asked;
            }
            self.add_aside();
        }
        while !self.is_full() && (self.events.is_empty() || self.queue.taken < flush_at) {
            match self.queue.next(flush_at) {
                Next::Event(event) => {
                    // When many wait the channel is never found empty: so the clock is looked at on the way, too.
                    if !self.add(event) || (self.events.len() % LOOK == 0 && self.is_late()) {
                        break;
                    }
                }
                Next::Asked => return Next::Asked,
                Next::Empty(_) if self.events.is_empty() => return Next::Empty(None),
                Next::Empty(_) => {
                    let waits =
                        !self.batch.time.is_zero() && flush_at == u64::MAX && !self.queue.pipe.is_shut();
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
        self.hand_over()
    }

    fn delivered(&mut self, (): ()) {
        Single::delivered(&self.queue, self.written as u64);
    }

    fn refused(&mut self, rest: Vec<E>, _wanted: bool) {
        Single::delivered(&self.queue, self.written.saturating_sub(rest.len()) as u64);
        rest.into_iter().for_each(|event| self.queue.shed(event));
    }

    fn shed_held(&mut self, _panicked: bool) {
        let aside = self.aside.take().map(|(event, _)| event);
        self.events.drain(..).chain(aside).for_each(|event| self.queue.shed(event));
    }

    fn position(&self) -> u64 {
        self.queue.taken - self.events.len() as u64 - u64::from(self.aside.is_some())
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
