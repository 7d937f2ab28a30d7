//! The sinks of the test kit misbehave exactly as asked, the same way every time, whatever races with them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{in_time, rounds, wait_until};
use outflow::clock::Clock;
use outflow::retry::Constant;
use outflow::testing::{
    Flaky, FlakyError, Irregularity, Latch, Outcome::Fail, Panicking, Recorder, Slow, Stamp, Stuck,
    VirtualClock,
};
use outflow::{Sink, SinkExt, WriteError, sink};

const SECOND: Duration = Duration::from_secs(1);

/// Sleeps by a clock, as a write to a slow sink does.
fn sleep(clock: &VirtualClock, time: Duration) {
    Slow::new(sink::discard(), time).clock(clock.clone()).write(()).unwrap();
}

#[test]
fn a_virtual_clock_wakes_those_whose_time_has_come_and_no_others() {
    in_time("the sleepers", || {
        let clock = VirtualClock::new();
        let woken = sink::collector();
        for seconds in [3_u32, 1, 2] {
            let (clock, woken) = (clock.clone(), woken.clone());
            thread::spawn(move || {
                sleep(&clock, seconds * SECOND);
                woken.write(seconds).unwrap();
            });
        }
        clock.until_sleeping(3);
        assert_eq!(clock.next_wake(), Some(SECOND));
        for seconds in 1..=3 {
            clock.advance(SECOND - Duration::from_nanos(1));
            assert_eq!(clock.sleeping(), 4 - seconds);
            clock.advance(Duration::from_nanos(1));
            assert_eq!(
                clock.sleeping(),
                3 - seconds,
                "a woken thread counts as awake, even before it has run"
            );
            wait_until("it is awake", || woken.len() == seconds);
        }
        assert_eq!(woken.take(), [1, 2, 3]);
        assert_eq!((clock.next_wake(), clock.advance_to_next()), (None, None));
    });
}

#[test]
fn a_virtual_clock_loses_no_advance_that_comes_while_a_thread_goes_to_sleep() {
    in_time("a sleeper", || {
        for _ in 0..rounds(5000) {
            let clock = VirtualClock::new();
            thread::scope(|scope| {
                scope.spawn(|| sleep(&clock, SECOND));
                // It counts as asleep shortly before it is.
                clock.until_sleeping(1);
                clock.advance(SECOND);
            });
            assert_eq!(clock.sleeping(), 0);
        }
    });
}

#[test]
fn a_virtual_clock_saturates() {
    let clock = VirtualClock::new();
    clock.advance(Duration::MAX);
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), Duration::MAX);
}

#[test]
#[should_panic(expected = "a script of no outcomes")]
fn flaky_refuses_to_repeat_nothing() {
    let _ = Flaky::cycle(sink::discard::<u32>(), []);
}

#[test]
fn flaky_refuses_what_is_no_probability() {
    for probability in [-0.1, 1.1, f64::NAN] {
        let make = || drop(Flaky::at_random(sink::discard::<u32>(), probability, 1));
        assert!(catch_unwind(make).is_err(), "{probability}");
    }
    let all = |probability| {
        let flaky = Flaky::at_random(sink::discard(), probability, 1);
        (0..1000).filter(|event| flaky.write(*event).is_err()).count()
    };
    assert_eq!((all(0.0), all(1.0)), (0, 1000));
}

#[test]
fn flaky_fails_the_same_writes_however_many_write() {
    let fails = |writers: u32| {
        let flaky = Flaky::at_random(sink::discard(), 0.5, 99);
        let failed = sink::collector();
        thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    for event in 0..1000 / writers {
                        if let Err(WriteError::Failed { error: FlakyError::Injected { write }, .. }) =
                            flaky.write_ref(&event)
                        {
                            failed.write(write).unwrap();
                        }
                    }
                });
            }
        });
        let mut failed = failed.take();
        failed.sort_unstable();
        failed
    };
    assert_eq!(fails(1), fails(4));
}

#[test]
fn flaky_uses_up_no_outcome_for_a_write_that_a_closed_sink_refuses() {
    let flaky = Flaky::script(sink::discard(), [Fail]);
    flaky.close().wait().unwrap();
    assert!(flaky.write(1).unwrap_err().is_closed());
    assert_eq!(flaky.writes(), 0);
}

#[test]
fn what_flaky_hides_a_retry_never_shows() {
    let recorder = Recorder::new();
    let retry = Flaky::at_random(recorder.clone(), 0.5, 5).retry(Constant::new(Duration::ZERO));
    thread::scope(|scope| {
        for writer in 0..4 {
            let retry = &retry;
            scope.spawn(move || (0..500).for_each(|n| retry.write(Stamp::new(writer, n)).unwrap()));
        }
    });
    recorder.assert_complete(4, 500);
}

#[test]
fn slow_takes_its_time_by_the_monotonic_clock_too() {
    let slow = Slow::new(sink::collector(), Duration::from_millis(5));
    let begun = Instant::now();
    slow.write(1).unwrap();
    slow.write_ref(&2).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(10));
}

