use std::sync::Arc;
use std::time::Instant;
use std::vec;

use crossbeam_channel::{SendError, Sender, TrySendError};

use super::shared::{Bound, Pipe, ReadEnd, Room};
use crate::buffer::shed::Shed;
use crate::buffer::{Buffer, Full, Policy, WhenFull};
use crate::contract::WriteError;
use crate::sync::blocking::blocking;
use crate::sync::permits::Permits;
use crate::sync::stop::Stop;

/// How many events are sent before a reader that sleeps is looked for again, and a close.
const RUN: usize = 256;

/// The writing end, as channels and queues share it. Clones share; the last one dropped shuts the gate.
pub(crate) struct Writer<E, P, R: ReadEnd<E>> {
    pub(crate) pipe: Arc<Pipe<E, R>>,
    pub(crate) handle: Arc<Handle<E, R>>,
    pub(crate) policy: P,
}

/// Makes a pipe that `end` is to read.
pub(crate) fn pipe<E, P, R>(buffer: Buffer<E, P>, end: R) -> (Writer<E, P, R>, Arc<Pipe<E, R>>)
where
    R: ReadEnd<E>,
{
    let Buffer { capacity, weighing, policy, spill } = buffer;
    let ((sender, receiver), bound) = match capacity {
        None => (crossbeam_channel::unbounded(), Bound::Unbounded),
        Some(0) => (crossbeam_channel::bounded(0), Bound::Rendezvous(Stop::new())),
        Some(capacity) => {
            let permits = Permits::new(capacity, weighing.as_ref().map(|weighing| weighing.max));
            (crossbeam_channel::unbounded(), Bound::Bounded(Box::new(permits), weighing))
        }
    };
    let pipe = Pipe::new(capacity, bound, receiver, Shed::new(spill), end);
    pipe.open(sender);
    let handle = Arc::new(Handle { pipe: Arc::clone(&pipe) });
    (Writer { pipe: Arc::clone(&pipe), handle, policy }, pipe)
}

/// Shuts the gate when the last writer drops it.
pub(crate) struct Handle<E, R: ReadEnd<E>> {
    pub(crate) pipe: Arc<Pipe<E, R>>,
}

impl<E, R: ReadEnd<E>> Drop for Handle<E, R> {
    fn drop(&mut self) {
        self.pipe.shut();
    }
}

impl<E, P: Clone, R: ReadEnd<E>> Clone for Writer<E, P, R> {
    fn clone(&self) -> Self {
        Self { pipe: Arc::clone(&self.pipe), handle: Arc::clone(&self.handle), policy: self.policy.clone() }
    }
}

