//! A log that is written a thousand events at a time, and one follower.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use disruptor::Producer;
use disruptor::wait_strategies::WaitStrategy;
use outflow::log::FollowOptions;
use outflow::{Log, Sink, SinkExt};

use crate::contest::{Contest, Peer};
use crate::queue::{Count, DEDICATED, nanos_per};

const BATCH: u64 = 1_000;

fn ours(batches: u64) -> Vec<f64> {
    let count = Arc::new(Count::default());
    let log = Log::new();
    let options = FollowOptions::new();
    let options = if std::env::var_os(DEDICATED).is_some() { options.dedicated() } else { options };
    log.follow_with(options, Arc::clone(&count)).expect("a follower from the start");
    let start = Instant::now();
    for _ in 0..batches {
        log.write_all(0..BATCH).unwrap();
    }
    log.close().wait().unwrap();
    let took = start.elapsed();
    count.check(batches * BATCH);
    nanos_per(took, batches * BATCH)
}

#[derive(Clone, Copy)]
struct Yielding;

impl WaitStrategy for Yielding {
    fn wait_for(&self, _: i64) {
        thread::yield_now();
    }
}

/// Eight batches fit into its ring.
fn disruptor(batches: u64) -> Vec<f64> {
    let count = Arc::new(Count::default());
    let counting = Arc::clone(&count);
    let mut producer = disruptor::build_single_producer(8_192, u64::default, Yielding)
        .handle_events_with(move |event: &u64, _, _| _ = counting.write_ref(event))
        .build();
    let start = Instant::now();
    for _ in 0..batches {
        while producer
            .try_batch_publish(BATCH as usize, |slots| {
                slots.zip(0..BATCH).for_each(|(slot, event)| *slot = event);
            })
            .is_err()
        {
            thread::yield_now();
        }
    }
    // Ends the consumer once it has read everything, and waits for it.
    drop(producer);
    let took = start.elapsed();
    count.check(batches * BATCH);
    nanos_per(took, batches * BATCH)
}

pub fn contests(quick: bool) -> Vec<Contest> {
    let batches = if quick { 100 } else { 1_000 };
    vec![Contest::new(
        "`write_all` of 1,000 into a log with one follower, against `disruptor`",
        "ns an event",
        Some(1.5),
        Box::new(move || ours(batches)),
        Peer::Run(Box::new(move || disruptor(batches))),
    )]
}
