//! What queues, channels and subscriptions are made of: a crossbeam channel whose sender stands behind a gate. The channel
//! has no bound of its own, so that it takes memory as it fills; [`Permits`] bound it. Only a rendezvous is crossbeam's.
//!
//! # Why nothing is lost
//!
//! A write enters the gate, finds the sender there, and sends. Closing shuts the gate. When the last write that had
//! entered leaves, the [`Entrance`] is dropped, and by then everything that was accepted is in the channel: what a
//! reader has seen when it finds the channel disconnected is all there is.
//!
//! A reader that ends before that (dropped, panicked, aborted) sets `reader_gone`, shuts the gate, drains the channel
//! and sheds what it finds. A write that had entered before may still send after that drain; the last one to leave
//! sees `reader_gone` and drains again. Both accesses are sequentially consistent: if the last write does not see the
//! flag, it left before the flag was set, and everything is in the channel for the reader's own drain.
//!
//! # Why no writer waits for ever
//!
//! A writer that waits for a permit is woken by whatever takes an event out, and by a stop: see
//! [`permits`](crate::sync::permits). A permit goes with its event: acquired before the event is sent, released after it is
//! taken out. An evicting writer passes it on to its own event.
//!
//! At a rendezvous a writer that waits holds the sender itself, so the channel cannot be relied on to disconnect. It
//! selects between room and [`Stop`], a channel that disconnects when it is raised. Raising is for good, and a `select`
//! that begins after it sees it.
//!
//! # Which party leaves last
//!
//! The reader, the writers and every abort are *parties*. The last one to leave closes the spill, since only parties
//! write to it, drops it, and completes the close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Select, SendError, Sender, TryRecvError};
use parking_lot::Mutex;

use crate::buffer::Weighing;
use crate::buffer::shed::Shed;
use crate::lifecycle::Closing;
use crate::lifecycle::completion::Completion;
use crate::sync::Parties;
use crate::sync::gate::{Gate, Guard};
use crate::sync::permits::{Permits, Waited};
use crate::sync::scope::Scope;
use crate::sync::stop::Stop;

/// In this order, so that what a write reads lies together: `bound`, `gate`, and the beginning of `end`. A program with
/// thousands of queues pays for each cache line.
#[repr(C)]
pub(crate) struct Pipe<E, R: ReadEnd<E>> {
    pub(crate) shed: Shed<E>,
    /// How many events writers took out to make room. Locked while one is, so that an event is either counted here or
    /// still waiting.
    evicted: Mutex<u64>,
    reader_gone: AtomicBool,
    /// How many events were shed because the reader had gone, not for want of room. Locked while one is taken out, so
    /// that it is either counted here or still waiting.
    left_over: Mutex<u64>,
    parties: Parties,
    pub(crate) completion: Arc<Completion>,
    capacity: Option<usize>,
    pub(crate) receiver: Receiver<E>,
    bound: Bound<E>,
    gate: Gate<Entrance<E, R>>,
    pub(crate) end: R,
}

/// What a write needs besides the sender.
pub(super) enum Bound<E> {
    Unbounded,
    Rendezvous(Stop),
    Bounded(Box<Permits>, Option<Weighing<E>>),
}

/// What a write finds behind the gate. Dropped when the gate is shut and the last write has left.
pub(super) struct Entrance<E, R: ReadEnd<E>> {
    pub(super) sender: Sender<E>,
    /// Dropped after the sender.
    _last_write: LastWrite<E, R>,
}

struct LastWrite<E, R: ReadEnd<E>> {
    pipe: Arc<Pipe<E, R>>,
}

/// What came of waiting for room.
pub(super) enum Room<E> {
    Found,
    Closed(E),
    TimedOut(E),
}

