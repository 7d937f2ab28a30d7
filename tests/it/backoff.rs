//! Backoffs: a wait takes the time of its strategy by a monotonic clock, one writer probes, a success ends all waits, and
//! a failure that is due to the event alone delays no other event.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::common::{in_time, rounds, spin_below};
use outflow::clock::{Clock, Monotonic};
use outflow::retry::{
    Breaker, BreakerState, Constant, CountRetries, ExponentialBackoff, Failure, GiveUp, GiveUpWhen,
    HonorRetryAfter, MaxAttempts, OnFailure, PerWrite, Retry, RetryAfter, RetryStrategy,
};
use outflow::testing::{Flaky, Latch, Outcome::Fail, VirtualClock};
use outflow::{Counter, Sink, SinkExt, sink};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// An endpoint that fails until it is up, and counts attempts.
#[derive(Clone, Default)]
struct Endpoint {
    up: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
    /// Where writes wait when it is up.
    latch: Option<Latch>,
}

impl Endpoint {
    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::SeqCst)
    }

    fn sink(&self) -> impl Sink<u64, Error = &'static str> + Send + Sync + 'static {
        let endpoint = self.clone();
        sink::from_fn(move |_: &u64| {
            endpoint.attempts.fetch_add(1, Ordering::SeqCst);
            if !endpoint.up.load(Ordering::SeqCst) {
                return Err("down");
            }
            if let Some(latch) = &endpoint.latch {
                latch.pass();
            }
            Ok(())
        })
    }
}

/// A retry with a breaker, by a virtual clock, in which `writers` threads sleep since the endpoint has failed.
fn outage<S>(sink: S, backoff: Duration, clock: &VirtualClock, writers: u64) -> Arc<Retry<S, Breaker>>
where
    S: Sink<u64> + Send + Sync + 'static,
    S::Error: Send,
{
    let retry = sink.retry(Breaker::new(1, backoff).clock(clock.clone())).clock(clock.clone());
    let retry = Arc::new(retry);
    for event in 0..writers {
        let retry = Arc::clone(&retry);
        thread::spawn(move || assert!(retry.write(event).is_ok()));
    }
    clock.until_sleeping(usize::try_from(writers).unwrap());
    retry
}

#[test]
fn a_breaker_opens_for_its_backoff_and_not_a_nanosecond_less() {
    in_time("the breaker", || {
        let clock = VirtualClock::new();
        let endpoint = Endpoint::default();
        let retry = outage(endpoint.sink(), SECOND, &clock, 1);
        assert_eq!((endpoint.attempts(), retry.strategy().state()), (1, BreakerState::Open));
        // It counts in even nanoseconds.
        let almost = SECOND - Duration::from_nanos(2);
        clock.advance(almost);
        assert_eq!((clock.sleeping(), retry.strategy().state()), (1, BreakerState::Open));
        clock.advance(Duration::from_nanos(2));
        clock.until_sleeping(1);
        assert_eq!(endpoint.attempts(), 2, "it did not probe when the backoff was over");
        endpoint.up.store(true, Ordering::SeqCst);
        clock.advance(SECOND);
        retry.close().wait().unwrap();
    });
}

#[test]
fn after_an_outage_only_one_writer_probes() {
    in_time("the probe", || {
        let clock = VirtualClock::new();
        let endpoint = Endpoint { latch: Some(Latch::new()), ..Endpoint::default() };
        let retry = outage(endpoint.sink(), SECOND, &clock, 8);
        let before = endpoint.attempts();
        assert!((1..=8).contains(&before));
        endpoint.up.store(true, Ordering::SeqCst);
        clock.advance(SECOND);
        // One writer probes; the others were awake and sleep again.
        let latch = endpoint.latch.as_ref().unwrap();
        latch.arrived(1);
        clock.until_sleeping(7);
        assert_eq!(endpoint.attempts(), before + 1, "several probed at once");
        assert_eq!(retry.strategy().state(), BreakerState::HalfOpen);
        // Its success wakes the others, though the clock stands still.
        latch.open();
        latch.arrived(8);
        crate::common::wait_until("all are written", || clock.sleeping() == 0);
        assert_eq!(endpoint.attempts(), before + 8);
        assert_eq!(retry.strategy().state(), BreakerState::Closed);
        assert_eq!(clock.elapsed(), SECOND);
    });
}

