//! A retry: its close wakes a write that waits, it gives up when asked to, and it clones no event.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Census, Event, SOON, in_time, wait_until};
use outflow::retry::{Breaker, Constant, ExponentialBackoff, Failure, RetryStrategy};
use outflow::{Sink, SinkExt, WriteError, sink};

const HOUR: Duration = Duration::from_secs(3600);

fn a_close_wakes<R>(strategy: R)
where
    R: RetryStrategy<u64, &'static str> + Send + Sync + 'static,
    <R::Stop as outflow::retry::Stop>::Error<&'static str>: Send,
{
    in_time("the close", move || {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let failing = sink::from_fn(move |_: &u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("down")
        });
        let retry = Arc::new(failing.retry(strategy));
        let (sender, answers) = mpsc::channel();
        for event in 0..2 {
            let (retry, sender) = (Arc::clone(&retry), sender.clone());
            thread::spawn(move || {
                let answer = if event == 0 {
                    retry.write(7).map_err(|refused| (refused.is_closed(), refused.into_event()))
                } else {
                    retry.write_ref(&8).map_err(|refused| (refused.is_closed(), 8))
                };
                sender.send(answer).unwrap();
            });
        }
        wait_until("an attempt failed", || attempts.load(Ordering::SeqCst) > 0);
        assert!(answers.recv_timeout(Duration::from_millis(20)).is_err());
        let begun = Instant::now();
        retry.close().wait().unwrap();
        let mut seen = [answers.recv_timeout(SOON).unwrap(), answers.recv_timeout(SOON).unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [Err((true, 7)), Err((true, 8))]);
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(retry.write(9).unwrap_err().is_closed());
    });
}

#[test]
fn a_close_wakes_a_write_that_waits_out_a_long_backoff_and_hands_its_event_back() {
    a_close_wakes(Constant::new(HOUR));
    a_close_wakes(Breaker::new(1, HOUR));
    a_close_wakes(Breaker::new(0, Duration::MAX));
    a_close_wakes(Constant::new(Duration::ZERO));
    a_close_wakes(ExponentialBackoff::default().base(HOUR).max(Duration::MAX).seed(1));
}

#[test]
fn a_close_closes_what_is_under_it() {
    let below = sink::collector::<u64>();
    let retry = below.clone().retry(Constant::new(HOUR));
    retry.close().wait().unwrap();
    assert!(below.is_closed());
    let below = sink::collector::<u64>();
    let queue = below.clone().retry(Constant::new(HOUR)).queued();
    queue.close().wait().unwrap();
    assert!(below.is_closed());
}

#[test]
fn a_downstream_that_closes_by_itself_ends_a_write_at_its_next_attempt() {
    let below = sink::collector::<u64>();
    let retry = below.clone().retry(Constant::new(HOUR));
    drop(below.close());
    assert_eq!(retry.write(3).unwrap_err().into_event(), 3);
    assert!(retry.is_closed());
}

#[test]
fn gives_up_after_max_attempts_and_hands_back_the_event_and_the_last_error() {
    let attempts = AtomicU32::new(0);
    let retry = sink::from_fn(|_: &u64| Err(attempts.fetch_add(1, Ordering::SeqCst) + 1))
        .retry(Constant::new(Duration::ZERO))
        .max_attempts(3);
    assert!(matches!(retry.write(5), Err(WriteError::Failed { event: 5, error: 3 })));
    assert!(matches!(retry.write_ref(&5), Err(WriteError::Failed { event: (), error: 6 })));
}

#[test]
fn gives_up_when_a_predicate_holds() {
    let attempts = AtomicU32::new(0);
    let retry = sink::from_fn(|_: &u64| {
        Err(if attempts.fetch_add(1, Ordering::SeqCst) < 2 { "busy" } else { "gone" })
    })
    .retry(Constant::new(Duration::ZERO))
    .give_up_when(|failure| *failure.error == "gone");
    assert!(matches!(retry.write(5), Err(WriteError::Failed { event: 5, error: "gone" })));
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[test]
fn on_failure_is_called_for_every_failure() {
    let (sender, failures) = mpsc::channel();
    let attempts = AtomicU32::new(0);
    let retry = sink::from_fn(
        |_: &u64| {
            if attempts.fetch_add(1, Ordering::SeqCst) < 3 { Err("busy") } else { Ok(()) }
        },
    )
    .retry(Breaker::new(100, HOUR))
    .on_failure(move |failure: &Failure<'_, u64, &str>| {
        sender.send((*failure.event, *failure.error, failure.attempt)).unwrap();
    });
    retry.write(5).unwrap();
    drop(retry);
    assert_eq!(failures.iter().collect::<Vec<_>>(), [(5, "busy", 1), (5, "busy", 2), (5, "busy", 3)]);
}

#[test]
fn clones_nothing_in_write_ref_either() {
    let census = Census::new();
    let attempts = AtomicU32::new(0);
    let retry =
        sink::from_fn(
            |_: &Event| {
                if attempts.fetch_add(1, Ordering::SeqCst) % 10 == 9 { Ok(()) } else { Err("busy") }
            },
        )
        .retry(Constant::new(Duration::ZERO));
    retry.write(Event::new(1, &census)).unwrap();
    retry.write_ref(&Event::new(2, &census)).unwrap();
    assert_eq!((attempts.load(Ordering::SeqCst), census.clones()), (20, 0));
    let gives_up =
        sink::from_fn(|_: &Event| Err::<(), _>("busy")).retry(Constant::new(Duration::ZERO)).max_attempts(2);
    assert!(gives_up.write_ref(&Event::new(3, &census)).is_err());
    assert_eq!(gives_up.write(Event::new(4, &census)).unwrap_err().into_event().id, 4);
    assert_eq!(census.clones(), 0);
    census.assert_none_left();
}