impl<E, R> Pipe<E, R>
where
    R: ReadEnd<E>,
{
    /// Without its first entrance: see [`open`](Pipe::open).
    pub(super) fn new(
        capacity: Option<usize>,
        bound: Bound<E>,
        receiver: Receiver<E>,
        shed: Shed<E>,
        end: R,
    ) -> Arc<Self> {
        let scopes = [shed.scope].into_iter().chain(end.scope());
        let completion = Completion::within(scopes);
        Arc::new(Self {
            gate: Gate::empty(),
            receiver,
            capacity,
            bound,
            shed,
            evicted: Mutex::new(0),
            reader_gone: AtomicBool::new(false),
            left_over: Mutex::new(0),
            // The writers and the reader.
            parties: Parties::new(2),
            completion,
            end,
        })
    }

    pub(super) fn open(self: &Arc<Self>, sender: Sender<E>) {
        // A deliberate reference cycle: `shut` breaks it, which the last writer's handle calls if nothing else does.
        let last_write = LastWrite { pipe: Arc::clone(self) };
        self.gate.fill(Arc::new(Entrance { sender, _last_write: last_write }));
    }

    #[inline]
    pub(super) fn enter(&self) -> Guard<Entrance<E, R>> {
        self.gate.enter()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Takes the event that has waited longest, without waiting.
    #[inline]
    pub(crate) fn try_take(&self) -> Result<E, TryRecvError> {
        self.receiver.try_recv().inspect(|_| self.is_out())
    }

    /// Calls `f` with what takes the event out that has waited longest, whose permit it keeps, and says what it weighs.
    pub(crate) fn receiving<T>(
        &self,
        f: impl FnOnce(&mut dyn FnMut() -> Result<(E, u64), TryRecvError>) -> T,
    ) -> T {
        match &self.bound {
            Bound::Bounded(permits, _) => {
                permits.receive(|weigh| f(&mut || self.receiver.try_recv().map(|event| (event, weigh()))))
            }
            Bound::Unbounded | Bound::Rendezvous(_) => {
                f(&mut || self.receiver.try_recv().map(|event| (event, 0)))
            }
        }
    }

    /// Releases the permit of an event that was [received](Self::receiving).
    #[inline]
    pub(crate) fn release(&self, weight: u64) {
        if let Bound::Bounded(permits, _) = &self.bound {
            permits.release_of(weight);
        }
    }

    /// Waits for the event that has waited longest, and takes it.
    pub(crate) fn take(&self) -> Result<E, RecvError> {
        self.receiver.recv().inspect(|_| self.is_out())
    }

    pub(crate) fn take_timeout(&self, timeout: Duration) -> Result<E, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout).inspect(|_| self.is_out())
    }

    /// An event was taken out: there is room for another.
    #[inline]
    fn is_out(&self) {
        if let Bound::Bounded(permits, _) = &self.bound {
            permits.release();
        }
    }

    /// How many events wait.
    pub(crate) fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// What the events weigh that wait; `None` if they are not weighed.
    pub(crate) fn weight(&self) -> Option<u64> {
        match &self.bound {
            Bound::Bounded(permits, _) => permits.weight(),
            Bound::Unbounded | Bound::Rendezvous(_) => None,
        }
    }

    #[inline]
    pub(super) fn bound(&self) -> &Bound<E> {
        &self.bound
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gate.is_shut()
    }

    /// Refuses writes from now on and wakes those that wait for room.
    pub(crate) fn shut(&self) {
        let entrance = self.gate.shut();
        self.stop_waiting();
        self.end.shut();
        drop(entrance);
    }

    /// Wakes the writes that wait for room, and lets no other wait: their events are shed. What finds room still
    /// gets in.
    pub(crate) fn stop_waiting(&self) {
        match &self.bound {
            Bound::Unbounded => {}
            Bound::Rendezvous(stop) => stop.raise(),
            Bound::Bounded(permits, _) => permits.stop(),
        }
    }

    pub(crate) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    pub(crate) fn close(&self) -> Closing {
        self.shut();
        self.closing()
    }

    pub(crate) fn left_over(&self) -> u64 {
        *self.left_over.lock()
    }

    /// How many events are left over by now, and how many still wait.
    pub(crate) fn left_over_and(&self, waiting: impl FnOnce() -> u64) -> (u64, u64) {
        let left_over = self.left_over.lock();
        (*left_over, waiting())
    }

    /// Calls `f` with how many events were evicted by now, while no other is.
    pub(crate) fn between_evictions<T>(&self, f: impl FnOnce(u64) -> T) -> T {
        let evicted = self.evicted.lock();
        f(*evicted)
    }

    /// Takes out what `due` takes once so many events were evicted, else what has waited longest, and lets no eviction
    /// come in between.
    pub(crate) fn take_due(&self, due: impl FnOnce(u64) -> Option<E>) -> Option<E> {
        let oldest = {
            let evicted = self.evicted.lock();
            if let Some(event) = due(*evicted) {
                return Some(event);
            }
            self.receiver.try_recv().ok()
        };
        // Without the lock: it wakes a writer.
        oldest.inspect(|_| self.is_out())
    }

    /// Sheds what `take` takes, which is left over.
    pub(crate) fn shed_left_over(&self, take: impl FnOnce() -> Option<E>) -> bool {
        self.shed.shed_from(|| {
            let mut left_over = self.left_over.lock();
            take().inspect(|_| *left_over += 1)
        })
    }

    /// Sheds everything that waits.
    fn drain(&self) {
        while self.shed_left_over(|| self.end.take_received(self)) {}
        while self.shed_left_over(|| self.try_take().ok()) {}
        while self.shed_left_over(|| self.end.take_kept()) {}
    }

    /// Nothing reads any more: shuts the gate and sheds what is left, now and when the last write leaves.
    pub(crate) fn reader_is_gone(&self) {
        self.reader_gone.store(true, Ordering::SeqCst);
        self.shut();
        self.drain();
    }

    pub(crate) fn is_read(&self) -> bool {
        !self.reader_gone.load(Ordering::SeqCst)
    }

    /// Joins the parties, unless all of them have left.
    pub(crate) fn join(&self) -> bool {
        self.parties.join()
    }

    /// The last party to leave closes the spill and completes the close. Whether this was the last.
    pub(crate) fn leave(&self) -> bool {
        let last = self.parties.leave();
        if last {
            let spill = self.shed.close();
            self.end.conclude(self, spill);
        }
        last
    }

    /// Whether all parties have left, so that nothing here is counted any more.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_left(&self) -> bool {
        self.parties.are_gone()
    }

    fn writers_finished(&self) {
        if self.reader_gone.load(Ordering::SeqCst) {
            self.drain();
        }
        self.end.writers_finished(self);
        // The channel is disconnected: that is something new to find.
        self.end.notify();
    }

    /// Sends an event of that weight, which has a permit if it needs one.
    #[inline]
    pub(super) fn send(&self, sender: &Sender<E>, event: E, weight: u64) -> Result<(), SendError<E>> {
        match &self.bound {
            Bound::Bounded(permits, _) => permits.send(weight, || sender.send(event)),
            Bound::Unbounded | Bound::Rendezvous(_) => sender.send(event),
        }
    }

    /// Waits until `event` is sent, the pipe is stopped, or `deadline`.
    pub(super) fn wait_for_room(
        &self,
        sender: &Sender<E>,
        event: E,
        weight: u64,
        deadline: Option<Instant>,
    ) -> Room<E> {
        let event = match self.end.keep(self, event) {
            Ok(()) => return Room::Found,
            Err(event) => event,
        };
        let Some((event, announced)) = self.end.announce(self, event) else {
            return Room::Found;
        };
        let sent = match &self.bound {
            Bound::Rendezvous(stop) => meet(sender, event, stop, deadline),
            Bound::Bounded(permits, _) => match permits.wait(weight, deadline) {
                Waited::Acquired => self.send_or_return(sender, event, weight),
                waited => Err((waited, event)),
            },
            Bound::Unbounded => self.send_or_return(sender, event, weight),
        };
        drop(announced);
        match sent {
            Ok(()) => {
                self.end.notify();
                Room::Found
            }
            Err((Waited::TimedOut, event)) => Room::TimedOut(event),
            Err((_, event)) if self.is_shut() => Room::Closed(event),
            Err((_, event)) => {
                // Not closed, but nothing may wait in it any more.
                self.shed.shed(event);
                Room::Found
            }
        }
    }

    fn send_or_return(&self, sender: &Sender<E>, event: E, weight: u64) -> Result<(), (Waited, E)> {
        self.send(sender, event, weight).map_err(|refused| (Waited::Stopped, refused.into_inner()))
    }

    /// Sends `event` and sheds what has waited longest to make room for it.
    ///
    /// The event goes in before those evicted are spilled, so that a spill that sends them back finds the buffer full
    /// again and not an endless supply of room.
    pub(super) fn evict_for(&self, sender: &Sender<E>, event: E, weight: u64) {
        let Bound::Bounded(permits, _) = &self.bound else {
            return;
        };
        let mut evicted = Vec::new();
        let mut evict = || {
            let mut count = self.evicted.lock();
            permits.acquire_evicting(weight, || {
                let under_way = self.shed.begin();
                let (oldest, weight) = self.end.evict(self)?;
                *count += 1;
                evicted.push((under_way, oldest));
                Some(weight)
            })
        };
        let mut event = Some(event);
        while !evict() && !permits.try_acquire(weight) {
            // Full, yet nothing to take: another thread is in the middle of either. It goes on, unless it is this one: a lane
            // that moves events may write from within `key`.
            event = event.and_then(|event| self.end.keep(self, event).err());
            if event.is_none() {
                break;
            }
            std::thread::yield_now();
        }
        if let Some(event) = event {
            let sent = self.send(sender, event, weight);
            debug_assert!(sent.is_ok(), "the pipe keeps a receiver");
        }
        // Before the spill, which may wait.
        self.end.notify();
        permits.serve();
        evicted.into_iter().for_each(|(under_way, oldest)| under_way.shed(oldest));
    }
}