#[test]
fn a_probe_that_hangs_lapses_after_another_backoff() {
    in_time("the probe", || {
        let clock = VirtualClock::new();
        let endpoint = Endpoint { latch: Some(Latch::new()), ..Endpoint::default() };
        let retry = outage(endpoint.sink(), SECOND, &clock, 3);
        endpoint.up.store(true, Ordering::SeqCst);
        let latch = endpoint.latch.as_ref().unwrap();
        for probes in 1..=3_u8 {
            clock.advance(SECOND);
            latch.arrived(usize::from(probes));
            clock.until_sleeping(usize::from(3 - probes));
            assert_eq!(latch.arrivals(), usize::from(probes), "more than one lapsed");
            assert_eq!(retry.strategy().state(), BreakerState::HalfOpen);
        }
        latch.open();
    });
}

#[test]
fn a_probe_that_panics_lapses_after_another_backoff() {
    in_time("the probe", || {
        let clock = VirtualClock::new();
        let endpoint = Endpoint::default();
        let panicking = outflow::testing::Panicking::when(endpoint.sink(), |write, _: &u64| write == 1);
        let retry =
            Arc::new(panicking.retry(Breaker::new(1, SECOND).clock(clock.clone())).clock(clock.clone()));
        let writers: Vec<_> = (0..2)
            .map(|event| {
                let retry = Arc::clone(&retry);
                // Not concurrently, so that the second finds the breaker open.
                let writer = thread::spawn(move || retry.write(event).is_ok());
                clock.until_sleeping(usize::try_from(event).unwrap() + 1);
                writer
            })
            .collect();
        endpoint.up.store(true, Ordering::SeqCst);
        clock.advance(SECOND);
        crate::common::wait_until("one has panicked", || writers.iter().any(thread::JoinHandle::is_finished));
        clock.until_sleeping(1);
        clock.advance(SECOND);
        let written: Vec<_> = writers.into_iter().map(thread::JoinHandle::join).collect();
        assert_eq!(written.iter().filter(|outcome| outcome.is_err()).count(), 1);
        assert_eq!(written.iter().filter(|outcome| matches!(outcome, Ok(true))).count(), 1);
    });
}

#[test]
fn a_writer_waits_out_the_backoff_that_another_has_begun_anew() {
    in_time("the backoff", || {
        let clock = VirtualClock::new();
        let endpoint = Endpoint::default();
        let retry = outage(endpoint.sink(), 10 * SECOND, &clock, 2);
        for _ in 0..3 {
            let before = endpoint.attempts();
            clock.advance(10 * SECOND);
            clock.until_sleeping(2);
            crate::common::wait_until("one probed", || endpoint.attempts() > before);
            // Halfway through the next backoff no writer wakes.
            clock.until_sleeping(2);
            let before = endpoint.attempts();
            clock.advance(5 * SECOND);
            assert_eq!((clock.sleeping(), endpoint.attempts()), (2, before));
            clock.advance(5 * SECOND);
            crate::common::wait_until("one probed", || endpoint.attempts() == before + 1);
            clock.until_sleeping(2);
        }
        retry.close().wait().unwrap();
    });
}

#[test]
fn the_clock_is_monotonic_and_a_breaker_over_it_reopens() {
    // The lint in `clippy.toml`, and `.ci/run --only wall_clocks`, keep every other clock out of `src`.
    let mut last = Monotonic.now();
    for _ in 0..10_000 {
        let now = Monotonic.now();
        assert!(now >= last);
        last = now;
    }
    in_time("the breaker", || {
        let retry =
            Flaky::script(sink::discard(), [Fail; 3]).retry(Breaker::new(1, Duration::from_millis(1)));
        assert!(retry.write(1).is_ok());
    });
}

