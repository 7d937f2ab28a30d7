//! What a queue's worker and all other threads know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::received::Received;
use super::reentrant::Reentrant;
use super::stats::QueueStats;
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::{Closing, Flushing, MaybeDone, Remaining, join};
use crate::pipe::{Pipe, ReadEnd};
use crate::sync::scope::Scope;
use crate::sync::waker::ReaderWaker;
use crate::trace;
use crate::worker::{Cause, Closes, Drain, WorkerState};

pub(super) type QueuePipe<E> = Pipe<E, QueueState<E>>;

/// In this order: see [`Pipe`].
#[repr(C)]
pub(crate) struct QueueState<E> {
    pub(super) waker: ReaderWaker,
    /// Whether the worker has to look up: at its flushes, at `stopped`, or because the queue is closed.
    pub(super) asked: AtomicBool,
    stopped: AtomicBool,
    pub(super) reentrant: Reentrant<E>,
    pub(super) worker: WorkerState<Arc<dyn Closes>>,
    /// What has left the channel and waits, if there are several workers.
    received: Option<Arc<dyn Received<E>>>,
}

/// What a queue looks like at one moment.
struct Snapshot {
    stats: QueueStats,
    /// Of those dropped, spilled or on their way there, how many because the queue ended and not for want of room.
    left_over: u64,
    /// With the worker.
    held: u64,
}

impl<E> QueueState<E> {
    pub(super) fn new(downstream: Arc<dyn Closes>, received: Option<Arc<dyn Received<E>>>) -> Self {
        Self {
            worker: WorkerState::new(downstream, true),
            reentrant: Reentrant::new(),
            asked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waker: ReaderWaker::new(),
            received,
        }
    }

    fn ask(&self) {
        // Release: pairs with the worker's acquire, so that it finds what it is asked for.
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn request_flush(&self, closing: &Closing) -> Flushing {
        let scope = self.worker.scope;
        let completion = || Completion::within([scope]);
        self.worker.request_flush(|| None, completion, || self.ask(), || Flushing::of_close(closing))
    }

    pub(super) fn stats(&self, pipe: &QueuePipe<E>) -> QueueStats {
        self.snapshot(pipe).stats
    }

    /// The counts are read in the order opposite to that in which an event comes into them, so that no event is in two.
    fn snapshot(&self, pipe: &QueuePipe<E>) -> Snapshot {
        let counts = &self.worker.counts;
        let shed = pipe.shed.counts();
        let returned = counts.returned.load(Ordering::Acquire);
        let lost = counts.lost();
        let delivered = counts.delivered.load(Ordering::Acquire);
        let taken = counts.taken.load(Ordering::Acquire);
        let (left_over, pending) = pipe.left_over_and(|| self.pending(pipe));

        let held = taken.saturating_sub(returned + lost + delivered);
        let in_flight = held + shed.under_way;
        let (dropped, spilled) = (shed.dropped, shed.spilled);
        let accepted = delivered + dropped + spilled + lost + pending + in_flight;
        let stats = QueueStats { accepted, delivered, dropped, spilled, lost, pending, in_flight };
        Snapshot { stats, left_over, held }
    }

    pub(super) fn pending(&self, pipe: &QueuePipe<E>) -> u64 {
        // Looked at first: an event goes there from the channel.
        let received = self.received.as_ref().map_or(0, |received| received.waiting());
        (received + pipe.waiting() + self.reentrant.len()) as u64
    }
}

impl<E> ReadEnd<E> for QueueState<E> {
    #[inline]
    fn is_reentrant(&self) -> bool {
        !self.reentrant.is_empty() && self.worker.scope.is_current()
    }

    fn is_reader_here(&self) -> bool {
        self.worker.scope.is_current()
    }

