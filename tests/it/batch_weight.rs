//! Batches that end by what their events weigh.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use outflow::queue::{Batch, QueueOptions};
use outflow::sink::Collector;
use outflow::testing::Latch;
use outflow::{AsyncSink, AsyncSinkExt, Buffer, CloseError, Queue, Sink, SinkExt, sink};

use crate::common::{PLANNED, SOON, in_time, planned_panic, rounds, runtime, spin, spin_below, wait_until};

const HOUR: Duration = Duration::from_secs(3600);

/// Events that weigh what they are.
fn weighs_itself(event: &u64) -> u64 {
    *event
}

/// Keeps batches, each once it may pass.
fn keeps(go: &Latch, kept: &Collector<Vec<u64>>) -> impl Sink<Vec<u64>, Error = Infallible> + use<> {
    let (go, kept) = (go.clone(), kept.clone());
    sink::for_each(move |batch| {
        go.pass();
        kept.write(batch).unwrap();
    })
}

fn keeps_async(
    go: &Latch,
    kept: &Collector<Vec<u64>>,
) -> impl AsyncSink<Vec<u64>, Error = Infallible> + use<> {
    let (go, kept) = (go.clone(), kept.clone());
    sink::from_async_fn(move |batch| {
        let (go, kept) = (go.clone(), kept.clone());
        async move {
            go.passed().await;
            kept.write(batch).unwrap();
            Ok(())
        }
    })
}

/// Calls `test` with a queue over a sink of either kind, wherever its worker may run; and with what lets its sink go on,
/// what that keeps, and the spill.
fn with_each(
    batch: impl Fn() -> Batch<u64>,
    test: impl Fn(&Queue<u64>, &Latch, &Collector<Vec<u64>>, &Collector<u64>),
) {
    for place in 0..4 {
        let (go, kept, spill) = (Latch::new(), sink::collector(), sink::collector());
        let options = QueueOptions::new(Buffer::unbounded().spill(spill.clone()));
        let queue = match place {
            0 => keeps(&go, &kept).batched_with(batch(), options),
            1 => keeps(&go, &kept).batched_with(batch(), options.dedicated()),
            2 => keeps_async(&go, &kept).batched_with(batch(), options),
            _ => keeps_async(&go, &kept).batched_with(batch(), options.on(runtime())),
        };
        test(&queue, &go, &kept, &spill);
    }
}

/// What the batches are to be.
fn greedily(events: &[u64], size: usize, max: u64) -> Vec<Vec<u64>> {
    let mut batches: Vec<Vec<u64>> = Vec::new();
    for &event in events {
        match batches.last_mut() {
            Some(last)
                if last.len() < size
                    && last.iter().sum::<u64>() < max
                    && last.iter().sum::<u64>() + event <= max =>
            {
                last.push(event);
            }
            _ => batches.push(vec![event]),
        }
    }
    batches
}

#[test]
fn a_batch_ends_before_the_event_that_would_make_it_too_heavy() {
    in_time("the queues", || {
        let mut seed = 1_u64;
        for round in 0..rounds(200_usize) {
            let (size, max) = (1 + round % 7, round as u64 % 23);
            let events: Vec<u64> = (0..100)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 33) % 12
                })
                .collect();
            let weighed = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&weighed);
            let batch = move || {
                let counted = Arc::clone(&counted);
                Batch::of(size).within(HOUR).weighing(max, move |event| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    *event
                })
            };
            with_each(batch, |queue, go, kept, _| {
                go.open();
                queue.write_all(events.clone()).unwrap();
                queue.close().wait().unwrap();
                assert_eq!(kept.take(), greedily(&events, size, max), "at most {size}, at most {max}");
                assert_eq!(weighed.swap(0, Ordering::Relaxed), events.len(), "not once for each event");
            });
        }
    });
}

#[test]
fn weights_that_overflow_are_too_heavy() {
    let kept = sink::collector();
    let batch = Batch::of(9).within(HOUR).weighing(u64::MAX, weighs_itself);
    let queue = kept.clone().batched(batch);
    queue.write_all([1, u64::MAX, 2, 3]).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(kept.take(), [vec![1], vec![u64::MAX], vec![2, 3]]);
}

#[test]
fn a_flush_and_a_close_have_the_event_written_that_was_too_heavy_for_the_last_batch() {
    in_time("the flush", || {
        let batch = || Batch::of(9).within(HOUR).weighing(10, weighs_itself);
        with_each(batch, |queue, go, kept, _| {
            queue.write_all([6, 5]).unwrap();
            // The worker has both: one with the sink, the other for the next batch.
            go.arrived(1);
            assert_eq!((queue.len(), queue.stats().in_flight), (0, 2));
            let flushing = queue.flush();
            assert!(flushing.within(Duration::from_millis(1)).is_err());
            go.open();
            flushing.wait().unwrap();
            assert_eq!(kept.take(), [[6], [5]]);
            queue.write_all([7, 4]).unwrap();
            queue.close().wait().unwrap();
            assert_eq!(kept.take(), [[7], [4]]);
        });
    });
}

#[test]
fn the_event_that_was_too_heavy_for_the_last_batch_waits_no_longer_than_any_other() {
    in_time("the batches", || {
        let batch = || Batch::of(9).within(Duration::from_millis(5)).weighing(10, weighs_itself);
        with_each(batch, |queue, go, kept, _| {
            go.open();
            queue.write_all([6, 5]).unwrap();
            wait_until("both are written", || kept.len() == 2);
            assert_eq!(kept.take(), [[6], [5]]);
        });
    });
}

