//! The clock that strategies and retries go by: monotonic, or one that a test moves.
//!
//! [`Monotonic`] is the default everywhere. With the feature `testing` there is a
#![cfg_attr(feature = "testing", doc = "[`VirtualClock`](crate::testing::VirtualClock).")]
#![cfg_attr(not(feature = "testing"), doc = "`VirtualClock`.")]

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A clock that never goes back, and a way to wait by it.
///
/// # Examples
///
/// A clock that runs a thousand times as fast:
///
/// ```
/// use std::time::Duration;
/// use outflow::clock::{Clock, Monotonic, Ticket};
/// use outflow::retry::Constant;
/// use outflow::{Sink, SinkExt, sink};
///
/// #[derive(Clone, Copy, Debug)]
/// struct Hasty;
///
/// impl Clock for Hasty {
///     fn now(&self) -> Duration {
///         Monotonic.now() * 1000
///     }
///
///     fn wait(&self, ticket: &Ticket, timeout: Duration) {
///         Monotonic.wait(ticket, timeout / 1000);
///     }
/// }
///
/// let mut attempts = 0;
/// let flaky = sink::from_fn_mut(move |_: &&str| {
///     attempts += 1;
///     if attempts < 3 { Err("overloaded") } else { Ok(()) }
/// });
/// let reliable = flaky.retry(Constant::new(Duration::from_secs(10)).clock(Hasty)).clock(Hasty);
/// let begun = Monotonic.now();
/// assert!(reliable.write("push").is_ok());
/// assert!(Monotonic.now() - begun < Duration::from_secs(10));
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since a fixed moment of the clock's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::clock::{Clock, Monotonic};
    ///
    /// let before = Monotonic.now();
    /// assert!(before <= Monotonic.now());
    /// ```
    fn now(&self) -> Duration;

    /// Waits until `timeout` has passed by this clock, or the ticket is [called](Ticket::is_called). May come
    /// back early.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use outflow::clock::{Alarm, Clock, Monotonic};
    ///
    /// let ticket = Arc::new(Alarm::new()).ticket();
    /// let before = Monotonic.now();
    /// Monotonic.wait(&ticket, Duration::from_millis(2));
    /// assert!(Monotonic.now() - before >= Duration::from_millis(2));
    /// ```
    fn wait(&self, ticket: &Ticket, timeout: Duration);
}

impl<C> Clock for Arc<C>
where
    C: Clock + ?Sized,
{
    fn now(&self) -> Duration {
        (**self).now()
    }

    fn wait(&self, ticket: &Ticket, timeout: Duration) {
        (**self).wait(ticket, timeout);
    }
}

/// The machine's monotonic clock: the default everywhere.
///
/// # Examples
///
/// ```
/// use outflow::clock::{Clock, Monotonic};
///
/// let before = Monotonic.now();
/// assert!(Monotonic.now() >= before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    fn wait(&self, ticket: &Ticket, timeout: Duration) {
        ticket.wait(timeout);
    }
}

/// Wakes those who wait out a backoff: all of them for good, when it is raised, or once, when it is nudged.
///
/// Who means to wait takes a [`ticket`](Alarm::ticket), *then* looks whether there is anything to wait for,
/// and then waits.
///
/// # Why no wake-up is lost
///
/// `raised` and the number of nudges change under the lock under which a waiter looks at them before it
/// sleeps, and the notification comes after. A ticket has the number of nudges when it was taken: a nudge
/// between that and the wait ends the wait at once.
///
/// [`nudge_sleepers`](Alarm::nudge_sleepers) first looks at `tickets`, without the lock. One thread changes
/// what the other decides by and then looks at `tickets`, the other counts up `tickets` and then decides;
/// if all four are sequentially consistent, at least one of them sees what the other did.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use outflow::clock::Alarm;
///
/// let alarm = Arc::new(Alarm::new());
/// let ticket = alarm.ticket();
/// let waiter = std::thread::spawn(move || ticket.wait(Duration::MAX));
/// alarm.nudge();
/// waiter.join().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Alarm {
    raised: AtomicBool,
    /// How many there are.
    tickets: AtomicUsize,
    nudges: Mutex<u64>,
    changed: Condvar,
}

impl Alarm {
    /// One that is not raised.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!outflow::clock::Alarm::new().is_raised());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes everybody, and lets nobody sleep any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// alarm.raise();
    /// alarm.ticket().wait(Duration::MAX); // comes back at once
    /// assert!(alarm.is_raised());
    /// ```
    pub fn raise(&self) {
        let nudges = self.nudges.lock();
        // Release: pairs with the acquire of those who look without the lock.
        self.raised.store(true, Ordering::Release);
        drop(nudges);
        self.changed.notify_all();
    }