impl<E, P, R> Writer<E, P, R>
where
    P: Policy,
    R: ReadEnd<E>,
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
        let entered = self.pipe.enter();
        let Some(entrance) = &*entered else {
            return Err(WriteError::Closed(event));
        };
        self.write_entered(policy, &entrance.sender, event)
    }

    #[inline]
    fn write_entered<Q>(
        &self,
        policy: &Q,
        sender: &Sender<E>,
        event: E,
    ) -> Result<(), WriteError<E, Q::Error>>
    where
        Q: Policy,
    {
        if self.pipe.end.is_reentrant() {
            return self.write_reentrant(policy, event);
        }
        let sent = match self.pipe.bound() {
            Bound::Bounded(permits, weighing) => {
                let weight = weighing.as_ref().map_or(0, |weighing| (weighing.weigh)(&event));
                if !permits.try_acquire(weight) {
                    return self.overflow(policy, sender, event, weight);
                }
                self.pipe.send(sender, event, weight).map_err(SendError::into_inner)
            }
            Bound::Unbounded => sender.send(event).map_err(SendError::into_inner),
            Bound::Rendezvous(_) => match sender.try_send(event) {
                Err(TrySendError::Full(event)) => return self.overflow(policy, sender, event, 0),
                sent => sent.map_err(TrySendError::into_inner),
            },
        };
        // The pipe itself keeps a receiver, so it is sent; if it were not, nothing would read.
        sent.map_err(WriteError::Closed)?;
        self.pipe.end.notify();
        Ok(())
    }

    /// As [`Sink::write_run`](crate::Sink::write_run). The gate, and the look for a reader that sleeps, are paid for once.
    pub(crate) fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, P::Error>> {
        let entered = self.pipe.enter();
        loop {
            if let Some(entrance) = &*entered {
                self.send_run(&entrance.sender, run);
            }
            let Some(event) = run.next() else {
                return Ok(());
            };
            match &*entered {
                // Finds no room, or begins the next part.
                Some(entrance) if !self.pipe.is_shut() => {
                    self.write_entered(&self.policy, &entrance.sender, event)?;
                }
                _ => return Err(WriteError::Closed(event)),
            }
        }
    }

    /// How many events are to be written at once: one if each is weighed, or handed over.
    pub(crate) fn longest_run(&self) -> usize {
        match self.pipe.bound() {
            Bound::Unbounded | Bound::Bounded(_, None) => RUN,
            Bound::Bounded(_, Some(_)) | Bound::Rendezvous(_) => 1,
        }
    }

    /// Sends as many of the events as have room now.
    fn send_run(&self, sender: &Sender<E>, unsent: &mut vec::IntoIter<E>) {
        let most = unsent.len().min(RUN);
        let run = match self.pipe.bound() {
            _ if most == 0 || self.pipe.end.is_reentrant() => 0,
            Bound::Unbounded => most,
            Bound::Bounded(permits, None) => permits.try_acquire_up_to(most),
            // One by one: each is weighed, or handed over.
            Bound::Bounded(_, Some(_)) | Bound::Rendezvous(_) => 0,
        };
        for event in unsent.take(run) {
            let sent = sender.send(event);
            debug_assert!(sent.is_ok(), "the pipe keeps a receiver");
        }
        if run > 0 {
            self.pipe.end.notify();
        }
    }

    /// On the reader's own thread, behind events that it wrote before and found no room for: goes where they are, so that
    /// it comes after them.
    #[cold]
    pub(super) fn write_reentrant<Q>(&self, policy: &Q, event: E) -> Result<(), WriteError<E, Q::Error>>
    where
        Q: Policy,
    {
        match policy.when_full() {
            WhenFull::Refuse => Err(policy.refused(event, self.full())),
            WhenFull::ShedNewest => {
                self.pipe.shed.shed(event);
                Ok(())
            }
            WhenFull::Wait(_) | WhenFull::EvictOldest => {
                self.pipe.end.keep(&self.pipe, event).map_err(WriteError::Closed)
            }
        }
    }

    fn full(&self) -> Full {
        Full::new(self.pipe.capacity().unwrap_or(usize::MAX))
    }

    /// Does what the policy says to do when there is no room. The caller has entered, and leaves after this.
    #[cold]
    fn overflow<Q>(
        &self,
        policy: &Q,
        sender: &Sender<E>,
        event: E,
        weight: u64,
    ) -> Result<(), WriteError<E, Q::Error>>
    where
        Q: Policy,
    {
        let pipe = &*self.pipe;
        match policy.when_full() {
            WhenFull::Wait(timeout) => {
                // A timeout beyond what the clock can count is none.
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                match blocking(|| pipe.wait_for_room(sender, event, weight, deadline)) {
                    Room::Found => Ok(()),
                    Room::Closed(event) => Err(WriteError::Closed(event)),
                    Room::TimedOut(event) => Err(policy.refused(event, self.full())),
                }
            }
            WhenFull::Refuse => Err(policy.refused(event, self.full())),
            WhenFull::EvictOldest => {
                pipe.evict_for(sender, event, weight);
                Ok(())
            }
            WhenFull::ShedNewest => {
                pipe.shed.shed(event);
                Ok(())
            }
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
