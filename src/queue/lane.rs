//! One of several workers of a queue: where its events come from. [`lanes`](super::lanes) has how they share them.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use super::batch::ROOM;
use super::lanes::{Lanes, Turn};
use super::state::QueuePipe;
use crate::sync::caught::{Payload, drop_caught};
use crate::worker::{End, Next, Source};

/// How the events of a lane are delivered: [`OneByOne`] or [`InBatches`].
pub(super) trait Gather<E>: Send + 'static {
    type Item: Send;

    fn gather(events: &mut Vec<E>) -> Option<Self::Item>;

    /// What is left over of what the sink has refused.
    fn left_over(item: Self::Item, wanted: bool) -> Vec<E>;
}

pub(super) struct OneByOne;

pub(super) struct InBatches;

impl<E: Send> Gather<E> for OneByOne {
    type Item = E;

    fn gather(events: &mut Vec<E>) -> Option<E> {
        events.pop()
    }

    fn left_over(event: E, wanted: bool) -> Vec<E> {
        if wanted {
            return vec![event];
        }
        drop_caught(event);
        Vec::new()
    }
}

impl<E: Send> Gather<E> for InBatches {
    type Item = Vec<E>;

    fn gather(events: &mut Vec<E>) -> Option<Vec<E>> {
        let next = Vec::with_capacity(events.len().min(ROOM));
        (!events.is_empty()).then(|| std::mem::replace(events, next))
    }

    fn left_over(events: Vec<E>, _wanted: bool) -> Vec<E> {
        events
    }
}

pub(super) struct Lane<E, G> {
    lanes: Arc<dyn Lanes<E>>,
    turn: Turn<E>,
    /// Started when the queue ran already.
    is_later: bool,
    gather: PhantomData<fn() -> G>,
}

/// Wakes a lane, or starts one.
struct WakeLane<E> {
    lanes: Arc<dyn Lanes<E>>,
    pipe: Weak<QueuePipe<E>>,
}

impl<E: Send + 'static> Wake for WakeLane<E> {
    fn wake(self: Arc<Self>) {
        if let Some(pipe) = self.pipe.upgrade() {
            self.lanes.wake(&pipe);
        }
    }
}

impl<E, G> Lane<E, G>
where
    E: Send + 'static,
{
    pub(super) fn new(lanes: Arc<dyn Lanes<E>>, pipe: Arc<QueuePipe<E>>, is_later: bool) -> Self {
        let wakes = WakeLane { lanes: Arc::clone(&lanes), pipe: Arc::downgrade(&pipe) };
        let turn = Turn::new(pipe, Waker::from(Arc::new(wakes)));
        Self { lanes, turn, is_later, gather: PhantomData }
    }

    /// Whether it was started for an event that others see to, and never ran.
    fn is_unneeded(&self) -> bool {
        self.is_later && !self.turn.has_looked
    }
}

impl<E, G> Source for Lane<E, G>
where
    E: Send + 'static,
    G: Gather<E>,
{
    type Drain = QueuePipe<E>;
    type Item = G::Item;
    type Receipt = ();

    const SHARED: bool = true;

    fn drain(&self) -> &Arc<QueuePipe<E>> {
        &self.turn.pipe
    }

    fn next(&mut self, _flush_at: u64) -> Next<G::Item> {
        match self.lanes.next(&mut self.turn) {
            Next::Event(()) => G::gather(&mut self.turn.events).map_or(Next::Empty(None), Next::Event),
            Next::Empty(until) => Next::Empty(until),
            Next::Asked => Next::Asked,
            Next::End(end) => Next::End(end),
        }
    }

    fn delivered(&mut self, (): ()) {
        self.turn.delivered();
    }

    fn give_way(&mut self) {
        self.lanes.settle(&mut self.turn);
    }

    fn refused(&mut self, item: G::Item, wanted: bool) {
        self.lanes.refused(&mut self.turn, G::left_over(item, wanted));
    }

    fn position(&self) -> u64 {
        self.turn.position
    }

    fn mark(&self) -> u64 {
        self.lanes.mark(&self.turn.pipe)
    }

    fn share_flush(&mut self, flush_at: u64) -> u64 {
        self.lanes.share_flush(flush_at, &mut self.turn)
    }

    fn spin(&self) -> bool {
        self.lanes.spin(&self.turn.pipe)
    }

    fn register(&mut self, waker: &Waker) -> bool {
        self.lanes.register(&mut self.turn, waker);
        true
    }

    fn unregister(&mut self) {
        self.lanes.unregister(&mut self.turn);
    }

    fn lost(&self) -> u64 {
        self.turn.count as u64
    }

    fn amend(&self, end: Result<End, Payload>) -> Result<End, Payload> {
        // One that could not be started is no end of the queue.
        if self.is_unneeded() && matches!(end, Ok(End::Dropped)) { Ok(End::Drained) } else { end }
    }

    fn retire(&mut self) -> bool {
        let unneeded = self.is_unneeded();
        self.lanes.retire(&mut self.turn, !unneeded)
    }

    fn let_go(&mut self) -> bool {
        self.lanes.let_go()
    }
}
