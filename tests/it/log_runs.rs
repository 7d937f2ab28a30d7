//! Many events appended at once: as if one after the other, with numbers in a row, and nothing lost where that ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::common::{
    Census, Event, Latch, PLANNED, SOON, in_time, panic_message, planned_panic, rounds, spin, spin_for,
    wait_until,
};
use outflow::log::{FollowOptions, Lag, Log, LogOptions, SubscribeOptions};
use outflow::{CloseError, Sink, SinkExt, WriteError, sink};

/// Events of which nothing says how many there are.
fn unsized_events<I: IntoIterator>(events: I) -> impl Iterator<Item = I::Item> {
    events.into_iter().filter(|_| true)
}

#[test]
fn the_numbers_of_a_run_are_in_a_row_beside_other_writers() {
    const WRITERS: u64 = 3;
    for round in 0..rounds(150_u64) {
        let log = Log::with(LogOptions::new().retain(round % 2 * 100));
        let delivered = sink::collector();
        log.follow(delivered.clone());
        let cursor = log.subscribe();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let log = &log;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(round * WRITERS + writer);
                    for _ in 0..10 {
                        let events = random.u64(0..1024);
                        let single = log.append((writer, u64::MAX, 0)).unwrap();
                        // Each event knows the number of its run's first, relative to the one before it.
                        let run: Vec<_> = (0..events).map(|n| (writer, single, n)).collect();
                        let numbers = log.append_all(run).unwrap();
                        assert!(numbers.start > single);
                        assert_eq!(numbers.end - numbers.start, events);
                    }
                });
            }
        });
        log.close().wait().unwrap();
        let read: Vec<_> = cursor.into_iter().collect();
        assert_eq!(delivered.take(), read);
        // Behind the first of a run come the others of it.
        for pair in read.windows(2) {
            let [(writer, run, n), (next_writer, next_run, next_n)] = pair else { unreachable!() };
            assert!(*next_n == 0 || (next_writer, next_run, *next_n) == (writer, run, n + 1), "{pair:?}");
        }
    }
}

#[test]
fn events_that_are_more_than_a_run_come_in_order_and_with_their_range() {
    let log = Log::with(LogOptions::new().retain(100));
    let delivered = sink::collector();
    log.follow(delivered.clone());
    assert_eq!(log.append_all([]).unwrap(), 0..0);
    assert_eq!(log.append_all(0..5000).unwrap(), 0..5000);
    assert_eq!(log.append_all(unsized_events(5000..7000)).unwrap(), 5000..7000);
    assert_eq!(log.append_all([7000; 0]).unwrap(), 7000..7000);
    // First some that are known, then some that are not.
    assert_eq!(log.append_all((7000..7100).chain(unsized_events(7100..7200))).unwrap(), 7000..7200);
    log.flush().wait().unwrap();
    assert!(delivered.events().into_iter().eq(0..7200));
    assert!(log.oldest() <= 7100 && log.held().events < 400, "{} {:?}", log.oldest(), log.held());
    log.close().wait().unwrap();
}

#[test]
fn a_run_that_no_reader_can_ever_reach_is_dropped_and_counted() {
    let census = Census::panicking_on_drop();
    let log = Log::new();
    let events: Vec<_> = (0..10).map(|id| Event::new(id, &census)).collect();
    assert_eq!(log.append_all(events).unwrap(), 0..10);
    assert_eq!((log.unheard(), log.head(), census.live()), (10, 10, 0));
    let mut cursor = log.subscribe();
    log.append_all([Event::new(10, &census)]).unwrap();
    assert_eq!(cursor.recv_with(|event| event.id), Ok(10));
}

#[test]
fn large_events_go_in_in_short_runs() {
    let log = Log::<[u64; 4096]>::new();
    assert_eq!(log.longest_run(), 64);
    let mut cursor = log.subscribe();
    assert_eq!(log.append_all((0..200).map(|n| [n; 4096])).unwrap(), 0..200);
    let mut read = Vec::new();
    while let Ok(chunk) = cursor.try_next_chunk() {
        assert!(chunk.len() <= 64);
        read.extend(chunk.iter().map(|event| event[0]));
    }
    assert!(read.into_iter().eq(0..200));
    // An event without a size takes no memory and has a number.
    let units = Log::<()>::new();
    let reader = units.subscribe();
    assert_eq!(units.append_all([(); 3000]).unwrap(), 0..3000);
    drop(units);
    assert_eq!(reader.into_iter().count(), 3000);
}

