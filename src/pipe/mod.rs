//! What queues, channels and subscriptions are made of: a crossbeam channel whose sender stands behind a
//! gate.
//!
//! # Why nothing is lost
//!
//! A write enters the gate, finds the door with the sender in it, and sends. Closing shuts the gate. When
//! the last write that found the door has left, the door's `Pass` is dropped, and by then everything that
//! was accepted is in the channel: what a reader has seen when it finds the channel disconnected is all
//! there is.
//!
//! A reader that goes before that (dropped, panicked, aborted) sets `reader_gone`, shuts the gate, drains
//! the channel and gives up what it finds. A write that found the door before may still send after that
//! drain; the last one to leave sees `reader_gone` and drains again. Both accesses are sequentially
//! consistent: if the last visitor does not see the flag, it left before the flag was set, and everything
//! is in the channel for the reader's own drain.
//!
//! # Why no writer waits for ever
//!
//! A writer that waits for room holds the sender itself, so the channel cannot be relied on to disconnect.
//! It selects between room and `stop`, a channel that disconnects when somebody raises it. Raising is for
//! good, and a `select` that begins after it sees it.
//!
//! It leaves the door before it waits, and keeps a [`Stay`] instead, as does a write that may have to wait in
//! a spill: so a door that was replaced is dropped when the writes that do not wait are through with it, and
//! does not wait for those that do.
//!
//! # Who goes last
//!
//! The reader, the writers and whoever aborts are *parties*. The last one to leave closes the spill, since
//! only parties write to it, and tells the outcome of the close.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Select, Sender, TrySendError};
use parking_lot::Mutex;

use crate::buffer::shed::Outlet;
use crate::buffer::{Buffer, Policy};
#[cfg(feature = "futures")]
use crate::channel::stream::Sleeper;
use crate::contract::WriteError;
use crate::lifecycle::Closing;
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{Answer, CloseError, FlushError};
use crate::queue::Backlog;
use crate::sync::gate::{Gate, Visit};

#[allow(unreachable_pub, missing_debug_implementations)] // Named in the sealed supertrait of `Policy`.
pub struct Pipe<E> {
    gate: Gate<Door<E>>,
    pub(crate) receiver: Receiver<E>,
    capacity: Option<usize>,
    stop: Stop,
    pub(crate) outlet: Outlet<E>,
    reader_gone: AtomicBool,
    /// How many events were given up because the reader went, not because there was no room.
    left: AtomicU64,
    parties: AtomicUsize,
    pub(crate) completion: Arc<Completion<CloseError>>,
    /// Whether a worker reads it.
    pub(crate) backlog: Option<Backlog<E>>,
    /// A task that reads it.
    #[cfg(feature = "futures")]
    pub(crate) sleeper: Sleeper,
}

/// What a write finds behind the gate.
#[allow(unreachable_pub, missing_debug_implementations)] // As `Pipe`.
pub struct Door<E> {
    sender: Sender<E>,
    stay: Arc<Stay<E>>,
    /// Whether a task has ever looked for an event before this door was put in: see `Sleeper`.
    #[cfg(feature = "futures")]
    watched: bool,
}

/// What a write keeps that does not leave at once.
struct Stay<E> {
    sender: Sender<E>,
    pass: Arc<Pass<E>>,
    /// Told when the last one that came through this door has left.
    left: Arc<Completion<FlushError>>,
    /// The same of the doors before this one that somebody is still to leave.
    earlier: Vec<Arc<Completion<FlushError>>>,
}

impl<E> Stay<E> {
    /// Another with the same pass.
    fn renewed(&self) -> Arc<Self> {
        let (sender, pass) = (self.sender.clone(), Arc::clone(&self.pass));
        let left = Completion::within(vec![self.pass.pipe.outlet.scope]);
        Arc::new(Self { sender, pass, left, earlier: self.under_way() })
    }

    /// What is told when the writes that came through this door or one before have left.
    fn under_way(&self) -> Vec<Arc<Completion<FlushError>>> {
        let earlier = self.earlier.iter().filter(|left| left.outcome().is_none());
        earlier.chain([&self.left]).map(Arc::clone).collect()
    }
}

/// Dropped with the last door, after its sender.
struct Pass<E> {
    pipe: Arc<Pipe<E>>,
}

