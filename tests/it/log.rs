//! The log: one write, read by everybody at their own pace; every law of a queue, for each follower.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Census, Dest, Event, Fault, Latch, PLANNED, SOON, in_time, planned_panic, queue_behind, rounds, spin,
    spin_for, wait_until,
};
use outflow::log::{
    FollowError, FollowOptions, FollowerHandle, Lag, Log, LogOptions, RecvError, Start, StartError,
    SubscribeOptions, TryRecvError,
};
use outflow::retry::Constant;
use outflow::{CloseError, FlushError, Sink, SinkExt, WriteError, sink};

fn fill(log: &Log<Event>, census: &Arc<Census>, ids: std::ops::Range<u64>) {
    for id in ids {
        assert_eq!(log.append(Event::new(id, census)).unwrap(), id);
    }
}

#[track_caller]
fn assert_adds_up<E>(follower: &FollowerHandle<E>) {
    let stats = follower.stats();
    let terms = stats.delivered
        + stats.skipped
        + stats.dropped
        + stats.spilled
        + stats.lost
        + stats.pending
        + stats.in_flight;
    assert_eq!(stats.accepted, terms, "{stats:?}");
}

// Order, and what is cloned.

#[test]
fn every_reader_sees_every_event_in_order_from_any_number_of_writers() {
    const WRITERS: u64 = 3;
    const EVENTS: u64 = 20_000;
    let log = Log::new();
    let delivered: Vec<_> = (0..2).map(|_| sink::collector()).collect();
    for sink in &delivered {
        log.follow(sink.clone());
    }
    let cursors: Vec<_> = (0..2).map(|_| log.subscribe()).collect();
    let read = thread::scope(|scope| {
        let readers: Vec<_> = cursors
            .into_iter()
            .map(|cursor| scope.spawn(|| cursor.into_iter().collect::<Vec<(u64, u64)>>()))
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let log = &log;
                scope.spawn(move || (0..EVENTS).for_each(|n| log.write((writer, n)).unwrap()))
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        log.close().wait().unwrap();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    let first = delivered[0].take();
    assert_eq!(first.len() as u64, WRITERS * EVENTS);
    assert_eq!(first, delivered[1].take());
    read.iter().for_each(|read| assert_eq!(*read, first));
    for writer in 0..WRITERS {
        let own: Vec<u64> = first.iter().filter(|event| event.0 == writer).map(|event| event.1).collect();
        assert_eq!(own, (0..EVENTS).collect::<Vec<_>>(), "one writer's events out of order");
    }
}

#[test]
fn nothing_is_cloned_unless_a_sink_must_own_it() {
    let census = Census::new();
    let seen = Arc::new(AtomicU64::new(0));
    let log = Log::new();
    for _ in 0..3 {
        let seen = Arc::clone(&seen);
        log.follow(
            sink::from_fn(move |event: &Event| {
                seen.fetch_add(event.id, Ordering::SeqCst);
                Ok::<(), std::convert::Infallible>(())
            })
            .filter(|event: &Event| event.id != 1),
        );
    }
    let mut cursor = log.subscribe();
    fill(&log, &census, 0..4);
    assert_eq!(cursor.recv_with(|event| event.id), Ok(0));
    let mut ids = Vec::new();
    while ids.len() < 3 {
        ids.extend(cursor.next_chunk().unwrap().iter().map(|event| event.id));
    }
    log.close().wait().unwrap();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(seen.load(Ordering::SeqCst), 3 * 5);
    assert_eq!(census.clones(), 0);
    drop(cursor);
    census.assert_none_left();
}

#[test]
fn write_ref_clones_once_and_nothing_when_closed() {
    let census = Census::new();
    let log = Log::new();
    let _readers = (log.subscribe(), log.subscribe());
    let event = Event::new(0, &census);
    log.write_ref(&event).unwrap();
    assert_eq!(census.clones(), 1);
    log.close().wait().unwrap();
    assert!(log.write_ref(&event).unwrap_err().is_closed());
    assert_eq!(census.clones(), 1);
}

// Where to begin.

#[test]
fn a_reader_begins_now_at_the_oldest_or_at_a_number() {
    let log = Log::with(LogOptions::new().retain(3));
    (0..5).for_each(|event| log.write(event).unwrap());
    assert_eq!(log.subscribe().position(), 5);
    let oldest = log.subscribe_with(Start::Oldest).unwrap();
    assert!(oldest.position() <= 2, "fewer than the last three are held");
    assert_eq!(oldest.position(), log.oldest());
    let mut third = log.subscribe_with(Start::At(3)).unwrap();
    assert_eq!((third.recv(), third.recv(), third.try_recv()), (Ok(3), Ok(4), Err(TryRecvError::Empty)));
    assert_eq!(log.subscribe_with(Start::At(5)).unwrap().lag(), 0);
    assert_eq!(
        log.subscribe_with(Start::At(6)).unwrap_err(),
        StartError::Ahead { seq: 6, next: 5 },
        "an event that is yet to come"
    );
}

#[test]
fn a_number_that_is_no_longer_held_is_an_error_that_names_the_oldest() {
    let log = Log::with(LogOptions::new().retain(100));
    (0..10_000_u32).for_each(|event| log.write(event).unwrap());
    let Err(StartError::NotHeld { seq: 5, oldest }) = log.subscribe_with(Start::At(5)) else {
        panic!("event 5 is still held");
    };
    assert!((9_700..=9_900).contains(&oldest), "held from {oldest}");
    assert_eq!(log.subscribe_with(Start::At(oldest)).unwrap().recv(), Ok(oldest as u32));
    assert!(log.held().events <= 300, "{:?}", log.held());

    // The sink of a follower that cannot begin is closed, and so is its spill.
    let (late, spill) = (sink::collector(), sink::collector());
    let options = FollowOptions::new().start(Start::At(0)).spill(spill.clone());
    let error = log.follow_with(options, late.clone()).unwrap_err();
    assert!(matches!(error, FollowError::Start(StartError::NotHeld { seq: 0, .. })));
    assert!(late.is_closed() && spill.is_closed());
}

#[test]
fn a_closed_log_still_hands_out_what_it_retains_and_closes_a_sink_that_comes_too_late() {
    let log = Log::with(LogOptions::new().retain(2));
    (0..2).for_each(|event| log.write(event).unwrap());
    log.close().wait().unwrap();
    assert_eq!(log.subscribe_with(Start::Oldest).unwrap().into_iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(log.subscribe().recv(), Err(RecvError::Ended));
    let late = sink::collector();
    let follower = log.follow_with(Start::Oldest, late.clone()).unwrap();
    follower.close().wait().unwrap();
    assert_eq!(late.events(), [0, 1]);
    assert!(late.is_closed());
}

#[test]
fn what_no_reader_can_ever_reach_is_dropped_and_counted() {
    let census = Census::new();
    let log = Log::new();
    fill(&log, &census, 0..3);
    assert_eq!((log.unheard(), log.held().events), (3, 0));
    census.assert_none_left();
    let mut cursor = log.subscribe();
    fill(&log, &census, 3..4);
    assert_eq!(cursor.recv().unwrap().id, 3);
    // The last reader takes with it what it alone kept.
    fill(&log, &census, 4..9);
    assert_eq!(log.held().events, 5);
    drop(cursor);
    assert_eq!((log.held().events, log.held().segments), (0, 0));
    census.assert_none_left();
    let mut cursor = log.subscribe();
    fill(&log, &census, 9..11);
    assert_eq!((cursor.recv().unwrap().id, cursor.recv().unwrap().id), (9, 10));
}

// Snapshots.

#[test]
fn a_snapshot_and_the_events_after_it_fit_without_a_gap_or_an_overlap() {
    for _ in 0..200 {
        let log = Log::new();
        // Every write is counted before the next begins, so that the state is what was appended.
        let count = log.subscribe();
        let (state, rest) = thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let log = &log;
                    scope.spawn(move || (0..200_u64).for_each(|event| log.write(event).unwrap()))
                })
                .collect();
            let mut seen = count;
            thread::yield_now();
            let (state, cursor) = log.subscribe_with_snapshot(|| {
                let head = log.head();
                let mut read = 0_u64;
                while seen.try_recv().is_ok() {
                    read += 1;
                }
                thread::yield_now();
                assert_eq!(log.head(), head, "a write intervened");
                assert_eq!(read, head);
                read
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            log.close().wait().unwrap();
            (state, cursor.into_iter().count() as u64)
        });
        assert_eq!(state + rest, 400);
    }
}

#[test]
fn a_write_from_within_a_snapshot_panics_and_everything_else_works_there() {
    let log = Log::new();
    let delivered = sink::collector();
    log.follow(delivered.clone());
    let inner = log.clone();
    in_time("a snapshot that writes", move || {
        let panic = catch_unwind(AssertUnwindSafe(|| inner.subscribe_with_snapshot(|| inner.append(1))));
        let message = *panic.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("snapshot"), "{message}");

        let panic = catch_unwind(AssertUnwindSafe(|| inner.subscribe_with_snapshot(|| planned_panic())));
        assert!(panic.is_err());

        // Writes go on.
        assert_eq!(inner.append(7).unwrap(), 0);
        inner.flush().wait().unwrap();
        wait_until("no reader is left behind by a snapshot that panicked", || inner.held().events == 0);

        let ((), mut cursor) = inner.subscribe_with_snapshot(|| {
            assert_eq!(inner.subscribe().position(), 1);
            let (position, _) = inner.subscribe_with_snapshot(|| inner.head());
            assert_eq!(position, 1);
            // Nothing is under way, so it may be through before anybody looks.
            assert!(matches!(inner.flush().wait(), Ok(()) | Err(FlushError::WouldDeadlock)));
            assert_eq!(inner.held().events, 0);
            drop(inner.close());
        });
        assert_eq!(cursor.recv(), Err(RecvError::Ended));
    });
    assert!(log.write(1).unwrap_err().is_closed());
    log.close().wait().unwrap();
    assert_eq!(delivered.events(), [7]);
}

