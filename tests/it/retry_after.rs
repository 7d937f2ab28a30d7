//! A retry waits as long as an endpoint asks for, and no longer than the limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::common::{SOON, in_time, rounds, without_waiting};
use outflow::clock::Clock;
use outflow::retry::{Breaker, Constant, Failure, GiveUp, HonorRetryAfter, RetryAfter, RetryStrategy};
use outflow::testing::VirtualClock;
use outflow::{CatchPanicError, Sink, SinkExt, sink};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An error with a wait that the endpoint asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ask(Option<Duration>);

impl RetryAfter for Ask {
    fn retry_after(&self) -> Option<Duration> {
        self.0
    }
}

/// Writes to an endpoint that asks for these waits in turn, then accepts. Returns the times of the attempts.
fn tries(
    asked: &[Option<Duration>],
    strategy: impl FnOnce(&VirtualClock) -> Constant,
    longest: Option<Duration>,
) -> Vec<Duration> {
    let clock = VirtualClock::new();
    let times = Mutex::new(Vec::new());
    let retry = sink::from_fn(|_: &u32| {
        let mut times = times.lock().unwrap();
        times.push(clock.elapsed());
        asked.get(times.len() - 1).map_or(Ok(()), |asked| Err(Ask(*asked)))
    })
    .retry(strategy(&clock))
    .clock(clock.clone())
    .honor_retry_after();
    without_waiting(&clock, || match longest {
        Some(longest) => retry.max_retry_after(longest).write(1).unwrap(),
        None => retry.write(1).unwrap(),
    });
    times.into_inner().unwrap()
}

fn constant(backoff: Duration) -> impl FnOnce(&VirtualClock) -> Constant {
    move |clock| Constant::new(backoff).clock(Arc::new(clock.clone()) as Arc<dyn Clock>)
}

#[test]
fn waits_for_the_longer_of_what_the_endpoint_asks_for_and_what_the_strategy_says() {
    let asked = [Some(secs(60)), Some(secs(1)), None, Some(Duration::ZERO)];
    assert_eq!(tries(&asked, constant(secs(10)), None), [0, 60, 70, 80, 90].map(secs));
}

#[test]
fn an_endpoint_that_asks_for_a_year_does_not_get_it() {
    for asked in [YEAR, Duration::MAX] {
        assert_eq!(tries(&[Some(asked)], constant(Duration::ZERO), None), [0, 300].map(secs));
        assert_eq!(tries(&[Some(asked)], constant(Duration::ZERO), Some(secs(7))), [0, 7].map(secs));
    }
    assert_eq!(tries(&[Some(YEAR)], constant(Duration::ZERO), Some(Duration::ZERO)), [0, 0].map(secs));
    // The limit is for the endpoint. The strategy's wait may be longer.
    assert_eq!(tries(&[Some(YEAR)], constant(secs(30)), Some(secs(7))), [0, 30].map(secs));
}

#[test]
fn nothing_overflows() {
    let clock = VirtualClock::new();
    clock.advance(Duration::MAX);
    let retry = sink::from_fn(|_: &u32| Err::<(), _>(Ask(Some(Duration::MAX))))
        .retry(Constant::new(Duration::ZERO))
        .clock(clock.clone())
        .honor_retry_after()
        .max_retry_after(Duration::MAX)
        .max_attempts(1);
    assert!(retry.write(1).is_err());
}

#[test]
fn the_wait_is_for_every_writer_and_a_success_does_not_shorten_it() {
    let clock = VirtualClock::new();
    let asking = AtomicBool::new(true);
    let retry = sink::from_fn(
        |_: &u32| {
            if asking.load(Ordering::SeqCst) { Err(Ask(Some(secs(60)))) } else { Ok(()) }
        },
    )
    .retry(Constant::new(Duration::ZERO))
    .clock(clock.clone())
    .honor_retry_after()
    .max_attempts(1);

    // The event is given up, and the wait holds all the same.
    assert!(retry.write(1).is_err());
    asking.store(false, Ordering::SeqCst);
    // A write that was under way succeeds meanwhile.
    RetryStrategy::<u32, Ask>::success(retry.strategy());
    assert_eq!(RetryStrategy::<u32, Ask>::backoff(retry.strategy(), &1), secs(60));
    without_waiting(&clock, || retry.write(2).unwrap());
    assert_eq!(clock.elapsed(), secs(60));
    retry.write(3).unwrap();
    assert_eq!(clock.elapsed(), secs(60));
}

#[test]
fn what_is_asked_for_in_a_final_failure_holds_for_the_others_whichever_method_is_called_first() {
    in_time("a writer", || {
        let clock = VirtualClock::new();
        let asks = |_: &u32| Err::<(), _>(Ask(Some(secs(60))));
        let retry =
            || sink::from_fn(asks).retry(Breaker::new(1, secs(1)).clock(clock.clone())).clock(clock.clone());
        let before = retry().give_up_when(|_| true).honor_retry_after();
        let after = retry().honor_retry_after().give_up_when(|_| true);
        // The write of that event fails at once; the clock stands still.
        assert_eq!(before.write(7).unwrap_err().into_event(), 7);
        assert_eq!(after.write(7).unwrap_err().into_event(), 7);
        let left = |strategy: &dyn RetryStrategy<u32, Ask, Stop = GiveUp>| strategy.backoff(&1);
        assert_eq!([left(before.strategy()), left(after.strategy())], [secs(60); 2]);
        // Afterwards the breaker adds no wait, since it counted no failure.
        clock.advance(secs(60));
        assert_eq!([left(before.strategy()), left(after.strategy())], [Duration::ZERO; 2]);
    });
}

