//! An abort tells of every event that was not delivered, and of no other, whatever goes on beside it: of a
//! broadcaster, of which sink missed it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Latch, OnClose, SOON, in_time, planned_panic, queue_behind, rounds, spin_for, wait_until,
};
use outflow::log::{FollowOptions, Log};
use outflow::retry::Constant;
use outflow::{Broadcaster, Buffer, CloseError, Closing, FlushError, SharedSink, Sink, SinkExt, sink};

/// An endpoint that is down, under a retry that nothing but a close wakes. Counts the attempts.
fn dead(attempts: &Arc<AtomicUsize>) -> impl Sink<u32, Error = Infallible> + Send + Sync + 'static {
    let attempts = Arc::clone(attempts);
    sink::from_fn(move |_: &u32| {
        attempts.fetch_add(1, Ordering::SeqCst);
        Err("no route to host")
    })
    .retry(Constant::new(Duration::from_secs(3600)))
}

#[test]
fn of_a_write_that_waits_in_a_backoff_tells_which_sink_missed_it() {
    let attempts = Arc::default();
    let broadcaster = Broadcaster::new();
    let log = sink::collector();
    broadcaster.add(log.clone()).unwrap();
    let id = broadcaster.add(dead(&attempts)).unwrap();
    let writer = {
        let broadcaster = broadcaster.clone();
        thread::spawn(move || broadcaster.write(1).is_ok())
    };
    wait_until("the write is in its backoff", || attempts.load(Ordering::SeqCst) == 1);
    let closing = broadcaster.close();
    let error = closing.within(Duration::from_millis(5)).unwrap_err();
    assert!(writer.join().unwrap(), "the broadcaster had accepted it");
    assert_eq!(error.undelivered(), 1, "{error:?}");
    assert_eq!(error.sinks().map(|(id, _)| id).collect::<Vec<_>>(), [id], "{error:?}");
    assert_eq!(log.events(), [1]);
    assert_eq!(broadcaster.ended().undelivered, 1);
    // Every closer gets the same.
    assert_eq!(broadcaster.close().wait().unwrap_err().to_string(), error.to_string());
}

#[test]
fn through_a_queue_above_it_tells_what_the_broadcaster_could_not_deliver() {
    let attempts = Arc::default();
    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(dead(&attempts)).unwrap();
    let queue = broadcaster.clone().queued();
    queue.write_all([1, 2, 3]).unwrap();
    wait_until("the write is in its backoff", || attempts.load(Ordering::SeqCst) == 1);
    let error = queue.close().within(Duration::from_millis(5)).unwrap_err();
    let stats = queue.stats();
    assert_eq!((stats.delivered, stats.dropped, stats.in_flight), (1, 2, 0));
    // Two are the queue's own; the one that it delivered is the broadcaster's.
    assert_eq!(error.undelivered(), 3, "{error:?}");
    let of_sink: Vec<_> = error.sinks().map(|(id, error)| (id, error.undelivered())).collect();
    assert_eq!(of_sink, [(id, 1)]);
}

#[test]
fn does_not_call_what_it_closed_itself_closed() {
    let told: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&told);
    let broadcaster = Broadcaster::with_on_closed(move |_, _: &SharedSink<u32>| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let attempts = Arc::default();
    broadcaster.add(dead(&attempts)).unwrap();
    let behind = sink::collector();
    broadcaster.add(behind.clone()).unwrap();
    let writer = {
        let broadcaster = broadcaster.clone();
        thread::spawn(move || broadcaster.write(1).is_ok())
    };
    wait_until("the write is in its backoff", || attempts.load(Ordering::SeqCst) == 1);
    let error = broadcaster.close().abort().unwrap_err();
    assert!(writer.join().unwrap());
    // The collector was closed before the write got to it, unless the write was faster.
    assert_eq!(behind.len() as u64 + error.undelivered(), 2, "{error:?}");
    assert_eq!(told.load(Ordering::SeqCst), 0);
}