#[test]
fn a_write_that_a_snapshot_holds_back_goes_before_the_next_snapshot_and_not_before_one_within() {
    in_time("the snapshots", || {
        let log = Log::new();
        let (first, within) = (Latch::new(), Latch::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                log.subscribe_with_snapshot(|| {
                    first.pass();
                    // Does not wait for the write, which waits for this one.
                    let (head, _) = log.subscribe_with_snapshot(|| log.head());
                    assert_eq!(head, 0);
                    within.pass();
                });
            });
            first.arrived(1);
            let begun = Arc::new(AtomicBool::new(false));
            let (log, beginning) = (&log, Arc::clone(&begun));
            scope.spawn(move || {
                beginning.store(true, Ordering::SeqCst);
                log.append(1).unwrap()
            });
            wait_until("the write is about to wait", || begun.load(Ordering::SeqCst));
            // Nothing signals that it does.
            thread::sleep(Duration::from_millis(50));
            let next = scope.spawn(|| log.subscribe_with_snapshot(|| log.head()).0);
            // Nor that this one does.
            thread::sleep(Duration::from_millis(50));
            first.open();
            within.arrived(1);
            assert!(!next.is_finished(), "it began while a write was held back");
            within.open();
            assert_eq!(next.join().unwrap(), 1);
        });
    });
}

// A reader that falls behind.