#[test]
fn exponential_backoff_waits_the_time_drawn_which_is_less_than_its_bound() {
    in_time("the waits", || {
        for seed in 0..20 {
            let clock = VirtualClock::new();
            let strategy = ExponentialBackoff::default().seed(seed).clock(clock.clone());
            let bounds: Vec<Duration> = (1..=12).map(|failures| strategy.bound(failures)).collect();
            let failing = Flaky::script(sink::discard(), [Fail; 12]);
            let retry = Arc::new(failing.retry(strategy).clock(clock.clone()));
            let writing = Arc::clone(&retry);
            let writer = thread::spawn(move || writing.write(1).is_ok());
            let mut altogether = Duration::ZERO;
            for bound in bounds {
                clock.until_sleeping(1);
                let wait = clock.next_wake().unwrap();
                assert!(wait < bound, "{wait:?} of {bound:?}");
                assert_eq!(clock.advance_to_next(), Some(wait));
                altogether += wait;
            }
            assert!(writer.join().unwrap());
            assert_eq!(clock.elapsed(), altogether);
            assert!(altogether > 10 * SECOND, "{altogether:?} is too little for twelve failures");
        }
    });
}

#[test]
fn elapsed_runs_from_the_first_failure_by_the_clock_of_the_retry() {
    in_time("the failures", || {
        let clock = VirtualClock::new();
        let seen = sink::collector();
        let failures = seen.clone();
        let retry = Flaky::script(sink::discard(), [Fail; 4])
            .retry(Constant::new(3 * SECOND).clock(clock.clone()))
            .clock(clock.clone())
            .on_failure(move |failure: &Failure<'_, u64, _>| {
                failures.write((failure.attempt, failure.elapsed)).unwrap();
            });
        // Time before the first failure does not count.
        clock.advance(HOUR);
        thread::scope(|scope| {
            scope.spawn(|| retry.write(1).unwrap());
            for _ in 0..4 {
                clock.until_sleeping(1);
                clock.advance_to_next();
            }
        });
        let expected: Vec<_> = (0..4_u32).map(|n| (n + 1, n * 3 * SECOND)).collect();
        assert_eq!(seen.take(), expected);
    });
}