#[test]
fn a_clone_was_asked_for_nothing_and_keeps_the_limit() {
    let clock = VirtualClock::new();
    let honor = HonorRetryAfter::new(Constant::new(Duration::ZERO)).max_retry_after(secs(7)).clock(clock);
    let fail = |strategy: &HonorRetryAfter<Constant>| {
        let failure = Failure { event: &1, error: &Ask(Some(YEAR)), attempt: 1, elapsed: Duration::ZERO };
        RetryStrategy::<u32, Ask>::failure(strategy, failure).unwrap();
    };
    let left = |strategy| RetryStrategy::<u32, Ask>::backoff(strategy, &1);
    fail(&honor);
    let clone = honor.clone();
    assert_eq!((left(&honor), left(&clone)), (secs(7), Duration::ZERO));
    fail(&clone);
    assert_eq!(left(&clone), secs(7));
}

#[test]
fn of_two_times_that_were_asked_for_the_later_one_holds() {
    let clock = VirtualClock::new();
    let retry = sink::from_fn(|asked: &Duration| Err::<(), _>(Ask(Some(*asked))))
        .retry(Constant::new(Duration::ZERO))
        .clock(clock.clone())
        .honor_retry_after()
        .max_attempts(1);
    // Two requests were under way at the same time.
    for asked in [secs(60), secs(5)] {
        let failed = Failure { event: &asked, error: &Ask(Some(asked)), attempt: 1, elapsed: Duration::ZERO };
        assert!(retry.strategy().failure(failed).is_err());
    }
    assert_eq!(RetryStrategy::<Duration, Ask>::backoff(retry.strategy(), &secs(0)), secs(60));
}

#[test]
fn a_breaker_keeps_its_probe_until_the_time_is_over() {
    let clock = VirtualClock::new();
    let breaker = Arc::new(Breaker::new(1, secs(1)).clock(clock.clone()));
    let retry = sink::from_fn(|_: &u32| Err::<(), _>(Ask(Some(secs(60)))))
        .retry(Arc::clone(&breaker))
        .clock(clock.clone())
        .honor_retry_after()
        .max_attempts(1);
    retry.write(1).unwrap_err();
    let backoff = || RetryStrategy::<u32, Ask>::backoff(retry.strategy(), &1);

    // The breaker's own second is over. If it were asked now, this writer would be the probe for a second.
    clock.advance(Duration::from_millis(59_500));
    assert_eq!(backoff(), Duration::from_millis(500));
    clock.advance(Duration::from_millis(500));
    assert_eq!(backoff(), Duration::ZERO);
    // Only one writer probes.
    assert_eq!(backoff(), secs(1));
}

#[test]
fn an_error_that_says_nothing_and_a_panic_wait_as_the_strategy_says() {
    assert_eq!(tries(&[None, None], constant(secs(3)), None), [0, 3, 6].map(secs));
    assert_eq!(CatchPanicError::<Ask>::Panicked("planned".into()).retry_after(), None);
    assert_eq!(CatchPanicError::Sink(Ask(Some(secs(5)))).retry_after(), Some(secs(5)));
}

#[test]
fn a_close_wakes_a_write_that_waits_for_the_endpoints_sake() {
    in_time("the close", || {
        let (sender, attempted) = mpsc::channel();
        let retry = Arc::new(
            sink::from_fn(move |_: &u32| {
                sender.send(()).unwrap();
                Err::<(), _>(Ask(Some(YEAR)))
            })
            .retry(Constant::new(Duration::ZERO))
            .honor_retry_after(),
        );
        let writing = Arc::clone(&retry);
        let writer = thread::spawn(move || writing.write(7));
        attempted.recv_timeout(SOON).unwrap();
        retry.close().wait().unwrap();
        assert_eq!(writer.join().unwrap().unwrap_err().into_event(), 7);
        assert!(attempted.try_recv().is_err());
    });
}

#[test]
fn of_writers_that_race_none_tries_early() {
    for round in 0..rounds(2_000_u64) {
        let clock = VirtualClock::new();
        clock.advance(secs(1));
        let failing = sink::from_fn(|asked: &u64| Err::<(), _>(Ask(Some(Duration::from_nanos(*asked)))))
            .retry(Constant::new(Duration::ZERO))
            .clock(clock.clone())
            .honor_retry_after()
            .max_attempts(1);
        // One writer finds a wait over and clears it, while another sets a new one.
        failing.write(1).unwrap_err();
        clock.advance(Duration::from_nanos(1));
        thread::scope(|scope| {
            scope.spawn(|| RetryStrategy::<u64, Ask>::backoff(failing.strategy(), &0));
            scope.spawn(|| failing.write(1_000 + round).unwrap_err());
        });
        let left = RetryStrategy::<u64, Ask>::backoff(failing.strategy(), &0);
        assert_eq!(left, Duration::from_nanos(1_000 + round), "round {round}");
    }
}