#[test]
fn that_a_write_does_not_come_back_from_says_that_it_does_not_know_and_the_rest_is_counted_later() {
    let (inside, go) = (Latch::new(), Latch::new());
    let stuck = {
        let (inside, go) = (inside.clone(), go.clone());
        sink::for_each(move |_: u32| {
            inside.open();
            go.pass();
        })
    };
    let broadcaster = Broadcaster::new();
    broadcaster.add(stuck).unwrap();
    let behind = sink::collector();
    let id = broadcaster.add(behind.clone()).unwrap();
    let watcher = broadcaster.subscribe(Buffer::unbounded());
    let writer = {
        let broadcaster = broadcaster.clone();
        thread::spawn(move || broadcaster.write(1).is_ok())
    };
    inside.pass();
    let begun = Instant::now();
    let error = broadcaster.close().abort().unwrap_err();
    assert!(begun.elapsed() < SOON);
    assert!(matches!(error, CloseError::Aborted), "{error:?}");
    assert_eq!(broadcaster.ended().undelivered, 0);
    go.open();
    assert!(writer.join().unwrap());
    let ended = broadcaster.ended();
    assert_eq!((behind.len(), ended.undelivered, ended.recent[0].id), (0, 1, id));
    assert_eq!((watcher.iter().count(), watcher.dropped()), (0, 1));
}

#[test]
fn a_subscription_gets_what_was_under_way() {
    let broadcaster = Broadcaster::new();
    let first = sink::collector();
    broadcaster.add(first.clone()).unwrap();
    broadcaster.add(dead(&Arc::default())).unwrap();
    let watchers = [broadcaster.subscribe(Buffer::bounded(1)), broadcaster.subscribe(Buffer::bounded(1))];
    let writers: Vec<_> = (0..2)
        .map(|event| {
            let broadcaster = broadcaster.clone();
            thread::spawn(move || broadcaster.write(event).is_ok())
        })
        .collect();
    wait_until("both writes are under way", || first.len() == 2);
    let error = broadcaster.close().abort().unwrap_err();
    assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
    assert_eq!(error.undelivered(), 2, "{error:?}");
    // One of the two found no room.
    for watcher in watchers {
        assert_eq!((watcher.iter().count(), watcher.dropped()), (1, 1));
    }
}

#[test]
fn from_within_the_write_does_not_wait_for_itself() {
    // If each waited as long as for another's write, all together would take longer than the test may.
    in_time("aborts from within a write", || {
        for _ in 0..400 {
            let broadcaster = Broadcaster::new();
            let aborts = {
                let broadcaster = broadcaster.clone();
                sink::for_each(move |_: u32| {
                    let aborted = broadcaster.close().abort();
                    assert!(matches!(aborted, Err(CloseError::Aborted)), "{aborted:?}");
                })
            };
            broadcaster.add(aborts).unwrap();
            let behind = sink::collector();
            broadcaster.add(behind.clone()).unwrap();
            broadcaster.write(1).unwrap();
            // The sink that was behind is closed, and what it refused is counted.
            assert_eq!((behind.len(), broadcaster.ended().undelivered), (0, 1));
        }
    });
}

