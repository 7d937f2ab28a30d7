//! What the worker of a durable queue, its handles and an abort know of each other.
//!
//! # Why every event that was committed is delivered by a close
//!
//! A writer counts itself before it looks whether the queue is closed, and counts itself out after its commit. The worker
//! looks whether it is closed first, then for writers, then for events. All are sequentially consistent: if it finds no
//! writer, each one that counts itself afterwards sees the close; those before have committed what it looks for then.
//!
//! # Why no wake-up is lost
//!
//! What there is to find (an event, the end of a flush, `asked`, the last writer's leaving) is there before
//! [`ReaderWaker::wake`] is called, and the worker looks once more after it has registered.
//!
//! A writer whose event has been read already, since others of its group were faster, leaves the worker asleep, unless the
//! queue is closed. It is counted out before it looks for that, so as above: if it sees no close, the worker sees it gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk_log::{Store, StoreError, age};
use super::error::CommitError;
use super::stats::DurableStats;
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::{CloseError, Closing, Flushing, MaybeDone, Remaining, close_caught, join};
use crate::sync::Parties;
use crate::sync::blocking::blocking;
use crate::sync::waker::ReaderWaker;
use crate::trace;
use crate::worker::{Cause, Closes, Drain, WorkerState};

/// How long a writer that waits for room sleeps at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct DurableState {
    pub(super) worker: WorkerState<Arc<dyn Closes>>,
    pub(super) store: Store,
    pub(super) waker: ReaderWaker,
    pub(super) counts: Counts,
    log: trace::ShedLog,
    asked: AtomicBool,
    stopped: AtomicBool,
    /// Writes are refused.
    closed: AtomicBool,
    /// Since `close` was called.
    by_close: AtomicBool,
    /// Those that may be committing something.
    writers: AtomicUsize,
    /// Events before this have been read, if not always delivered. The worker alone writes.
    read: AtomicU64,
    /// How often there may have been room since a writer found none: what a writer that waits for it looks at.
    room: Mutex<u64>,
    room_changed: Condvar,
    /// How many events had been dropped when the store was opened.
    #[cfg(feature = "metrics")]
    pub(super) dropped_before: u64,
    /// Dropped events that the log was told of, with those.
    logged: AtomicU64,
    /// Flushes of the sink that were asked for above, but for those that have come through.
    passed_on: Mutex<Vec<Flushing>>,
    /// Why the worker cannot go on.
    failure: Mutex<Option<CommitError>>,
    /// The dead-letter sinks, until they are closed.
    letters: Mutex<Vec<Arc<dyn Closes>>>,
    parties: Parties,
    completion: Arc<Completion>,
}

/// The worker alone writes.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) unconfirmed: AtomicU64,
    pub(super) passed_over: AtomicU64,
    /// When the oldest event was written that is unconfirmed, or else the next; 0 if there is none.
    pub(super) oldest_millis: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) dead_lettered: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) failed_flushes: AtomicU64,
    pub(super) failed_reads: AtomicU64,
}

/// A writer that is counted.
pub(super) struct Writing<'a> {
    state: &'a DurableState,
    /// The number after the last event that it has committed.
    pub(super) committed: Option<u64>,
}

impl DurableState {
    pub(super) fn new(
        store: Store,
        sink: Arc<dyn Closes>,
        letters: Vec<Arc<dyn Closes>>,
        name: Option<&str>,
    ) -> Arc<Self> {
        let worker = WorkerState::new(sink, false);
        let completion = Completion::within([worker.scope]);
        let log = trace::ShedLog::default();
        log.of_queue(name);
        let dropped_before = store.stats().dropped;
        Arc::new(Self {
            worker,
            store,
            waker: ReaderWaker::new(),
            counts: Counts::default(),
            log,
            asked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            by_close: AtomicBool::new(false),
            writers: AtomicUsize::new(0),
            read: AtomicU64::new(0),
            room: Mutex::new(0),
            room_changed: Condvar::new(),
            #[cfg(feature = "metrics")]
            dropped_before,
            logged: AtomicU64::new(dropped_before),
            passed_on: Mutex::default(),
            failure: Mutex::new(None),
            letters: Mutex::new(letters),
            parties: Parties::new(1),
            completion,
        })
    }

