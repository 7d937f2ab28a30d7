//! The end of a worker against a poll that runs, one that is queued and a wake that is on its way: on pools of one, two and
//! more threads, and on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outflow::log::{FollowOptions, Lag};
use outflow::queue::{Batch, QueueOptions};
use outflow::{Buffer, Closing, Log, Sink, SinkExt, Workers, sink};

use crate::common::{in_time, planned_panic, rounds, spin, wait_until};

/// Where workers are to run: nowhere in particular is a thread of their own.
fn places() -> [Option<Workers>; 4] {
    [None, Some(1), Some(2), Some(4)].map(|threads| {
        let pool =
            |threads| Workers::builder().threads(threads).keep_alive(Duration::from_millis(100)).build();
        threads.map(pool)
    })
}

/// What ends a worker, or does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Close,
    Abort,
    Drop,
    Flush,
    Panic,
    DownstreamCloses,
}

use Fate::{Abort, Close, DownstreamCloses, Drop, Flush, Panic};

const FATES: [Fate; 6] = [Close, Abort, Drop, Flush, Panic, DownstreamCloses];

const EVENTS: u64 = 30;

/// A sink that counts, panics in the middle if that is its fate, and can be closed.
fn counting(
    fate: Fate,
    seen: &Arc<AtomicU64>,
) -> impl Sink<u64, Error = std::convert::Infallible> + Clone + use<> {
    let seen = Arc::clone(seen);
    let count = sink::for_each(move |event| {
        if fate == Panic && event == EVENTS / 2 {
            planned_panic();
        }
        seen.fetch_add(1, Ordering::SeqCst);
    });
    Arc::new(count.closeable())
}

/// Does what is the fate of it, beside a writer.
fn meet(
    fate: Fate,
    round: u32,
    below: &dyn Fn() -> Closing,
    worker: &dyn Sink<u64, Error = std::convert::Infallible>,
) {
    spin(round);
    match fate {
        Close => worker.close().wait().unwrap(),
        Abort => _ = worker.close().abort(),
        Flush => worker.flush().wait().unwrap(),
        DownstreamCloses => below().wait().unwrap(),
        Drop | Panic => {}
    }
}

fn ends_well(fate: Fate, outcome: &Result<(), outflow::CloseError>, undelivered: u64) {
    match fate {
        Close | Drop | Flush => assert!(outcome.is_ok(), "{fate:?}: {outcome:?}"),
        Panic => assert!(outcome.is_err(), "a panic was passed over"),
        Abort | DownstreamCloses => {}
    }
    assert_eq!(outcome.is_ok(), undelivered == 0, "{fate:?}: {outcome:?}, {undelivered} not delivered");
}

#[test]
fn of_a_queue_accounts_for_every_event() {
    for workers in places() {
        in_time("the queues", move || {
            for round in 0..rounds(3000_u32) {
                let fate = FATES[round as usize % FATES.len()];
                let (seen, spilled) = (Arc::new(AtomicU64::new(0)), sink::collector());
                let options = QueueOptions::new(Buffer::unbounded().spill(spilled.clone()));
                let options = match &workers {
                    Some(workers) => options.on(workers),
                    None => options.dedicated(),
                };
                let below = counting(fate, &seen);
                let queue = below.clone().queued_with(options);
                let accepted = std::thread::scope(|scope| {
                    let writer = queue.clone();
                    let writes =
                        scope.spawn(move || (0..EVENTS).filter(|event| writer.write(*event).is_ok()).count());
                    if fate == Drop {
                        spin(round);
                        drop(queue.clone());
                    }
                    meet(fate, round, &|| below.close(), &queue);
                    writes.join().unwrap() as u64
                });
                let outcome = queue.close().wait();
                let stats = queue.stats();
                assert_eq!(
                    (stats.accepted, stats.pending, stats.in_flight),
                    (accepted, 0, 0),
                    "{fate:?} {stats:?}"
                );
                assert_eq!(
                    (stats.delivered, stats.spilled),
                    (seen.load(Ordering::SeqCst), spilled.len() as u64)
                );
                assert!(stats.lost <= 1 && stats.dropped == 0, "{fate:?} {stats:?}");
                if fate != Panic || accepted > EVENTS / 2 {
                    ends_well(fate, &outcome, accepted - stats.delivered);
                }
            }
        });
    }
}

