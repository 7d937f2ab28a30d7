//! A flush is a barrier that takes no room.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Latch, PLANNED, SOON, in_time, planned_panic, rounds, wait_until};
use outflow::queue::Batch;
use outflow::sink::Collector;
use outflow::{Broadcaster, Buffer, FlushError, Sink, SinkExt, channel, sink};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn completes_when_every_event_before_it_is_delivered() {
    in_time("the flush", || {
        for round in 0..rounds(500_u64) {
            let dest = sink::collector();
            let queue = dest.clone().queued();
            thread::scope(|scope| {
                for writer in 0..3 {
                    let (queue, dest) = (queue.clone(), dest.clone());
                    scope.spawn(move || {
                        for n in 0..round % 20 {
                            queue.write((writer, n)).unwrap();
                            if n % 5 == writer {
                                queue.flush().wait().unwrap();
                                assert!(dest.events().contains(&(writer, n)), "flushed, not delivered");
                            }
                        }
                    });
                }
            });
            queue.flush().wait().unwrap();
            assert_eq!(dest.len() as u64, 3 * (round % 20));
        }
    });
}

#[test]
fn reaches_nested_queues_and_broadcasters() {
    in_time("the flush", || {
        let dest = sink::collector();
        let broadcaster = Broadcaster::new();
        broadcaster.add(dest.clone().queued().queued()).unwrap();
        let other = sink::collector();
        broadcaster.add(other.clone().queued_with(Buffer::bounded(2))).unwrap();
        let top = broadcaster.queued();
        for event in 0..500 {
            top.write(event).unwrap();
        }
        top.flush().wait().unwrap();
        assert_eq!((dest.len(), other.len()), (500, 500));
    });
}

#[test]
fn does_not_wait_for_events_written_after_it() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let (sender, seen) = mpsc::channel();
        let queue = sink::for_each(move |event: u64| {
            sender.send(event).unwrap();
            if event == 2 {
                stuck.pass();
            }
        })
        .queued();
        queue.write(1).unwrap();
        let flushing = queue.flush();
        queue.write(2).unwrap();
        assert_eq!(seen.recv(), Ok(1));
        latch.arrived(1);
        // The request may have been seen behind the second event; then it waits for that as well.
        if !flushing.is_done() {
            assert!(matches!(flushing.within(Duration::from_millis(5)), Ok(()) | Err(FlushError::TimedOut)));
        }
        latch.open();
        flushing.wait().unwrap();
    });
}

#[test]
fn takes_no_room_and_displaces_nothing() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let dest = sink::collector();
        let queue = dest.clone().inspect(move |_| stuck.pass()).queued_with(Buffer::bounded(2).drop_oldest());
        queue.write(0).unwrap();
        latch.arrived(1);
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        let flushings: Vec<_> = (0..50).map(|_| queue.flush()).collect();
        assert_eq!((queue.len(), queue.stats().dropped), (2, 0));
        assert!(matches!(flushings[0].within(Duration::from_millis(10)), Err(FlushError::TimedOut)));
        latch.open();
        flushings.iter().for_each(|flushing| flushing.wait().unwrap());
        assert_eq!(dest.events(), [0, 1, 2]);
    });
}

#[test]
fn completes_beside_evictions() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let (dest, spill) = (sink::collector(), sink::collector());
        let queue = dest
            .clone()
            .inspect(move |_| stuck.pass())
            .queued_with(Buffer::bounded(2).drop_oldest().spill(spill.clone()));
        queue.write(0).unwrap();
        latch.arrived(1);
        queue.write(1).unwrap();
        let flushing = queue.flush();
        for event in 2..10 {
            queue.write(event).unwrap();
        }
        latch.open();
        flushing.wait().unwrap();
        let mut seen = [dest.events(), spill.events()].concat();
        seen.sort_unstable();
        assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
        // And while events are evicted without a pause.
        thread::scope(|scope| {
            let stop = Arc::new(AtomicBool::new(false));
            let (ends, queue) = (Arc::clone(&stop), &queue);
            scope.spawn(move || {
                while !ends.load(Ordering::SeqCst) {
                    queue.write(99).unwrap();
                }
            });
            for _ in 0..rounds(200) {
                queue.flush().within(SOON).unwrap();
            }
            stop.store(true, Ordering::SeqCst);
        });
    });
}

#[test]
fn after_a_close_waits_for_the_drain() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let dest = sink::collector();
        let queue = dest.clone().inspect(move |_| stuck.pass()).queued();
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        let before = queue.flush();
        let closing = queue.close();
        let after = queue.flush();
        latch.arrived(1);
        assert!(!before.is_done() && !after.is_done());
        latch.open();
        before.wait().unwrap();
        after.wait().unwrap();
        assert_eq!(dest.events(), [1, 2]);
        closing.wait().unwrap();
        queue.flush().wait().unwrap();
    });
}

#[test]
fn a_close_that_races_with_it_lets_it_finish() {
    in_time("the flush", || {
        for _ in 0..rounds(2000) {
            let dest = sink::collector();
            let queue = dest.clone().queued();
            queue.write(1).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| drop(queue.close()));
                queue.flush().wait().unwrap();
                assert_eq!(dest.len(), 1);
            });
        }
    });
}

