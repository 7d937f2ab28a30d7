//! What a queue's worker and everybody else know of each other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::QueueStats;
use crate::contract::SharedSink;
use crate::lifecycle::completion::{Abort, Completion, Left, Outcome};
use crate::lifecycle::{Answer, CloseError, FlushError, join};
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::Pipe;
use crate::sync::scope::Scope;
use crate::worker::Downstream;

pub(crate) struct Backlog<E> {
    /// The worker's thread is in it all its life.
    scope: Scope,
    pub(super) counts: Counts,
    own: Own<E>,
    /// Whether the worker has to look up: at `requests` or at `aborted`.
    pub(super) asked: AtomicBool,
    pub(super) aborted: AtomicBool,
    requests: Mutex<Requests>,
    /// Wakes a worker that has nothing to do.
    wake: Sender<()>,
    pub(super) woken: Receiver<()>,
    downstream: Downstream<Arc<dyn CloseDownstream>>,
    cause: Mutex<Option<Cause>>,
    through: Mutex<Through>,
    through_changed: Condvar,
}

/// What a queue looks like at one moment.
struct Look {
    stats: QueueStats,
    /// Of those dropped, spilled or on their way there, how many because the queue ended and not for want of room.
    left: u64,
    /// With the worker.
    held: u64,
}

/// Who will count no more.
#[derive(Default)]
struct Through {
    worker: bool,
    writers: bool,
}

/// What the worker counts. It alone writes, so it needs no read-modify-write; stores are `Release` so that
/// a reader that sees one sees what was counted before it.
#[derive(Default)]
#[repr(align(128))] // Away from what writers read: a store here would take that cache line from them.
pub(super) struct Counts {
    /// Twice the number of events taken, plus one while one is being taken: see `QueueStats`.
    pub(super) taken: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Taken and given up.
    pub(super) returned: AtomicU64,
}