/// What came of waiting for room.
pub(crate) enum Room<E> {
    Found,
    Closed(E),
    TimedOut(E),
}

impl<E> Pipe<E> {
    pub(crate) fn new<P>(buffer: Buffer<E, P>, backlog: Option<Backlog<E>>) -> (Writer<E, P>, Arc<Self>)
    where
        P: Policy,
    {
        let Buffer { capacity, policy, spill } = buffer;
        let (sender, receiver) = match capacity {
            None => crossbeam_channel::unbounded(),
            Some(capacity) => crossbeam_channel::bounded(capacity),
        };
        let outlet = Outlet::new(spill);
        let mut scopes = vec![outlet.scope];
        scopes.extend(backlog.as_ref().map(Backlog::scope));
        let pipe = Arc::new(Self {
            gate: Gate::empty(),
            receiver,
            capacity,
            stop: Stop::new(),
            outlet,
            reader_gone: AtomicBool::new(false),
            left: AtomicU64::new(0),
            // The writers and the reader.
            parties: AtomicUsize::new(2),
            completion: Completion::within(scopes),
            backlog,
            #[cfg(feature = "futures")]
            sleeper: Sleeper::new(),
        });
        // The pass keeps the pipe and the pipe's gate the pass, until the gate is shut: by the last
        // writer's handle if by nobody else.
        let pass = Arc::new(Pass { pipe: Arc::clone(&pipe) });
        let left = Completion::within(vec![pipe.outlet.scope]);
        pipe.gate.fill(Arc::new(Door {
            sender: sender.clone(),
            stay: Arc::new(Stay { sender, pass, left, earlier: Vec::new() }),
            #[cfg(feature = "futures")]
            watched: false,
        }));
        let handle = Arc::new(Handle { pipe: Arc::clone(&pipe) });
        (Writer { pipe: Arc::clone(&pipe), handle, policy }, pipe)
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.gate.is_shut()
    }

    /// Refuses writes from now on and wakes those that wait for room.
    pub(crate) fn shut(&self) {
        let door = self.gate.shut();
        self.stop.raise();
        drop(door);
    }

    /// Wakes the writes that wait for room, and lets no other wait; what finds room still gets in.
    pub(crate) fn stop_waiting(&self) {
        self.stop.raise();
    }

    pub(crate) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    pub(crate) fn close(&self) -> Closing {
        self.shut();
        self.closing()
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Gives up an event that the reader had taken and could not deliver.
    pub(crate) fn give_up_left(&self, take: impl FnOnce() -> E) {
        self.outlet.give_up_from(|| {
            self.left.fetch_add(1, Ordering::SeqCst);
            Some(take())
        });
    }

    /// Gives up everything that nobody has taken.
    pub(crate) fn drain(&self) {
        let count = || {
            self.left.fetch_add(1, Ordering::SeqCst);
        };
        while self.outlet.give_up_from(|| self.receiver.try_recv().ok().inspect(|_| count())) {}
        if let Some(backlog) = &self.backlog {
            while self.outlet.give_up_from(|| backlog.take_own().inspect(|_| count())) {}
        }
    }

    /// Nobody reads any more: shuts the gate and gives up what is left, now and when the last writer leaves.
    pub(crate) fn reader_is_gone(&self) {
        self.reader_gone.store(true, Ordering::SeqCst);
        self.shut();
        self.drain();
    }

    /// Whether there is still somebody to read it.
    pub(crate) fn is_read(&self) -> bool {
        !self.reader_gone.load(Ordering::SeqCst)
    }

    /// Joins the parties, unless all of them have left.
    pub(crate) fn join(&self) -> bool {
        self.parties
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |parties| (parties > 0).then(|| parties + 1))
            .is_ok()
    }