#[test]
fn an_abort_ends_it_with_an_error() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let queue = sink::for_each(move |_: u64| stuck.pass()).queued();
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        latch.arrived(1);
        let flushing = queue.flush();
        let _ = queue.close().abort();
        assert!(matches!(flushing.wait(), Err(FlushError::NotDelivered(_))));
        latch.open();
    });
}

#[test]
fn a_panic_ends_it_with_an_error() {
    in_time("the flush", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let queue = sink::for_each(move |_: u64| {
            stuck.pass();
            planned_panic();
        })
        .queued();
        queue.write(1).unwrap();
        latch.arrived(1);
        let flushing = queue.flush();
        latch.open();
        let error = flushing.wait().unwrap_err();
        assert!(error.to_string().contains(PLANNED), "{error}");
        let error = queue.flush().wait().unwrap_err();
        assert!(error.to_string().contains(PLANNED), "{error}");
    });
}

#[test]
fn a_closed_downstream_ends_it_with_an_error() {
    in_time("the flush", || {
        for _ in 0..rounds(500) {
            let dest = sink::collector();
            let queue = dest.clone().queued();
            drop(dest.close());
            queue.write(1).unwrap();
            let flushing = queue.flush();
            assert!(matches!(flushing.wait(), Err(FlushError::NotDelivered(_))));
        }
    });
}

#[test]
fn has_a_batch_under_assembly_written_at_once() {
    in_time("the flush", || {
        let dest = sink::collector();
        let queue = dest.clone().batched(Batch::of(100).within(HOUR));
        for event in 0..3 {
            queue.write(event).unwrap();
        }
        let begun = Instant::now();
        queue.flush().wait().unwrap();
        assert_eq!(dest.take().concat(), [0, 1, 2]);
        queue.write(3).unwrap();
        wait_until("it is under assembly", || queue.is_empty());
        // So that the worker sleeps, and no longer spins.
        thread::sleep(Duration::from_millis(50));
        queue.flush().wait().unwrap();
        assert_eq!(dest.take(), [vec![3]]);
        queue.write(4).unwrap();
        wait_until("it is under assembly", || queue.is_empty());
        queue.close().wait().unwrap();
        assert_eq!(dest.take(), [vec![4]]);
        assert!(begun.elapsed() < HOUR / 60);
    });
}

#[test]
fn a_batch_is_written_when_it_is_full_or_its_time_is_up() {
    in_time("the batch", || {
        let dest = sink::collector();
        let queue = dest.clone().batched(Batch::of(4).within(HOUR));
        for event in 0..8 {
            queue.write(event).unwrap();
        }
        wait_until("both are written", || dest.len() == 2);
        assert!(dest.take().iter().all(|batch| batch.len() == 4));
        let soon = dest.clone().keep_open().batched(Batch::of(4).within(Duration::from_millis(5)));
        soon.write(1).unwrap();
        wait_until("its time is up", || dest.len() == 1);
        queue.close().wait().unwrap();
    });
}

/// Keeps how many events each batch has, once it may pass.
fn sizes(
    go: &Latch,
) -> (impl Sink<Vec<usize>, Error = Infallible> + Send + Sync + 'static, Collector<usize>) {
    let (go, batches) = (go.clone(), sink::collector());
    let kept = batches.clone();
    let sink = sink::for_each(move |batch: Vec<usize>| {
        go.pass();
        kept.write(batch.len()).unwrap();
    });
    (sink, batches)
}

#[test]
fn a_batch_is_written_when_its_time_is_up_though_more_events_are_waiting() {
    const EVENTS: usize = 2_000_000;
    let go = Latch::new();
    let (sink, batches) = sizes(&go);
    // It takes many times as long to take as many events as there are.
    let queue = sink.batched(Batch::of(EVENTS).within(Duration::from_micros(100)));
    queue.write(0).unwrap();
    go.arrived(1);
    queue.write_all(0..EVENTS).unwrap();
    go.open();
    queue.close().wait().unwrap();
    let batches = batches.take();
    assert_eq!(batches.iter().sum::<usize>(), EVENTS + 1);
    assert!(batches.len() > 3, "{batches:?}");
}

#[test]
fn has_a_batch_written_as_soon_as_what_came_before_is_in_it_though_more_is_waiting() {
    const EVENTS: usize = 2_000_000;
    let go = Latch::new();
    let (sink, batches) = sizes(&go);
    let queue = sink.batched(Batch::of(usize::MAX >> 8));
    queue.write(0).unwrap();
    go.arrived(1);
    queue.write_all(0..EVENTS).unwrap();
    go.open();
    let flushing = queue.flush();
    // The worker has seen it when it has taken another event, and one more that it was about to take.
    let left = queue.len();
    wait_until("the worker has seen the flush", || queue.len() + 2 <= left || queue.is_empty());
    queue.write_all(0..10).unwrap();
    flushing.wait().unwrap();
    queue.close().wait().unwrap();
    let sizes = batches.take();
    let ends = sizes.iter().scan(0, |taken, size| {
        *taken += size;
        Some(*taken)
    });
    assert!(ends.into_iter().any(|taken| taken == EVENTS + 1), "{sizes:?}");
}

#[test]
fn of_a_channel_completes_at_once() {
    let (sink, events) = channel::bounded(1);
    sink.write(1).unwrap();
    assert!(sink.flush().is_done());
    drop(events);
    assert!(sink.flush().is_done());
}
