//! What a queue's worker and all other threads know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::flushes::Flushes;
use super::reentrant::Reentrant;
use super::stats::QueueStats;
use crate::contract::{SharedSink, Sink};
use crate::lifecycle::completion::{Abort, Outcome};
use crate::lifecycle::{CloseError, Closing, MaybeDone, Remaining, join};
use crate::pipe::{Pipe, ReadEnd};
use crate::sync::scope::Scope;
use crate::sync::waker::ReaderWaker;
use crate::worker::Downstream;

pub(super) type QueuePipe<E> = Pipe<E, QueueState<E>>;

pub(crate) struct QueueState<E> {
    /// The worker's thread is in it all its life.
    scope: Scope,
    pub(super) counts: Counts,
    pub(super) reentrant: Reentrant<E>,
    /// Whether the worker has to look up: at `flushes`, at `aborted`, or because the queue is closed.
    pub(super) asked: AtomicBool,
    pub(super) aborted: AtomicBool,
    pub(super) flushes: Flushes,
    /// Wakes a worker that has nothing to do.
    wake: Sender<()>,
    pub(super) woken: Receiver<()>,
    /// Wakes one that is a task of a pool; `None` of one that has a thread of its own.
    pub(super) task: Option<ReaderWaker>,
    downstream: Downstream<Arc<dyn CloseDownstream>>,
    cause: Mutex<Option<Cause>>,
    finished: Mutex<Finished>,
    finished_changed: Condvar,
}

/// What a queue looks like at one moment.
struct Snapshot {
    stats: QueueStats,
    /// Of those dropped, spilled or on their way there, how many because the queue ended and not for want of room.
    left_over: u64,
    /// With the worker.
    held: u64,
}

/// Which of the two will count no more.
#[derive(Default)]
struct Finished {
    worker: bool,
    writers: bool,
}

/// What the worker counts. It alone writes, so it needs no read-modify-write; stores are `Release` so that a reader
/// that sees one sees what was counted before it.
#[derive(Default)]
#[repr(align(128))] // Away from what writers read: a store here would take that cache line from them.
pub(super) struct Counts {
    pub(super) taken: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Taken and shed.
    pub(super) returned: AtomicU64,
}

/// Why a worker ended before its time.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Panicked(Arc<str>),
    DownstreamClosed,
}

/// The sink under a queue, without its type.
pub(super) trait CloseDownstream: Send + Sync {
    fn close(&self) -> Closing;
}

pub(super) struct ClosesSink<E>(pub(super) SharedSink<E>);

impl<E> CloseDownstream for ClosesSink<E> {
    fn close(&self) -> Closing {
        self.0.close()
    }
}