#[test]
fn beside_writes_that_wait_in_a_backoff_accounts_for_each_of_them() {
    for round in 0..rounds(300) {
        let attempts = Arc::default();
        let broadcaster = Broadcaster::new();
        let first = sink::collector();
        broadcaster.add(first.clone()).unwrap();
        let id = broadcaster.add(dead(&attempts)).unwrap();
        let closing = thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|event| {
                    let broadcaster = &broadcaster;
                    scope.spawn(move || broadcaster.write(event).is_ok())
                })
                .collect();
            let aborter = scope.spawn(|| {
                spin_for(round * 50);
                let closing = broadcaster.close();
                let other = closing.clone();
                let _ = thread::scope(|scope| {
                    scope.spawn(move || other.abort());
                    closing.abort()
                });
                closing
            });
            let accepted = writers.into_iter().map(|writer| writer.join().unwrap()).filter(|ok| *ok).count();
            let outcome = aborter.join().unwrap().wait();
            (accepted as u64, outcome)
        });
        let (accepted, outcome) = closing;
        // The dead one delivered none. The first one may have been closed before a write got to it.
        let missed_by_first = accepted - first.len() as u64;
        let undelivered = outcome.as_ref().err().map_or(0, CloseError::undelivered);
        let unknown = matches!(&outcome, Err(error) if error.to_string().ends_with("was aborted"));
        if !unknown {
            assert_eq!(undelivered, accepted + missed_by_first, "{outcome:?}");
        }
        let dead = broadcaster.ended().recent.into_iter().find(|ended| ended.id == id);
        assert_eq!(dead.and_then(|ended| ended.error).map_or(0, |error| error.undelivered()), accepted);
    }
}

/// Aborts twice at once and answers both outcomes.
fn abort_twice(close: impl Fn() -> Closing) -> [Result<(), CloseError>; 2] {
    let (one, other) = (close(), close());
    let aborter = thread::spawn(move || other.abort());
    [one.abort(), aborter.join().unwrap()]
}

fn undelivered(outcome: &Result<(), CloseError>) -> u64 {
    outcome.as_ref().err().map_or(0, CloseError::undelivered)
}

#[test]
fn beside_another_tells_the_same_of_a_queue() {
    in_time("the aborts", || {
        for round in 0..rounds(10_000) {
            let queue = dead(&Arc::default()).queued();
            let events = 3 + round % 40;
            queue.write_all(0..events).unwrap();
            for outcome in abort_twice(|| queue.close()) {
                assert_eq!(undelivered(&outcome), u64::from(events), "{outcome:?} {:?}", queue.stats());
            }
        }
    });
}

#[test]
fn beside_another_tells_the_same_of_a_log() {
    in_time("the aborts", || {
        for _ in 0..rounds(1000) {
            let log = Log::new();
            log.follow(dead(&Arc::default()));
            log.write_all(0..1000).unwrap();
            for outcome in abort_twice(|| log.close()) {
                assert_eq!(undelivered(&outcome), 1000, "{outcome:?}");
            }
        }
    });
}

#[test]
fn beside_another_and_a_writer_tells_the_same_of_a_log() {
    for round in 0..rounds(500_u64) {
        let log = Log::new();
        let delivered = sink::collector();
        log.follow(delivered.clone());
        let writer = {
            let log = log.clone();
            thread::spawn(move || (0..).take_while(|event| log.write(*event).is_ok()).count() as u64)
        };
        thread::sleep(Duration::from_micros(round * 7 % 300));
        let outcomes = abort_twice(|| log.close());
        let accepted = writer.join().unwrap();
        for outcome in outcomes {
            assert_eq!(delivered.len() as u64 + undelivered(&outcome), accepted, "{outcome:?}");
        }
    }
}

/// A spill that lets `free` events pass and keeps the others back until they may.
fn slow_spill(
    free: usize,
    gate: &Latch,
) -> (impl Sink<u32, Error = Infallible> + Send + Sync + 'static, sink::Collector<u32>) {
    let (gate, saved) = (gate.clone(), sink::collector());
    let kept = saved.clone();
    let spill = sink::for_each(move |event: u32| {
        if kept.len() >= free {
            gate.pass();
        }
        kept.write(event).unwrap();
    });
    (spill, saved)
}

