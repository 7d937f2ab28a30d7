//! An abort of a broadcaster tells of every event that a sink missed, and of nothing else.

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Latch, SOON, in_time, wait_until};
use outflow::retry::Constant;
use outflow::{Broadcaster, Buffer, CloseError, SharedSink, Sink, SinkExt, sink};

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
    // The collector was closed before the write got to it.
    assert_eq!((behind.len(), error.undelivered()), (0, 2), "{error:?}");
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
    for round in 0..300 {
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
                for _ in 0..round * 50 {
                    std::hint::spin_loop();
                }
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
