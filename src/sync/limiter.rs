//! Lets callers pass at a rate, one after the other.
//!
//! # Why not `governor`
//!
//! What it would do here is the arithmetic of [`Bucket`], of a few lines. Its waits are futures on a timer of its own, or
//! are left to the caller; with them come futures-timer and futures-util. The rest is ours in any case: a close that ends
//! waits, their order, waits that are announced to the pool, and a clock that a test moves.
//!
//! # Why no wait is forgotten
//!
//! Those that wait stand in a queue; only the first may pass. It waits until its time, and the others until they are
//! first. Whatever removes the first, under the lock, notifies the one after it afterwards. That one takes a ticket of its
//! alarm before it looks, under the lock, whether it is first: if it looks before the removal, the notification ends its
//! wait; if it looks after, it finds itself first. The same holds for a close, which empties the queue.
//!
//! # Why the rate holds
//!
//! A caller passes at the moment at which it is counted: under the lock, by the clock's time then. A place in the queue
//! reserves no time, so that callers that wake up late do not pass in a bunch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Alarm, ClockSlot};
use super::rate::{Bucket, Rate};

/// How often at most one that is not first looks for itself. It is notified when it is first; but a wait without an end
/// would be the next to end on a virtual clock, which would then be moved by centuries.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    state: Mutex<State>,
    clock: ClockSlot,
}

#[derive(Debug, Default)]
struct State {
    bucket: Bucket,
    /// In the order in which they came.
    waiting: VecDeque<Arc<Alarm>>,
    closed: bool,
}

/// What one that waits is to do.
enum Turn {
    Pass,
    Leave,
    Wait(Duration),
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, state: Mutex::default(), clock: ClockSlot::default() }
    }

    pub(crate) fn set_clock(&mut self, clock: ClockSlot) {
        self.clock = clock;
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Waits until the caller may pass; `false` if the limiter is closed before.
    pub(crate) fn pass(&self) -> bool {
        match self.enter() {
            Ok(passed) => passed,
            Err(place) => place.wait(),
        }
    }

    /// The twin of [`pass`](Limiter::pass) for a task. A task that is dropped while it waits leaves the queue.
    pub(crate) async fn pass_async(&self) -> bool {
        match self.enter() {
            Ok(passed) => passed,
            Err(place) => place.wait_async().await,
        }
    }

    /// Whether the caller passes at once, or else its place in the queue.
    fn enter(&self) -> Result<bool, Place<'_>> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(false);
        }
        let now = self.clock.now();
        if state.waiting.is_empty() && state.bucket.remaining(&self.rate, now, 0).is_zero() {
            state.bucket.take(&self.rate, now);
            return Ok(true);
        }
        let alarm = Arc::new(Alarm::default());
        state.waiting.push_back(Arc::clone(&alarm));
        Err(Place { limiter: self, alarm })
    }

    /// Ends all waits, and lets nothing pass any more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.iter().for_each(|alarm| alarm.notify());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

/// A place in the queue, which is left when it is dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    alarm: Arc<Alarm>,
}

impl Place<'_> {
    fn wait(self) -> bool {
        loop {
            // Taken before the look, so that a notification after that ends the wait.
            let ticket = self.alarm.ticket();
            match self.look() {
                Turn::Pass => return true,
                Turn::Leave => return false,
                Turn::Wait(time) => self.limiter.clock.wait(&ticket.waiter, time),
            }
        }
    }

    async fn wait_async(self) -> bool {
        loop {
            let ticket = self.alarm.ticket();
            match self.look() {
                Turn::Pass => return true,
                Turn::Leave => return false,
                Turn::Wait(time) => self.limiter.clock.wait_async(&ticket.waiter, time).await,
            }
        }
    }

    fn look(&self) -> Turn {
        let Limiter { rate, state, clock } = self.limiter;
        let mut state = state.lock();
        let Some(place) = self.position(&state) else { return Turn::Leave };
        let now = clock.now();
        let remaining = state.bucket.remaining(rate, now, place);
        if place > 0 {
            return Turn::Wait(remaining.max(LOOK));
        }
        if !remaining.is_zero() {
            return Turn::Wait(remaining);
        }
        state.bucket.take(rate, now);
        Turn::Pass
    }

    /// `None` once the limiter is closed.
    fn position(&self, state: &State) -> Option<usize> {
        state.waiting.iter().position(|alarm| Arc::ptr_eq(alarm, &self.alarm))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        let Some(place) = self.position(&state) else { return };
        state.waiting.remove(place);
        let first = state.waiting.front().cloned().filter(|_| place == 0);
        drop(state);
        if let Some(first) = first {
            first.notify();
        }
    }
}
