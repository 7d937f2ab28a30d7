//! Queues on a pool: whatever some of them do, the others go on.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use outflow::queue::QueueOptions;
use outflow::retry::Constant;
use outflow::testing::Latch;
use outflow::{Broadcaster, FlushError, Queue, Sink, SinkExt, Workers, sink};

use crate::common::{in_time, planned_panic, rounds, wait_until};

fn pool(threads: usize) -> Workers {
    Workers::builder().threads(threads).keep_alive(Duration::from_millis(100)).build()
}

fn on(workers: &Workers) -> QueueOptions<u32> {
    QueueOptions::default().on(workers)
}

#[test]
fn queues_that_block_wait_and_panic_hold_up_no_other() {
    const EACH: usize = 100;
    const EVENTS: u32 = 20;

    for threads in [1, 2] {
        in_time("a thousand queues", move || {
            let workers = pool(threads);
            let latch = Latch::new();
            let bus = Broadcaster::new();
            let mut patient = Vec::new();
            let collectors: Vec<_> = (0..7 * EACH).map(|_| sink::collector()).collect();
            let mut healthy = collectors.iter();
            // Mixed, as they are in life.
            for _ in 0..EACH {
                let stuck = latch.clone();
                bus.add(sink::for_each(move |_: u32| stuck.pass()).queued_with(on(&workers))).unwrap();
                let down =
                    sink::from_fn(|_: &u32| Err("down")).retry(Constant::new(Duration::from_secs(3600)));
                let down = down.queued_with(on(&workers));
                patient.push(down.clone());
                bus.add(down).unwrap();
                bus.add(sink::for_each(|_: u32| planned_panic()).queued_with(on(&workers))).unwrap();
                for collector in healthy.by_ref().take(7) {
                    bus.add(collector.clone().queued_with(on(&workers))).unwrap();
                }
            }
            (0..EVENTS).for_each(|event| bus.write(event).unwrap());
            let expected: Vec<u32> = (0..EVENTS).collect();
            for collector in &collectors {
                wait_until("the healthy have every event", || collector.len() == expected.len());
                assert_eq!(collector.events(), expected);
            }
            wait_until("all backoffs are announced", || workers.stats().waiting >= EACH);
            for down in patient {
                let error = down.close().abort().unwrap_err();
                assert_eq!(error.undelivered(), u64::from(EVENTS));
            }
            latch.open();
            bus.close().wait().unwrap_err();
            wait_until("the threads that were added have ended", || workers.stats().threads <= threads);
        });
    }
}

#[test]
fn queues_that_write_to_a_hundred_others_in_rings_never_stop() {
    const QUEUES: usize = 100;

    for threads in [1, 2, 4] {
        in_time("rings of queues", move || {
            let workers = pool(threads);
            let queues: Arc<OnceLock<Vec<Queue<u32>>>> = Arc::default();
            let delivered = Arc::new(AtomicUsize::new(0));
            let make = |of: usize| {
                let (queues, delivered) = (Arc::clone(&queues), Arc::clone(&delivered));
                let sink = sink::for_each(move |hops: u32| {
                    delivered.fetch_add(1, Ordering::SeqCst);
                    let queues = queues.get().expect("there are others by now");
                    match hops {
                        0 => {}
                        // To every one, itself included; and then around the ring.
                        100 => queues.iter().for_each(|queue| queue.write(99).unwrap()),
                        _ => queues[(of + 1) % QUEUES].write(hops - 1).unwrap(),
                    }
                });
                sink.queued_with(on(&workers))
            };
            queues.set((0..QUEUES).map(make).collect()).unwrap();
            let all = queues.get().unwrap();
            all[0].write(100).unwrap();
            wait_until("all have gone around", || delivered.load(Ordering::SeqCst) == 1 + QUEUES * 100);
            all.iter().for_each(|queue| queue.close().wait().unwrap());
            assert_eq!(delivered.load(Ordering::SeqCst), 1 + QUEUES * 100);
        });
    }
}

type Outcomes = Arc<Mutex<Vec<Result<(), FlushError>>>>;

