use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};

use super::shared::{Pipe, ReadEnd, Room};
use crate::buffer::shed::Shed;
use crate::buffer::{Buffer, Full, Policy, WhenFull};
use crate::contract::WriteError;
use crate::sync::blocking::blocking;

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
    let Buffer { capacity, policy, spill } = buffer;
    let (sender, receiver) = match capacity {
        None => crossbeam_channel::unbounded(),
        Some(capacity) => crossbeam_channel::bounded(capacity),
    };
    let pipe = Pipe::new(capacity, receiver, Shed::new(spill), end);
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
        if self.pipe.end.is_reentrant() {
            return self.write_reentrant(policy, event);
        }
        match entrance.sender.try_send(event) {
            Ok(()) => {
                self.pipe.end.notify();
                Ok(())
            }
            Err(TrySendError::Full(event)) => self.overflow(policy, &entrance.sender, event),
            // The pipe itself keeps a receiver, so this cannot be; if it were, nothing would read.
            Err(TrySendError::Disconnected(event)) => Err(WriteError::Closed(event)),
        }
    }

    /// On the reader's own thread, behind events that it wrote before and found no room for: goes where they are, so that
    /// it comes after them.
    #[cold]
    fn write_reentrant<Q>(&self, policy: &Q, event: E) -> Result<(), WriteError<E, Q::Error>>
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
    fn overflow<Q>(&self, policy: &Q, sender: &Sender<E>, event: E) -> Result<(), WriteError<E, Q::Error>>
    where
        Q: Policy,
    {
        let pipe = &*self.pipe;
        match policy.when_full() {
            WhenFull::Wait(timeout) => {
                // A timeout beyond what the clock can count is none.
                let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                match blocking(|| pipe.wait_for_room(sender, event, deadline)) {
                    Room::Found => Ok(()),
                    Room::Closed(event) => Err(WriteError::Closed(event)),
                    Room::TimedOut(event) => Err(policy.refused(event, self.full())),
                }
            }
            WhenFull::Refuse => Err(policy.refused(event, self.full())),
            WhenFull::EvictOldest => {
                pipe.evict_for(sender, event);
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