    /// Whether it was raised.
    ///
    /// # Examples
    ///
    /// ```
    /// let alarm = outflow::clock::Alarm::new();
    /// alarm.raise();
    /// assert!(alarm.is_raised());
    /// ```
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Wakes everybody once, if anybody has a ticket: one load if nobody has.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// let ticket = alarm.ticket();
    /// alarm.nudge_sleepers();
    /// assert!(ticket.is_called());
    /// ```
    #[inline]
    pub fn nudge_sleepers(&self) {
        // SeqCst, as in `ticket`: see above. A plain load on most machines.
        if self.tickets.load(Ordering::SeqCst) > 0 {
            self.nudge();
        }
    }

    /// Wakes everybody once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// let before = alarm.ticket();
    /// alarm.nudge();
    /// assert!(before.is_called());
    /// assert!(!alarm.ticket().is_called());
    /// ```
    pub fn nudge(&self) {
        *self.nudges.lock() += 1;
        self.changed.notify_all();
    }

    /// Announces that somebody may wait: a nudge from now on ends the wait by this ticket.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// let ticket = alarm.ticket();
    /// ticket.wait(Duration::from_millis(1));
    /// assert!(!ticket.is_called());
    /// ```
    pub fn ticket(self: &Arc<Self>) -> Ticket {
        // Counted before the nudges are looked at: one that comes between the two is in the number, and what
        // it tells of is seen by who decides after this.
        self.tickets.fetch_add(1, Ordering::SeqCst);
        Ticket { nudges: *self.nudges.lock(), alarm: Arc::clone(self) }
    }
}

/// The right to be woken by an [`Alarm`]: taken before it is decided whether to wait.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use outflow::clock::Alarm;
///
/// let alarm = Arc::new(Alarm::new());
/// let ticket = alarm.ticket();
/// assert!(Arc::ptr_eq(ticket.alarm(), &alarm));
/// ```
#[derive(Debug)]
#[must_use = "a ticket is to wait by"]
pub struct Ticket {
    alarm: Arc<Alarm>,
    /// How many there had been when it was taken.
    nudges: u64,
}

impl Ticket {
    /// Whose it is: what a clock of your own nudges when the time is up.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use outflow::clock::Alarm;
    ///
    /// let ticket = Arc::new(Alarm::new()).ticket();
    /// ticket.alarm().nudge();
    /// assert!(ticket.is_called());
    /// ```
    pub fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }

    /// Whether the alarm is raised, or was nudged since the ticket was taken: whether a wait is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// let ticket = alarm.ticket();
    /// assert!(!ticket.is_called());
    /// alarm.raise();
    /// assert!(ticket.is_called());
    /// ```
    pub fn is_called(&self) -> bool {
        *self.alarm.nudges.lock() != self.nudges || self.alarm.is_raised()
    }

    /// Waits until it is called, or `timeout` has passed by the monotonic clock; [`Duration::MAX`] is for
    /// ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use outflow::clock::Alarm;
    ///
    /// let alarm = Arc::new(Alarm::new());
    /// let ticket = alarm.ticket();
    /// alarm.nudge();
    /// ticket.wait(Duration::MAX); // comes back at once
    /// ```
    pub fn wait(&self, timeout: Duration) {
        // Beyond what the clock can count is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut nudges = self.alarm.nudges.lock();
        while !self.alarm.is_raised() && *nudges == self.nudges {
            match deadline {
                None => self.alarm.changed.wait(&mut nudges),
                Some(deadline) => {
                    if self.alarm.changed.wait_until(&mut nudges, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
    }
}

impl Clone for Ticket {
    /// One more to be counted, called when this one is.
    fn clone(&self) -> Self {
        self.alarm.tickets.fetch_add(1, Ordering::SeqCst);
        Self { alarm: Arc::clone(&self.alarm), nudges: self.nudges }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Relaxed: a nudge too many does no harm.
        self.alarm.tickets.fetch_sub(1, Ordering::Relaxed);
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

    pub(crate) fn wait(&self, ticket: &Ticket, timeout: Duration) {
        match &self.0 {
            None => Monotonic.wait(ticket, timeout),
            Some(clock) => clock.wait(ticket, timeout),
        }
    }
}