#[test]
fn an_abort_spills_the_event_that_was_too_heavy_for_the_last_batch() {
    in_time("the abort", || {
        let batch = || Batch::of(9).within(HOUR).weighing(10, weighs_itself);
        with_each(batch, |queue, go, kept, spill| {
            queue.write_all([6, 5, 9]).unwrap();
            go.arrived(1);
            let error = queue.close().abort().unwrap_err();
            assert_eq!(error.undelivered(), 3, "{error}");
            go.open();
            wait_until("the write came back", || queue.stats().in_flight == 0);
            let stats = queue.stats();
            assert_eq!((stats.delivered, stats.spilled, stats.lost), (1, 2, 0), "{stats:?}");
            let mut spilled = spill.take();
            spilled.sort_unstable();
            assert_eq!((kept.take(), spilled), (vec![vec![6]], vec![5, 9]));
        });
    });
}

#[test]
fn a_panic_of_the_weighing_ends_the_queue_and_loses_no_event() {
    fn panics_on_7(event: &u64) -> u64 {
        if *event == 7 {
            planned_panic();
        }
        *event
    }
    in_time("the queue", || {
        // Something waits for it in the batch or not, and what comes behind it was written or not.
        for events in [&[7][..], &[1, 2, 7], &[7, 3], &[1, 2, 7, 3, 4], &[6, 5, 7, 9]] {
            let batch = || Batch::of(9).within(HOUR).weighing(10, panics_on_7);
            with_each(batch, |queue, go, kept, spill| {
                go.open();
                let accepted = events.iter().filter(|event| queue.write(**event).is_ok()).count();
                let error = queue.close().wait().unwrap_err();
                let stats = queue.stats();
                let before = if events[0] == 6 { 1 } else { 0 };
                assert_eq!((stats.lost, stats.dropped, stats.delivered), (0, 0, before), "{stats:?}");
                let CloseError::Panicked { message, events: left } = &error else { panic!("{error}") };
                assert_eq!((&**message, *left), (PLANNED, (accepted as u64) - before));
                assert_eq!(kept.take().len() as u64, before);
                let mut spilled = spill.take();
                spilled.sort_unstable();
                let mut all = events[before as usize..accepted].to_vec();
                all.sort_unstable();
                assert_eq!(spilled, all);
            });
        }
    });
}

/// What is done to a queue in the middle.
fn ends(round: u32, queue: &Queue<u64>) {
    spin(round);
    match round % 5 {
        0 => _ = queue.flush().within(SOON),
        1 => _ = queue.close().within(SOON),
        2 => _ = queue.close().abort(),
        _ => {}
    }
}

#[test]
fn whatever_ends_a_weighed_batch_each_event_is_somewhere_and_no_batch_is_too_heavy() {
    const MAX: u64 = 20;
    in_time("the queues", || {
        for round in 0..rounds(1000_u32) {
            let panics_at = if round % 7 == 0 { round as usize % 90 } else { usize::MAX };
            let weighed = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&weighed);
            let batch = move || {
                let counted = Arc::clone(&counted);
                let time = [Duration::ZERO, Duration::from_micros(50), HOUR][round as usize % 3];
                Batch::of(8).within(time).weighing(MAX, move |event| {
                    if counted.fetch_add(1, Ordering::Relaxed) == panics_at {
                        planned_panic();
                    }
                    *event % 30
                })
            };
            with_each(batch, |queue, go, kept, spill| {
                weighed.store(0, Ordering::Relaxed);
                go.open();
                let accepted = &AtomicU64::new(0);
                thread::scope(|scope| {
                    for writer in 0..2_u64 {
                        scope.spawn(move || {
                            for event in writer * 50..writer * 50 + 50 {
                                if queue.write(event).is_ok() {
                                    accepted.fetch_add(1, Ordering::Relaxed);
                                }
                                spin_below(round ^ event as u32, 100);
                            }
                        });
                    }
                    scope.spawn(|| ends(round, queue));
                });
                let closed = queue.close().within(SOON);
                wait_until("nothing is on its way", || queue.stats().in_flight == 0);
                let stats = queue.stats();
                let kept = kept.take();
                let too_heavy = kept
                    .iter()
                    .find(|batch| batch.len() > 1 && batch.iter().map(|event| event % 30).sum::<u64>() > MAX);
                assert_eq!(too_heavy, None);
                let accepted = accepted.load(Ordering::Relaxed);
                assert_eq!((stats.accepted, stats.lost, stats.dropped), (accepted, 0, 0), "{stats:?}");
                assert_eq!(stats.delivered, kept.iter().map(Vec::len).sum::<usize>() as u64, "{stats:?}");
                assert_eq!(stats.spilled, spill.len() as u64, "{stats:?}");
                let mut all: Vec<u64> = kept.into_iter().flatten().chain(spill.take()).collect();
                all.sort_unstable();
                all.dedup();
                assert_eq!(all.len() as u64, accepted, "round {round}: one is missing, or there twice");
                let panicked = weighed.load(Ordering::Relaxed) > panics_at;
                assert!(!panicked || matches!(closed, Err(CloseError::Panicked { .. })), "{closed:?}");
                assert!(panicked || round % 5 == 2 || closed.is_ok(), "round {round}: {closed:?}");
            });
        }
    });
}
