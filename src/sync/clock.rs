//! The clock that strategies and retries go by: monotonic, or one that a test moves.
//!
//! [`Monotonic`] is the default everywhere. With the feature `testing` there is a
#![cfg_attr(feature = "testing", doc = "[`VirtualClock`](crate::testing::VirtualClock).")]
#![cfg_attr(not(feature = "testing"), doc = "`VirtualClock`.")]

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::blocking::blocking;

pub(crate) use self::sealed::{Wait, Waiter};

/// A clock that never goes back. Sealed: implemented by [`Monotonic`], by the `VirtualClock` of the test kit, and by
/// an `Arc` of either, `Arc<dyn Clock>` included.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use outflow::clock::{Clock, Monotonic};
/// use outflow::retry::Breaker;
/// use outflow::{Sink, SinkExt, sink};
///
/// // A test passes a virtual one. The strategy has a clock and so has the retry.
/// fn mirror(clock: Arc<dyn Clock>) -> impl Sink<u32> {
///     let breaker = Breaker::new(5, Duration::from_secs(1)).clock(Arc::clone(&clock));
///     sink::discard().retry(breaker).clock(clock)
/// }
///
/// assert!(mirror(Arc::new(Monotonic)).write(1).is_ok());
/// ```
pub trait Clock: Wait + fmt::Debug + Send + Sync {
    /// The time since a fixed moment of the clock's own.
    fn now(&self) -> Duration;
}

impl<C> Clock for Arc<C>
where
    C: Clock + ?Sized,
{
    fn now(&self) -> Duration {
        (**self).now()
    }
}

impl<C> Wait for Arc<C>
where
    C: Clock + ?Sized,
{
    fn wait(&self, waiter: &Waiter, timeout: Duration) {
        (**self).wait(waiter, timeout);
    }
}

/// The machine's monotonic clock: the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

impl Wait for Monotonic {
    fn wait(&self, waiter: &Waiter, timeout: Duration) {
        waiter.wait(timeout);
    }
}

mod sealed {
    use super::{Arc, Duration, Signal};

    /// How this crate waits by a [`Clock`](super::Clock).
    pub trait Wait {
        /// Waits until `timeout` has passed by this clock, or the waiter is notified. May return early.
        fn wait(&self, waiter: &Waiter, timeout: Duration);
    }

    /// A wait to come, which ends early when its signal is notified. Clones end together.
    #[derive(Clone, Debug)]
    pub struct Waiter {
        pub(super) signal: Arc<Signal>,
        /// How often the signal had been notified when this was made.
        pub(super) seen: u64,
    }
}

/// Ends waits: those that are under way when it is notified, and for good all of them once it is raised.
#[derive(Debug, Default)]
struct Signal {
    state: Mutex<Notified>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Notified {
    times: u64,
    for_good: bool,
}

impl Signal {
    fn update(&self, update: impl FnOnce(&mut Notified)) {
        update(&mut self.state.lock());
        self.changed.notify_all();
    }
}

impl Waiter {
    fn of(signal: &Arc<Signal>) -> Self {
        Self { seen: signal.state.lock().times, signal: Arc::clone(signal) }
    }

    /// Ends this wait, and every other that has the same signal.
    #[cfg(feature = "testing")]
    pub(crate) fn notify(&self) {
        self.signal.update(|notified| notified.times += 1);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn is_notified(&self) -> bool {
        self.is_notified_in(&self.signal.state.lock())
    }

    fn is_notified_in(&self, notified: &Notified) -> bool {
        notified.for_good || notified.times != self.seen
    }

    /// Waits until it is notified, or `timeout` has passed by the monotonic clock; [`Duration::MAX`] is for ever.
    pub(crate) fn wait(&self, timeout: Duration) {
        // A time beyond what the clock can count is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut notified = self.signal.state.lock();
        while !self.is_notified_in(&notified) {
            match deadline {
                None => self.signal.changed.wait(&mut notified),
                Some(deadline) => {
                    if self.signal.changed.wait_until(&mut notified, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
    }
}

impl Default for Waiter {
    /// One that has a signal for itself.
    fn default() -> Self {
        Self::of(&Arc::default())
    }
}

/// Wakes the writers of a retry: all of them for good when it is raised, those that wait when it is notified.
///
/// A writer that may have to wait takes a [`ticket`](Alarm::ticket), *then* looks whether there is anything to wait
/// for, and then waits.
///
/// # Why no wake-up is lost
///
/// A signal changes under the lock under which a waiter looks at it before it sleeps, and the condition variable is
/// notified after that. A waiter has the number of notifications when it was made: a notification between that and
/// the wait ends the wait at once.
///
/// [`notify`](Alarm::notify) first looks, without the lock, whether there are tickets. One thread changes what the
/// other decides by and then looks for tickets; the other counts its ticket and then decides. All four are
/// sequentially consistent, so at least one of the two sees what the other did.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// [`RAISED`], and [`TICKET`] times the number of tickets.
    state: AtomicUsize,
    signal: Arc<Signal>,
}

const RAISED: usize = 1;
const TICKET: usize = 2;

impl Alarm {
    /// Wakes every writer that waits, and lets none wait any more.
    pub(crate) fn raise(&self) {
        // Release: pairs with the acquire in `is_raised`.
        self.state.fetch_or(RAISED, Ordering::Release);
        self.signal.update(|notified| notified.for_good = true);
    }

    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.state.load(Ordering::Acquire) & RAISED != 0
    }

    /// Wakes the writers that wait, if any: one load if there are none.
    #[inline]
    pub(crate) fn notify(&self) {
        // SeqCst, as in `ticket`: see above. A plain load on most machines.
        if self.state.load(Ordering::SeqCst) >= TICKET {
            self.notify_waiters();
        }
    }

    #[cold]
    fn notify_waiters(&self) {
        self.signal.update(|notified| notified.times += 1);
    }

    /// Announces that this writer may wait: a notification from now on ends the wait by this ticket.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        // Counted before the notifications are looked at: one that comes between the two is in their number, and what
        // it announces is seen by a writer that decides after this.
        self.state.fetch_add(TICKET, Ordering::SeqCst);
        Ticket { alarm: self, waiter: Waiter::of(&self.signal) }
    }
}

/// A wait that its alarm knows of.
#[must_use = "a ticket is to wait by"]
pub(crate) struct Ticket<'a> {
    alarm: &'a Alarm,
    pub(crate) waiter: Waiter,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // Relaxed: a notification too many does no harm.
        self.alarm.state.fetch_sub(TICKET, Ordering::Relaxed);
    }
}

/// Times as the atomics of strategies have them: nanoseconds, at most 292 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 2)
}

/// The clock of a strategy or a retry: the monotonic one, unless another was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockSlot(Option<Arc<dyn Clock>>);

impl ClockSlot {
    pub(crate) fn of<C>(clock: C) -> Self
    where
        C: Clock + 'static,
    {
        Self(Some(Arc::new(clock)))
    }

    pub(crate) fn now(&self) -> Duration {
        match &self.0 {
            None => Monotonic.now(),
            Some(clock) => clock.now(),
        }
    }

    pub(crate) fn wait(&self, waiter: &Waiter, timeout: Duration) {
        blocking(|| match &self.0 {
            None => Monotonic.wait(waiter, timeout),
            Some(clock) => clock.wait(waiter, timeout),
        });
    }
}