/// The events that the worker's own writes found no room for. Written and taken on the worker's thread, and
/// taken by an abort.
struct Own<E> {
    /// Each with the number of events to be taken before it: what was in front of it when it was written.
    events: Mutex<VecDeque<(u64, E)>>,
    len: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    /// Not yet seen by the worker.
    new: Vec<Arc<Completion<FlushError>>>,
    /// Every flush that may not be through yet.
    outstanding: Vec<Weak<Completion<FlushError>>>,
    /// How many there may be before it is looked which of them are.
    look_at: usize,
    /// The worker sees no more.
    ended: bool,
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

impl<E> Backlog<E> {
    pub(super) fn new(downstream: Arc<dyn CloseDownstream>) -> Self {
        let (wake, woken) = crossbeam_channel::bounded(1);
        Self {
            scope: Scope::new(),
            counts: Counts::default(),
            own: Own { events: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0) },
            asked: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            requests: Mutex::new(Requests::default()),
            wake,
            woken,
            downstream: Downstream::new(downstream),
            cause: Mutex::new(None),
            through: Mutex::default(),
            through_changed: Condvar::new(),
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    pub(super) fn taken(&self) -> u64 {
        self.counts.taken.load(Ordering::Acquire) / 2
    }

    /// Keeps an event that the worker wrote into its own queue and that found no room behind `len` others.
    pub(crate) fn push_own(&self, event: E, len: usize) {
        let mut events = self.own.events.lock();
        let before = self.taken() + len as u64 + events.len() as u64;
        events.push_back((before, event));
        self.own.len.store(events.len(), Ordering::Release);
    }

    #[inline]
    pub(super) fn has_own(&self) -> bool {
        self.own.len.load(Ordering::Acquire) > 0
    }

    pub(super) fn own_len(&self) -> usize {
        self.own.len.load(Ordering::Acquire)
    }

    /// The next of the worker's own events whose turn it is, now that `taken` were.
    pub(super) fn take_due(&self, taken: u64) -> Option<E> {
        let mut events = self.own.events.lock();
        let due = events.front().is_some_and(|(before, _)| *before <= taken);
        let event = if due { events.pop_front() } else { None };
        self.own.len.store(events.len(), Ordering::Release);
        event.map(|(_, event)| event)
    }

    pub(crate) fn take_own(&self) -> Option<E> {
        self.take_due(u64::MAX)
    }

    fn ask(&self) {
        // Release: pairs with the worker's acquire, so that it finds what it is asked for.
        self.asked.store(true, Ordering::Release);
        // Full: then a wake is on its way already.
        let _ = self.wake.try_send(());
    }

    pub(super) fn request_flush(&self, closing: &Closing) -> Flushing {
        let completion = Completion::within(vec![self.scope]);
        let mut requests = self.requests.lock();
        if requests.ended {
            drop(requests);
            return Flushing::of_close(closing);
        }
        if requests.outstanding.len() >= requests.look_at {
            requests.outstanding.retain(|outstanding| {
                outstanding.upgrade().is_some_and(|completion| completion.outcome().is_none())
            });
            requests.look_at = 16 + 2 * requests.outstanding.len();
        }
        requests.outstanding.push(Arc::downgrade(&completion));
        requests.new.push(Arc::clone(&completion));
        drop(requests);
        self.ask();
        Flushing::of(Answer::Pending(completion))
    }

    pub(super) fn take_requests(&self) -> Vec<Arc<Completion<FlushError>>> {
        std::mem::take(&mut self.requests.lock().new)
    }

    /// The worker sees no more requests; these are the last.
    pub(super) fn end_requests(&self) -> Vec<Arc<Completion<FlushError>>> {
        let mut requests = self.requests.lock();
        requests.ended = true;
        std::mem::take(&mut requests.new)
    }

    /// Begins to close the downstream, unless somebody has, and has the queue's close await it.
    pub(super) fn close_downstream(&self, pipe: &Pipe<E>) -> Closing {
        self.downstream.close(&pipe.completion, |downstream| downstream.close())
    }

    pub(super) fn set_cause(&self, cause: Cause) {
        *self.cause.lock() = Some(cause);
    }

    fn cause(&self) -> Option<Cause> {
        self.cause.lock().clone()
    }

    /// The worker is through.
    pub(super) fn worker_is_through(&self) {
        self.through.lock().worker = true;
        self.through_changed.notify_all();
    }

    /// The last write is through, and what it left over is given up.
    pub(crate) fn writers_are_through(&self) {
        self.through.lock().writers = true;
        self.through_changed.notify_all();
    }

    /// What this queue itself did not deliver: given up, or to be given up by whoever is at it now.
    fn own_outcome(&self, pipe: &Pipe<E>) -> Outcome<CloseError> {
        let Look { stats, left, held } = self.look(pipe);
        let events = left + stats.pending;
        match self.cause() {
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

    /// Nobody is at the queue any more: its close is through when its downstream's and its spill's are.
    pub(crate) fn conclude(&self, pipe: &Pipe<E>, spill: Closing) {
        let downstream = self.close_downstream(pipe);
        let own = self.own_outcome(pipe);
        Answer::resolve_all(&pipe.completion, [(downstream.0, true), (spill.0, false)], move |outcome| {
            join([own, outcome])
        });
    }

    /// The terms of law 4, which add up in every answer.
    ///
    /// Every event is looked for where it can be: taken by the worker, taken out by somebody else, in the
    /// channel, in the worker's list. The worker makes `taken` odd before it takes an event and even after, and
    /// whoever else takes one out counts it in `begun` before and in `given` or `vain` after. So if `taken` is
    /// even and nobody is at taking, and neither `taken` nor `begun` has changed when the channel has been
    /// looked at, each event was seen on one side, and on one only: taking is a compare-and-swap that releases
    /// those stores, and `len` acquires it, so an answer that misses an event in the channel sees a change.
    /// What is sent meanwhile is in the channel or is not.
    pub(super) fn stats(&self, pipe: &Pipe<E>) -> QueueStats {
        self.look(pipe).stats
    }

    fn look(&self, pipe: &Pipe<E>) -> Look {
        // A worker at full speed takes an event in the time of one look: most looks are in vain, and there
        // has to be a good number of them. A thread that lost its core in the middle needs it back.
        const SPINS: u32 = 2000;
        const YIELDS: u32 = 200;
        const NAPS: u32 = 200;
        const NAP: Duration = Duration::from_micros(50);
        let mut tries = 0;
        loop {
            let given_up = pipe.outlet.counts();
            let (returned, left) = (self.counts.returned.load(Ordering::Acquire), pipe.left());
            let taken = self.counts.taken.load(Ordering::SeqCst);
            let pending = pipe.receiver.len() as u64 + self.own_len() as u64;
            let stable = taken % 2 == 0
                && taken == self.counts.taken.load(Ordering::SeqCst)
                && given_up.at_rest
                && given_up.has_begun(pipe.outlet.begun());
            tries += 1;
            if !stable && tries < SPINS + YIELDS + NAPS {
                if tries < SPINS {
                    std::hint::spin_loop();
                } else if tries < SPINS + YIELDS {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(NAP);
                }
                continue;
            }
            // Of what the worker has taken since there is nothing in this answer.
            let taken = taken / 2 - returned.min(taken / 2);
            let lost = self.counts.lost.load(Ordering::Acquire).min(taken);
            let delivered = self.counts.delivered.load(Ordering::Acquire).min(taken - lost);
            let held = taken - lost - delivered;
            let in_flight = held + given_up.under_way;
            let (dropped, spilled) = (given_up.dropped, given_up.spilled);
            let stats = QueueStats {
                accepted: delivered + dropped + spilled + lost + pending + in_flight,
                delivered,
                dropped,
                spilled,
                lost,
                pending,
                in_flight,
            };
            return Look { stats, left, held };
        }
    }

    /// Ends the flushes that are not through. Those that come after this are of the close.
    fn fail_flushes(&self, error: &FlushError) {
        let mut requests = self.requests.lock();
        requests.ended = true;
        let outstanding = std::mem::take(&mut requests.outstanding);
        let new = std::mem::take(&mut requests.new);
        drop(requests);
        for flush in outstanding.iter().filter_map(Weak::upgrade) {
            flush.complete(Err(error.clone()));
        }
        drop(new);
    }

    /// Waits until the worker and the writers are through, as far as this thread is neither.
    fn wait_through(&self, pipe: &Pipe<E>, deadline: Instant) {
        let worker = self.scope.is_current();
        let writer = pipe.outlet.scope.is_current();
        let mut through = self.through.lock();
        while !((worker || through.worker) && (writer || through.writers)) {
            if self.through_changed.wait_until(&mut through, deadline).timed_out() {
                return;
            }
        }
    }
}

/// Ends a queue's drain.
pub(super) struct AbortQueue<E> {
    pub(super) pipe: Weak<Pipe<E>>,
}

impl<E> AbortQueue<E> {
    fn with(&self, f: impl FnOnce(&Pipe<E>, &Backlog<E>)) {
        if let Some(pipe) = self.pipe.upgrade() {
            if let Some(backlog) = &pipe.backlog {
                f(&pipe, backlog);
            }
        }
    }
}

impl<E> Abort for AbortQueue<E>
where
    E: Send,
{
    fn begin(&self) {
        self.with(|pipe, backlog| {
            if !pipe.join() {
                // The worker is through, and so is everything but the downstream.
                return;
            }
            backlog.aborted.store(true, Ordering::Release);
            pipe.shut();
            backlog.ask();
            drop(backlog.close_downstream(pipe));
            pipe.reader_is_gone();
            let left = CloseError::Undelivered { events: pipe.left(), in_flight: 0 };
            backlog.fail_flushes(&FlushError::Closed(left));
            pipe.leave();
        });
    }

    fn count_left(&self, left: &mut Left) {
        self.with(|pipe, backlog| {
            let stats = backlog.stats(pipe);
            left.add(pipe.outlet.told.queue(), stats.pending, stats.in_flight);
        });
    }

    fn tells_itself(&self) -> bool {
        let mut tells = false;
        self.with(|_, backlog| tells = backlog.downstream.is_beginning_here());
        tells
    }

    fn settle(&self, deadline: Instant) {
        self.with(|pipe, backlog| {
            if backlog.downstream.is_beginning_here() {
                return;
            }
            backlog.wait_through(pipe, deadline);
            let own = backlog.own_outcome(pipe);
            // If it is not told, it is awaited only since the abort last looked, which looks again.
            if let Some(downstream) = backlog.close_downstream(pipe).0.outcome() {
                pipe.completion.complete(join([own, downstream]));
            }
        });
    }
}
