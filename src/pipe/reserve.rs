//! Writes that wait for room without a thread.
//!
//! # Why a close does not wait for a task that is not polled
//!
//! A thread that waits for room has entered the gate, and the close waits until it has left. A task may be dropped or never
//! polled again, so it enters only to send: it waits for a permit before that, and after a close it finds the gate shut and
//! gives the permit back. A close ends its wait as it does a thread's.
//!
//! A permit that a task holds belongs to no event yet. An eviction could find a buffer that is full and holds nothing
//! to evict, and would wait for that task. So only what [waits](crate::buffer::Block) for room is written to like this.

use std::convert::Infallible;
use std::future::poll_fn;

use super::shared::{Bound, ReadEnd};
use super::writer::Writer;
use crate::buffer::Block;
use crate::contract::WriteError;
use crate::sync::permits::Permits;

/// Room for an event in a pipe, or the leave to write without any.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reserved {
    /// A permit, for an event of that weight.
    Permit(u64),
    /// The pipe needs none, or nothing waits in it any more, or the reader itself writes, which does not wait.
    Nothing,
}

impl<E, R> Writer<E, Block, R>
where
    R: ReadEnd<E>,
{
    pub(crate) async fn write_async(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let Bound::Bounded(_, weighing) = self.pipe.bound() else {
            return self.write(event);
        };
        let weight = weighing.as_ref().map_or(0, |weighing| (weighing.weigh)(&event));
        let reserved = self.reserve(weight).await;
        self.send_reserved(reserved, event)
    }

    /// Waits for room for an event of that weight. What it gives is to be sent by, or given back.
    pub(crate) async fn reserve(&self, weight: u64) -> Reserved {
        if let Some(reserved) = self.try_reserve(weight) {
            return reserved;
        }
        let Some(permits) = self.permits() else {
            return Reserved::Nothing;
        };
        let mut acquire = permits.acquire(weight);
        let acquired = poll_fn(|context| acquire.poll(context.waker())).await;
        if acquired { Reserved::Permit(weight) } else { Reserved::Nothing }
    }

    /// As [`reserve`](Self::reserve), if it need not wait.
    pub(crate) fn try_reserve(&self, weight: u64) -> Option<Reserved> {
        let Some(permits) = self.permits() else {
            return Some(Reserved::Nothing);
        };
        if !self.pipe.end.is_reentrant() && permits.try_acquire(weight) {
            return Some(Reserved::Permit(weight));
        }
        // No other thread makes room for the reader.
        self.pipe.end.is_reader_here().then_some(Reserved::Nothing)
    }

    pub(crate) fn send_reserved(
        &self,
        reserved: Reserved,
        event: E,
    ) -> Result<(), WriteError<E, Infallible>> {
        if let Reserved::Nothing = reserved {
            return self.write(event);
        }
        let pipe = &*self.pipe;
        let entered = pipe.enter();
        let Some(entrance) = &*entered else {
            self.give_back(reserved);
            return Err(WriteError::Closed(event));
        };
        match reserved {
            Reserved::Permit(weight) if !pipe.end.is_reentrant() => {
                pipe.send(&entrance.sender, event, weight)
                    .map_err(|refused| WriteError::Closed(refused.into_inner()))?;
                pipe.end.notify();
                Ok(())
            }
            // Behind what it wrote before.
            Reserved::Permit(_) | Reserved::Nothing => {
                self.give_back(reserved);
                self.write_reentrant(&self.policy, event)
            }
        }
    }

    pub(crate) fn give_back(&self, reserved: Reserved) {
        if let (Reserved::Permit(weight), Some(permits)) = (reserved, self.permits()) {
            permits.give_back_unused(weight);
        }
    }

    fn permits(&self) -> Option<&Permits> {
        match self.pipe.bound() {
            Bound::Bounded(permits, _) => Some(permits),
            Bound::Unbounded | Bound::Rendezvous(_) => None,
        }
    }
}
