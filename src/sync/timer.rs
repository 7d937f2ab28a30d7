//! Wakes tasks at a time: one thread for the process, which runs only while a timer is set.
//!
//! # Why no timer is late
//!
//! A timer is set under the lock under which the thread looks for the next one and goes to sleep. One that comes before the
//! time at which the thread looks again (`looks_at`) notifies it. The thread gives itself up (`runs`) under that lock too, and
//! only when no timer is set: a timer that is set afterwards finds that there is none, and starts another.
//!
//! A timer that is taken back may have been the one that the thread sleeps for: the last one notifies it, unless it looks
//! soon in any case. So timeouts that are set and taken back again and again wake it about once in each `KEEP_ALIVE`.
//!
//! A waker is a user's code. It is called and dropped without the lock, and its panic goes no further.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::blocking::blocking;
use super::caught::{drop_caught, wake_caught};
#[cfg(feature = "http-async")]
use super::until::until;

/// How long the thread waits for another timer before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Completes at `deadline`.
///
/// Where the thread of the timers cannot be started, a poll waits for that instead.
pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, number: None }
}

/// Completes with `future`, or with `None` at `deadline`.
#[cfg(feature = "http-async")]
pub(crate) async fn timeout_at<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    until(std::pin::pin!(future), std::pin::pin!(sleep_until(deadline))).await
}

/// A timer, from the first poll on. Dropping it takes it back.
#[derive(Debug)]
#[must_use = "does nothing until it is polled"]
pub(crate) struct Sleep {
    deadline: Instant,
    /// Under which it is set.
    number: Option<u64>,
}

/// All timers of the process.
struct Timers {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// By time, and by number among those of the same time.
    wakers: BTreeMap<(Instant, u64), Waker>,
    numbers: u64,
    /// Whether there is a thread.
    runs: bool,
    /// When it wakes up by itself, if it sleeps.
    looks_at: Option<Instant>,
}

static TIMERS: Timers = Timers {
    state: Mutex::new(State { wakers: BTreeMap::new(), numbers: 0, runs: false, looks_at: None }),
    changed: Condvar::new(),
};

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            self.take_back();
            return Poll::Ready(());
        }
        if TIMERS.set(&mut self, context.waker()) {
            return Poll::Pending;
        }
        blocking(|| thread::sleep(self.deadline.saturating_duration_since(Instant::now())));
        Poll::Ready(())
    }
}

impl Sleep {
    fn take_back(&mut self) {
        if let Some(number) = self.number.take() {
            drop_caught(TIMERS.take_back(&(self.deadline, number)));
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.take_back();
    }
}

impl Timers {
    /// Has `waker` woken at the time of `sleep`; `false` if there is no thread to do it.
    fn set(&'static self, sleep: &mut Sleep, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.state.lock();
        if !state.runs {
            let started = thread::Builder::new().name("outflow-timers".into()).spawn(|| self.run());
            if started.is_err() {
                drop(state);
                sleep.take_back();
                return false;
            }
            state.runs = true;
        }
        let number = *sleep.number.get_or_insert_with(|| {
            state.numbers += 1;
            state.numbers
        });
        let key = (sleep.deadline, number);
        let before = state.wakers.insert(key, waker);
        if before.is_none() && state.looks_at.is_some_and(|looks_at| sleep.deadline < looks_at) {
            self.changed.notify_one();
        }
        drop(state);
        drop_caught(before);
        true
    }

    fn take_back(&self, key: &(Instant, u64)) -> Option<Waker> {
        let mut state = self.state.lock();
        let waker = state.wakers.remove(key);
        if waker.is_some() && state.wakers.is_empty() {
            let soon = Instant::now() + KEEP_ALIVE;
            if state.looks_at.is_some_and(|looks_at| looks_at > soon) {
                self.changed.notify_one();
            }
        }
        waker
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            let due: Vec<Waker> = std::iter::from_fn(|| {
                let first = state.wakers.first_entry().filter(|first| first.key().0 <= now);
                first.map(|first| first.remove())
            })
            .collect();
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(wake_caught);
                state = self.state.lock();
                continue;
            }
            let first = state.wakers.first_key_value().map(|((first, _), _)| *first);
            let (looks_at, numbers) = (first.unwrap_or(now + KEEP_ALIVE), state.numbers);
            state.looks_at = Some(looks_at);
            let idle = self.changed.wait_until(&mut state, looks_at).timed_out()
                && first.is_none()
                && numbers == state.numbers;
            state.looks_at = None;
            if idle && state.wakers.is_empty() {
                state.runs = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// A thread that sleeps.
    struct Sleeper(thread::Thread);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait(mut sleep: Sleep) {
        let waker = Waker::from(Arc::new(Sleeper(thread::current())));
        while Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending() {
            thread::park();
        }
    }

    fn after(millis: u64) -> Sleep {
        sleep_until(Instant::now() + Duration::from_millis(millis))
    }

    #[test]
    fn many_timers_of_many_threads_end_at_their_time() {
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let deadline =
                            Instant::now() + Duration::from_micros((thread * 37 + round * 71) % 3000);
                        wait(sleep_until(deadline));
                        assert!(Instant::now() >= deadline);
                    }
                });
            }
        });
    }

    #[test]
    fn an_earlier_timer_does_not_wait_for_a_later_one() {
        let mut late = after(3_600_000);
        assert!(Pin::new(&mut late).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let begun = Instant::now();
        wait(after(5));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_timer_that_is_dropped_keeps_nothing() {
        let task = Arc::new(Sleeper(thread::current()));
        let mut sleep = after(3_600_000);
        let waker = Waker::from(Arc::clone(&task));
        for _ in 0..3 {
            // Each poll takes the place of the one before.
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(Arc::strong_count(&task), 3);
        }
        drop((sleep, waker));
        assert_eq!(Arc::strong_count(&task), 1);
    }

    #[test]
    fn the_thread_does_not_sleep_for_a_timer_that_was_taken_back() {
        let mut late = after(3_600_000);
        assert!(Pin::new(&mut late).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // So that it sleeps.
        thread::sleep(Duration::from_millis(20));
        drop(late);
        let deadline = Instant::now() + 30 * KEEP_ALIVE;
        // Until it ends, or sleeps for a timer of another test that is near.
        while TIMERS.state.lock().looks_at.is_some_and(|looks_at| looks_at > Instant::now() + 3 * KEEP_ALIVE)
        {
            assert!(Instant::now() < deadline, "it sleeps for an hour");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Panics when it is woken, and when it is dropped.
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's panic");
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a waker's destructor");
        }
    }

    #[test]
    fn a_waker_that_panics_harms_no_other_timer() {
        let waker = Waker::from(Arc::new(Panics));
        let mut sleep = after(1);
        assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
        wait(after(10));
        // Whether this was the last that kept it is for the two threads to settle.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
        wait(after(1));
    }
}