    fn keep(&self, pipe: &QueuePipe<E>, event: E) -> Result<(), E> {
        if !self.worker.scope.is_current() {
            return Err(event);
        }
        if let Some(received) = &self.received {
            let mut event = Some(event);
            received.keep(&mut |left| {
                event.take().into_iter().for_each(|event| self.reentrant.push(event, left, pipe.waiting()));
            });
            self.waker.wake();
            return Ok(());
        }
        let (evicted, waiting) = pipe.between_evictions(|evicted| (evicted, pipe.waiting()));
        let left = self.worker.counts.taken.load(Ordering::Acquire) + evicted;
        self.reentrant.push(event, left, waiting);
        Ok(())
    }

    fn take_kept(&self) -> Option<E> {
        self.reentrant.take()
    }

    fn evict(&self, pipe: &QueuePipe<E>) -> Option<(E, Option<u64>)> {
        let mut receive = || pipe.receiver.try_recv().ok();
        match &self.received {
            Some(received) => received.evict(&mut receive),
            None => receive().map(|event| (event, None)),
        }
    }

    fn take_received(&self, pipe: &QueuePipe<E>) -> Option<E> {
        let (event, permit) = self.received.as_ref()?.take_oldest()?;
        permit.into_iter().for_each(|weight| pipe.release(weight));
        Some(event)
    }

    fn scope(&self) -> Option<Scope> {
        Some(self.worker.scope)
    }

    fn announce(&self, _pipe: &QueuePipe<E>, event: E) -> Option<(E, impl Sized)> {
        Some((event, ()))
    }

    #[inline]
    fn notify(&self) {
        self.waker.wake();
    }

    /// A batch under assembly is written at once.
    fn shut(&self) {
        self.ask();
    }

    fn writers_finished(&self, pipe: &QueuePipe<E>) {
        self.worker.writers_finished();
        pipe.leave();
    }

    fn conclude(&self, pipe: &QueuePipe<E>, spill: Closing) {
        let downstream = self.worker.close_downstream(&pipe.completion);
        let own = self.own_outcome(pipe);
        MaybeDone::gather(&pipe.completion, [(downstream.0, true), (spill.0, false)], move |outcomes| {
            join([own].into_iter().chain(outcomes))
        });
    }
}

impl<E> QueueState<E> {
    /// What this queue itself did not deliver: shed, or about to be shed by a thread that is at it now.
    fn own_outcome(&self, pipe: &QueuePipe<E>) -> Outcome {
        let Snapshot { stats, left_over, held } = self.snapshot(pipe);
        self.worker.outcome(left_over + stats.pending, held)
    }
}

impl<E> Drain for QueuePipe<E>
where
    E: Send + 'static,
{
    type Sink = Arc<dyn Closes>;

    fn worker(&self) -> &WorkerState<Arc<dyn Closes>> {
        &self.end.worker
    }

    fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    fn log(&self) -> &trace::ShedLog {
        &self.shed.log
    }

    fn stop(&self) -> bool {
        !self.end.stopped.swap(true, Ordering::AcqRel)
    }

    fn is_stopped(&self) -> bool {
        self.end.stopped.load(Ordering::Acquire)
    }

    fn fix_end(&self) {
        self.shut();
    }

    fn shed_rest(&self) {
        self.reader_is_gone();
    }

    fn help_shed(&self) {
        self.reader_is_gone();
    }

    fn own_outcome(&self) -> Outcome {
        self.end.own_outcome(self)
    }

    fn given_up(&self) -> u64 {
        let shed = self.shed.counts();
        shed.dropped + shed.spilled + shed.under_way
    }

    fn held(&self) -> u64 {
        let counts = &self.end.worker.counts;
        counts.taken.load(Ordering::Acquire).saturating_sub(counts.settled())
    }

    fn log_end(&self, cause: &Cause, lost: u64) {
        let (queue, left) = (self.shed.log.queue(), self.left_over());
        match cause {
            Cause::Panicked(_) => trace::panicked(queue, lost, left),
            _ => trace::downstream_closed(queue, left),
        }
    }

    fn is_writer_here(&self) -> bool {
        self.shed.scope.is_current()
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        let stats = self.end.stats(self);
        remaining.add(self.shed.log.queue(), stats.pending, stats.in_flight);
    }

    fn join(&self) -> bool {
        Self::join(self)
    }

    fn leave(&self) {
        Self::leave(self);
    }
}