#[test]
fn giving_up_by_elapsed_time_needs_no_sleep_to_test() {
    in_time("the retry", || {
        let clock = VirtualClock::new();
        let retry = Flaky::always(sink::discard())
            .retry(Constant::new(SECOND).clock(clock.clone()))
            .clock(clock.clone())
            .give_up_when(|failure: &Failure<'_, u64, _>| failure.elapsed >= HOUR);
        thread::scope(|scope| {
            let writer = scope.spawn(|| retry.write(7).unwrap_err().into_event());
            while !writer.is_finished() {
                clock.advance_to_next();
                thread::yield_now();
            }
            assert_eq!(writer.join().unwrap(), 7);
        });
        assert_eq!(clock.elapsed(), HOUR);
    });
}

#[test]
fn a_close_wakes_a_writer_by_a_clock_that_stands_still() {
    in_time("the close", || {
        let clock = VirtualClock::new();
        let retry = Arc::new(
            Flaky::always(sink::discard())
                .retry(Breaker::new(1, HOUR).clock(clock.clone()))
                .clock(clock.clone()),
        );
        let writing = Arc::clone(&retry);
        let writer = thread::spawn(move || writing.write(7_u64).unwrap_err().into_event());
        clock.until_sleeping(1);
        retry.close().wait().unwrap();
        assert_eq!(writer.join().unwrap(), 7);
        assert_eq!(clock.sleeping(), 0);
    });
}

/// Sets a flag when a failure has been counted.
struct Signalling<R>(R, Arc<AtomicBool>);

impl<E, X, R> RetryStrategy<E, X> for Signalling<R>
where
    R: RetryStrategy<E, X, Stop = Infallible>,
{
    type Stop = Infallible;

    fn backoff(&self, event: &E) -> Duration {
        self.0.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        let verdict = self.0.failure(failure);
        self.1.store(true, Ordering::SeqCst);
        verdict
    }

    fn success(&self) {
        self.0.success();
    }
}

fn a_success_misses_no_writer<R>(count: u32, strategy: impl Fn() -> R)
where
    R: RetryStrategy<u64, &'static str, Stop = Infallible> + Send + Sync + 'static,
{
    for round in 0..rounds(count) {
        let (failed, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        let (counted, at) = (Arc::clone(&failed), Arc::clone(&ready));
        let failures = AtomicU32::new(0);
        let sink = sink::from_fn(move |event: &u64| {
            if *event == 1 {
                // Fails once.
                return if failures.fetch_add(1, Ordering::SeqCst) == 0 { Err("busy") } else { Ok(()) };
            }
            // It begins before the other write fails, and succeeds when that is about to wait.
            at.wait();
            while !counted.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            spin_below(round, 400);
            Ok(())
        });
        let retry = sink.retry(Signalling(strategy(), failed));
        thread::scope(|scope| {
            scope.spawn(|| retry.write(0).unwrap());
            ready.wait();
            retry.write(1).unwrap();
        });
    }
}

#[test]
fn a_success_misses_no_writer_that_is_about_to_wait() {
    // A writer that is missed would wait for an hour.
    in_time("a writer", || a_success_misses_no_writer(5000, || Breaker::new(1, HOUR)));
    in_time("a writer", || a_success_misses_no_writer(5000, || Constant::new(HOUR)));
    in_time("a writer", || {
        a_success_misses_no_writer(5000, || ExponentialBackoff::default().base(HOUR).max(HOUR).seed(1));
    });
}

/// The errors of a hook: it is busy, or the event is malformed, which is not the hook's fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HookError {
    Busy,
    Malformed,
}

impl RetryAfter for HookError {
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

fn is_final(failure: &Failure<'_, u64, HookError>) -> bool {
    *failure.error == HookError::Malformed
}

/// An event that the endpoint will never accept.
const BAD: u64 = 400;

fn hook(event: &u64) -> Result<(), HookError> {
    if *event == BAD { Err(HookError::Malformed) } else { Ok(()) }
}

fn failed(error: &HookError) -> Failure<'_, u64, HookError> {
    Failure { event: &0, error, attempt: 1, elapsed: Duration::ZERO }
}

fn fail(strategy: &impl RetryStrategy<u64, HookError>) {
    let _ = strategy.failure(failed(&HookError::Busy));
}

fn fail_finally(strategy: &impl RetryStrategy<u64, HookError>) {
    strategy.final_failure(failed(&HookError::Malformed));
}

fn backoff(strategy: &impl RetryStrategy<u64, HookError>) -> Duration {
    strategy.backoff(&0)
}

type AnyStrategy = Arc<dyn RetryStrategy<u64, HookError, Stop = GiveUp> + Send + Sync>;

/// Every order of the numbers from 0 to `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let insert = |order: &Vec<usize>, at: usize| [&order[..at], &[last], &order[at..]].concat();
    orders(last).iter().flat_map(|order| (0..n).map(|at| insert(order, at)).collect::<Vec<_>>()).collect()
}

