use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::PATIENCE;
use crate::sync::clock::{Clock, Wait, Waiter};

/// A clock that stands still until a test moves it. Clones are the same clock.
///
/// Given to a strategy and to its retry (each has a clock of its own), it lets a test go through any backoff
/// in no time, and wait for a writer to be asleep where it would otherwise sleep and hope.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::retry::ExponentialBackoff;
/// use outflow::testing::{Flaky, Outcome::Fail, VirtualClock};
/// use outflow::{Sink, SinkExt, sink};
///
/// let clock = VirtualClock::new();
/// let retry = Flaky::script(sink::discard(), [Fail, Fail])
///     .retry(ExponentialBackoff::default().seed(7).clock(clock.clone()))
///     .clock(clock.clone());
///
/// std::thread::scope(|scope| {
///     let writer = scope.spawn(|| retry.write("push").is_ok());
///     for bound in [2, 3] {
///         clock.until_sleeping(1);
///         assert!(clock.next_wake().unwrap() < Duration::from_secs(bound));
///         clock.advance_to_next();
///     }
///     assert!(writer.join().unwrap());
/// });
/// ```
#[derive(Clone)]
pub struct VirtualClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Somebody went to sleep.
    slept: Condvar,
}

struct State {
    now: Duration,
    sleepers: Vec<Sleeper>,
    next_id: u64,
}

struct Sleeper {
    id: u64,
    wakes: Duration,
    waiter: Waiter,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

/// What the clock shows at the beginning. Not zero, at which code that takes it for "never" would go unnoticed.
const START: Duration = Duration::from_secs(1_000_000);

impl VirtualClock {
    /// One that no thread sleeps by.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::VirtualClock;
    ///
    /// assert_eq!(VirtualClock::new().sleeping(), 0);
    /// ```
    pub fn new() -> Self {
        let state = State { now: START, sleepers: Vec::new(), next_id: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), slept: Condvar::new() }) }
    }

    /// How far it has been moved.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::testing::VirtualClock;
    ///
    /// let clock = VirtualClock::new();
    /// clock.advance(Duration::from_secs(3));
    /// assert_eq!(clock.elapsed(), Duration::from_secs(3));
    /// ```
    pub fn elapsed(&self) -> Duration {
        self.shared.state.lock().now - START
    }

    /// Moves it on, and wakes the threads whose time has come. Saturates. Does not wait for them: a thread that is
    /// woken may look at the clock when it has moved on again.
    pub fn advance(&self, time: Duration) {
        let mut state = self.shared.state.lock();
        state.now = state.now.saturating_add(time);
        state.wake();
    }

    /// Moves it to the time at which the first sleeper wakes, and returns how far that was; `None` if no thread
    /// sleeps.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(outflow::testing::VirtualClock::new().advance_to_next(), None);
    /// ```
    pub fn advance_to_next(&self) -> Option<Duration> {
        let mut state = self.shared.state.lock();
        let left = state.next_wake()?;
        state.now = state.now.saturating_add(left);
        state.wake();
        Some(left)
    }

    /// What is left until the first sleeper wakes; `None` if no thread sleeps.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::testing::{Slow, VirtualClock};
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let clock = VirtualClock::new();
    /// let slow = Slow::new(sink::discard(), Duration::from_secs(5)).clock(clock.clone());
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| slow.write("push").unwrap());
    ///     clock.until_sleeping(1);
    ///     clock.advance(Duration::from_secs(2));
    ///     assert_eq!(clock.next_wake(), Some(Duration::from_secs(3)));
    ///     clock.advance_to_next();
    ///     assert_eq!(clock.sleeping(), 0);
    /// });
    /// ```
    pub fn next_wake(&self) -> Option<Duration> {
        self.shared.state.lock().next_wake()
    }

    /// How many threads sleep by it. Those that have been woken are none of them, even if they have not run
    /// since.
    pub fn sleeping(&self) -> usize {
        self.shared.state.lock().asleep().count()
    }

    /// Waits until at least `n` threads sleep by it.
    ///
    /// # Panics
    ///
    /// If they do not within 30 s.
    #[track_caller]
    pub fn until_sleeping(&self, n: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock();
        while state.asleep().count() < n {
            if self.shared.slept.wait_until(&mut state, deadline).timed_out() && state.asleep().count() < n {
                panic!("{} of {n} sleep by the clock after {PATIENCE:?}", state.asleep().count());
            }
        }
    }
}

impl State {
    /// A sleeper that is notified is awake, though its thread may not have run yet.
    fn asleep(&self) -> impl Iterator<Item = &Sleeper> {
        self.sleepers.iter().filter(|sleeper| !sleeper.waiter.is_notified())
    }

    fn next_wake(&self) -> Option<Duration> {
        self.asleep().map(|sleeper| sleeper.wakes.saturating_sub(self.now)).min()
    }

    /// Under the lock, so that no thread finds the time moved and the sleepers not woken.
    fn wake(&self) {
        for sleeper in &self.sleepers {
            if sleeper.wakes <= self.now && !sleeper.waiter.is_notified() {
                sleeper.waiter.notify();
            }
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.shared.state.lock().now
    }
}

impl Wait for VirtualClock {
    fn wait(&self, waiter: &Waiter, timeout: Duration) {
        let id = {
            let mut state = self.shared.state.lock();
            let (id, wakes) = (state.next_id, state.now.saturating_add(timeout));
            if wakes <= state.now {
                return;
            }
            state.next_id += 1;
            state.sleepers.push(Sleeper { id, wakes, waiter: waiter.clone() });
            id
        };
        self.shared.slept.notify_all();
        // An advance between the two has notified the waiter.
        waiter.wait(Duration::MAX);
        self.shared.state.lock().sleepers.retain(|sleeper| sleeper.id != id);
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualClock")
            .field("elapsed", &self.elapsed())
            .field("sleeping", &self.sleeping())
            .finish()
    }
}
