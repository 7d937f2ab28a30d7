use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The events that the worker's own writes found no room for. Written and taken on the worker's thread, and taken by
/// an abort.
///
/// Each has its turn after what was in front of it in the channel when it was written: it is kept with the number of
/// events that will have left the channel by then, taken by the worker or evicted by writers. No eviction is in the middle
/// of it when that number is made, nor when the worker compares it and then takes an event. While there are any, the
/// worker's further writes come here too, so that none of them overtakes these.
pub(super) struct Reentrant<E> {
    events: Mutex<VecDeque<(u64, E)>>,
    len: AtomicUsize,
}

impl<E> Reentrant<E> {
    pub(super) fn new() -> Self {
        Self { events: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0) }
    }

    /// Keeps an event behind the `waiting` events of a channel that `left` have left.
    pub(super) fn push(&self, event: E, left: u64, waiting: usize) {
        let mut events = self.events.lock();
        let last = events.back().map_or(0, |(turn, _)| turn + 1);
        // Those that are kept already are in front of it, too.
        let turn = (left + (waiting + events.len()) as u64).max(last);
        events.push_back((turn, event));
        self.len.store(events.len(), Ordering::Release);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The next event whose turn it is, now that `left` events have left the channel.
    pub(super) fn take_due(&self, left: u64) -> Option<E> {
        let mut events = self.events.lock();
        let due = events.front().is_some_and(|(turn, _)| *turn <= left);
        let event = if due { events.pop_front() } else { None };
        self.len.store(events.len(), Ordering::Release);
        event.map(|(_, event)| event)
    }

    pub(super) fn take(&self) -> Option<E> {
        self.take_due(u64::MAX)
    }
}