fn bad_events_delay_no_good_one<R>(strategy: impl Fn() -> R)
where
    R: RetryStrategy<u64, HookError> + Send + Sync + 'static,
{
    let orders = orders(5);
    assert_eq!(orders.len(), 120);
    for order in orders {
        let (seen, retries) = (sink::collector(), Counter::new());
        // So that the types are the same in every order.
        let mut chain: AnyStrategy = Arc::new(MaxAttempts::new(strategy(), u32::MAX));
        for method in &order {
            chain = match method {
                0 => Arc::new(GiveUpWhen::new(chain, is_final)),
                1 => Arc::new(MaxAttempts::new(chain, 3)),
                2 => Arc::new(HonorRetryAfter::new(chain)),
                3 => {
                    let seen = seen.clone();
                    let f = move |failure: &Failure<'_, u64, HookError>| seen.write(*failure.event).unwrap();
                    Arc::new(OnFailure::new(chain, f))
                }
                _ => Arc::new(CountRetries::new(chain, &retries)),
            };
        }
        let retry = sink::from_fn(hook).retry(chain).clock(VirtualClock::new());
        for _ in 0..20 {
            assert_eq!(retry.write(BAD).unwrap_err().error(), Some(&HookError::Malformed));
        }
        // The clock stands still: a write that waits would hang.
        assert!(retry.write(1).is_ok());
        assert_eq!((seen.take(), retries.get()), (vec![BAD; 20], 0), "{order:?}");
    }
}

#[test]
fn events_that_are_given_up_delay_no_good_one_in_whichever_order_the_methods_are_called() {
    let clock = VirtualClock::new();
    let breaker = Breaker::new(5, SECOND).clock(clock.clone());
    in_time("a write after bad ones", move || bad_events_delay_no_good_one(|| breaker.clone()));
    let exponential = ExponentialBackoff::default().clock(clock.clone());
    in_time("a write after bad ones", move || bad_events_delay_no_good_one(|| exponential.clone()));
    let constant = Constant::new(SECOND).clock(clock);
    in_time("a write after bad ones", move || bad_events_delay_no_good_one(|| constant.clone()));
}

#[test]
fn a_final_failure_neither_counts_nor_ends_a_row_of_those_that_do() {
    let clock = VirtualClock::new();
    let breaker = Breaker::new(3, SECOND).clock(clock.clone());
    for _ in 0..2 {
        fail(&breaker);
        fail_finally(&breaker);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker);
    assert_eq!(breaker.state(), BreakerState::Open);
    fail_finally(&breaker);
    assert_eq!((breaker.state(), backoff(&breaker)), (BreakerState::Open, SECOND), "it shortens no backoff");

    let backoffs = ExponentialBackoff::default().seed(7).clock(clock.clone());
    let (with, without) = (backoffs.clone(), backoffs);
    for _ in 0..5 {
        fail(&with);
        fail(&without);
        for _ in 0..3 {
            fail_finally(&with);
        }
        assert_eq!(backoff(&with), backoff(&without));
    }
    assert!(backoff(&with) > Duration::ZERO);

    let constant = Constant::new(SECOND).clock(clock);
    fail(&constant);
    fail_finally(&constant);
    assert_eq!(backoff(&constant), SECOND);
}

