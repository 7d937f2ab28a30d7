//! What the suite of go-events asks, at its own sizes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{in_time, without_waiting};
use outflow::retry::{Breaker, ExponentialBackoff, Failure, RetryStrategy};
use outflow::testing::VirtualClock;
use outflow::{Sink, SinkExt, channel, sink};

#[test]
fn a_thousand_concurrent_writes_into_a_queue_over_a_sink_that_takes_a_millisecond() {
    in_time("the queue", || {
        let dest = sink::collector();
        let queue = dest.clone().inspect(|_| thread::sleep(Duration::from_millis(1))).queued();
        thread::scope(|scope| {
            for writer in 0..100 {
                let queue = queue.clone();
                scope.spawn(move || (0..10).for_each(|n| queue.write(writer * 10 + n).unwrap()));
            }
        });
        queue.close().wait().unwrap();
        let mut events = dest.events();
        events.sort_unstable();
        assert_eq!(events, (0..1000).collect::<Vec<u64>>());
    });
}

/// Fails every event once, and then nine times in ten.
fn each_of_a_hundred_is_delivered_once<R>(strategy: impl FnOnce(&VirtualClock) -> R)
where
    R: RetryStrategy<u64, &'static str, Stop = std::convert::Infallible> + Send + Sync + 'static,
{
    let clock = VirtualClock::new();
    let random = Mutex::new(fastrand_like(7));
    let seen: Mutex<BTreeMap<u64, u32>> = Mutex::default();
    let delivered = sink::collector();
    let log = delivered.clone();
    let flaky = sink::from_fn(move |event: &u64| {
        let mut seen = seen.lock().unwrap();
        let attempts = seen.entry(*event).or_default();
        *attempts += 1;
        if *attempts == 1 || random.lock().unwrap()() % 10 != 0 {
            return Err("try again");
        }
        log.write(*event).unwrap();
        Ok(())
    });
    let retry = Arc::new(flaky.retry(strategy(&clock)).clock(clock.clone()));
    without_waiting(&clock, || {
        thread::scope(|scope| {
            for writer in 0..10 {
                let retry = Arc::clone(&retry);
                scope.spawn(move || (0..10).for_each(|n| retry.write(writer * 10 + n).unwrap()));
            }
        })
    });
    retry.close().wait().unwrap();
    let mut events = delivered.events();
    events.sort_unstable();
    assert_eq!(events, (0..100).collect::<Vec<u64>>());
}

/// Xorshift, the same every time.
fn fastrand_like(mut state: u64) -> impl FnMut() -> u64 + Send {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn a_hundred_events_through_a_failing_sink_under_a_breaker() {
    // A success resets the breaker, and three failures in a row open it for 10 ms.
    each_of_a_hundred_is_delivered_once(|clock| {
        Breaker::new(3, Duration::from_millis(10)).clock(clock.clone())
    });
}

#[test]
fn a_hundred_events_through_a_failing_sink_under_exponential_backoff() {
    let of = Duration::from_millis;
    each_of_a_hundred_is_delivered_once(|clock| {
        ExponentialBackoff::default().base(of(1)).factor(of(1)).max(of(5)).clock(clock.clone())
    });
}

fn waits(backoff: &ExponentialBackoff, failures: u32) -> Vec<Duration> {
    (1..=failures)
        .map(|attempt| {
            let failure = Failure { event: &(), error: &(), attempt, elapsed: Duration::ZERO };
            backoff.failure(failure).unwrap();
            RetryStrategy::<(), ()>::backoff(backoff, &())
        })
        .collect()
}

#[test]
fn the_bounds_of_exponential_backoff_hold_over_many_failures() {
    let of = Duration::from_secs;
    for seed in 0..20 {
        let backoff = ExponentialBackoff::default().base(of(1)).factor(of(1)).max(of(20)).seed(seed);
        assert_eq!(RetryStrategy::<(), ()>::backoff(&backoff, &()), Duration::ZERO);
        let waits = waits(&backoff, 300);
        for (n, wait) in waits.iter().enumerate() {
            let bound = if n < 5 { of(1) + of(1) * (1 << n) } else { of(20) };
            assert!(*wait <= bound.min(of(20)), "{wait:?} after {} failures", n + 1);
        }
        assert!(waits[56..].iter().any(|wait| *wait > of(10)), "the bound collapsed");
        assert!(waits[280..].iter().max() > Some(&of(2)), "the bound collapsed");
        RetryStrategy::<(), ()>::success(&backoff);
        assert_eq!(RetryStrategy::<(), ()>::backoff(&backoff, &()), Duration::ZERO);
    }
}

#[test]
fn exponential_backoff_of_nothing_and_of_everything_does_not_panic() {
    let ends = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for base in ends {
        for factor in ends {
            for max in ends {
                let backoff = ExponentialBackoff::default().base(base).factor(factor).max(max);
                let waits = waits(&backoff, 200);
                assert!(waits.iter().all(|wait| *wait <= max));
            }
        }
    }
}

#[test]
fn a_hundred_concurrent_writers_on_a_rendezvous_and_then_refusal_for_good() {
    in_time("the channel", || {
        let (sink, events) = channel::rendezvous();
        let refused = AtomicU64::new(0);
        thread::scope(|scope| {
            for writer in 0..100_u64 {
                let (sink, refused) = (&sink, &refused);
                scope.spawn(move || {
                    if sink.write(writer).is_err() {
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            let mut read: Vec<u64> = events.iter().take(100).collect();
            read.sort_unstable();
            assert_eq!(read, (0..100).collect::<Vec<_>>());
        });
        assert_eq!(refused.load(Ordering::SeqCst), 0);
        sink.close().wait().unwrap();
        for _ in 0..100 {
            assert!(sink.write(1).unwrap_err().is_closed());
        }
        assert_eq!(events.iter().count(), 0);
    });
}
