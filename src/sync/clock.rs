//! The clock that strategies and retries go by: monotonic, or one that a test moves.
//!
//! [`Monotonic`] is the default everywhere. With the feature `testing` there is a
#![cfg_attr(feature = "testing", doc = "[`VirtualClock`](crate::testing::VirtualClock).")]
#![cfg_attr(not(feature = "testing"), doc = "`VirtualClock`.")]

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::blocking::blocking;
use super::caught::{drop_caught, wake_caught};
use super::timer::{Sleep, sleep_until};

pub(crate) use self::sealed::{Timer, Wait, Waiter};

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

    fn set(&self, waiter: &Waiter, timeout: Duration) -> Timer {
        (**self).set(waiter, timeout)
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

    fn set(&self, _waiter: &Waiter, timeout: Duration) -> Timer {
        // A time beyond what the clock can count is for ever.
        Timer { end: Instant::now().checked_add(timeout).map_or(End::Never, |at| End::At(sleep_until(at))) }
    }
}

mod sealed {
    use super::{Arc, Duration, End, Signal};

    /// How this crate waits by a [`Clock`](super::Clock).
    pub trait Wait {
        /// Waits until `timeout` has passed by this clock, or the waiter is notified. May return early.
        fn wait(&self, waiter: &Waiter, timeout: Duration);

        /// The twin of `wait` for a task: a timer to be awaited with the waiter.
        fn set(&self, waiter: &Waiter, timeout: Duration) -> Timer;
    }

    /// The end of a task's wait.
    #[derive(Debug)]
    pub struct Timer {
        pub(super) end: End,
    }

    /// A wait to come, which ends early when its signal is notified. Clones end together.
    #[derive(Clone, Debug)]
    pub struct Waiter {
        pub(super) signal: Arc<Signal>,
        /// How often the signal had been notified when this was made.
        pub(super) seen: u64,
    }
}

/// What ends a task's wait, besides its waiter.
enum End {
    At(Sleep),
    /// The clock notifies the waiter, until this is dropped.
    #[cfg(feature = "testing")]
    Notified {
        _registered: Box<dyn std::any::Any + Send + Sync>,
    },
    Never,
    #[cfg(feature = "testing")]
    Past,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End(..)")
    }
}

#[cfg(feature = "testing")]
impl Timer {
    pub(crate) fn past() -> Self {
        Self { end: End::Past }
    }

    /// One whose clock notifies the waiter, and forgets it when `registered` is dropped.
    pub(crate) fn notified(registered: impl Send + Sync + 'static) -> Self {
        Self { end: End::Notified { _registered: Box::new(registered) } }
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
    /// The tasks that wait.
    wakers: BTreeMap<u64, Waker>,
    next_waker: u64,
}

impl Signal {
    /// The tasks that waited are for the caller to wake, once it holds no lock.
    fn update(&self, update: impl FnOnce(&mut Notified)) -> Wakers {
        let mut state = self.state.lock();
        update(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        Wakers(wakers)
    }
}

/// Tasks whose wait was ended.
#[must_use = "they sleep until they are woken"]
pub(crate) struct Wakers(BTreeMap<u64, Waker>);

impl Wakers {
    pub(crate) fn wake(self) {
        self.0.into_values().for_each(wake_caught);
    }
}

impl Waiter {
    fn of(signal: &Arc<Signal>) -> Self {
        Self { seen: signal.state.lock().times, signal: Arc::clone(signal) }
    }

    /// Ends this wait, and every other that has the same signal.
    #[cfg(feature = "testing")]
    pub(crate) fn notify(&self) -> Wakers {
        self.signal.update(|notified| notified.times += 1)
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

/// Completes when its waiter is notified, or its timer says so. Dropping it forgets the task.
struct Waiting<'a> {
    waiter: &'a Waiter,
    timer: Timer,
    /// Under which its waker is kept.
    number: Option<u64>,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut notified = self.waiter.signal.state.lock();
        if self.waiter.is_notified_in(&notified) {
            drop(notified);
            drop_caught(waker);
            return Poll::Ready(());
        }
        let number = self.number.unwrap_or(notified.next_waker);
        if self.number.is_none() {
            notified.next_waker += 1;
        }
        let before = notified.wakers.insert(number, waker);
        drop(notified);
        drop_caught(before);
        self.number = Some(number);
        match &mut self.timer.end {
            End::At(sleep) => Pin::new(sleep).poll(context),
            End::Never => Poll::Pending,
            #[cfg(feature = "testing")]
            End::Notified { .. } => Poll::Pending,
            #[cfg(feature = "testing")]
            End::Past => Poll::Ready(()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.waiter.signal.state.lock().wakers.remove(&number);
            drop_caught(waker);
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
/// A task leaves its waker under that lock, having looked under it, at every poll. A change takes all wakers under it and
/// calls them afterwards: it comes before the look, which sees it, or after, and then finds the waker. A task that is
/// woken and has not ended (a waker that was taken by another's change) looks again and leaves its waker anew. Wakers are
/// a user's code: they are called and dropped without the lock.
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
        self.signal.update(|notified| notified.for_good = true).wake();
    }

    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.state.load(Ordering::Acquire) & RAISED != 0
    }

    /// Completes when it is raised.
    #[cfg(feature = "tower")]
    pub(crate) async fn raised(&self) {
        while !self.is_raised() {
            let ticket = self.ticket();
            ClockSlot::default().wait_async(&ticket.waiter, Duration::MAX).await;
        }
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
        self.signal.update(|notified| notified.times += 1).wake();
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

    /// The twin of [`wait`](ClockSlot::wait) for a task. Nothing happens before the first poll.
    pub(crate) async fn wait_async(&self, waiter: &Waiter, timeout: Duration) {
        let timer = match &self.0 {
            None => Monotonic.set(waiter, timeout),
            Some(clock) => clock.set(waiter, timeout),
        };
        Waiting { waiter, timer, number: None }.await;
    }

    /// Completes when `time` has passed.
    pub(crate) async fn sleep(&self, time: Duration) {
        let begun = self.now();
        loop {
            let remaining = time.saturating_sub(self.now().saturating_sub(begun));
            if remaining.is_zero() {
                return;
            }
            // A new one for each wait: a waiter that was notified stays so.
            self.wait_async(&Waiter::default(), remaining).await;
        }
    }
}