#[test]
fn failures_that_max_attempts_gives_up_at_count() {
    in_time("the writes", || {
        let clock = VirtualClock::new();
        let retry = Flaky::always(sink::discard::<u64>())
            .retry(Breaker::new(4, SECOND).clock(clock.clone()))
            .clock(clock.clone())
            .max_attempts(2)
            .give_up_when(|failure: &Failure<'_, u64, _>| *failure.event == BAD);
        let state = || RetryStrategy::<u64, _>::backoff(retry.strategy(), &0);
        assert!(retry.write(1).is_err());
        assert!(retry.write(BAD).is_err());
        assert_eq!(state(), Duration::ZERO);
        assert!(retry.write(2).is_err());
        assert_eq!(state(), SECOND, "four attempts have failed");
    });
}

#[test]
fn a_probe_of_an_event_that_is_given_up_is_followed_by_the_next_at_once() {
    in_time("the probes", || {
        let clock = VirtualClock::new();
        let breaker = Arc::new(Breaker::new(1, SECOND).clock(clock.clone()));
        let latch = Latch::new();
        let inside = latch.clone();
        let retry = sink::from_fn(move |event: &u64| {
            if *event == BAD {
                inside.pass();
            }
            hook(event)
        })
        .retry(Arc::clone(&breaker))
        .clock(clock.clone())
        .give_up_when(is_final);
        fail(&*breaker);
        thread::scope(|scope| {
            let bad = scope.spawn(|| retry.write(BAD).unwrap_err().into_event());
            clock.until_sleeping(1);
            clock.advance(SECOND);
            latch.arrived(1);
            // This write waits during the probe, and would wait for another second.
            let good = scope.spawn(|| retry.write(1).is_ok());
            clock.until_sleeping(1);
            latch.open();
            assert_eq!(bad.join().unwrap(), BAD);
            assert!(good.join().unwrap());
        });
        assert_eq!((clock.elapsed(), breaker.state()), (SECOND, BreakerState::Closed));

        // Final failures, however many, neither close nor open it. The next other failure opens it.
        fail(&*breaker);
        clock.advance(SECOND);
        for _ in 0..20 {
            assert_eq!(retry.write(BAD).unwrap_err().into_event(), BAD);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
        assert_eq!(backoff(&*breaker), Duration::ZERO);
        fail(&*breaker);
        assert_eq!((breaker.state(), backoff(&*breaker)), (BreakerState::Open, SECOND));
    });
}

#[test]
fn a_failure_during_a_probe_holds_though_the_probe_ends_in_a_final_one() {
    let clock = VirtualClock::new();
    let breaker = Breaker::new(1, 4 * SECOND).clock(clock.clone());
    fail(&breaker);
    clock.advance(4 * SECOND);
    assert_eq!(backoff(&breaker), Duration::ZERO, "this is the probe");
    clock.advance(SECOND);
    fail(&breaker);
    fail_finally(&breaker);
    assert_eq!((breaker.state(), backoff(&breaker)), (BreakerState::Open, 4 * SECOND));
}

#[test]
fn each_half_open_window_has_exactly_one_probe() {
    const WRITERS: usize = 3;
    let windows = rounds(1_800);
    let clock = VirtualClock::new();
    let breaker = Breaker::new(1, SECOND).clock(clock.clone());
    let (start, end) = (Barrier::new(WRITERS + 1), Barrier::new(WRITERS + 1));
    let probes = AtomicU32::new(0);
    let mut unlike = Vec::new();
    fail(&breaker);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..windows {
                    start.wait();
                    if backoff(&breaker).is_zero() {
                        probes.fetch_add(1, Ordering::SeqCst);
                    }
                    end.wait();
                }
            });
        }
        for window in 0..windows {
            // Each window begins in another way: after a failure, a probe that lapses, a probe that fails finally.
            match window % 3 {
                0 => fail(&breaker),
                1 => {}
                _ => fail_finally(&breaker),
            }
            if window % 3 < 2 {
                clock.advance(SECOND);
            }
            start.wait();
            end.wait();
            let found = (probes.swap(0, Ordering::SeqCst), breaker.state());
            if found != (1, BreakerState::HalfOpen) {
                unlike.push((window, found));
            }
        }
    });
    assert!(unlike.is_empty(), "{unlike:?}");
}

#[test]
fn a_probe_that_fails_finally_misses_no_writer_that_is_about_to_wait() {
    in_time("a writer", || {
        for round in 0..rounds(5_000_u32) {
            // The clock stands still: a writer that is missed would hang.
            let clock = VirtualClock::new();
            let breaker = Breaker::new(1, SECOND).clock(clock.clone());
            fail(&breaker);
            clock.advance(SECOND);
            let (probing, waiting) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
            let (at, about_to_wait) = (Arc::clone(&probing), Arc::clone(&waiting));
            let retry = sink::from_fn(move |event: &u64| {
                if *event == BAD {
                    at.wait();
                    while !about_to_wait.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    spin_below(round, 400);
                }
                hook(event)
            })
            .retry(breaker)
            .clock(clock)
            .give_up_when(is_final);
            thread::scope(|scope| {
                scope.spawn(|| retry.write(BAD).unwrap_err());
                probing.wait();
                waiting.store(true, Ordering::SeqCst);
                retry.write(1).unwrap();
            });
        }
    });
}