// A reader for which writers wait.

#[test]
fn a_run_goes_in_as_far_as_there_is_room_and_wakes_the_reader_that_it_waits_for() {
    in_time("the run", || {
        let log = Log::new();
        let (latch, delivered) = (Latch::new(), sink::collector());
        let options = FollowOptions::new().max_lag(3, Lag::Block);
        let passing = {
            let latch = latch.clone();
            delivered.clone().inspect(move |_: &u32| latch.pass())
        };
        log.follow_with(options, passing).unwrap();
        thread::scope(|scope| {
            let run = scope.spawn(|| log.append_all(0..100));
            wait_until("as many as there is room for are in", || log.head() == 3);
            latch.arrived(1);
            assert!(!run.is_finished());
            latch.open();
            assert_eq!(run.join().unwrap().unwrap(), 0..100);
        });
        log.close().wait().unwrap();
        assert!(delivered.events().into_iter().eq(0..100));
    });
}

#[test]
fn no_reader_sleeps_while_a_run_waits_for_it() {
    in_time("the runs", || {
        for round in 0..rounds(500) {
            let log = Log::new();
            let options = || SubscribeOptions::new().max_lag(1 + u64::from(round % 3), Lag::Block);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let cursor = log.subscribe_with(options()).unwrap();
                    thread::spawn(move || cursor.into_iter().collect::<Vec<u32>>())
                })
                .collect();
            for first in (0..60).step_by(20) {
                spin(round);
                log.write_all(first..first + 20).unwrap();
            }
            drop(log);
            readers.into_iter().for_each(|reader| assert!(reader.join().unwrap().into_iter().eq(0..60)));
        }
    });
}

#[test]
fn a_run_of_a_follower_of_the_log_itself_waits_for_no_reader() {
    in_time("the close", || {
        let log = Log::new();
        let weak = log.downgrade();
        let options = FollowOptions::new().max_lag(2, Lag::Block);
        let echo = sink::for_each(move |event: u32| {
            if event == 0 {
                weak.upgrade().unwrap().write_all(1..100).unwrap();
            }
        });
        let follower = log.follow_with(options, echo).unwrap();
        log.append(0).unwrap();
        wait_until("it has written", || follower.position() == 100);
        log.close().wait().unwrap();
    });
}

#[test]
fn a_close_hands_back_what_a_run_that_waits_has_not_appended() {
    in_time("the run", || {
        let census = Census::new();
        let log = Log::new();
        let cursor = log.subscribe_with(SubscribeOptions::new().max_lag(3, Lag::Block)).unwrap();
        let events: Vec<_> = (0..1500).map(|id| Event::new(id, &census)).collect();
        thread::scope(|scope| {
            let run = scope.spawn(|| log.append_all(events));
            wait_until("it waits", || log.head() == 3);
            drop(log.close());
            let stopped = run.join().unwrap().unwrap_err();
            assert_eq!(stopped.refused.into_event().id, 3);
            assert!(stopped.rest.map(|event| event.id).eq(4..1500));
        });
        assert!(cursor.into_iter().map(|event| event.id).eq(0..3));
        assert_eq!(census.clones(), 3);
        census.assert_none_left();
    });
}

#[test]
fn a_run_goes_on_when_the_follower_that_it_waits_for_is_aborted_or_detached() {
    in_time("the runs", || {
        for round in 0..rounds(300) {
            let log = Log::new();
            let (latch, delivered, spilled) = (Latch::new(), sink::collector(), sink::collector());
            let passing = {
                let (latch, delivered) = (latch.clone(), delivered.clone());
                sink::for_each(move |event: u64| {
                    latch.pass();
                    delivered.write(event).unwrap();
                })
            };
            let options = FollowOptions::new().max_lag(5, Lag::Block).spill(spilled.clone());
            let follower = log.follow_with(options, passing).unwrap();
            let watcher = log.subscribe();
            thread::scope(|scope| {
                let run = scope.spawn(|| log.append_all(0..200));
                if round % 2 == 0 {
                    latch.arrived(1);
                } else {
                    latch.open();
                    spin(round);
                }
                // With the write under way; what is appended after that is not this follower's.
                let closing = if round % 3 == 0 {
                    drop(follower.detach());
                    None
                } else {
                    Some(follower.close())
                };
                if let Some(closing) = &closing {
                    thread::scope(|scope| {
                        scope.spawn(|| _ = closing.abort());
                        wait_until("it is stopped", || run.is_finished() || log.head() > 5);
                        latch.open();
                    });
                }
                latch.open();
                assert_eq!(run.join().unwrap().unwrap(), 0..200);
            });
            let _ = follower.close().wait();
            let stats = follower.stats();
            let terms = stats.delivered + stats.skipped + stats.dropped + stats.spilled + stats.lost;
            assert_eq!((stats.accepted, stats.pending, stats.in_flight), (terms, 0, 0), "{stats:?}");
            wait_until("the write under way has ended", || delivered.len() as u64 == stats.delivered);
            let mut seen: Vec<u64> = delivered.take().into_iter().chain(spilled.take()).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..stats.delivered + stats.spilled), "{stats:?}");
            // It tells of the follower, if that was aborted.
            let _ = log.close().wait();
            assert!(watcher.into_iter().eq(0..200));
        }
    });
}