/// Hands `event` to a reader that waits, or returns it.
fn meet<E>(sender: &Sender<E>, event: E, stop: &Stop, deadline: Option<Instant>) -> Result<(), (Waited, E)> {
    let mut select = Select::new();
    let reader = select.send(sender);
    select.recv(&stop.raised);
    let operation = match deadline {
        None => select.select(),
        Some(deadline) => match select.select_deadline(deadline) {
            Ok(operation) => operation,
            Err(_) => return Err((Waited::TimedOut, event)),
        },
    };
    if operation.index() == reader {
        return operation.send(sender, event).map_err(|refused| (Waited::Stopped, refused.into_inner()));
    }
    // Disconnected: that is how it is raised.
    let _ = operation.recv(&stop.raised);
    Err((Waited::Stopped, event))
}

impl<E, R: ReadEnd<E>> Drop for LastWrite<E, R> {
    fn drop(&mut self) {
        self.pipe.writers_finished();
    }
}

/// What a pipe asks of the reader that it was made for: a queue's worker, or the `Events` of a channel.
pub(crate) trait ReadEnd<E>: Sized {
    /// Whether a write finds the reader itself on its thread, with events that wait to be written in order.
    fn is_reentrant(&self) -> bool;

    /// Whether this thread is in the reader, whose own write would wait for itself.
    fn is_reader_here(&self) -> bool;

