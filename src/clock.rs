//! The clock that strategies and retries go by: monotonic, or one that a test moves.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use std::sync::Arc;

/// A clock that never goes back, and a way to wait by it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since a fixed moment of the clock's own.
    fn now(&self) -> Duration;

    /// Waits until `timeout` has passed by this clock, or `alarm` is raised or nudged. May come back early.
    fn wait(&self, alarm: &Arc<Alarm>, timeout: Duration);
}

/// The machine's monotonic clock: the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    fn wait(&self, alarm: &Arc<Alarm>, timeout: Duration) {
        alarm.wait_past(alarm.ticket(), timeout);
    }
}

/// Wakes those who wait out a backoff: all of them for good, when it is raised, or once, when it is nudged.
///
/// # Why no wake-up is lost
///
/// `raised` and the number of nudges change under the lock under which a waiter looks at them before it
/// sleeps, and the notification comes after. A waiter that takes a ticket before it decides to wait misses
/// no nudge between the two.
#[derive(Debug, Default)]
pub struct Alarm {
    raised: AtomicBool,
    sleepers: AtomicUsize,
    nudges: Mutex<u64>,
    changed: Condvar,
}

impl Alarm {
    /// One that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes everybody, and lets nobody sleep any more.
    pub fn raise(&self) {
        let nudges = self.nudges.lock();
        // Release: pairs with the acquire of those who look without the lock.
        self.raised.store(true, Ordering::Release);
        drop(nudges);
        self.changed.notify_all();
    }

    /// Whether it was raised.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Wakes everybody once. One load if nobody sleeps: who is about to may miss it then, and waits out
    /// the time given.
    #[inline]
    pub fn nudge_sleepers(&self) {
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.nudge();
        }
    }

    /// Wakes everybody once.
    pub fn nudge(&self) {
        *self.nudges.lock() += 1;
        self.changed.notify_all();
    }

    /// How often it was nudged so far, for [`wait_past`](Alarm::wait_past).
    pub fn ticket(&self) -> u64 {
        *self.nudges.lock()
    }

    /// Waits until it is raised, was nudged after `ticket` was taken, or `timeout` has passed.
    pub fn wait_past(&self, ticket: u64, timeout: Duration) {
        // Beyond what the clock can count is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut nudges = self.nudges.lock();
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        while !self.raised.load(Ordering::Acquire) && *nudges == ticket {
            match deadline {
                None => self.changed.wait(&mut nudges),
                Some(deadline) => {
                    if self.changed.wait_until(&mut nudges, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Times as the atomics of strategies have them: nanoseconds, at most 292 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 2)
}

/// The clock of a strategy or a retry: the monotonic one, unless another was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockSlot(pub(crate) Option<Arc<dyn Clock>>);

impl ClockSlot {
    pub(crate) fn now(&self) -> Duration {
        match &self.0 {
            None => Monotonic.now(),
            Some(clock) => clock.now(),
        }
    }

    pub(crate) fn wait(&self, alarm: &Arc<Alarm>, timeout: Duration) {
        match &self.0 {
            None => Monotonic.wait(alarm, timeout),
            Some(clock) => clock.wait(alarm, timeout),
        }
    }
}