// An iterator is a user's code.

#[test]
fn what_an_iterator_returned_before_it_panics_is_appended() {
    for known in [true, false] {
        let census = Census::new();
        let log = Log::new();
        let mut cursor = log.subscribe();
        let events = (0..10).map(|id| if id == 7 { planned_panic() } else { Event::new(id, &census) });
        let message = panic_message(|| {
            if known {
                drop(log.write_all(events));
            } else {
                drop(log.write_all(unsized_events(events)));
            }
        });
        assert_eq!(message, PLANNED);
        assert_eq!(log.head(), 7);
        let mut read = Vec::new();
        while let Ok(id) = cursor.try_recv_with(|event| event.id) {
            read.push(id);
        }
        assert!(read.into_iter().eq(0..7));
        // The log goes on.
        assert_eq!(log.append(Event::new(7, &census)).unwrap(), 7);
        drop((log, cursor));
        census.assert_none_left();
    }
}

#[test]
fn an_iterator_that_panics_on_a_closed_log_drops_what_it_returned_whatever_that_does() {
    let census = Census::panicking_on_drop();
    let log = Log::new();
    log.close().wait().unwrap();
    let events = (0..10).map(|id| if id == 7 { planned_panic() } else { Event::new(id, &census) });
    assert_eq!(panic_message(|| drop(log.write_all(events))), PLANNED);
    assert_eq!((census.live(), census.drops()), (0, 7));
}

#[test]
fn an_iterator_may_call_the_log() {
    in_time("the run", || {
        let log = Log::new();
        let mut cursor = log.subscribe();
        let inner = log.clone();
        let numbers = log.append_all((0..3).inspect(|n| {
            let ((), mut of_snapshot) = inner.subscribe_with_snapshot(|| ());
            inner.append(100 + n).unwrap();
            assert_eq!(of_snapshot.recv(), Ok(100 + n));
            inner.flush().wait().unwrap();
        }));
        assert_eq!(numbers.unwrap(), 3..6);
        for event in [100, 101, 102, 0, 1, 2] {
            assert_eq!(cursor.try_recv(), Ok(event));
        }
        // It closes the log: nothing of the run is in, and everything is handed back.
        let stopped = log.write_all((0..4).inspect(|_| drop(inner.close()))).unwrap_err();
        assert_eq!(stopped.refused, WriteError::Closed(0));
        assert!(stopped.rest.eq(1..4));
        assert_eq!(log.head(), 6);
    });
}

#[test]
fn what_an_iterator_that_waits_has_returned_is_not_held_back() {
    let log = Log::new();
    let mut cursor = log.subscribe();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let run = scope.spawn(|| log.append_all(receiver));
        for event in 0..3 {
            sender.send(event).unwrap();
            assert_eq!(cursor.recv_timeout(SOON), Ok(event));
        }
        drop(sender);
        assert_eq!(run.join().unwrap().unwrap(), 0..3);
    });
}

#[test]
fn an_iterator_that_promised_more_than_it_has_is_believed_to_be_at_its_end() {
    struct Liar(u32);
    impl Iterator for Liar {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            self.0 += 1;
            (self.0 <= 3).then_some(self.0)
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (if self.0 > 3 { 0 } else { usize::MAX }, None)
        }
    }
    let log = Log::new();
    let mut cursor = log.subscribe();
    assert_eq!(log.append_all(Liar(0)).unwrap(), 0..3);
    assert_eq!(*cursor.next_chunk().unwrap(), [1, 2, 3]);
}

// Snapshots.

