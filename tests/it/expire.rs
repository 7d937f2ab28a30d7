//! An event that is too old is handed back, and what is above says what becomes of it.

use std::time::Duration;

use crate::common::{in_time, without_waiting};
use outflow::clock::Clock;
use outflow::retry::{Constant, RetryAfter};
use outflow::testing::{Latch, VirtualClock};
use outflow::{Counter, ExpireError, Sink, SinkExt, WriteError, sink};

const SECOND: Duration = Duration::from_secs(1);

/// An event, by when it was born.
type Born = Duration;

fn age(clock: &VirtualClock) -> impl Fn(&Born) -> Duration + Send + Sync + use<> {
    let clock = clock.clone();
    move |born| clock.now().saturating_sub(*born)
}

#[test]
fn an_event_expires_when_it_is_older_than_the_limit_and_not_a_nanosecond_before() {
    let (clock, written) = (VirtualClock::new(), sink::collector());
    let sink = written.clone().expire_after(SECOND, age(&clock));
    let born = clock.now();
    sink.write(born).unwrap();
    clock.advance(SECOND);
    sink.write(born).unwrap();
    sink.write_ref(&born).unwrap();
    clock.advance(Duration::from_nanos(1));
    let expired = ExpireError::Expired { age: SECOND + Duration::from_nanos(1), limit: SECOND };
    assert_eq!(sink.write(born), Err(WriteError::failed(born, expired)));
    assert_eq!(sink.write_ref(&born), Err(WriteError::failed((), expired)));
    assert_eq!(expired.to_string(), "the event is 1.000000001s old, and expired after 1s");
    assert!(expired.is_expired());
    assert_eq!(written.len(), 3);
}

#[test]
fn once_it_is_closed_an_expired_event_too_is_answered_with_closed() {
    let clock = VirtualClock::new();
    let sink = sink::discard().expire_after(Duration::ZERO, age(&clock));
    let born = clock.now();
    clock.advance(SECOND);
    assert!(!sink.write(born).unwrap_err().is_closed());
    sink.close().wait().unwrap();
    for born in [born, clock.now()] {
        assert_eq!(sink.write(born), Err(WriteError::Closed(born)));
        assert_eq!(sink.write_ref(&born), Err(WriteError::Closed(())));
    }
}

#[test]
fn the_longest_limit_is_none() {
    let sink = sink::discard().expire_after(Duration::MAX, |_: &u32| Duration::MAX);
    assert!(sink.write(1).is_ok());
}

#[test]
fn a_failure_of_the_sink_stays_one_and_what_the_endpoint_asks_for_is_passed_on() {
    #[derive(Debug, PartialEq)]
    struct Busy;
    impl RetryAfter for Busy {
        fn retry_after(&self) -> Option<Duration> {
            Some(SECOND)
        }
    }
    let sink =
        sink::from_fn(|_: &u32| Err(Busy)).expire_after(SECOND, |age| Duration::from_secs(u64::from(*age)));
    let busy = sink.write(1).unwrap_err();
    assert_eq!(busy.error(), Some(&ExpireError::Sink(Busy)));
    assert_eq!(busy.error().unwrap().retry_after(), Some(SECOND));
    let expired = sink.write(2).unwrap_err();
    assert_eq!(expired.error().unwrap().retry_after(), None);
}

#[test]
fn what_waited_too_long_in_a_queue_is_counted() {
    in_time("the queue", || {
        let (clock, latch) = (VirtualClock::new(), Latch::new());
        let (written, expired) = (sink::collector(), Counter::new());
        let (gate, log) = (latch.clone(), written.clone());
        let queue = sink::for_each(move |born: Born| {
            gate.pass();
            log.write(born).unwrap();
        })
        .expire_after(SECOND, age(&clock))
        .lossy_counted(&expired)
        .queued();
        let first = clock.now();
        queue.write_all([first, first, first]).unwrap();
        latch.arrived(1);
        clock.advance(2 * SECOND);
        let last = clock.now();
        queue.write(last).unwrap();
        latch.open();
        queue.close().wait().unwrap();
        assert_eq!(written.events(), [first, last], "the first was under way, the next two waited");
        assert_eq!(expired.get(), 2);
    });
}

/// An endpoint that fails until this time, under a queue. Two events are written at the beginning; what is dead comes
/// back, and how many attempts were made.
fn outage(below: bool, up_after: Duration) -> (usize, usize, u64) {
    let (clock, attempts) = (VirtualClock::new(), Counter::new());
    let (dead, written) = (sink::collector(), sink::collector());
    let (now, log) = (clock.clone(), written.clone());
    let http = sink::from_fn(move |born: &Born| {
        if now.elapsed() < up_after {
            return Err("down");
        }
        log.write(*born).unwrap();
        Ok(())
    });
    let retry = || Constant::new(SECOND).clock(clock.clone());
    let letters = dead.clone();
    let born = clock.now();
    let queue = if below {
        http.expire_after(10 * SECOND, age(&clock))
            .retry(retry())
            .clock(clock.clone())
            .count_retries(&attempts)
            .give_up_when(|failure| failure.error.is_expired())
            .dead_letter(letters.map(|letter: &outflow::DeadLetter<Born, ExpireError<_>>| letter.event))
            .queued()
    } else {
        http.retry(retry())
            .clock(clock.clone())
            .count_retries(&attempts)
            .expire_after(10 * SECOND, age(&clock))
            .dead_letter(letters.map(|letter: &outflow::DeadLetter<Born, ExpireError<_>>| letter.event))
            .queued()
    };
    without_waiting(&clock, || {
        queue.write_all([born, born]).unwrap();
        queue.close().wait().unwrap();
    });
    (written.len(), dead.len(), attempts.get())
}

#[test]
fn above_a_retry_what_is_being_retried_is_delivered_and_below_one_it_expires() {
    in_time("the queue", || {
        assert_eq!(outage(false, 30 * SECOND), (1, 1, 30), "the one behind it expired");
        assert_eq!(outage(true, 30 * SECOND), (0, 2, 11), "it gives up at the first attempt after its time");
        assert_eq!(outage(false, 5 * SECOND), (2, 0, 5));
        assert_eq!(outage(true, 5 * SECOND), (2, 0, 5));
    });
}

#[test]
fn an_asynchronous_sink_fails_what_is_too_old_in_the_same_way() {
    use outflow::testing::block_on;
    use outflow::{AsyncSink, AsyncSinkExt};

    let clock = VirtualClock::new();
    let sink =
        sink::from_async_fn(|_: Born| async { Err::<(), _>("down") }).expire_after(SECOND, age(&clock));
    let born = clock.now();
    assert_eq!(block_on(sink.write(born)), Err(WriteError::failed(born, ExpireError::Sink("down"))));
    clock.advance(2 * SECOND);
    let expired = ExpireError::Expired { age: 2 * SECOND, limit: SECOND };
    assert_eq!(block_on(sink.write(born)), Err(WriteError::failed(born, expired)));
    sink.close().wait().unwrap();
    assert_eq!(block_on(sink.write(born)), Err(WriteError::Closed(born)));
}