#[test]
fn of_a_follower_accounts_for_every_event() {
    for workers in places() {
        in_time("the followers", move || {
            for round in 0..rounds(3000_u32) {
                let fate = FATES[round as usize % FATES.len()];
                let (seen, spilled) = (Arc::new(AtomicU64::new(0)), sink::collector());
                let options = FollowOptions::new().spill(spilled.clone());
                // Some have writers wait for them.
                let options = if round % 5 == 0 { options.max_lag(2, Lag::Block) } else { options };
                let options = match &workers {
                    Some(workers) => options.on(workers),
                    None => options.dedicated(),
                };
                let below = counting(fate, &seen);
                let log = Log::new();
                let follower = log.follow_with(options, below.clone()).unwrap();
                std::thread::scope(|scope| {
                    let writer = log.clone();
                    scope.spawn(move || (0..EVENTS).for_each(|event| _ = writer.write(event)));
                    if fate == Drop {
                        spin(round);
                        drop(follower.close());
                    }
                    meet(fate, round, &|| below.close(), &log);
                });
                drop(log);
                let outcome = follower.close().wait();
                let stats = follower.stats();
                assert_eq!((stats.pending, stats.in_flight, stats.dropped), (0, 0, 0), "{fate:?} {stats:?}");
                assert_eq!(
                    (stats.delivered, stats.spilled),
                    (seen.load(Ordering::SeqCst), spilled.len() as u64)
                );
                assert_eq!(
                    stats.accepted,
                    stats.delivered + stats.spilled + stats.lost,
                    "{fate:?} {stats:?}"
                );
                ends_well(fate, &outcome, stats.accepted - stats.delivered);
            }
        });
    }
}

#[test]
fn a_flush_beside_a_worker_that_goes_to_sleep_is_answered() {
    for workers in places() {
        in_time("the flushes", move || {
            let delivered = sink::collector();
            let log = Log::new();
            let (options, follow) = (QueueOptions::default(), FollowOptions::new());
            let (options, follow) = match &workers {
                Some(workers) => (options.on(workers), follow.on(workers)),
                None => (options.dedicated(), follow.dedicated()),
            };
            let queue = delivered.clone().keep_open().queued_with(options);
            log.follow_with(follow, delivered.clone()).unwrap();
            for round in 0..rounds(3000_u32) {
                queue.write(round).unwrap();
                log.write(round).unwrap();
                spin(round);
                queue.flush().wait().unwrap();
                log.flush().wait().unwrap();
                assert_eq!(delivered.take(), [round, round]);
            }
        });
    }
}

#[test]
fn a_batch_that_waits_for_more_events_holds_up_no_thread_of_a_pool() {
    in_time("the other queue", || {
        let workers = Workers::builder().threads(1).max_threads(1).build();
        let batches = sink::collector();
        let batch = Batch::of(100).within(Duration::from_secs(3600));
        let patient = batches.clone().batched_with(batch, QueueOptions::default().on(&workers));
        let soon = sink::collector();
        let batch = Batch::of(100).within(Duration::from_millis(20));
        let late = soon.clone().batched_with(batch, QueueOptions::default().on(&workers));
        patient.write(1).unwrap();
        late.write(2).unwrap();
        let delivered = sink::collector();
        let other = delivered.clone().queued_with(QueueOptions::default().on(&workers));
        other.write(3).unwrap();
        other.flush().wait().unwrap();
        assert_eq!((delivered.events(), workers.stats().waiting), (vec![3], 0));
        wait_until("the time of the other batch is up", || soon.events() == [[2]]);
        assert!(batches.is_empty());
        patient.close().wait().unwrap();
        assert_eq!(batches.events(), [[1]]);
    });
}

#[test]
fn a_thousand_followers_run_on_a_pool_of_one_thread() {
    in_time("the followers", || {
        let workers = Workers::builder().threads(1).max_threads(1).build();
        let log = Log::new();
        let delivered = Arc::new(AtomicU64::new(0));
        for _ in 0..1000 {
            let sink = counting(Close, &delivered);
            log.follow_with(FollowOptions::new().on(&workers), sink).unwrap();
        }
        (0..EVENTS).for_each(|event| log.write(event).unwrap());
        log.close().wait().unwrap();
        assert_eq!(delivered.load(Ordering::SeqCst), 1000 * EVENTS);
        wait_until("the thread is idle", || workers.stats().runnable == 0);
        assert_eq!(workers.stats().threads, 1);
    });
}