#[test]
fn a_run_and_a_snapshot_do_not_overlap() {
    for round in 0..rounds(300) {
        let log = Log::new();
        let state = AtomicU64::new(0);
        let mut first = log.subscribe();
        let (seen, rest) = thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| (0..10).for_each(|_| log.write_all(0..100_u64).unwrap())))
                .collect();
            spin(round);
            let (seen, cursor) = log.subscribe_with_snapshot(|| {
                let head = log.head();
                while first.try_recv().is_ok() {
                    state.fetch_add(1, Ordering::SeqCst);
                }
                spin_for(100);
                assert_eq!(log.head(), head, "a run intervened");
                assert_eq!(head % 100, 0, "a run was split");
                head
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            log.close().wait().unwrap();
            (seen, cursor.into_iter().count() as u64)
        });
        assert_eq!((state.into_inner(), seen + rest), (seen, 2000));
    }
}

#[test]
fn a_run_from_within_a_snapshot_panics_and_leaves_the_log_as_it_was() {
    let log = Log::new();
    let mut cursor = log.subscribe();
    let message = panic_message(|| drop(log.subscribe_with_snapshot(|| log.write_all(0..10).unwrap())));
    assert!(message.contains("from within a snapshot"), "{message}");
    assert_eq!(log.head(), 0);
    log.write_all(0..10).unwrap();
    assert_eq!(cursor.next_chunk().unwrap().len(), 10);
}

// Races.

#[test]
fn every_event_of_a_run_is_appended_or_handed_back_when_a_close_races() {
    for round in 0..rounds(1500) {
        let census = Census::new();
        let log = Log::new();
        let block = round % 2 == 0;
        let options = SubscribeOptions::new();
        let options = if block { options.max_lag(50, Lag::Block) } else { options };
        let cursor = log.subscribe_with(options).unwrap();
        let closed = AtomicBool::new(false);
        let (read, refused) = thread::scope(|scope| {
            let reader = scope.spawn(|| cursor.into_iter().map(|event: Event| event.id).collect::<Vec<_>>());
            let writer = scope.spawn(|| {
                let mut refused = Vec::new();
                for first in (0..400).step_by(80) {
                    let before = closed.load(Ordering::SeqCst);
                    let events: Vec<_> = (first..first + 80).map(|id| Event::new(id, &census)).collect();
                    if let Err(stopped) = log.append_all(events) {
                        refused.push(stopped.refused.into_event().id);
                        refused.extend(stopped.rest.map(|event| event.id));
                    } else {
                        assert!(!before, "a run went in after the close");
                    }
                }
                refused
            });
            spin(round);
            drop(log.close());
            closed.store(true, Ordering::SeqCst);
            (reader.join().unwrap(), writer.join().unwrap())
        });
        assert!(read.into_iter().chain(refused).eq(0..400));
        drop(log);
        census.assert_none_left();
    }
}

#[test]
fn no_wake_up_is_lost_between_a_run_and_a_reader_that_goes_to_sleep() {
    let last = rounds(5_000_u64);
    let log = Log::new();
    let mut cursor = log.subscribe();
    let (echo, echoed) = mpsc::channel();
    let reader = thread::spawn(move || {
        for event in 0..last * 3 {
            assert_eq!(cursor.recv_timeout(SOON), Ok(event), "a wake-up was lost");
            if event % 3 == 2 {
                echo.send(event).unwrap();
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(1);
    for first in (0..last * 3).step_by(3) {
        // From less than a reader looks before it sleeps to several times as long.
        spin_for(random.u32(0..20_000));
        log.write_all(first..first + 3).unwrap();
        assert_eq!(echoed.recv(), Ok(first + 2));
    }
    reader.join().unwrap();
}

#[test]
fn an_abort_amid_a_run_counts_what_was_not_begun() {
    let log = Log::new();
    let latch = Latch::new();
    let (passing, spilled) = (latch.clone(), sink::collector());
    let sink = sink::for_each(move |_: u64| passing.pass());
    let follower = log.follow_with(FollowOptions::new().spill(spilled.clone()), sink).unwrap();
    log.write_all(0..1000).unwrap();
    latch.arrived(1);
    match log.close().abort() {
        Err(error) => assert_eq!(error.undelivered(), 1000, "{error:?}"),
        Ok(()) => panic!("nothing was delivered"),
    }
    assert!(spilled.events().into_iter().eq(1..1000));
    latch.open();
    assert!(matches!(follower.close().wait(), Err(CloseError::Undelivered { .. })));
}