#[test]
fn writers_wait_for_a_reader_with_a_bound_and_for_no_other() {
    let log = Log::new();
    let mut bounded = log.subscribe_with(SubscribeOptions::new().max_lag(3, Lag::Block)).unwrap();
    let _unbounded = log.subscribe();
    (0..3).for_each(|event| log.write(event).unwrap());
    let written = Arc::new(AtomicUsize::new(3));
    let writer = {
        let (log, written) = (log.clone(), Arc::clone(&written));
        thread::spawn(move || {
            for event in 3..10 {
                log.write(event).unwrap();
                written.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for event in 0..7 {
        assert!(bounded.lag() <= 3);
        assert!(written.load(Ordering::SeqCst) <= event + 3, "a write did not wait");
        assert_eq!(bounded.recv(), Ok(event));
        wait_until("the writer goes on", || written.load(Ordering::SeqCst) == event + 4);
    }
    writer.join().unwrap();
    assert_eq!(bounded.lag(), 3);
    // Gone, nobody waits for it.
    drop(bounded);
    in_time("a write without the reader", {
        let log = log.clone();
        move || (10..20).for_each(|event| log.write(event).unwrap())
    });
}

#[test]
fn a_close_and_the_end_of_a_reader_wake_writers_that_wait_for_it() {
    for end in ["close", "drop", "abort", "detach"] {
        let log = Log::new();
        let latch = Latch::new();
        let options = SubscribeOptions::new().max_lag(1, Lag::Block);
        let cursor = (end == "close" || end == "drop").then(|| log.subscribe_with(options).unwrap());
        let follower = cursor.is_none().then(|| {
            let latch = latch.clone();
            let options = FollowOptions::new().max_lag(1, Lag::Block);
            log.follow_with(options, sink::for_each(move |_: u32| latch.pass())).unwrap()
        });
        log.write(0).unwrap();
        let writer = {
            let log = log.clone();
            thread::spawn(move || log.write(1))
        };
        // Nothing signals that it waits.
        thread::sleep(Duration::from_millis(5));
        assert!(!writer.is_finished(), "{end}");
        match (end, follower) {
            ("close", _) => drop(log.close()),
            ("drop", _) => drop(cursor),
            ("abort", Some(follower)) => _ = follower.close().abort().unwrap_err(),
            (_, Some(follower)) => _ = follower.detach().unwrap(),
            _ => unreachable!(),
        }
        let answer = in_time("a write that waited", move || writer.join().unwrap());
        assert_eq!(answer.is_err(), end == "close", "{end}");
        latch.open();
        let _ = log.close().wait();
    }
}

#[test]
fn a_follower_that_writes_to_its_own_log_does_not_wait_for_itself() {
    let log = Log::new();
    let weak = log.downgrade();
    let delivered = sink::collector();
    let seen = delivered.clone();
    let feedback = sink::for_each(move |event: u32| {
        seen.write(event).unwrap();
        if event < 100 {
            let log = weak.upgrade().unwrap();
            log.write(event + 100).unwrap();
            log.write(event + 200).unwrap();
        }
    });
    let follower = log.follow_with(FollowOptions::new().max_lag(1, Lag::Block), feedback).unwrap();
    let writer = log.clone();
    in_time("a follower that feeds its own log", move || {
        (0..50).for_each(|event| writer.write(event).unwrap());
        wait_until("everything came round", || follower.stats().delivered == 150);
        writer.close().wait().unwrap();
    });
    assert_eq!(delivered.len(), 150);
}

#[test]
fn a_cursor_that_skips_knows_how_many_it_missed_and_one_that_closes_why() {
    let log = Log::new();
    let mut skips = log.subscribe_with(SubscribeOptions::new().max_lag(4, Lag::Skip)).unwrap();
    let mut closes = log.subscribe_with(SubscribeOptions::new().max_lag(4, Lag::Close)).unwrap();
    (0..4).for_each(|event| log.write(event).unwrap());
    assert_eq!((skips.recv(), closes.recv()), (Ok(0), Ok(0)));
    (4..2_000).for_each(|event| log.write(event).unwrap());
    let Err(RecvError::Lagged(lagged)) = skips.recv() else { panic!("it did not lag") };
    assert_eq!((lagged.missed, skips.position(), skips.lag()), (1995, 1996, 4));
    assert_eq!(skips.iter().take(4).collect::<Vec<_>>(), [1996, 1997, 1998, 1999]);
    assert_eq!(skips.missed(), 1995);

    for _ in 0..2 {
        let Err(TryRecvError::Closed(lagged)) = closes.try_recv() else { panic!("it is not closed") };
        assert_eq!(lagged.missed, 1999);
    }
    // From where it is told to go on.
    assert_eq!(closes.position(), 1);
    assert!(matches!(log.subscribe_with(Start::At(1)), Err(StartError::NotHeld { .. })));
}

#[test]
fn a_reader_that_may_be_left_behind_holds_nothing_beyond_its_bound() {
    let census = Census::new();
    let log = Log::new();
    let _skips = log.subscribe_with(SubscribeOptions::new().max_lag(100, Lag::Skip)).unwrap();
    let _closes = log.subscribe_with(SubscribeOptions::new().max_lag(50, Lag::Close)).unwrap();
    // A follower that is stuck in a write, and one that lags behind it.
    let latch = Latch::new();
    let stuck = latch.clone();
    let follower = log
        .follow_with(
            FollowOptions::new().max_lag(100, Lag::Skip),
            sink::for_each(move |_: Event| stuck.pass()),
        )
        .unwrap();
    fill(&log, &census, 0..1);
    latch.arrived(1);
    fill(&log, &census, 1..50_000);
    let live = census.live.load(Ordering::SeqCst);
    assert!(live <= 300, "{live} events are alive");
    latch.open();
    log.close().wait().unwrap();
    assert_adds_up(&follower);
    let stats = follower.stats();
    assert_eq!(stats.accepted, 50_000);
    assert_eq!(stats.delivered + stats.skipped, 50_000);
    assert!(stats.skipped >= 49_000, "{stats:?}");
}

#[test]
fn a_follower_that_lags_too_far_is_closed_with_that_reason_and_spills_what_is_held() {
    let log = Log::new();
    let latch = Latch::new();
    let (stuck, spill) = (latch.clone(), sink::collector());
    let sink = sink::for_each(move |_: u32| stuck.pass());
    let options = FollowOptions::new().max_lag(10, Lag::Close).spill(spill.clone());
    let follower = log.follow_with(options, sink).unwrap();
    log.write(0).unwrap();
    latch.arrived(1);
    (1..1000).for_each(|event| log.write(event).unwrap());
    latch.open();
    let error = follower.close().wait().unwrap_err();
    assert!(matches!(error, CloseError::Lagged { events: 999 }), "{error:?}");
    assert_eq!(spill.take(), (990..1000).collect::<Vec<_>>());
    assert_adds_up(&follower);
    assert_eq!((follower.stats().spilled, follower.stats().dropped), (10, 989));
    // That was asked for, so it is no error of the log's.
    log.close().wait().unwrap();
    let ended = log.ended();
    assert_eq!((ended.recent[0].id, ended.undelivered), (follower.id(), 999));
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_bound_of_nothing_is_refused() {
    let _ = SubscribeOptions::new().max_lag(0, Lag::Skip);
}

// Memory.

#[test]
fn a_segment_is_freed_when_its_last_reader_has_passed_it() {
    let census = Census::new();
    let live = || census.live.load(Ordering::SeqCst);
    let log = Log::new();
    let (mut fast, mut slow) = (log.subscribe(), log.subscribe());
    for round in 0..3 {
        fill(&log, &census, 10 * round..10 * round + 10);
        // Clones of these are dropped at once.
        (0..10).for_each(|_| drop(fast.recv().unwrap()));
    }
    assert_eq!((live(), log.held().events, log.held().segments), (30, 30, 3));
    (0..9).for_each(|_| drop(slow.recv().unwrap()));
    assert_eq!(live(), 30, "a segment went while a reader was in it");
    slow.recv().unwrap();
    assert_eq!((live(), log.held().events, log.held().segments), (20, 20, 2));
    {
        let chunk = slow.next_chunk().unwrap();
        assert_eq!((chunk.len(), chunk.first_seq()), (10, 10));
        assert_eq!(live(), 20);
    }
    assert_eq!(live(), 10);
    drop(slow);
    assert_eq!((live(), log.held().events, log.held().segments), (0, 0, 0));
}

#[test]
fn ten_dead_followers_hold_one_backlog() {
    const EVENTS: u64 = 10_000;
    let census = Census::new();
    let log = Log::new();
    let latch = Latch::new();
    for _ in 0..10 {
        let dead = latch.clone();
        log.follow(sink::from_fn(move |_: &Event| {
            dead.pass();
            Ok::<(), std::convert::Infallible>(())
        }));
    }
    fill(&log, &census, 0..EVENTS);
    latch.arrived(10);
    assert_eq!(census.live.load(Ordering::SeqCst), EVENTS as i64);
    assert_eq!(log.held().events, EVENTS);
    latch.open();
    log.close().wait().unwrap();
    assert_eq!(log.held().events, 0);
    census.assert_none_left();
}

#[test]
fn dropping_many_segments_does_not_recurse() {
    // A frame for each would take more than the stack has bytes.
    const SEGMENTS: u32 = 100_000;
    let small = thread::Builder::new().stack_size(64 * 1024);
    let thread = small.spawn(|| {
        let log = Log::new();
        let (slow, mut fast) = (log.subscribe(), log.subscribe());
        for event in 0..SEGMENTS {
            log.write(event).unwrap();
            assert_eq!(fast.try_recv(), Ok(event));
        }
        assert_eq!(log.held().segments, u64::from(SEGMENTS));
        drop(slow);
        assert_eq!(log.held().segments, 0);
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_cursor_takes_64_bytes() {
    assert_eq!(size_of::<outflow::log::Cursor<Event>>(), 64);
}

#[test]
fn a_handle_or_a_cursor_that_is_kept_keeps_nothing_of_a_log_that_is_dropped() {
    let census = Census::new();
    let log = Log::with(LogOptions::new().retain(100));
    let follower = log.follow(sink::discard());
    fill(&log, &census, 0..1000);
    let mut cursor = log.subscribe();
    let skips = log.subscribe_with(SubscribeOptions::new().max_lag(5, Lag::Skip)).unwrap();
    log.close().wait().unwrap();
    // As long as there is a handle of the log, somebody may still ask for it.
    assert_eq!(log.subscribe_with(Start::At(950)).unwrap().recv().unwrap().id, 950);
    drop(log);
    drop(skips);
    assert_eq!(cursor.recv().unwrap_err(), RecvError::Ended);
    census.assert_none_left();
    assert_eq!((follower.stats().delivered, cursor.position()), (1000, 1000));
}

#[test]
fn a_reader_begins_at_any_event_of_a_long_chain() {
    let log = Log::new();
    let (_slow, mut fast) = (log.subscribe_with(Start::Now).unwrap(), log.subscribe());
    let keeps = log.subscribe_with(SubscribeOptions::new().max_lag(100_000, Lag::Skip)).unwrap();
    for event in 0..20_000_u64 {
        log.write(event).unwrap();
        assert_eq!(fast.try_recv(), Ok(event));
    }
    for at in [0, 1, 777, 10_000, 19_998, 19_999] {
        assert_eq!(log.subscribe_with(Start::At(at)).unwrap().recv(), Ok(at));
        let options = SubscribeOptions::new().start(Start::At(at)).max_lag(100_000, Lag::Skip);
        assert_eq!(log.subscribe_with(options).unwrap().recv(), Ok(at));
    }
    // Let go of bit by bit, and of all of it.
    drop((_slow, keeps));
    assert_eq!(log.held().events, 0);
    assert_eq!(log.oldest(), 20_000);
}

// Ended from another thread.

#[test]
fn a_cursor_that_waits_is_cancelled_from_another_thread_and_keeps_no_writer_waiting() {
    for max_lag in [None, Some(Lag::Block), Some(Lag::Skip)] {
        in_time("the cursor", move || {
            let census = Census::new();
            let log = Log::<Event>::new();
            let mut options = SubscribeOptions::new();
            if let Some(lag) = max_lag {
                options = options.max_lag(2, lag);
            }
            let mut cursor = log.subscribe_with(options).unwrap();
            let handle = cursor.handle();
            let reader = thread::spawn(move || {
                let waited = cursor.recv_with(|event| event.id);
                (cursor, waited)
            });
            handle.cancel();
            let (mut cursor, waited) = reader.join().unwrap();
            assert_eq!(waited, Err(RecvError::Cancelled));
            assert_eq!(cursor.end_reason(), Some(RecvError::Cancelled));
            // With `Block`, the third of these would wait for it.
            fill(&log, &census, 0..5);
            assert_eq!(cursor.try_recv_with(|event| event.id), Err(TryRecvError::Cancelled));
            assert_eq!(cursor.next_chunk().unwrap_err(), RecvError::Cancelled);
            assert_eq!((cursor.position(), cursor.iter().count()), (0, 0));
            drop(cursor);
            census.assert_none_left();
            handle.cancel();
        });
    }
}

#[test]
fn a_cancel_races_a_reader_that_goes_to_sleep() {
    for round in 0..rounds(3_000) {
        let log = Log::<u32>::new();
        let mut cursor = log.subscribe();
        let handle = cursor.handle();
        let reader = thread::spawn(move || cursor.recv_timeout(SOON));
        spin_for(fastrand::u32(0..20_000));
        handle.cancel();
        assert_eq!(reader.join().unwrap(), Err(TryRecvError::Cancelled), "in round {round}");
    }
}

#[test]
fn a_cursor_that_is_cancelled_amid_a_segment_reads_no_more_of_it_and_frees_all() {
    let census = Census::new();
    let log = Log::new();
    let (mut cursor, mut other) = (log.subscribe(), log.subscribe());
    let handle = cursor.handle();
    fill(&log, &census, 0..10);
    assert_eq!(cursor.recv_with(|event| event.id), Ok(0));
    assert_eq!(other.next_chunk().unwrap().len(), 10);
    handle.clone().cancel();
    assert_eq!(cursor.recv_with(|event| event.id), Err(RecvError::Cancelled));
    census.assert_none_left();
    assert_eq!(other.end_reason(), None);
}

#[test]
fn a_cursor_says_why_it_has_ended_and_numbers_its_events() {
    let log = Log::new();
    let mut ends = log.subscribe();
    let closes = log.subscribe_with(SubscribeOptions::new().max_lag(2, Lag::Close)).unwrap();
    let mut skips = log.subscribe_with(SubscribeOptions::new().max_lag(2, Lag::Skip)).unwrap().numbered();
    (0..5).for_each(|event| log.write(event * 10).unwrap());
    let mut closes = closes.numbered();
    assert_eq!(closes.next(), None);
    assert!(matches!(closes.get_ref().end_reason(), Some(RecvError::Closed(lagged)) if lagged.missed == 5));
    assert_eq!(ends.end_reason(), None);
    log.close().wait().unwrap();
    assert_eq!(skips.by_ref().collect::<Vec<_>>(), [(3, 30), (4, 40)]);
    assert_eq!(skips.into_inner().missed(), 3);
    assert_eq!(ends.end_reason(), None, "there is more to read");
    assert_eq!(ends.iter().count(), 5);
    assert_eq!(ends.end_reason(), Some(RecvError::Ended));
}

// Close, flush, abort.

#[test]
fn a_close_drains_every_follower_closes_its_sink_and_lets_cursors_read_on() {
    let log = Log::new();
    let latch = Latch::new();
    let slow = latch.clone();
    let delivered = sink::collector();
    log.follow(delivered.clone().inspect(move |_| slow.pass()));
    let other = sink::collector();
    log.follow(other.clone());
    let mut cursor = log.subscribe();
    (0..100).for_each(|event| log.write(event).unwrap());
    let closing = log.close();
    assert_eq!(log.write(100).unwrap_err().into_event(), 100);
    wait_until("the other is drained and closed, though the slow one is not", || other.is_closed());
    assert!(!closing.is_done() && !delivered.is_closed());
    latch.open();
    closing.wait().unwrap();
    log.close().wait().unwrap();
    assert_eq!(delivered.events(), (0..100).collect::<Vec<_>>());
    assert!(delivered.is_closed());
    assert_eq!(cursor.iter().count(), 100);
    assert_eq!(cursor.recv(), Err(RecvError::Ended));
}

#[test]
fn dropping_the_last_log_begins_a_close() {
    let log = Log::new();
    let delivered = sink::collector();
    log.follow(delivered.clone());
    let cursor = log.clone().subscribe();
    log.write(1).unwrap();
    drop(log);
    wait_until("the follower's sink is closed", || delivered.is_closed());
    assert_eq!(delivered.events(), [1]);
    assert_eq!(cursor.into_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_flush_waits_for_what_was_written_before_it_and_no_longer() {
    let log = Log::new();
    let (sent, allowed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(10)));
    let (at, most) = (Arc::clone(&sent), Arc::clone(&allowed));
    log.follow(sink::for_each(move |event: u64| {
        wait_until("it may go on", || event < most.load(Ordering::SeqCst));
        at.fetch_add(1, Ordering::SeqCst);
    }));
    (0..10).for_each(|event| log.write(event).unwrap());
    let flushing = log.flush();
    // In the same segment or not: these are not waited for.
    (10..20).for_each(|event| log.write(event).unwrap());
    flushing.within(SOON).unwrap();
    assert_eq!(sent.load(Ordering::SeqCst), 10);
    let later = log.flush();
    assert!(matches!(
        later.within(Duration::from_millis(5)),
        Err(FlushError::NotDelivered(_) | FlushError::TimedOut)
    ));
    allowed.store(20, Ordering::SeqCst);
    later.within(SOON).unwrap();
    log.close().wait().unwrap();
    log.flush().wait().unwrap();
}

#[test]
fn an_abort_spills_what_is_left_tells_it_per_follower_and_wakes_a_retry() {
    let log = Log::new();
    let saved = sink::collector();
    let dead =
        sink::from_fn(|_: &u64| Err("no route to host")).retry(Constant::new(Duration::from_secs(3600)));
    let follower = log.follow_with(FollowOptions::new().spill(saved.clone()), dead).unwrap();
    let healthy = sink::collector();
    log.follow(healthy.clone());
    (0..100).for_each(|event| log.write(event).unwrap());
    wait_until("the retry is asleep", || follower.position() == 1);
    let before = Instant::now();
    let error = log.close().within(Duration::from_millis(20)).unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(5));
    let told: Vec<_> = error.sinks().map(|(id, error)| (id, error.undelivered())).collect();
    assert_eq!(told, [(follower.id(), 100)]);
    wait_until("the event in flight has come back", || saved.len() == 100);
    let mut ids = saved.take();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    assert_eq!(healthy.len(), 100);
    assert_adds_up(&follower);
    assert_eq!(follower.stats().spilled, 100);
    wait_until("the spill is closed", || saved.is_closed());
}

#[test]
fn an_abort_gives_a_write_under_way_100_ms_and_accounts_for_it_when_it_comes_back() {
    let log = Log::new();
    let latch = Latch::new();
    let stuck = latch.clone();
    let saved = sink::collector();
    let follower = log
        .follow_with(FollowOptions::new().spill(saved.clone()), sink::for_each(move |_: u64| stuck.pass()))
        .unwrap();
    (0..10).for_each(|event| log.write(event).unwrap());
    latch.arrived(1);
    let before = Instant::now();
    let error = log.close().abort().unwrap_err();
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(90) && took < Duration::from_secs(5), "{took:?}");
    let (id, error) = error.sinks().next().unwrap();
    assert_eq!(id, follower.id());
    assert!(matches!(error, CloseError::Undelivered { events: 9, in_flight: 1 }), "{error:?}");
    assert_eq!(saved.events(), (1..10).collect::<Vec<_>>(), "spilled while the write is stuck");
    assert_eq!(follower.stats().in_flight, 1);
    assert_adds_up(&follower);
    latch.open();
    wait_until("it came back", || follower.stats().delivered == 1);
    assert_adds_up(&follower);
}

#[test]
fn waiting_inside_a_follower_answers_that_it_would_deadlock() {
    let log = Log::new();
    let weak = log.downgrade();
    let answers = sink::collector();
    let seen = answers.clone();
    log.follow(sink::for_each(move |_: u32| {
        if let Some(log) = weak.upgrade() {
            let flushed = log.flush().wait().is_err();
            let closed = matches!(log.close().wait(), Err(CloseError::WouldDeadlock));
            seen.write((flushed, closed)).unwrap();
        }
    }));
    log.write(1).unwrap();
    in_time("waiting from within", {
        let (log, answers) = (log.clone(), answers.clone());
        move || {
            wait_until("it has an outcome", || !answers.is_empty());
            log.close().wait().unwrap();
        }
    });
    assert_eq!(answers.take(), [(true, true)]);
}

#[test]
fn a_detached_follower_hands_its_sink_back_and_another_goes_on_where_it_was() {
    for round in 0..rounds(500) {
        let log = Log::with(LogOptions::new().retain(1000));
        let first = sink::collector();
        let follower = log.follow(first.clone());
        let writer = {
            let log = log.clone();
            thread::spawn(move || (0..200).for_each(|event| log.write(event).unwrap()))
        };
        spin_for(round * 20);
        let sink = follower.detach().unwrap();
        assert!(follower.detach().is_none());
        let position = follower.position();
        let second = sink::collector();
        log.follow_with(Start::At(position), second.clone()).unwrap();
        writer.join().unwrap();
        follower.close().wait().unwrap();
        log.close().wait().unwrap();
        assert!(!sink.is_closed(), "a sink that was handed back was closed");
        let mut all = first.take();
        assert_eq!(all.len() as u64, position);
        all.extend(second.take());
        assert_eq!(all, (0..200).collect::<Vec<_>>());
        assert_adds_up(&follower);
        assert_eq!(follower.stats().accepted, position);
    }
}

// Ends.

#[test]
fn a_follower_that_panics_or_closes_ends_alone_and_is_reported_by_name() {
    for fault in [Fault::PanicAt(3), Fault::ClosedAt(3)] {
        let census = Census::new();
        let log = Log::new();
        let (dest, spill) = (Dest::new(fault), Dest::new(Fault::None));
        let faulty =
            log.follow_with(FollowOptions::new().spill(Arc::clone(&spill)), Arc::clone(&dest)).unwrap();
        let healthy = Dest::new(Fault::None);
        log.follow(Arc::clone(&healthy));
        fill(&log, &census, 0..10);
        let own = faulty.close().wait().unwrap_err();
        let (left, lost) = if fault == Fault::PanicAt(3) { (4..10, 1) } else { (3..10, 0) };
        match own {
            CloseError::Panicked { events: 7, ref message } => assert_eq!(&**message, PLANNED),
            CloseError::DownstreamClosed { events: 7 } => assert_eq!(lost, 0),
            other => panic!("{other:?}"),
        }
        assert_eq!(dest.ids(), [0, 1, 2]);
        assert_eq!(spill.ids(), left.collect::<Vec<_>>());
        assert_eq!(faulty.stats().lost, lost);
        assert_adds_up(&faulty);
        assert_eq!(log.followers(), 1);
        assert_eq!((log.ended().count, log.ended().undelivered), (1, 7));
        fill(&log, &census, 10..20);
        let error = log.close().wait().unwrap_err();
        assert_eq!(error.undelivered(), 7);
        assert_eq!(error.sinks().map(|(id, _)| id).collect::<Vec<_>>(), [faulty.id()]);
        assert_eq!(healthy.ids(), (0..20).collect::<Vec<_>>());
        assert!(dest.closes.load(Ordering::SeqCst) > 0 && spill.closes.load(Ordering::SeqCst) > 0);
        assert_eq!(faulty.stats().accepted, 10, "an ended follower accepts no more");
    }
}

#[test]
fn a_panic_in_clone_or_in_a_closure_leaves_the_cursor_at_its_event() {
    for max_lag in [None, Some(Lag::Block), Some(Lag::Skip)] {
        let census = Census::new();
        census.panic_on_clone_of(0);
        let log = Log::new();
        let mut options = SubscribeOptions::new();
        if let Some(lag) = max_lag {
            options = options.max_lag(10, lag);
        }
        let mut cursor = log.subscribe_with(options).unwrap();
        fill(&log, &census, 0..1);
        assert!(catch_unwind(AssertUnwindSafe(|| cursor.recv())).is_err());
        assert_eq!(cursor.recv().unwrap().id, 0);
        fill(&log, &census, 1..2);
        let planned: Result<Result<(), _>, _> =
            catch_unwind(AssertUnwindSafe(|| cursor.recv_with(|_| planned_panic())));
        assert!(planned.is_err());
        assert_eq!(cursor.recv().unwrap().id, 1);
    }
}

#[test]
fn events_may_call_the_log_when_they_are_dropped() {
    struct Calls(Mutex<Option<Log<Arc<Calls>>>>);
    impl Drop for Calls {
        fn drop(&mut self) {
            if let Some(log) = self.0.lock().unwrap().take() {
                let _ = (log.held(), log.flush(), log.subscribe());
                let _ = log.append(Arc::new(Calls(Mutex::new(None))));
            }
        }
    }
    in_time("an event that calls the log when dropped", || {
        let log = Log::with(LogOptions::new().retain(1));
        let mut cursor = log.subscribe();
        let follower = log.follow(sink::discard());
        for _ in 0..1000 {
            log.append(Arc::new(Calls(Mutex::new(Some(log.clone()))))).unwrap();
            cursor.try_recv_with(|_| ()).unwrap();
        }
        drop(follower.detach());
        drop(cursor);
        log.close().wait().unwrap();
    });
}

#[test]
fn waits_come_back_when_their_time_is_up_and_when_something_comes() {
    let log = Log::new();
    let mut cursor = log.subscribe();
    let before = Instant::now();
    assert_eq!(cursor.recv_timeout(Duration::from_millis(20)), Err(TryRecvError::Empty));
    assert!(before.elapsed() >= Duration::from_millis(20));
    assert!(cursor.next_chunk_timeout(Duration::ZERO).is_err());
    for round in 0..rounds(300_u32) {
        // Asleep in some rounds, about to sleep in others.
        let reader = thread::spawn(move || {
            let event = cursor.recv_timeout(SOON);
            (cursor, event)
        });
        spin_for(round * 300);
        log.write(round).unwrap();
        let (back, event) = reader.join().unwrap();
        assert_eq!(event, Ok(round), "a wake-up was lost");
        cursor = back;
    }
    let reader = thread::spawn(move || cursor.recv());
    thread::sleep(Duration::from_millis(2));
    log.close().wait().unwrap();
    assert_eq!(in_time("a cursor of a closed log", || reader.join().unwrap()), Err(RecvError::Ended));
}

// Races.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Abort,
    Panic,
    Closed,
    Detach,
    CloseFollower,
    LastHandle,
}

/// Writers, a follower that ends in some way, one that does not, cursors that come and go: everything is
/// accounted for, and everything is freed.
fn race(round: u32, how: How, spills: bool, lag: Option<Lag>) {
    const WRITERS: u64 = 2;
    const EVENTS: u64 = 40;
    let census = Census::new();
    let fault = match how {
        How::Panic => Fault::PanicAt(round as usize % 60),
        How::Closed => Fault::ClosedAt(round as usize % 60),
        _ => Fault::None,
    };
    let (dest, spill, healthy) = (Dest::new(fault), Dest::new(Fault::None), Dest::new(Fault::None));
    let log = Log::with(LogOptions::new().retain(u64::from(round % 3)));
    let mut options = FollowOptions::new();
    if spills {
        options = options.spill(Arc::clone(&spill));
    }
    if let Some(lag) = lag {
        options = options.max_lag(8, lag);
    }
    let follower = log.follow_with(options, Arc::clone(&dest)).unwrap();
    log.follow(Arc::clone(&healthy));
    let barrier = Barrier::new(WRITERS as usize + 2);

    let mut handed_back = BTreeSet::new();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (log, barrier, census) = (log.clone(), &barrier, &census);
                scope.spawn(move || {
                    barrier.wait();
                    let ids = (0..EVENTS).map(|event| writer * EVENTS + event);
                    ids.filter(|id| match log.write(Event::new(*id, census)) {
                        Ok(()) => false,
                        Err(WriteError::Closed(event)) => {
                            assert_eq!(event.id, *id);
                            true
                        }
                        Err(WriteError::Failed { error, .. }) => match error {},
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        {
            let (log, barrier) = (log.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                for turn in 0..4 {
                    spin(round + turn);
                    let start = if turn % 2 == 0 { Start::Now } else { Start::Oldest };
                    let mut cursor = log.subscribe_with(start).unwrap();
                    let from = cursor.position();
                    let mut read = 0;
                    while let Ok(chunk) = cursor.try_next_chunk() {
                        read += chunk.len() as u64;
                    }
                    assert_eq!(cursor.position(), from + read);
                }
            });
        }
        barrier.wait();
        spin(round + 77);
        match how {
            How::Close => drop(log.close()),
            How::Abort => _ = log.close().abort(),
            How::Detach => _ = follower.detach().map(|sink| sink.close()),
            How::CloseFollower => drop(follower.close()),
            How::Panic | How::Closed | How::LastHandle => {}
        }
        for writer in writers {
            handed_back.extend(writer.join().unwrap());
        }
    });

    let head = log.head();
    assert_eq!(head + handed_back.len() as u64, WRITERS * EVENTS, "an event went nowhere");
    let context = format!("{how:?} spills: {spills} {lag:?}");
    if how == How::LastHandle {
        drop(log);
        wait_until("the sinks are closed", || {
            [&dest, &healthy].iter().all(|dest| dest.closes.load(Ordering::SeqCst) > 0)
        });
    } else {
        let outcome = log.close().wait();
        if how == How::Close {
            assert!(outcome.is_ok() || lag == Some(Lag::Close), "{context} {outcome:?}");
        }
        drop(log);
    }
    wait_until("nothing is in flight", || follower.stats().in_flight == 0 && follower.stats().pending == 0);
    let stats = follower.stats();
    let context = format!("{context} {stats:?}");
    assert_adds_up(&follower);
    assert_eq!(stats.delivered, dest.ids().len() as u64, "{context}");
    assert_eq!(stats.spilled, spill.ids().len() as u64, "{context}");
    let (delivered, spilled): (BTreeSet<_>, BTreeSet<_>) =
        (dest.ids().into_iter().collect(), spill.ids().into_iter().collect());
    assert_eq!(delivered.len() as u64, stats.delivered, "twice: {context}");
    assert!(delivered.is_disjoint(&spilled) && delivered.is_disjoint(&handed_back), "{context}");
    match how {
        How::Close | How::LastHandle if lag != Some(Lag::Close) => {
            assert_eq!((stats.accepted, stats.delivered + stats.skipped), (head, head), "{context}");
        }
        How::Detach if stats.skipped == 0 && lag.is_none() => {
            // The write under way may have come after the new owner's close.
            let refused = stats.accepted - stats.delivered;
            assert!(refused <= 1 && refused == stats.dropped + stats.spilled, "{context}");
        }
        _ => {}
    }
    if spills && lag.is_none() {
        assert_eq!(stats.dropped, 0, "{context}");
    }
    if how != How::Abort {
        assert_eq!(healthy.ids().len() as u64, head, "a neighbour was disturbed: {context}");
    }
    assert!(!dest.late.load(Ordering::SeqCst) || how == How::Abort || how == How::Detach, "{context}");
    drop((dest, spill, healthy));
    drop(follower);
    census.assert_none_left();
}

fn races(how: How) {
    for round in 0..rounds(600) {
        let lag = [None, None, Some(Lag::Block), Some(Lag::Skip), Some(Lag::Close)][round as usize % 5];
        race(round, how, round % 2 == 0, lag);
    }
}

#[test]
fn every_event_is_accounted_for_when_a_close_races_with_writes() {
    races(How::Close);
}

#[test]
fn every_event_is_accounted_for_when_an_abort_races_with_writes() {
    races(How::Abort);
}

#[test]
fn every_event_is_accounted_for_when_a_sink_panics() {
    races(How::Panic);
}

#[test]
fn every_event_is_accounted_for_when_a_sink_closes_by_itself() {
    races(How::Closed);
}

#[test]
fn every_event_is_accounted_for_when_a_follower_is_detached() {
    races(How::Detach);
}

#[test]
fn every_event_is_accounted_for_when_a_follower_is_closed_alone() {
    races(How::CloseFollower);
}

#[test]
fn every_event_is_accounted_for_when_the_last_handle_is_dropped() {
    races(How::LastHandle);
}

#[test]
fn the_terms_of_a_followers_stats_only_grow_and_add_up_at_any_time() {
    for (round, lag) in (0..rounds(60)).zip([None, Some(Lag::Skip), Some(Lag::Block)].into_iter().cycle()) {
        let log = Log::new();
        let mut options = FollowOptions::new().spill(sink::discard());
        if let Some(lag) = lag {
            options = options.max_lag(8, lag);
        }
        let follower = log.follow_with(options, sink::discard()).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut last = follower.stats();
                while !done.load(Ordering::SeqCst) {
                    assert_adds_up(&follower);
                    let now = follower.stats();
                    let terms = |stats: outflow::log::FollowerStats| {
                        [
                            stats.accepted,
                            stats.delivered,
                            stats.skipped,
                            stats.dropped,
                            stats.spilled,
                            stats.lost,
                        ]
                    };
                    assert!(
                        terms(last).iter().zip(terms(now)).all(|(before, after)| *before <= after),
                        "{last:?} {now:?}"
                    );
                    last = now;
                }
            });
            (0..500_u64).for_each(|event| log.write(event).unwrap());
            if round % 2 == 0 {
                let _ = follower.close().abort();
            }
            let _ = log.close().wait();
            done.store(true, Ordering::SeqCst);
        });
        wait_until("it is at rest", || follower.stats().in_flight == 0);
        assert_adds_up(&follower);
        assert_eq!(follower.stats().pending, 0);
    }
}

#[test]
fn after_a_close_has_returned_every_write_is_refused() {
    for round in 0..rounds(2000) {
        let log = Log::new();
        let _reader = log.subscribe();
        let closed = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for event in 0..200_u32 {
                    let before = closed.load(Ordering::SeqCst);
                    let refused = log.write(event).is_err();
                    assert!(refused || !before, "a write went in after the close");
                }
            });
            spin(round);
            drop(log.close());
            closed.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn no_wake_up_is_lost_between_the_last_look_and_the_sleep() {
    let last = rounds(30_000_u64);
    let log = Log::new();
    let mut cursor = log.subscribe();
    let echoed = Arc::new(AtomicU64::new(0));
    let echo = Arc::clone(&echoed);
    let reader = thread::spawn(move || {
        for round in 1..=last {
            assert_eq!(cursor.recv_timeout(SOON), Ok(round), "a wake-up was lost");
            echo.store(round, Ordering::SeqCst);
        }
    });
    let mut random = fastrand::Rng::with_seed(1);
    for round in 1..=last {
        // About as long as a reader looks before it sleeps.
        spin_for(random.u32(0..2000));
        log.write(round).unwrap();
        while echoed.load(Ordering::SeqCst) < round && !reader.is_finished() {
            thread::yield_now();
        }
    }
    reader.join().unwrap();
}

#[test]
fn an_event_that_panics_when_a_write_drops_it_harms_neither_the_write_nor_a_reader() {
    in_time("the close", || {
        let census = Census::new();
        let log = Log::with(LogOptions::new().retain(64));
        fill(&log, &census, 0..128);
        let delivered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&delivered);
        let _follower = log.follow(sink::for_each(move |_: Event| _ = count.fetch_add(1, Ordering::SeqCst)));
        // Long enough for it to fall asleep, which nothing tells.
        thread::sleep(Duration::from_millis(50));
        census.panic_on_drop_of(3);
        // Frees the segment that holds it.
        fill(&log, &census, 128..129);
        assert!(census.has_panicked());
        log.close().wait().unwrap();
        assert_eq!(delivered.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_event_that_panics_when_a_reader_drops_it_harms_neither_the_reader_nor_a_writer() {
    in_time("the reader", || {
        let census = Census::new();
        census.panic_on_drop_of(0);
        let log = Log::new();
        let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Block)).unwrap();
        fill(&log, &census, 0..1);
        assert_eq!(cursor.recv_with(|event| event.id), Ok(0));
        assert!(cursor.position() == 1 && census.has_panicked());
        let writer = {
            let log = log.clone();
            thread::spawn(move || fill(&log, &census, 1..2))
        };
        assert_eq!(cursor.recv_with(|event| event.id), Ok(1));
        writer.join().unwrap();
    });
}

#[test]
fn a_followers_close_that_is_waited_for_in_a_snapshot_says_that_it_would_deadlock() {
    in_time("the snapshot", || {
        let log = Log::new();
        let weak = log.downgrade();
        let latch = Latch::new();
        let inside = latch.clone();
        let follower = log.follow(sink::for_each(move |event: u64| {
            if event == 0 {
                inside.pass();
                weak.upgrade().unwrap().append(1).unwrap();
            }
        }));
        log.append(0).unwrap();
        latch.arrived(1);
        let (outcome, _) = log.subscribe_with_snapshot(|| {
            latch.open();
            follower.close().wait()
        });
        assert!(matches!(outcome, Err(CloseError::WouldDeadlock)), "{outcome:?}");
        follower.close().wait().unwrap();
    });
}

#[test]
fn an_abort_whose_spill_writes_to_the_log_does_not_wait_for_its_own_follower() {
    in_time("the abort", || {
        for _ in 0..rounds(50) {
            let log = Log::new();
            let latch = Latch::new();
            let (release, inside, weak) = (latch.clone(), latch.clone(), log.downgrade());
            let spill = sink::for_each(move |event: u64| {
                if event == 1 {
                    // The write under way comes back meanwhile.
                    release.open();
                    thread::yield_now();
                    weak.upgrade().unwrap().append(77).unwrap();
                }
            });
            let options = FollowOptions::new().max_lag(2, Lag::Block).spill(spill);
            let follower = log.follow_with(options, sink::for_each(move |_: u64| inside.pass())).unwrap();
            log.append(0).unwrap();
            latch.arrived(1);
            log.append(1).unwrap();
            let writer = {
                let log = log.clone();
                thread::spawn(move || (2..5).for_each(|event| _ = log.append(event).unwrap()))
            };
            let _ = follower.close().abort();
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_follower_that_is_detached_in_a_write_holds_up_neither_a_flush_nor_the_close_of_the_log() {
    let go = Latch::new();
    let log = Log::new();
    let follower = {
        let go = go.clone();
        log.follow(sink::for_each(move |_: u32| go.pass()))
    };
    log.write(1).unwrap();
    go.arrived(1);
    let before = log.flush();
    assert!(follower.detach().is_some());
    before.within(SOON).unwrap();
    log.flush().within(SOON).unwrap();
    log.close().within(SOON).unwrap();
    go.open();
}

#[test]
fn a_close_waits_for_the_sink_of_a_follower_that_was_closed_before() {
    let go = Latch::new();
    let queue = queue_behind::<u32>(&go);
    let log = Log::new();
    let follower = log.follow(queue.clone());
    log.write_all(0..10).unwrap();
    let of_follower = follower.close();
    wait_until("the follower has ended", || log.followers() == 0);
    let closing = log.close();
    assert!(!closing.is_done() && !of_follower.is_done());
    go.open();
    closing.wait().unwrap();
    assert_eq!((queue.stats().delivered, log.ended().count), (10, 0));
}

#[test]
fn what_the_sink_of_a_follower_did_not_deliver_after_that_was_closed_is_reported_by_the_log() {
    let dead = sink::from_fn(|_: &u32| Err("down")).retry(Constant::new(Duration::from_secs(3600)));
    let log = Log::new();
    let follower = log.follow(dead.queued());
    log.write(1).unwrap();
    let of_follower = follower.close();
    wait_until("the follower has ended", || log.followers() == 0);
    assert_eq!(of_follower.abort().unwrap_err().undelivered(), 1);
    assert_eq!((log.ended().count, log.ended().undelivered), (1, 1));
    assert_eq!(log.close().wait().unwrap_err().undelivered(), 1);
}
