//! What a worker, its handles and an abort know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::downstream::{Closes, Downstream};
use super::flushes::{Flushes, Request};
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::{CloseError, Closing, Flushing, MaybeDone, Trail};
use crate::sync::scope::Scope;

/// In this order, so that `counts`, which the worker writes for each event, shares no cache line with what writers read:
/// there are more than a hundred bytes on both sides that hardly change.
#[repr(C)]
pub(crate) struct WorkerState<S> {
    /// Entered for each poll of the worker, and by a thread that closes the sink.
    pub(crate) scope: Scope,
    pub(crate) flushes: Flushes,
    pub(crate) counts: Counts,
    pub(crate) downstream: Downstream<S>,
    cause: Mutex<Option<Cause>>,
    finished: Mutex<Finished>,
    finished_changed: Condvar,
}

/// What the worker counts. It alone writes, so it needs no read-modify-write; stores are `Release` so that a reader
/// that sees one sees what was counted before it.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) taken: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// Left out.
    pub(crate) skipped: AtomicU64,
    /// Taken and shed.
    pub(crate) returned: AtomicU64,
    lost: AtomicU64,
}

/// Why a worker ended before its time, unless it was stopped.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Panicked(Arc<str>),
    DownstreamClosed,
    Lagged,
}

/// Which of the two will count no more.
struct Finished {
    worker: bool,
    writers: bool,
}

/// Adds to a count that one thread alone writes.
#[inline]
pub(crate) fn count(count: &AtomicU64, events: u64) {
    count.store(count.load(Ordering::Relaxed) + events, Ordering::Release);
}

impl Counts {
    pub(super) fn set_lost(&self, lost: u64) {
        self.lost.store(lost, Ordering::Release);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// How many of the events that were taken or skipped are settled.
    pub(crate) fn settled(&self) -> u64 {
        [&self.returned, &self.lost, &self.delivered, &self.skipped]
            .iter()
            .map(|count| count.load(Ordering::Acquire))
            .sum()
    }
}

impl<S> WorkerState<S>
where
    S: Closes + Clone,
{
    /// `has_writers`: an abort waits for them too, until [`writers_finished`](Self::writers_finished).
    pub(crate) fn new(downstream: S, has_writers: bool) -> Self {
        Self {
            scope: Scope::new(),
            counts: Counts::default(),
            flushes: Flushes::default(),
            downstream: Downstream::new(downstream),
            cause: Mutex::new(None),
            finished: Mutex::new(Finished { worker: false, writers: !has_writers }),
            finished_changed: Condvar::new(),
        }
    }

    /// Whether `stop` says that it was the first to stop the worker; then this is the cause.
    pub(super) fn stop(&self, why: Option<Cause>, stop: impl FnOnce() -> bool) -> bool {
        // Held until both are done: a thread that finds it stopped finds the cause as well.
        let mut cause = self.cause.lock();
        let first = stop();
        if first {
            *cause = why;
        }
        first
    }

    pub(super) fn set_cause(&self, cause: Option<Cause>) {
        *self.cause.lock() = cause;
    }

    pub(crate) fn has_cause(&self) -> bool {
        self.cause.lock().is_some()
    }

    /// What became of a worker with so many events that it did not deliver, and so many that it holds.
    pub(crate) fn outcome(&self, undelivered: u64, held: u64) -> Outcome {
        let events = undelivered + self.counts.lost();
        match self.cause.lock().clone() {
            Some(Cause::Panicked(message)) => Err(CloseError::Panicked { message, events }),
            Some(Cause::DownstreamClosed) => Err(CloseError::DownstreamClosed { events }),
            Some(Cause::Lagged) => Err(CloseError::Lagged { events }),
            None if events + held == 0 => Ok(()),
            None => Err(CloseError::Undelivered { events, in_flight: held }),
        }
    }

    /// Asks for a flush; calls `wake` if the worker has to look. See [`Flushes::request`] for `mark`.
    pub(crate) fn request_flush(
        &self,
        mark: impl FnOnce() -> Option<u64>,
        completion: impl FnOnce() -> Arc<Completion>,
        wake: impl FnOnce(),
        ended: impl FnOnce() -> Flushing,
    ) -> Flushing {
        let Some(trail) = Trail::at(self.scope) else {
            // It comes back to where it has been.
            return Flushing::done();
        };
        match self.flushes.request(trail, mark, completion) {
            Request::New(completion) => {
                wake();
                Flushing::of(MaybeDone::Pending(completion))
            }
            Request::Shared(completion) => Flushing::of(MaybeDone::Pending(completion)),
            Request::Ended => ended(),
        }
    }

    /// Begins to close the sink, unless that was done, and has the worker's `completion` await it.
    pub(crate) fn close_downstream(&self, completion: &Arc<Completion>) -> Closing {
        // The sink's own close may wait for what is above it, which waits for this thread.
        let _inside = self.scope.enter();
        self.downstream.close(completion)
    }

    pub(super) fn worker_finished(&self) {
        self.finished.lock().worker = true;
        self.finished_changed.notify_all();
    }

    pub(crate) fn writers_finished(&self) {
        self.finished.lock().writers = true;
        self.finished_changed.notify_all();
    }

    /// Waits until the worker and the writers have finished, as far as this thread is neither.
    pub(super) fn wait_finished(&self, is_writer: bool, deadline: Instant) {
        let is_worker = self.scope.is_current();
        let mut finished = self.finished.lock();
        while !((is_worker || finished.worker) && (is_writer || finished.writers)) {
            if self.finished_changed.wait_until(&mut finished, deadline).timed_out() {
                return;
            }
        }
    }
}