impl<E> QueueState<E> {
    pub(super) fn new(downstream: Arc<dyn CloseDownstream>, pooled: bool) -> Self {
        let (wake, woken) = crossbeam_channel::bounded(1);
        Self {
            scope: Scope::new(),
            counts: Counts::default(),
            reentrant: Reentrant::new(),
            asked: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            flushes: Flushes::default(),
            wake,
            woken,
            task: pooled.then(ReaderWaker::new),
            downstream: Downstream::new(downstream),
            cause: Mutex::new(None),
            finished: Mutex::default(),
            finished_changed: Condvar::new(),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    pub(super) fn ask(&self) {
        // Release: pairs with the worker's acquire, so that it finds what it is asked for.
        self.asked.store(true, Ordering::Release);
        // Also for a task: it waits here for the rest of a batch. Full: then a wake is on its way already.
        let _ = self.wake.try_send(());
        if let Some(task) = &self.task {
            task.wake();
        }
    }

    /// Begins to close the downstream, unless that has begun, and has the queue's close await it.
    pub(super) fn close_downstream(&self, pipe: &QueuePipe<E>) -> Closing {
        self.downstream.close(&pipe.completion, |downstream| downstream.close())
    }

    pub(super) fn set_cause(&self, cause: Cause) {
        *self.cause.lock() = Some(cause);
    }

    pub(super) fn worker_finished(&self) {
        self.finished.lock().worker = true;
        self.finished_changed.notify_all();
    }

    /// What this queue itself did not deliver: shed, or about to be shed by a thread that is at it now.
    fn own_outcome(&self, pipe: &QueuePipe<E>) -> Outcome {
        let Snapshot { stats, left_over, held } = self.snapshot(pipe);
        let events = left_over + stats.pending;
        let cause = self.cause.lock().clone();
        match cause {
            Some(Cause::Panicked(message)) => {
                Err(CloseError::Panicked { message, events: events + stats.lost })
            }
            Some(Cause::DownstreamClosed) => Err(CloseError::DownstreamClosed { events }),
            None => match (events, held) {
                (0, 0) => Ok(()),
                (events, in_flight) => Err(CloseError::Undelivered { events, in_flight }),
            },
        }
    }

    pub(super) fn stats(&self, pipe: &QueuePipe<E>) -> QueueStats {
        self.snapshot(pipe).stats
    }

    /// The counts are read in the order opposite to that in which an event comes into them, so that no event is in two.
    fn snapshot(&self, pipe: &QueuePipe<E>) -> Snapshot {
        let shed = pipe.shed.counts();
        let returned = self.counts.returned.load(Ordering::Acquire);
        let lost = self.counts.lost.load(Ordering::Acquire);
        let delivered = self.counts.delivered.load(Ordering::Acquire);
        let taken = self.counts.taken.load(Ordering::Acquire);
        let (left_over, pending) = pipe.left_over_and(|| self.pending(pipe));

        let held = taken.saturating_sub(returned + lost + delivered);
        let in_flight = held + shed.under_way;
        let (dropped, spilled) = (shed.dropped, shed.spilled);
        let accepted = delivered + dropped + spilled + lost + pending + in_flight;
        let stats = QueueStats { accepted, delivered, dropped, spilled, lost, pending, in_flight };
        Snapshot { stats, left_over, held }
    }

    pub(super) fn pending(&self, pipe: &QueuePipe<E>) -> u64 {
        pipe.waiting() as u64 + self.reentrant.len() as u64
    }

    /// Waits until the worker and the writers have finished, as far as this thread is neither.
    fn wait_finished(&self, pipe: &QueuePipe<E>, deadline: Instant) {
        let worker = self.scope.is_current();
        let writer = pipe.shed.scope.is_current();
        let mut finished = self.finished.lock();
        while !((worker || finished.worker) && (writer || finished.writers)) {
            if self.finished_changed.wait_until(&mut finished, deadline).timed_out() {
                return;
            }
        }
    }
}

impl<E> ReadEnd<E> for QueueState<E> {
    #[inline]
    fn is_reentrant(&self) -> bool {
        !self.reentrant.is_empty() && self.scope.is_current()
    }

    fn keep(&self, pipe: &QueuePipe<E>, event: E) -> Result<(), E> {
        if !self.scope.is_current() {
            return Err(event);
        }
        let (evicted, waiting) = pipe.between_evictions(|evicted| (evicted, pipe.waiting()));
        let left = self.counts.taken.load(Ordering::Acquire) + evicted;
        self.reentrant.push(event, left, waiting);
        Ok(())
    }

    fn take_kept(&self) -> Option<E> {
        self.reentrant.take()
    }

    fn scope(&self) -> Option<Scope> {
        Some(self.scope)
    }

    fn announce(&self, _pipe: &QueuePipe<E>, event: E) -> Option<(E, impl Sized)> {
        Some((event, ()))
    }

    /// A worker with a thread of its own finds an event by itself: it selects on the channel.
    #[inline]
    fn notify(&self) {
        if let Some(task) = &self.task {
            task.wake();
        }
    }

    /// A batch under assembly is written at once.
    fn shut(&self) {
        self.ask();
    }

    fn writers_finished(&self, pipe: &QueuePipe<E>) {
        self.finished.lock().writers = true;
        self.finished_changed.notify_all();
        pipe.leave();
    }

    fn conclude(&self, pipe: &QueuePipe<E>, spill: Closing) {
        let downstream = self.close_downstream(pipe);
        let own = self.own_outcome(pipe);
        MaybeDone::gather(&pipe.completion, [(downstream.0, true), (spill.0, false)], move |outcomes| {
            join([own].into_iter().chain(outcomes))
        });
    }
}

/// Ends a queue's drain.
pub(super) struct AbortQueue<E> {
    pub(super) pipe: Weak<QueuePipe<E>>,
}

impl<E> Abort for AbortQueue<E>
where
    E: Send,
{
    fn begin(&self) {
        // `join` fails if the worker has finished, and everything else but the downstream.
        let Some(pipe) = self.pipe.upgrade().filter(|pipe| pipe.join()) else {
            return;
        };
        let state = &pipe.end;
        state.aborted.store(true, Ordering::Release);
        pipe.shut();
        drop(state.close_downstream(&pipe));
        pipe.reader_is_gone();
        state.flushes.fail(&CloseError::Undelivered { events: pipe.left_over(), in_flight: 0 });
        pipe.leave();
    }

    fn settle(&self, deadline: Instant) {
        let Some(pipe) = self.pipe.upgrade() else {
            return;
        };
        let state = &pipe.end;
        if state.downstream.is_beginning_here() {
            return;
        }
        state.wait_finished(&pipe, deadline);
        let own = state.own_outcome(&pipe);
        // If it has no outcome, it is awaited only since the abort last looked, which looks again.
        if let Some(downstream) = state.close_downstream(&pipe).0.outcome() {
            pipe.completion.complete(join([own, downstream]));
        }
    }

    fn is_under_way_here(&self) -> bool {
        self.pipe.upgrade().is_some_and(|pipe| pipe.end.downstream.is_beginning_here())
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        if let Some(pipe) = self.pipe.upgrade() {
            let stats = pipe.end.stats(&pipe);
            remaining.add(pipe.shed.log.queue(), stats.pending, stats.in_flight);
        }
    }
}