    /// `None` if it is closed.
    pub(super) fn begin_write(&self) -> Option<Writing<'_>> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        let writing = Writing { state: self, committed: None };
        (!self.is_closed()).then_some(writing)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether no event will be committed any more. The worker looks for events after this.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_closed() && self.writers.load(Ordering::SeqCst) == 0
    }

    pub(super) fn has_read(&self, before: u64) {
        self.read.store(before, Ordering::Relaxed);
    }

    pub(super) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    pub(super) fn close(&self) -> Closing {
        self.by_close.store(true, Ordering::SeqCst);
        self.shut();
        self.ask();
        self.closing()
    }

    /// Refuses writes, also those that wait for room.
    fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.has_room();
    }

    /// How often there has been room.
    pub(super) fn room(&self) -> u64 {
        *self.room.lock()
    }

    /// There may be room, or nothing to wait for.
    pub(super) fn has_room(&self) {
        *self.room.lock() += 1;
        self.room_changed.notify_all();
    }

    /// Waits until there may be more room than `before`, at most a second, since another program may make some. `false` on a
    /// thread that would wait for itself.
    pub(super) fn wait_for_room(&self, before: u64) -> bool {
        if self.worker.scope.is_current() {
            return false;
        }
        blocking(|| {
            let mut room = self.room.lock();
            if *room == before {
                self.room_changed.wait_for(&mut room, LOOK_AGAIN);
            }
        });
        true
    }

    /// Tells the log of events that were dropped to make room.
    #[cold]
    pub(super) fn log_dropped(&self, event_type: &'static str) {
        let dropped = self.store.stats().dropped;
        let more = dropped.saturating_sub(self.logged.fetch_max(dropped, Ordering::Relaxed));
        if more > 0 {
            self.log.count(false, more, event_type);
        }
    }

    /// Ends the worker where it is and frees the store, unless `close` was called: then it delivers first.
    pub(super) fn abandon(&self) {
        if !self.by_close.load(Ordering::SeqCst) {
            self.stop_because(None);
            self.ask();
            self.shed_rest();
        }
    }

    pub(super) fn request_flush(self: &Arc<Self>) -> Flushing {
        let scope = self.worker.scope;
        let completion = || Completion::within([scope]);
        // What is left on disk is no loss, but it is not delivered.
        let ended = || {
            let state = Arc::clone(self);
            Flushing::of(self.closing().0.map(move |closed| closed.and_then(|()| state.delivered_all())))
        };
        self.worker.request_flush(|| None, completion, || self.ask(), ended)
    }

    pub(super) fn passed_on(&self, flushing: &Flushing) {
        let mut passed_on = self.passed_on.lock();
        passed_on.retain(|flushing| !matches!(flushing.0.outcome(), Some(Ok(()))));
        passed_on.push(flushing.clone());
    }

    pub(super) fn take_passed_on(&self) -> Vec<Flushing> {
        std::mem::take(&mut *self.passed_on.lock())
    }

    fn delivered_all(&self) -> Outcome {
        let stats = self.stats();
        match stats.pending > stats.passed_over {
            true => Err(CloseError::Undelivered { events: 0, in_flight: 0 }),
            false => Ok(()),
        }
    }

    /// Has the worker look at its flushes, at the close and at `stopped`.
    fn ask(&self) {
        // Release: pairs with the worker's swap, so that it finds what it is asked for.
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn take_asked(&self) -> bool {
        self.is_asked() && self.asked.swap(false, Ordering::AcqRel)
    }

    /// Why the store cannot be used any more; `false` if that is for it being closed.
    pub(super) fn fail(&self, error: StoreError) -> bool {
        let Some(failure) = CommitError::of(error) else { return false };
        self.failure.lock().get_or_insert(failure);
        true
    }

    /// Why a write is refused; `None` because it is closed.
    pub(super) fn refusal(&self) -> Option<CommitError> {
        if self.by_close.load(Ordering::SeqCst) { None } else { self.failure() }
    }

    fn failure(&self) -> Option<CommitError> {
        self.failure.lock().clone()
    }

    pub(super) fn stats(&self) -> DurableStats {
        let get = |count: &AtomicU64| count.load(Ordering::Acquire);
        let (store, counts) = (self.store.stats(), &self.counts);
        let oldest = Some(get(&counts.oldest_millis)).filter(|millis| *millis > 0);
        DurableStats {
            pending: store.pending,
            unconfirmed: get(&counts.unconfirmed).min(store.pending),
            passed_over: get(&counts.passed_over).min(store.pending),
            oldest: oldest.map(age),
            next: store.next,
            bytes: store.bytes,
            dropped: store.dropped,
            delivered: get(&counts.delivered),
            acknowledged: get(&counts.acknowledged),
            dead_lettered: get(&counts.dead_lettered),
            damaged: get(&counts.damaged),
            failed_flushes: get(&counts.failed_flushes),
            failed_reads: get(&counts.failed_reads),
        }
    }

    /// Its name, for the log.
    pub(super) fn queue(&self) -> Option<&str> {
        self.log.queue()
    }

    fn close_letters(&self) -> Closing {
        let letters = std::mem::take(&mut *self.letters.lock());
        let _inside = self.worker.scope.enter();
        Closing::all(letters.iter().map(|sink| close_caught(|| sink.close())))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.state.writers.fetch_sub(1, Ordering::SeqCst);
        let is_read = |end| end <= self.state.read.load(Ordering::Relaxed);
        // It finds what was committed, or that this was the last after the close.
        if self.state.is_closed() || !self.committed.is_some_and(is_read) {
            self.state.waker.wake();
        }
    }
}

