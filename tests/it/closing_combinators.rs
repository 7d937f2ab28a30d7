//! Combinators that say when a sink is closed: `close_with_last` and `close_on_failure`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{OnClose, in_time, planned_panic, rounds};
use outflow::retry::Constant;
use outflow::testing::Latch;
use outflow::{
    Broadcaster, Buffer, CloseError, Closing, FlushError, Flushing, Sink, SinkExt, WriteError, channel, sink,
};

#[test]
fn a_sink_under_several_chains_gets_all_of_their_events_and_is_closed_with_the_last_of_them() {
    in_time("the closes", || {
        for _ in 0..rounds(20) {
            let closes = Arc::new(AtomicUsize::new(0));
            let (log, counted) = (sink::collector(), Arc::clone(&closes));
            let ended = OnClose(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                Closing::done()
            });
            let shared = log.clone().tee(ended).close_with_last();
            let queues: Vec<_> = (0..4).map(|_| shared.clone().queued()).collect();
            drop(shared);
            thread::scope(|scope| {
                for (n, queue) in (0..).zip(&queues) {
                    scope.spawn(move || {
                        queue.write_all(n * 100..(n + 1) * 100).unwrap();
                        queue.close().wait().unwrap();
                    });
                }
            });
            let mut events = log.take();
            events.sort_unstable();
            assert_eq!(events, (0..400).collect::<Vec<u32>>());
            assert_eq!((log.is_closed(), closes.load(Ordering::SeqCst)), (true, 1));
        }
    });
}

#[test]
fn each_clone_refuses_after_its_own_close_and_the_others_go_on() {
    let log = sink::collector();
    let first = log.clone().close_with_last();
    let second = first.clone();
    first.close().wait().unwrap();
    assert!(first.is_closed() && !second.is_closed() && !log.is_closed());
    assert_eq!(first.write(1), Err(WriteError::Closed(1)));
    assert_eq!(first.write_ref(&1), Err(WriteError::Closed(())));
    assert!(second.write(2).is_ok());

    // A clone of a closed one does not open it again, nor count.
    let third = first.clone();
    assert!(third.is_closed() && third.write(3).is_err());
    third.close().wait().unwrap();
    drop((first, third));
    assert!(!log.is_closed());
    second.close().wait().unwrap();
    assert!(log.is_closed() && second.clone().write(4).is_err());
    assert_eq!(log.events(), [2]);
}

#[test]
fn a_clone_that_is_dropped_without_a_close_counts_as_closed() {
    let log = sink::collector::<u32>();
    let first = log.clone().close_with_last();
    let second = first.clone();
    drop(first);
    assert!(!log.is_closed());
    second.close().wait().unwrap();
    assert!(log.is_closed());

    let log = sink::collector::<u32>();
    let first = log.clone().close_with_last();
    let second = first.clone();
    first.close().wait().unwrap();
    assert!(!log.is_closed());
    drop(second);
    assert!(log.is_closed());
    drop(first);
}

#[test]
fn the_close_of_a_clone_waits_until_what_it_wrote_is_delivered_and_an_abort_of_it_leaves_the_sink_alone() {
    in_time("the closes", || {
        let (latch, log) = (Latch::new(), sink::collector());
        let (inside, kept) = (latch.clone(), log.clone());
        let queue = sink::for_each(move |event: u32| {
            inside.pass();
            kept.write(event).unwrap();
        })
        .queued();
        let first = queue.clone().close_with_last();
        let (second, third) = (first.clone(), first.clone());
        first.write(1).unwrap();
        latch.arrived(1);

        let closing = first.close();
        assert!(!closing.is_done());
        assert!(!first.close().is_done(), "the same drain");
        let aborted = second.close();
        assert!(matches!(aborted.abort(), Err(CloseError::Aborted)), "{aborted:?}");
        assert!(!queue.is_closed());
        third.write(2).unwrap();
        latch.open();
        closing.wait().unwrap();
        first.close().wait().unwrap();
        assert!(matches!(second.close().wait(), Err(CloseError::Aborted)), "the same outcome");
        third.close().wait().unwrap();
        assert!(queue.is_closed());
        assert_eq!(log.events(), [1, 2]);
    });
}

#[test]
fn an_abort_of_the_last_close_reaches_the_sink() {
    in_time("the abort", || {
        let latch = Latch::new();
        let inside = latch.clone();
        let queue = sink::for_each(move |_: u32| inside.pass()).queued();
        let shared = queue.clone().close_with_last();
        shared.write_all(0..3).unwrap();
        latch.arrived(1);
        assert_eq!(shared.close().abort().unwrap_err().undelivered(), 3);
        assert_eq!(shared.close().wait().unwrap_err().undelivered(), 3);
        latch.open();
    });
}

#[test]
fn closes_of_one_clone_from_several_threads_count_once_and_get_one_outcome() {
    in_time("the closes", || {
        for _ in 0..rounds(200) {
            let log = sink::collector::<u32>();
            let sink = OnClose(|| Closing::failed(CloseError::other("disk full"))).tee(log.clone());
            let first = sink.close_with_last();
            let second = first.clone();
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| first.close().wait().unwrap());
                }
            });
            assert!(!log.is_closed());
            let outcomes: Vec<String> = thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..3).map(|_| scope.spawn(|| second.close().wait().unwrap_err().to_string())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(outcomes, ["disk full"; 3]);
            assert!(log.is_closed());
        }
    });
}