#[test]
fn a_clone_of_a_strategy_has_its_settings_and_no_failures() {
    let clock = VirtualClock::new();
    let breaker = Breaker::new(2, SECOND).name("mirror").clock(clock.clone());
    (0..2).for_each(|_| fail(&breaker));
    let clone = breaker.clone();
    assert_eq!((breaker.state(), clone.state()), (BreakerState::Open, BreakerState::Closed));
    fail(&clone);
    assert_eq!(clone.state(), BreakerState::Closed);
    fail(&clone);
    assert_eq!((clone.state(), backoff(&clone)), (BreakerState::Open, SECOND));
    assert!(format!("{clone:?}").contains("mirror"));
    RetryStrategy::<u64, HookError>::success(&clone);
    assert_eq!(breaker.state(), BreakerState::Open, "it is another's");

    let constant = Constant::new(SECOND).clock(clock.clone());
    fail(&constant);
    let clone = constant.clone();
    assert_eq!(backoff(&clone), Duration::ZERO);
    fail(&clone);
    assert_eq!(backoff(&clone), SECOND);

    let exponential =
        ExponentialBackoff::default().base(HOUR).factor(SECOND).max(2 * HOUR).clock(clock.clone());
    let drawn = |backoff_of: &ExponentialBackoff| {
        fail(backoff_of);
        backoff(backoff_of)
    };
    let first = drawn(&exponential);
    let clone = exponential.clone();
    assert_eq!(backoff(&clone), Duration::ZERO);
    assert_eq!(clone.bound(9), exponential.bound(9));
    assert_ne!(drawn(&clone), first, "two endpoints are not tried at the same moments");
    let seeded = exponential.seed(7);
    let (one, other) = (seeded.clone(), seeded);
    assert_eq!(drawn(&one), drawn(&other.clone()));
    drawn(&other);
    assert_eq!(drawn(&other.clone()), backoff(&one), "from the start");
}

/// Fails the containers that are down: their number is the event.
fn containers(down: u64) -> (Arc<AtomicU32>, impl Sink<u64, Error = HookError> + Send + Sync) {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    let sink = sink::from_fn(move |container: &u64| {
        if *container < down {
            count.fetch_add(1, Ordering::SeqCst);
            return Err(HookError::Busy);
        }
        Ok(())
    });
    (attempts, sink)
}

/// A wait after `n` failures of up to 2^(n-1) seconds, at most 300 s.
fn doubling() -> ExponentialBackoff {
    ExponentialBackoff::default().base(Duration::ZERO).factor(SECOND).max(300 * SECOND).seed(7)
}

#[test]
fn a_backoff_per_write_delays_no_other_write_and_no_success_ends_it() {
    in_time("the writers", || {
        let clock = VirtualClock::new();
        let (attempts, sink) = containers(3);
        let retry = sink.retry(doubling().per_write()).clock(clock.clone());
        thread::scope(|scope| {
            for container in 0..3 {
                let retry = &retry;
                scope.spawn(move || assert!(retry.write(container).unwrap_err().is_closed()));
            }
            clock.until_sleeping(3);
            for healthy in 3..1000 {
                retry.write(healthy).unwrap();
            }
            // The successes woke them, and they sleep again.
            clock.until_sleeping(3);
            assert_eq!(attempts.load(Ordering::SeqCst), 3, "no success shortened their waits");
            assert_eq!(clock.elapsed(), Duration::ZERO, "no healthy one waited");
            drop(retry.close());
        });
    });
}