impl Drain for DurableState {
    type Sink = Arc<dyn Closes>;

    fn worker(&self) -> &WorkerState<Arc<dyn Closes>> {
        &self.worker
    }

    fn completion(&self) -> &Arc<Completion> {
        &self.completion
    }

    fn log(&self) -> &trace::ShedLog {
        &self.log
    }

    fn stop(&self) -> bool {
        self.shut();
        !self.stopped.swap(true, Ordering::AcqRel)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn fix_end(&self) {
        self.ask();
    }

    /// Frees the store. What is on disk stays there.
    fn shed_rest(&self) {
        if let Err(error) = self.store.close() {
            self.fail(error);
        }
    }

    /// The store is free when an abort returns, whatever stopped the worker.
    fn help_shed(&self) {
        self.shed_rest();
    }

    fn given_up(&self) -> u64 {
        self.store.stats().dropped
    }

    /// None is lost that is on disk.
    fn held(&self) -> u64 {
        0
    }

    fn log_end(&self, cause: &Cause, _lost: u64) {
        let left = self.store.stats().pending;
        match cause {
            Cause::Panicked(_) => trace::panicked(self.log.queue(), 0, left),
            _ => trace::downstream_closed(self.log.queue(), left),
        }
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        let stats = self.stats();
        remaining.add(self.log.queue(), stats.pending - stats.unconfirmed, stats.unconfirmed);
    }

    fn join(&self) -> bool {
        self.parties.join()
    }

    fn leave(&self) {
        if !self.parties.leave() {
            return;
        }
        self.shed_rest();
        let (sink, letters) = (self.close_downstream(), self.close_letters());
        let own = self.own_outcome();
        MaybeDone::gather(&self.completion, [(sink.0, true), (letters.0, false)], move |outcomes| {
            join([own].into_iter().chain(outcomes))
        });
    }

    fn own_outcome(&self) -> Outcome {
        let store = self.failure().map_or(Ok(()), |failure| Err(CloseError::other(failure)));
        join([self.worker.outcome(0, 0), store])
    }
}