    /// Keeps an event for which the reader's own write found no room, since no other thread makes any; gives it back
    /// on any other thread.
    fn keep(&self, pipe: &Pipe<E, Self>, event: E) -> Result<(), E>;

    /// Takes back an event that was kept.
    fn take_kept(&self) -> Option<E>;

    /// Takes the event out that has waited longest of those that hold a permit; and says what it weighs if the reader has
    /// [received](Pipe::receiving) it.
    fn evict(&self, pipe: &Pipe<E, Self>) -> Option<(E, Option<u64>)> {
        pipe.receiver.try_recv().ok().map(|event| (event, None))
    }

    /// Takes an event out that the reader has [received](Pipe::receiving), and that still waits.
    fn take_received(&self, pipe: &Pipe<E, Self>) -> Option<E> {
        let _ = pipe;
        None
    }

    /// What a thread must have left before the close can complete, besides the spill.
    fn scope(&self) -> Option<Scope>;

    /// Wakes the reader before a write waits; `None` if that has taken `event` at once. What stands beside the event is
    /// dropped when the write has waited.
    fn announce(&self, pipe: &Pipe<E, Self>, event: E) -> Option<(E, impl Sized)>;

    /// There is something new to find: an event, or the end.
    fn notify(&self);

    /// Writes are refused from now on.
    fn shut(&self);

    /// The last write has left: has to leave the parties for the writers.
    fn writers_finished(&self, pipe: &Pipe<E, Self>);

    /// The reader and the writers have left, and the spill is closed: completes the close.
    fn conclude(&self, pipe: &Pipe<E, Self>, spill: Closing);
}