#[test]
fn a_backoff_per_write_grows_with_the_failures_of_its_write_and_begins_anew_with_the_next() {
    in_time("the writer", || {
        let (clock, waits) = (VirtualClock::new(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (now, seen) = (clock.clone(), Arc::clone(&waits));
        let attempts = AtomicU32::new(0);
        let sink = sink::from_fn(move |_: &u64| {
            seen.lock().unwrap().push(now.elapsed());
            if attempts.fetch_add(1, Ordering::SeqCst) % 12 < 11 { Err(HookError::Busy) } else { Ok(()) }
        });
        let backoff = doubling();
        let bounds: Vec<_> = (1..12).map(|failures| backoff.bound(failures)).collect();
        let retry = sink.retry(backoff.per_write()).clock(clock.clone());
        crate::common::without_waiting(&clock, || {
            for event in 0..40 {
                retry.write(event).unwrap();
            }
        });
        let times = waits.lock().unwrap();
        let mut most = vec![Duration::ZERO; 11];
        for of_a_write in times.chunks(12) {
            for (n, pair) in of_a_write.windows(2).enumerate() {
                let wait = pair[1] - pair[0];
                assert!(wait <= bounds[n], "{wait:?} after {} failures", n + 1);
                most[n] = most[n].max(wait);
            }
        }
        // Of 40 waits that are uniform up to the bound, one is above half of it.
        assert!(most.iter().zip(&bounds).all(|(most, bound)| *most > *bound / 2), "{most:?} of {bounds:?}");
    });
}

#[test]
fn every_strategy_around_a_backoff_per_write_passes_it_on() {
    fn waits<R: RetryStrategy<u64, HookError>>(strategy: &R) -> bool {
        // Each is drawn from up to an hour.
        (0..8).all(|_| strategy.own_backoff(failed(&HookError::Busy)) > Duration::ZERO)
    }
    let per_write = || -> PerWrite { ExponentialBackoff::default().base(HOUR).max(HOUR).per_write() };
    assert!(waits(&per_write()) && waits(&per_write().clone()));
    assert!(waits(&&per_write()) && waits(&Arc::new(per_write())));
    assert!(waits(&GiveUpWhen::new(per_write(), is_final)));
    assert!(waits(&MaxAttempts::new(per_write(), 9)));
    assert!(waits(&OnFailure::new(per_write(), |_: &Failure<'_, u64, HookError>| {})));
    assert!(waits(&CountRetries::new(per_write(), &Counter::new())));
    assert!(waits(&HonorRetryAfter::new(per_write())));
    let any: AnyStrategy = Arc::new(MaxAttempts::new(per_write(), 9));
    assert!(waits(&any));
    // The others have none of their own.
    assert_eq!(Constant::new(HOUR).own_backoff(failed(&HookError::Busy)), Duration::ZERO);
}

#[test]
fn a_breaker_makes_no_writer_its_probe_that_has_a_wait_of_its_own_left() {
    /// A breaker, and waits of a minute of each write besides.
    struct Both(Breaker);

    impl RetryStrategy<u64, HookError> for Both {
        type Stop = Infallible;

        fn backoff(&self, event: &u64) -> Duration {
            RetryStrategy::<u64, HookError>::backoff(&self.0, event)
        }

        fn failure(&self, failure: Failure<'_, u64, HookError>) -> Result<(), Infallible> {
            self.0.failure(failure)
        }

        fn own_backoff(&self, _: Failure<'_, u64, HookError>) -> Duration {
            60 * SECOND
        }

        fn success(&self) {
            RetryStrategy::<u64, HookError>::success(&self.0);
        }
    }

    in_time("the writers", || {
        let clock = VirtualClock::new();
        let (attempts, sink) = containers(1);
        let both = Both(Breaker::new(1, SECOND).clock(clock.clone()));
        let retry = sink.retry(both).clock(clock.clone());
        thread::scope(|scope| {
            scope.spawn(|| assert!(retry.write(0).unwrap_err().is_closed()));
            clock.until_sleeping(1);
            clock.advance(SECOND);
            // The breaker is due for a probe: it is the writer that may write, and not the one that waits for a minute.
            retry.write(7).unwrap();
            assert_eq!(retry.strategy().0.state(), BreakerState::Closed);
            assert_eq!(attempts.load(Ordering::SeqCst), 1);
            drop(retry.close());
        });
    });
}
