//! One event to ten queues and to a hundred.

use std::sync::Arc;
use std::time::Instant;

use outflow::{Broadcaster, Buffer, Sink};

use crate::contest::{Contest, Peer};
use crate::queue::{Count, bare_queue, nanos_per, queue};

fn ours(queues: usize, events: u64) -> Vec<f64> {
    let counts: Vec<Arc<Count>> = (0..queues).map(|_| Arc::default()).collect();
    let broadcaster = Broadcaster::new();
    for count in &counts {
        broadcaster.add(queue(Buffer::unbounded(), Arc::clone(count))).unwrap();
    }
    let start = Instant::now();
    (0..events).for_each(|event| broadcaster.write(event).unwrap());
    broadcaster.close().wait().unwrap();
    let took = start.elapsed();
    counts.iter().for_each(|count| count.check(events));
    nanos_per(took, events * queues as u64)
}

fn bare(channels: usize, events: u64) -> Vec<f64> {
    let (senders, workers): (Vec<_>, Vec<_>) =
        (0..channels).map(|_| bare_queue(crossbeam_channel::unbounded(), Count::default())).unzip();
    let start = Instant::now();
    (0..events).for_each(|event| senders.iter().for_each(|sender| sender.send(event).unwrap()));
    drop(senders);
    let counts: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let took = start.elapsed();
    counts.iter().for_each(|count| count.check(events));
    nanos_per(took, events * channels as u64)
}

pub fn contests(quick: bool) -> Vec<Contest> {
    let scale = if quick { 10 } else { 1 };
    [(10, 40_000 / scale, 1.2), (100, 4_000 / scale, 1.1)]
        .map(|(queues, events, bar)| {
            Contest::new(
                format!("fan-out to {queues} queues, against as many crossbeam channels and threads"),
                "ns a delivery",
                Some(bar),
                Box::new(move || ours(queues, events)),
                Peer::Run(Box::new(move || bare(queues, events))),
            )
        })
        .into()
}
