use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::PATIENCE;
use crate::sync::clock::{Clock, Timer, Wait, Waiter, Wakers};

/// A clock that stands still until a test advances it. Clones share one time.
///
/// Given to a strategy and to its retry (each has a clock of its own), it lets any backoff pass at once. A test can wait
/// until a writer sleeps by it, where it would otherwise sleep itself and hope.
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
    /// Notified when a thread begins to sleep.
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

/// The time at the beginning. Not zero, so that code which takes zero for "never" is found.
const START: Duration = Duration::from_secs(1_000_000);

impl VirtualClock {
    /// Makes a clock by which no thread sleeps.
    pub fn new() -> Self {
        let state = State { now: START, sleepers: Vec::new(), next_id: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), slept: Condvar::new() }) }
    }

    /// How far it has been advanced in total.
    pub fn elapsed(&self) -> Duration {
        self.shared.state.lock().now - START
    }

    /// Advances it, saturating, and wakes the threads whose time has come. Does not wait for them: when a woken thread
    /// reads the clock, it may have been advanced again.
    pub fn advance(&self, time: Duration) {
        let mut state = self.shared.state.lock();
        state.now = state.now.saturating_add(time);
        let woken = state.wake();
        drop(state);
        woken.into_iter().for_each(Wakers::wake);
    }

    /// Advances it to the time at which the first sleeper wakes, and returns by how much. `None`, and no change, if no
    /// thread sleeps.
    pub fn advance_to_next(&self) -> Option<Duration> {
        let mut state = self.shared.state.lock();
        let remaining = state.next_wake()?;
        state.now = state.now.saturating_add(remaining);
        let woken = state.wake();
        drop(state);
        woken.into_iter().for_each(Wakers::wake);
        Some(remaining)
    }

    /// The time that remains until the first sleeper wakes; `None` if no thread sleeps.
    pub fn next_wake(&self) -> Option<Duration> {
        self.shared.state.lock().next_wake()
    }

    /// How many threads sleep by it. A thread that was woken does not count, even if it has not run since.
    pub fn sleeping(&self) -> usize {
        self.shared.state.lock().asleep().count()
    }

    /// Waits until at least `n` threads sleep by it.
    ///
    /// # Panics
    ///
    /// If that takes longer than 30 s.
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
    /// The sleepers that were not notified. One that was counts as awake, though its thread may not have run yet.
    fn asleep(&self) -> impl Iterator<Item = &Sleeper> {
        self.sleepers.iter().filter(|sleeper| !sleeper.waiter.is_notified())
    }

    fn next_wake(&self) -> Option<Duration> {
        self.asleep().map(|sleeper| sleeper.wakes.saturating_sub(self.now)).min()
    }

    /// Runs under the lock, so that no thread sees the time advanced and the sleepers still asleep. The tasks among them
    /// are to be woken without it: a waker may poll at once, and read the clock.
    fn wake(&self) -> Vec<Wakers> {
        let due = self.sleepers.iter().filter(|sleeper| sleeper.wakes <= self.now);
        due.filter(|sleeper| !sleeper.waiter.is_notified()).map(|sleeper| sleeper.waiter.notify()).collect()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.shared.state.lock().now
    }
}

impl Wait for VirtualClock {
    fn wait(&self, waiter: &Waiter, timeout: Duration) {
        if let Some(_asleep) = self.fall_asleep(waiter, timeout) {
            // An advance before this wait has notified the waiter, and the wait returns at once.
            waiter.wait(Duration::MAX);
        }
    }

    fn set(&self, waiter: &Waiter, timeout: Duration) -> Timer {
        self.fall_asleep(waiter, timeout).map_or_else(Timer::past, Timer::notified)
    }
}

impl VirtualClock {
    /// `None` if there is nothing to wait for.
    fn fall_asleep(&self, waiter: &Waiter, timeout: Duration) -> Option<Asleep> {
        let mut state = self.shared.state.lock();
        let (id, wakes) = (state.next_id, state.now.saturating_add(timeout));
        if wakes <= state.now {
            return None;
        }
        state.next_id += 1;
        state.sleepers.push(Sleeper { id, wakes, waiter: waiter.clone() });
        drop(state);
        self.shared.slept.notify_all();
        Some(Asleep { clock: self.clone(), id })
    }
}

/// A thread or task in the list of sleepers.
struct Asleep {
    clock: VirtualClock,
    id: u64,
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.clock.shared.state.lock().sleepers.retain(|sleeper| sleeper.id != self.id);
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