#[test]
fn beside_another_that_is_in_a_spill_knows_what_that_will_get() {
    in_time("the aborts", || {
        let gate = Latch::new();
        let (spill, saved) = slow_spill(0, &gate);
        let queue = dead(&Arc::default()).queued_with(Buffer::unbounded().spill(spill));
        queue.write_all(0..10).unwrap();
        let aborters = [(); 2].map(|()| {
            let closing = queue.close();
            thread::spawn(move || closing.abort())
        });
        // Each helps to spill what is left.
        gate.arrived(2);
        gate.open();
        let outcomes = aborters.map(|aborter| aborter.join().unwrap());
        assert_eq!(outcomes.each_ref().map(undelivered), [10, 10], "{outcomes:?}");
        wait_until("all are spilled", || saved.len() == 10);

        let gate = Latch::new();
        let (spill, saved) = slow_spill(0, &gate);
        let log = Log::new();
        let follower = log.follow_with(FollowOptions::new().spill(spill), dead(&Arc::default())).unwrap();
        log.write_all(0..10).unwrap();
        let first = follower.close();
        let first = thread::spawn(move || first.abort());
        gate.arrived(1);
        // The first spills alone, and this one does not wait for it longer than for a write.
        let second = follower.close().abort();
        gate.open();
        let outcomes = [second, first.join().unwrap()];
        assert_eq!(outcomes.each_ref().map(undelivered), [10, 10], "{outcomes:?}");
        wait_until("all are spilled", || saved.len() == 10);
    });
}

#[test]
fn of_a_follower_that_has_ended_by_itself_and_still_spills_knows_what_it_will_spill() {
    for panics in [false, true] {
        in_time("the abort", move || {
            let ends = sink::for_each(|_: u32| planned_panic());
            if !panics {
                drop(ends.close());
            }
            let start = Latch::new();
            let held = {
                let start = start.clone();
                ends.inspect(move |_| start.pass())
            };
            // The event that is refused is spilled before it is over. One that it panics on is lost.
            let gate = Latch::new();
            let (spill, _saved) = slow_spill(usize::from(!panics), &gate);
            let log = Log::new();
            let follower = log.follow_with(FollowOptions::new().spill(spill), held).unwrap();
            log.write_all(0..10).unwrap();
            start.open();
            gate.arrived(1);
            let outcome = follower.close().abort();
            gate.open();
            match outcome {
                Err(CloseError::Panicked { events: 10, .. }) if panics => {}
                Err(CloseError::DownstreamClosed { events: 10 }) if !panics => {}
                outcome => panic!("{outcome:?}, panics: {panics}"),
            }
        });
    }
}

#[test]
fn over_a_tee_tells_of_the_event_that_one_side_missed() {
    for broadcast in [false, true] {
        let attempts = Arc::default();
        let log = sink::collector();
        let tee = log.clone().tee(dead(&attempts));
        let above: SharedSink<u32> = if broadcast {
            let broadcaster = Broadcaster::new();
            broadcaster.add(tee).unwrap();
            broadcaster.queued().shared()
        } else {
            tee.queued().shared()
        };
        above.write(1).unwrap();
        wait_until("the write is in its backoff", || attempts.load(Ordering::SeqCst) == 1);
        let error = above.close().abort().unwrap_err();
        assert_eq!((log.len(), error.undelivered()), (1, 1), "{error:?}");
        assert!(error.to_string().contains("one side of a tee"), "{error}");
    }
}

#[test]
fn a_tees_close_waits_for_a_write_and_says_so_to_one_that_waits_within_it() {
    let (inside, go) = (Latch::new(), Latch::new());
    let within: Arc<OnceLock<SharedSink<u32>>> = Arc::default();
    let tee = {
        let (inside, go, within) = (inside.clone(), go.clone(), Arc::clone(&within));
        let waits = sink::for_each(move |_: u32| {
            assert!(matches!(within.wait().close().wait(), Err(CloseError::WouldDeadlock)));
            inside.open();
            go.pass();
        });
        sink::discard().tee(waits).shared()
    };
    let _ = within.set(Arc::clone(&tee));
    let writer = {
        let tee = Arc::clone(&tee);
        thread::spawn(move || tee.write(1).is_ok())
    };
    inside.pass();
    assert!(!tee.close().is_done());
    go.open();
    assert!(writer.join().unwrap());
    tee.close().wait().unwrap();
}

