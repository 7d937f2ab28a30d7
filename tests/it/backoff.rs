//! A backoff takes the time it says, by a clock that only goes on; one writer probes; a success ends the wait.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::common::in_time;
use outflow::clock::{Clock, Monotonic};
use outflow::retry::{Breaker, BreakerState, Constant, ExponentialBackoff, Failure, Retry, RetryStrategy};
use outflow::testing::{Flaky, Latch, Outcome::Fail, VirtualClock};
use outflow::{Sink, SinkExt, sink};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// An endpoint that is down until it is up, and counts.
#[derive(Clone, Default)]
struct Endpoint {
    up: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
    /// Where a write that arrives while it is up waits.
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

/// By a virtual clock, with `writers` asleep after the endpoint has failed.
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
        // Even nanoseconds are what it counts in.
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
        // One is at it, and the others have looked and sleep again.
        let latch = endpoint.latch.as_ref().unwrap();
        latch.arrived(1);
        clock.until_sleeping(7);
        assert_eq!(endpoint.attempts(), before + 1, "several probed at once");
        assert_eq!(retry.strategy().state(), BreakerState::HalfOpen);
        // Its success wakes the others, by a clock that stands still.
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
                // One after the other, so that the second finds the breaker open.
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
            // In the middle of the next nobody looks.
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
fn exponential_backoff_waits_what_it_has_drawn_and_less_than_its_bound() {
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
        let told = sink::collector();
        let seen = told.clone();
        let retry = Flaky::script(sink::discard(), [Fail; 4])
            .retry(Constant::new(3 * SECOND).clock(clock.clone()))
            .clock(clock.clone())
            .on_failure(move |failure: &Failure<'_, u64, _>| {
                seen.write((failure.attempt, failure.elapsed)).unwrap();
            });
        // Not from the first attempt: what passes before the first failure is none of it.
        clock.advance(HOUR);
        thread::scope(|scope| {
            scope.spawn(|| retry.write(1).unwrap());
            for _ in 0..4 {
                clock.until_sleeping(1);
                clock.advance_to_next();
            }
        });
        let expected: Vec<_> = (0..4_u32).map(|n| (n + 1, n * 3 * SECOND)).collect();
        assert_eq!(told.take(), expected);
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

/// Tells when a failure has been counted.
struct Told<R>(R, Arc<AtomicBool>);

impl<E, X, R> RetryStrategy<E, X> for Told<R>
where
    R: RetryStrategy<E, X, Stop = Infallible>,
{
    type Stop = Infallible;

    fn backoff(&self, event: &E) -> Duration {
        self.0.backoff(event)
    }

    fn failure(&self, failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        let answer = self.0.failure(failure);
        self.1.store(true, Ordering::SeqCst);
        answer
    }

    fn success(&self) {
        self.0.success();
    }
}

fn a_success_misses_nobody<R>(rounds: u32, strategy: impl Fn() -> R)
where
    R: RetryStrategy<u64, &'static str, Stop = Infallible> + Send + Sync + 'static,
{
    for round in 0..rounds {
        let (failed, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        let (told, at) = (Arc::clone(&failed), Arc::clone(&ready));
        let failures = AtomicU32::new(0);
        let sink = sink::from_fn(move |event: &u64| {
            if *event == 1 {
                // Fails once.
                return if failures.fetch_add(1, Ordering::SeqCst) == 0 { Err("busy") } else { Ok(()) };
            }
            // Under way before the other fails, through when that is about to wait.
            at.wait();
            while !told.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            for _ in 0..(round.wrapping_mul(2_654_435_761) >> 20) % 400 {
                std::hint::spin_loop();
            }
            Ok(())
        });
        let retry = sink.retry(Told(strategy(), failed));
        thread::scope(|scope| {
            scope.spawn(|| retry.write(0).unwrap());
            ready.wait();
            retry.write(1).unwrap();
        });
    }
}

#[test]
fn a_success_misses_no_writer_that_is_about_to_wait() {
    // Who is missed waits for an hour.
    in_time("a writer", || a_success_misses_nobody(5000, || Breaker::new(1, HOUR)));
    in_time("a writer", || a_success_misses_nobody(5000, || Constant::new(HOUR)));
    in_time("a writer", || {
        a_success_misses_nobody(5000, || ExponentialBackoff::default().base(HOUR).max(HOUR).seed(1));
    });
}