    /// The last party to leave closes the spill and tells the outcome.
    pub(crate) fn leave(&self) -> bool {
        let last = self.parties.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            let spill = self.outlet.close();
            match &self.backlog {
                None => spill.0.resolve(&self.completion, false, |outcome| outcome),
                Some(backlog) => backlog.conclude(self, spill),
            }
        }
        last
    }

    /// Whether all parties have left, so that nothing here is counted any more.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_left(&self) -> bool {
        self.parties.load(Ordering::SeqCst) == 0
    }

    /// A channel's close is through when its last writer is, though what it holds is still to be read.
    fn writers_left(&self) {
        if self.reader_gone.load(Ordering::SeqCst) {
            self.drain();
        }
        if let Some(backlog) = &self.backlog {
            backlog.writers_are_through();
        }
        if !self.leave() && self.backlog.is_none() {
            self.completion.complete(Ok(()));
        }
        // The channel is disconnected: that is news too.
        self.wake_sleeper();
    }

    /// Wakes a task that sleeps until there is an event, if there is one that does.
    fn wake_sleeper(&self) {
        #[cfg(feature = "futures")]
        self.sleeper.wake();
    }

    /// Waits until `event` can be sent, the pipe is stopped, or `deadline`.
    ///
    /// The queue's own worker, who alone can make room, does not wait: its event goes to a list.
    pub(crate) fn wait_for_room(
        &self,
        visit: Visit<Door<E>>,
        event: E,
        deadline: Option<Instant>,
    ) -> Room<E> {
        if let Some(backlog) = &self.backlog {
            if backlog.scope().is_current() {
                backlog.push_own(event, self.receiver.len());
                return Room::Found;
            }
        }
        let Some(stay) = stay(visit) else {
            return Room::Closed(event);
        };
        #[cfg(feature = "futures")]
        let _announced = self.sleeper.announce();
        let mut select = Select::new();
        let room = select.send(&stay.sender);
        select.recv(&self.stop.raised);
        let operation = match deadline {
            None => select.select(),
            Some(deadline) => match select.select_deadline(deadline) {
                Ok(operation) => operation,
                Err(_) => return Room::TimedOut(event),
            },
        };
        if operation.index() == room {
            match operation.send(&stay.sender, event) {
                Ok(()) => {
                    self.wake_sleeper();
                    Room::Found
                }
                Err(refused) => Room::Closed(refused.into_inner()),
            }
        } else {
            // Disconnected: that is how it is raised.
            let _ = operation.recv(&self.stop.raised);
            Room::Closed(event)
        }
    }

    /// Sends `event` and gives up what has waited longest to make room for it.
    ///
    /// The event goes in before the evicted one is spilled, so that a spill that sends it back finds the
    /// buffer full again and not an endless supply of room.
    pub(crate) fn evict_for(&self, visit: Visit<Door<E>>, event: E) -> Result<(), E> {
        let held = self.hold(visit);
        let Some(sender) = held.sender() else {
            return Err(event);
        };
        let mut unsent = Some(event);
        while let Some(event) = unsent.take() {
            let evicted = self.outlet.give_up_from(|| {
                let oldest = self.receiver.try_recv().ok();
                match sender.try_send(event) {
                    // Before the spill, which may wait.
                    Ok(()) => self.wake_sleeper(),
                    Err(full) => unsent = Some(full.into_inner()),
                }
                oldest
            });
            if !evicted && unsent.is_some() {
                // Full, yet nothing to take: another thread is in the middle of either. It goes on.
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Gives up `event`, for which there was no room.
    pub(crate) fn give_up_for(&self, visit: Visit<Door<E>>, event: E) {
        let _held = self.hold(visit);
        self.outlet.give_up(event);
    }

    /// What a write that gives up an event holds on to: the door, unless it may wait in a spill.
    fn hold(&self, visit: Visit<Door<E>>) -> Held<E> {
        if self.outlet.spills() { Held::Stay(stay(visit)) } else { Held::Door(visit) }
    }

    /// Told when every write that is under way now is through: with what it evicted, that is.
    pub(crate) fn writes_under_way(&self) -> Answer<FlushError> {
        let renewed = self.gate.renew(|door| Door {
            sender: door.sender.clone(),
            stay: door.stay.renewed(),
            #[cfg(feature = "futures")]
            watched: door.watched,
        });
        match renewed {
            Some(door) => Answer::all(door.stay.under_way().into_iter().map(Answer::Pending).collect()),
            // Shut: then the close waits for them.
            None => Answer::Told(Ok(())),
        }
    }

    /// Has every write from now on wake a task that sleeps, and those under way wake it when they are through.
    #[cfg(feature = "futures")]
    #[cold]
    pub(crate) fn watch(&self) {
        let unwatched = self.gate.renew(|door| Door {
            sender: door.sender.clone(),
            stay: door.stay.renewed(),
            watched: true,
        });
        drop(unwatched);
    }
}

enum Held<E> {
    Door(Visit<Door<E>>),
    Stay(Option<Arc<Stay<E>>>),
}

impl<E> Held<E> {
    fn sender(&self) -> Option<&Sender<E>> {
        match self {
            Self::Door(visit) => visit.as_ref().map(|door| &door.sender),
            Self::Stay(stay) => stay.as_ref().map(|stay| &stay.sender),
        }
    }
}

/// Leaves the door, so that nobody who waits for those at it waits for this write.
fn stay<E>(visit: Visit<Door<E>>) -> Option<Arc<Stay<E>>> {
    visit.as_ref().map(|door| Arc::clone(&door.stay))
}

#[cfg(feature = "futures")]
impl<E> Drop for Door<E> {
    fn drop(&mut self) {
        // Those who came through it while it was not watched have told nobody.
        self.stay.pass.pipe.wake_sleeper();
    }
}

impl<E> Drop for Stay<E> {
    fn drop(&mut self) {
        self.left.complete(Ok(()));
    }
}

impl<E> Drop for Pass<E> {
    fn drop(&mut self) {
        self.pipe.writers_left();
    }
}

/// How many times a reader that finds nothing yields before it sleeps. A writer that finds it awake saves a system
/// call.
const YIELDS: usize = 8;

/// How often it spins before each look at the channel.
const SPINS: usize = 256;

/// Gives writers a moment, some microseconds, before a reader sleeps. Whether there was something to do by then.
pub(crate) fn linger(has_come: impl Fn() -> bool) -> bool {
    (0..YIELDS).any(|_| {
        // Not looked at while it fills up: every look takes the writers' cache line away from them.
        for _ in 0..SPINS {
            std::hint::spin_loop();
        }
        std::thread::yield_now();
        has_come()
    })
}

/// Raised once and for good; wakes every `select` on it.
struct Stop {
    /// Dropped to raise it: `raised` then disconnects.
    keeper: Mutex<Option<Sender<Infallible>>>,
    raised: Receiver<Infallible>,
}

impl Stop {
    fn new() -> Self {
        let (keeper, raised) = crossbeam_channel::bounded(0);
        Self { keeper: Mutex::new(Some(keeper)), raised }
    }

    fn raise(&self) {
        let keeper = self.keeper.lock().take();
        drop(keeper);
    }
}

/// The writing end, as channels and queues share it. Clones share; the last one dropped shuts the gate.
pub(crate) struct Writer<E, P> {
    pub(crate) pipe: Arc<Pipe<E>>,
    pub(crate) handle: Arc<Handle<E>>,
    pub(crate) policy: P,
}

/// Shuts the gate when the last writer lets go of it.
pub(crate) struct Handle<E> {
    pub(crate) pipe: Arc<Pipe<E>>,
}

impl<E> Drop for Handle<E> {
    fn drop(&mut self) {
        self.pipe.shut();
    }
}

impl<E, P: Clone> Clone for Writer<E, P> {
    fn clone(&self) -> Self {
        Self { pipe: Arc::clone(&self.pipe), handle: Arc::clone(&self.handle), policy: self.policy.clone() }
    }
}

impl<E, P> Writer<E, P>
where
    P: Policy,
{
    #[inline]
    pub(crate) fn write(&self, event: E) -> Result<(), WriteError<E, P::Error>> {
        self.write_by(&self.policy, event)
    }

    /// Writes by another policy than the writer's own.
    #[inline]
    pub(crate) fn write_by<Q>(&self, policy: &Q, event: E) -> Result<(), WriteError<E, Q::Error>>
    where
        Q: Policy,
    {
        let visit = self.pipe.gate.enter();
        let Some(door) = &*visit else {
            return Err(WriteError::Closed(event));
        };
        match door.sender.try_send(event) {
            Ok(()) => {
                #[cfg(feature = "futures")]
                if door.watched {
                    self.pipe.sleeper.wake();
                }
                Ok(())
            }
            Err(TrySendError::Full(event)) => policy.overflow(&self.pipe, visit, event),
            // The pipe itself keeps a receiver, so this cannot be; if it were, nobody would read.
            Err(TrySendError::Disconnected(event)) => Err(WriteError::Closed(event)),
        }
    }

    /// Clones nothing for a pipe that is shut.
    pub(crate) fn write_ref(&self, event: &E) -> Result<(), WriteError<(), P::Error>>
    where
        E: Clone,
    {
        if self.pipe.is_shut() {
            return Err(WriteError::Closed(()));
        }
        self.write(event.clone()).map_err(|refused| refused.map_event(drop))
    }
}

#[cfg(all(test, feature = "futures"))]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Barrier, Weak};
    use std::task::{Context, Poll, Wake, Waker};

    use futures_core::Stream;

    use super::*;
    use crate::channel;
    use crate::contract::Sink;
    use crate::sink;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn door<E>(pipe: &Pipe<E>) -> Weak<Door<E>> {
        pipe.gate.enter().as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// The race that is too narrow to be met by chance, step by step.
    #[test]
    fn a_write_that_came_before_the_first_poll_and_sends_after_it_wakes_the_task() {
        let (sink, mut events) = channel::unbounded();
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);

        let visit = sink.pipe().gate.enter();
        assert!(Pin::new(&mut events).poll_next(&mut context).is_pending());
        let door = visit.as_ref().expect("it is open");
        assert!(!door.watched);
        door.sender.try_send(1).expect("it has no bound");
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        drop(visit);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(Pin::new(&mut events).poll_next(&mut context), Poll::Ready(Some(1)));
    }

    #[test]
    fn a_write_that_evicts_wakes_a_task_that_looked_in_between_before_it_spills() {
        let count = Arc::<Count>::default();
        let woken = Arc::clone(&count);
        let spill = sink::for_each(move |_: u32| assert_eq!(woken.0.load(Ordering::SeqCst), 1));
        let (sink, _events) = channel::with(Buffer::bounded(1).drop_oldest().spill(spill));
        sink.write(1).expect("there is room");
        // As if it had found nothing when the oldest was out and the newest not yet in.
        sink.pipe().sleeper.register(&Waker::from(Arc::clone(&count)));
        sink.write(2).expect("it is open");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        // What a spill panics on is dropped.
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_write_that_waits_for_room_holds_no_door() {
        let (sink, events) = channel::bounded(1);
        sink.write(1).expect("there is room");
        let before = door(sink.pipe());
        let writer = {
            let sink = sink.clone();
            std::thread::spawn(move || sink.write(2).is_ok())
        };
        // It leaves the door before it says that it is about to wait.
        while sink.pipe().sleeper.waiting() == 0 {
            std::thread::yield_now();
        }
        sink.pipe().watch();
        assert!(before.upgrade().is_none());
        assert_eq!((events.recv(), events.recv()), (Ok(1), Ok(2)));
        assert!(writer.join().expect("it does not panic"));
    }

    #[test]
    fn a_write_that_is_in_a_spill_holds_no_door_but_a_flush_waits_for_it() {
        fn spills<P: Policy>(make: impl Fn(Buffer<u32, crate::buffer::Block>) -> Buffer<u32, P>) {
            let inside = Arc::new(Barrier::new(2));
            let spill = {
                let inside = Arc::clone(&inside);
                sink::for_each(move |_: u32| {
                    inside.wait();
                    inside.wait();
                })
            };
            let (sink, events) = channel::with(make(Buffer::bounded(1)).spill(spill));
            assert!(sink.write(1).is_ok());
            let before = door(sink.pipe());
            let writer = {
                let sink = sink.clone();
                std::thread::spawn(move || sink.write(2).is_ok())
            };
            inside.wait();
            let left = sink.pipe().writes_under_way();
            let (is_gone, is_through) = (before.upgrade().is_none(), left.outcome().is_some());
            inside.wait();
            assert!(writer.join().expect("it does not panic"));
            // Read, so that it is not spilled when the events are dropped: nobody would meet it there.
            assert!(events.recv().is_ok());
            assert!(is_gone);
            assert!(!is_through && left.outcome().is_some());
        }
        spills(Buffer::drop_oldest);
        spills(Buffer::drop_newest);
    }
}