#[test]
fn while_the_closes_are_begun_reaches_the_sinks() {
    let (closing, go) = (Latch::new(), Latch::new());
    // Its close takes its time, though it should not.
    let slow = {
        let (closing, go) = (closing.clone(), go.clone());
        OnClose(move || {
            closing.open();
            go.pass();
            Closing::done()
        })
    };
    let broadcaster = Broadcaster::new();
    broadcaster.add(slow).unwrap();
    let saved = sink::collector();
    let queue = dead(&Arc::default()).queued_with(Buffer::unbounded().spill(saved.clone()));
    broadcaster.add(queue.clone()).unwrap();
    broadcaster.write_all(0..5).unwrap();
    let closer = {
        let broadcaster = broadcaster.clone();
        thread::spawn(move || broadcaster.close().wait())
    };
    closing.pass();
    let aborter = {
        let closing = broadcaster.close();
        thread::spawn(move || closing.abort())
    };
    // Both are in the close of the first sink.
    go.arrived(2);
    go.open();
    assert_eq!(undelivered(&aborter.join().unwrap()), 5);
    assert_eq!(undelivered(&closer.join().unwrap()), 5);
    assert_eq!((saved.len(), queue.stats().pending), (5, 0));
}

#[test]
fn beside_one_that_is_in_the_hook_has_the_same_outcome() {
    let called = Latch::new();
    let (closing, pending) = Closing::pending();
    {
        let (called, own) = (called.clone(), closing.clone());
        pending.on_abort(move || {
            // One that the hook itself calls cannot have it.
            assert!(matches!(own.abort(), Err(CloseError::Aborted)));
            called.open();
            Err(CloseError::Undelivered { events: 3, in_flight: 0 })
        });
    }
    let aborters: Vec<_> = (0..2)
        .map(|_| {
            let closing = closing.clone();
            thread::spawn(move || closing.abort())
        })
        .collect();
    called.pass();
    let outcomes: Vec<_> = aborters.into_iter().map(|aborter| aborter.join().unwrap()).collect();
    assert_eq!(outcomes[0], outcomes[1]);
    // The hook's, unless the other thread took longer than an abort gives it.
    assert!(matches!(outcomes[0], Err(CloseError::Undelivered { events: 3, .. } | CloseError::Aborted)));
}

#[test]
fn a_hook_that_another_takes_the_place_of_is_dropped_without_a_lock() {
    struct Looks(Closing);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(!self.0.is_done());
        }
    }
    in_time("the drop", || {
        let (closing, pending) = Closing::pending();
        let looks = Looks(closing.clone());
        pending.on_abort(move || {
            let _looks = &looks;
            Ok(())
        });
        pending.on_abort(|| Ok(()));
        closing.abort().unwrap();
    });
}

#[test]
fn from_within_a_sinks_own_close_comes_to_an_end() {
    in_time("the close", || {
        let (above, calls): (Arc<OnceLock<Closing>>, Arc<AtomicUsize>) = (Arc::default(), Arc::default());
        let aborts = {
            let (above, calls) = (Arc::clone(&above), Arc::clone(&calls));
            OnClose(move || {
                calls.fetch_add(1, Ordering::SeqCst);
                let _ = above.wait().abort();
                Closing::done()
            })
        };
        let queue = aborts.queued();
        queue.write(1).unwrap();
        let _ = above.set(queue.close());
        let _ = queue.close().wait();
        assert!(calls.load(Ordering::SeqCst) < 10);
    });
}

#[test]
fn from_within_the_destructor_of_each_of_many_events_comes_to_an_end() {
    const EVENTS: u64 = 100_000;

    struct Aborts(Arc<OnceLock<Closing>>);
    impl Drop for Aborts {
        fn drop(&mut self) {
            let _ = self.0.get().map(Closing::abort);
        }
    }
    in_time("the abort", || {
        let above = Arc::default();
        let dead = sink::from_fn(|_: &Aborts| Err("down")).retry(Constant::new(Duration::from_secs(3600)));
        let queue = dead.queued();
        for _ in 0..EVENTS {
            assert!(queue.write(Aborts(Arc::clone(&above))).is_ok());
        }
        let closing = queue.close();
        let _ = above.set(closing.clone());
        assert_eq!(closing.abort().unwrap_err().undelivered(), EVENTS);
    });
}