/// A queue whose sink flushes another, which has an event to deliver then, and what came of each flush.
fn flushing(
    workers: &Workers,
    wait: fn(outflow::Flushing) -> Result<(), FlushError>,
) -> (Queue<u32>, Queue<u32>, Outcomes) {
    let outcomes = Outcomes::default();
    let other = sink::discard().queued_with(on(workers));
    let (kept, inner) = (Arc::clone(&outcomes), other.clone());
    let queue = sink::for_each(move |event: u32| {
        inner.write(event).unwrap();
        kept.lock().unwrap().push(wait(inner.flush()));
    });
    (queue.queued_with(on(workers)), other, outcomes)
}

#[test]
fn a_sink_may_wait_for_the_flush_of_another_queue_on_a_pool_of_one_thread() {
    in_time("a flush from within", || {
        let workers = pool(1);
        let (queue, other, outcomes) = flushing(&workers, |flushing| flushing.wait());
        let events = rounds(200);
        (0..events).for_each(|event| queue.write(event).unwrap());
        queue.close().wait().unwrap();
        assert_eq!(*outcomes.lock().unwrap(), vec![Ok(()); events as usize]);
        assert_eq!(other.stats().delivered, u64::from(events));
    });
}

#[test]
fn where_there_may_be_one_thread_a_wait_for_another_queue_ends_at_its_time() {
    in_time("a wait that cannot be fulfilled", || {
        let workers = Workers::builder().threads(1).max_threads(1).build();
        let (queue, other, outcomes) =
            flushing(&workers, |flushing| flushing.within(Duration::from_millis(20)));
        (0..3).for_each(|event| queue.write(event).unwrap());
        queue.close().wait().unwrap();
        // The thread that waits is the one that would deliver.
        assert_eq!(outcomes.lock().unwrap().len(), 3);
        assert!(outcomes.lock().unwrap().iter().all(|outcome| *outcome == Err(FlushError::TimedOut)));
        other.close().wait().unwrap();
        assert_eq!(other.stats().delivered, 3);
        assert_eq!(workers.stats().threads, 1);
    });
}

#[test]
fn one_thread_is_enough_for_queues_that_never_block() {
    in_time("a pool of at most one thread", || {
        let workers = Workers::builder().threads(1).max_threads(1).build();
        let bus = Broadcaster::new();
        let collectors: Vec<_> = (0..200).map(|_| sink::collector()).collect();
        for collector in &collectors {
            bus.add(collector.clone().queued_with(on(&workers)).queued_with(on(&workers))).unwrap();
        }
        (0..50).for_each(|event: u32| bus.write(event).unwrap());
        bus.flush().wait().unwrap();
        assert!(collectors.iter().all(|collector| collector.events() == (0..50).collect::<Vec<u32>>()));
        bus.close().wait().unwrap();
    });
}

/// Counts what is delivered, and panics at one event in so many.
fn counted(delivered: &Arc<AtomicUsize>) -> impl Sink<u32, Error = Infallible> + Send + Sync + use<> {
    let delivered = Arc::clone(delivered);
    sink::for_each(move |_: u32| _ = delivered.fetch_add(1, Ordering::SeqCst))
}

#[test]
fn a_close_an_abort_and_a_drop_beside_polls_and_wakes_lose_no_event_and_no_task() {
    for threads in [1, 2, 4] {
        in_time("closes beside polls", move || {
            let workers = pool(threads);
            for round in 0..rounds(3000_u32) {
                let delivered = Arc::new(AtomicUsize::new(0));
                let spilled = sink::collector();
                let options =
                    QueueOptions::new(outflow::Buffer::unbounded().spill(spilled.clone())).on(&workers);
                let queue = counted(&delivered).queued_with(options);
                let writer = queue.clone();
                let accepted = std::thread::scope(|scope| {
                    let writes =
                        scope.spawn(move || (0..50).filter(|event| writer.write(*event).is_ok()).count());
                    crate::common::spin(round);
                    match round % 3 {
                        0 => queue.close().wait().unwrap(),
                        1 => _ = queue.close().abort(),
                        _ => drop(queue.clone()),
                    }
                    writes.join().unwrap()
                });
                let closed = queue.close().wait();
                if round % 3 != 1 {
                    closed.unwrap();
                }
                let stats = queue.stats();
                assert_eq!(delivered.load(Ordering::SeqCst) + spilled.len(), accepted, "{stats:?}");
                assert_eq!(stats.accepted, accepted as u64);
            }
            wait_until("no task is left", || workers.stats().runnable == 0);
        });
    }
}