#[test]
fn clones_made_and_closed_at_the_same_time_close_the_sink_once_and_open_it_never_again() {
    in_time("the clones", || {
        for _ in 0..rounds(300) {
            let closes = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&closes);
            let shared = OnClose(move || {
                counted.fetch_add(1, Ordering::SeqCst);
                Closing::done()
            })
            .close_with_last();
            let cloning = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !cloning.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    shared.close().wait().unwrap();
                });
                scope.spawn(|| {
                    cloning.store(true, Ordering::SeqCst);
                    // Until one is made of the closed one.
                    while !shared.clone().is_closed() {}
                });
            });
            drop(shared);
            assert_eq!(closes.load(Ordering::SeqCst), 1);
        }
    });
}

/// Its flush and its close panic.
struct Broken;

impl Sink<u32> for Broken {
    type Error = &'static str;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, Self::Error>> {
        Err(WriteError::failed(event, "no"))
    }

    fn flush(&self) -> Flushing {
        planned_panic()
    }

    fn close(&self) -> Closing {
        planned_panic()
    }
}

#[test]
fn a_panic_of_a_shared_sink_is_the_outcome_of_the_close_and_in_a_drop_goes_no_further() {
    let first = Broken.close_with_last();
    let second = first.clone();
    drop(first.clone());
    assert!(matches!(first.close().wait(), Err(CloseError::Panicked { .. })), "of its flush");
    assert!(matches!(second.close().wait(), Err(CloseError::Panicked { .. })), "of its close");
    drop(Broken.close_with_last());
}

#[test]
fn what_a_flush_of_the_shared_sink_could_not_deliver_is_the_outcome_of_the_close() {
    struct Unflushed;
    impl Sink<u32> for Unflushed {
        type Error = std::convert::Infallible;
        fn write(&self, _: u32) -> Result<(), WriteError<u32, Self::Error>> {
            Ok(())
        }
        fn flush(&self) -> Flushing {
            Flushing::failed(FlushError::other("disk full"))
        }
        fn close(&self) -> Closing {
            Closing::done()
        }
    }
    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(Unflushed).unwrap();
    let first = broadcaster.clone().close_with_last();
    let _second = first.clone();
    let error = first.close().wait().unwrap_err();
    assert_eq!(
        error.sinks().map(|(id, error)| (id, error.to_string())).next(),
        Some((id, "disk full".into()))
    );
}

#[test]
fn the_first_failure_closes_the_sink_and_hands_the_event_back() {
    let failing = || sink::from_fn(|event: &u32| if *event == 2 { Err("no") } else { Ok(()) });
    for by_ref in [false, true] {
        let log = sink::collector();
        let strict = failing().close_on_failure();
        let inner = failing();
        let beside = (&inner).inspect(|event| log.write(*event).unwrap()).close_on_failure();
        assert!(strict.write(1).is_ok() && !strict.is_closed());
        if by_ref {
            assert_eq!(strict.write_ref(&2), Err(WriteError::Closed(())));
            assert_eq!(beside.write_ref(&2), Err(WriteError::Closed(())));
        } else {
            assert_eq!(strict.write(2), Err(WriteError::Closed(2)));
            assert_eq!(beside.write(2), Err(WriteError::Closed(2)));
        }
        assert!(strict.is_closed() && inner.is_closed(), "and so is what is downstream");
        assert_eq!(strict.write(3), Err(WriteError::Closed(3)));
        assert_eq!(beside.write_ref(&3), Err(WriteError::Closed(())));
        assert_eq!(log.events(), [2], "nothing is written after the failure");
        strict.close().wait().unwrap();
    }
}

#[test]
fn a_sink_that_stays_open_below_is_refused_all_the_same_after_a_failure_or_a_close() {
    let failing = sink::from_fn(|event: &u32| if *event == 2 { Err("no") } else { Ok(()) });
    let strict = (&failing).keep_open().close_on_failure();
    assert!(strict.write(2).is_err() && strict.is_closed() && strict.write(1).is_err());
    let strict = (&failing).keep_open().close_on_failure();
    strict.close().wait().unwrap();
    assert!(strict.is_closed() && strict.write(1).is_err() && !failing.is_closed());
}

#[test]
fn a_watcher_that_is_too_slow_is_cut_off_and_the_others_go_on() {
    let broadcaster = Broadcaster::new();
    let log = sink::collector();
    let (slow, events) = channel::with(Buffer::bounded(2).reject());
    let id = broadcaster.add(slow.close_on_failure()).unwrap();
    broadcaster.add(log.clone()).unwrap();
    broadcaster.write_all(0..5).unwrap();
    assert_eq!((broadcaster.len(), broadcaster.ended().recent[0].id), (1, id));
    assert_eq!(events.iter().collect::<Vec<_>>(), [0, 1], "what it was sent in time, and then the end");
    assert_eq!(log.len(), 5);
}

#[test]
fn a_failure_closes_after_the_attempts_of_a_retry_and_a_panicking_close_keeps_the_event_from_no_writer() {
    let attempts = AtomicUsize::new(0);
    let strict = sink::from_fn(|_: &u32| {
        attempts.fetch_add(1, Ordering::SeqCst);
        Err::<(), _>("no")
    })
    .retry(Constant::new(Duration::ZERO))
    .max_attempts(3)
    .close_on_failure();
    assert_eq!(strict.write(1), Err(WriteError::Closed(1)));
    assert_eq!(attempts.load(Ordering::SeqCst), 3);

    assert_eq!(Broken.close_on_failure().write(1), Err(WriteError::Closed(1)));
}