#[test]
fn a_flush_that_is_asked_for_after_it_fails_with_the_close() {
    let go = Latch::new();
    let queue = queue_behind::<u32>(&go);
    queue.write(1).unwrap();
    go.arrived(1);
    assert!(matches!(queue.close().abort(), Err(CloseError::Undelivered { events: 0, in_flight: 1 })));
    assert!(matches!(queue.flush().within(SOON), Err(FlushError::NotDelivered(_))));
    go.open();
}

#[test]
fn a_close_of_thousands_that_are_put_together_one_by_one_completes() {
    // On a thread with the stack of any other.
    in_time("the close", || {
        let mut all = Closing::done();
        let pending: Vec<_> = (0..6000)
            .map(|_| {
                let (closing, pending) = Closing::pending();
                all = Closing::all([all.clone(), closing]);
                pending
            })
            .collect();
        let (last, first) = pending.split_first().unwrap();
        first.iter().for_each(|pending| pending.finish(Ok(())));
        assert!(!all.is_done());
        last.finish(Ok(()));
        all.wait().unwrap();
    });
}

#[test]
fn a_close_that_meets_the_same_again_and_again_is_not_walked_again_and_again() {
    in_time("the abort", || {
        let (mut closing, _pending) = Closing::pending();
        // A million ways lead to the bottom.
        for _ in 0..20 {
            closing = Closing::all([closing.clone(), closing.clone()]);
        }
        assert!(matches!(closing.abort(), Err(CloseError::Aborted | CloseError::Several(_))));
    });
}

#[test]
fn of_two_hooks_that_abort_each_other_comes_to_an_end() {
    in_time("the aborts", || {
        let [(one, first), (other, second)] = [(); 2].map(|()| Closing::pending());
        let meet = Arc::new(std::sync::Barrier::new(2));
        for (pending, aborts) in [(&first, other.clone()), (&second, one.clone())] {
            let meet = Arc::clone(&meet);
            pending.on_abort(move || {
                meet.wait();
                aborts.abort()
            });
        }
        let aborter = thread::spawn(move || other.abort());
        let _ = one.abort();
        let _ = aborter.join().unwrap();
    });
}

#[test]
fn from_within_the_close_of_what_is_downstream_does_not_take_its_answer_away() {
    in_time("the close", || {
        let above: Arc<OnceLock<Closing>> = Arc::default();
        let aborts = {
            let above = Arc::clone(&above);
            move || {
                assert!(above.wait().abort().is_err(), "it cannot know");
                Closing::failed(CloseError::Undelivered { events: 5, in_flight: 0 })
            }
        };
        let queue = OnClose(aborts).queued();
        let closing = queue.close();
        let _ = above.set(closing.clone());
        assert_eq!(undelivered(&closing.wait()), 5);
    });
}

#[test]
fn from_within_a_callback_knows_the_number_however_deep_the_closes_are_nested() {
    in_time("the abort", || {
        let (mut deep, pending) = Closing::pending();
        pending.on_abort(|| Err(CloseError::Undelivered { events: 3, in_flight: 0 }));
        for _ in 0..100 {
            deep = Closing::all([deep, Closing::done()]);
        }
        let (told, aborted) = std::sync::mpsc::channel();
        let aborts = move || {
            told.send(deep.abort()).unwrap();
            Closing::done()
        };
        let broadcaster = Broadcaster::new();
        broadcaster.add(OnClose(aborts)).unwrap();
        broadcaster.close().wait().unwrap();
        let outcome = aborted.recv().unwrap();
        assert_eq!(undelivered(&outcome), 3, "{outcome:?}");
    });
}