#[test]
fn slow_writers_wait_side_by_side() {
    in_time("the writers", || {
        let clock = VirtualClock::new();
        let slow = Slow::new(sink::collector(), SECOND).clock(clock.clone());
        thread::scope(|scope| {
            for event in 0..8 {
                let slow = &slow;
                scope.spawn(move || slow.write(event).unwrap());
            }
            clock.until_sleeping(8);
            clock.advance(SECOND);
        });
        assert_eq!(clock.elapsed(), SECOND);
    });
}

#[test]
fn stuck_blocks_every_write_until_its_latch_is_opened_whatever_is_closed() {
    in_time("the writers", || {
        let latch = Latch::new();
        let through = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&through);
        let below = sink::for_each(move |_: u64| _ = counted.fetch_add(1, Ordering::SeqCst));
        let stuck = Stuck::new(below.keep_open(), &latch);
        thread::scope(|scope| {
            for event in 0..4 {
                let stuck = &stuck;
                scope.spawn(move || stuck.write(event).unwrap());
            }
            latch.arrived(4);
            stuck.close().wait().unwrap();
            assert_eq!((latch.arrivals(), through.load(Ordering::SeqCst)), (4, 0));
            latch.open();
        });
        assert_eq!(through.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn stuck_that_a_close_releases_hands_its_events_back() {
    in_time("the writers", || {
        let latch = Latch::new();
        let stuck = Stuck::new(sink::collector(), &latch).released_by_close();
        thread::scope(|scope| {
            let writer = scope.spawn(|| stuck.write(7).unwrap_err().into_event());
            latch.arrived(1);
            stuck.close().wait().unwrap();
            assert_eq!(writer.join().unwrap(), 7);
        });
    });
}

#[test]
#[should_panic(expected = "every 0th write")]
fn panicking_at_every_0th_write_is_refused() {
    let _ = Panicking::<u32, _>::every(sink::discard::<u32>(), 0);
}

#[test]
fn panicking_panics_at_the_write_given_with_the_message_given() {
    let kept = sink::collector();
    let sink = Panicking::at(kept.clone(), 2).message("third time unlucky");
    let messages: Vec<Option<String>> = (0..4)
        .map(|event| {
            let panic = catch_unwind(AssertUnwindSafe(|| sink.write(event).unwrap())).err()?;
            panic.downcast_ref::<String>().cloned()
        })
        .collect();
    assert_eq!(messages, [None, None, Some("third time unlucky".to_owned()), None]);
    assert_eq!(kept.take(), [0, 1, 3]);
    sink.close().wait().unwrap();
    assert!(sink.write(4).is_err());
}

#[test]
fn a_recorder_finds_what_is_wrong() {
    let of = Stamp::new;
    let found = |stamps: &[Stamp]| {
        let recorder = Recorder::new();
        stamps.iter().for_each(|stamp| recorder.write(*stamp).unwrap());
        recorder.irregularities()
    };
    assert_eq!(found(&[of(0, 0), of(1, 0), of(0, 1), of(1, 1)]), []);
    assert_eq!(found(&[of(0, 1), of(0, 0)]), [Irregularity::OutOfOrder { late: of(0, 0), after: of(0, 1) }]);
    assert_eq!(found(&[of(0, 0), of(0, 0)]), [Irregularity::Repeated(of(0, 0))]);
    assert_eq!(found(&[of(4, 2)]), [Irregularity::Missing(of(4, 0)), Irregularity::Missing(of(4, 1))]);
    // A gap too long to list in full.
    assert_eq!(found(&[of(0, 0), of(0, u64::MAX)]).len(), 1000);
}

#[test]
fn a_recorder_that_is_not_complete_says_so() {
    let says = |stamps: &[Stamp], check: fn(&Recorder)| {
        let recorder = Recorder::new();
        stamps.iter().for_each(|stamp| recorder.write(*stamp).unwrap());
        match catch_unwind(AssertUnwindSafe(|| check(&recorder))) {
            Ok(()) => String::new(),
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        }
    };
    let of = |n| Stamp::new(0, n);
    let complete = |recorder: &Recorder| recorder.assert_complete(1, 3);
    assert_eq!(says(&[of(0), of(1), of(2)], complete), "");
    // Missing at the end too, which no later event shows.
    assert_eq!(says(&[of(0), of(1)], complete), "event 2 of writer 0 is missing");
    assert!(says(&[of(0), of(1), of(2), of(3)], complete).contains("event 3 of writer 0"));
    assert_eq!(says(&[of(0), of(2)], Recorder::assert_in_order), "");
    assert_eq!(
        says(&[of(2), of(0)], Recorder::assert_in_order),
        "event 0 of writer 0 came after event 2 of writer 0"
    );
    assert!(says(&[], |recorder| recorder.assert_complete(2, 10)).ends_with("and 10 more"));
}

#[test]
fn a_recorder_keeps_what_comes_after_its_close_apart() {
    let recorder = Recorder::new();
    let stamp = Stamp::new(0, 0);
    recorder.close().wait().unwrap();
    assert_eq!(recorder.write(stamp).unwrap_err().into_event(), stamp);
    assert_eq!(recorder.irregularities(), [Irregularity::Late(stamp)]);
    assert!(recorder.is_empty() && recorder.is_closed());
}
