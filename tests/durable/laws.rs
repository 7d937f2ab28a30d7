//! The laws of every sink, on disk.

use std::sync::Arc;

use outflow::durable::{DurableOptions, Sync};
use outflow::testing::{Conformance, Downstream, Stamp, Subject};
use outflow::{AsyncSinkExt, SinkExt};

use crate::scratch::Scratch;

fn event(stamp: Stamp) -> String {
    format!("{} {}", stamp.writer, stamp.sequence)
}

fn stamp(event: &str) -> Stamp {
    let (writer, sequence) = event.split_once(' ').unwrap();
    Stamp::new(writer.parse().unwrap(), sequence.parse().unwrap())
}

/// Counted as not delivered is what was left on disk, but for what the sink accepted without a flush since: no law is left
/// out.
fn keeps_all(
    between: impl Fn(DurableOptions<String>, Downstream<String>) -> outflow::durable::Durable<String>
    + Send
    + std::marker::Sync
    + 'static,
) {
    Conformance::of_events(
        event,
        |event: &String| stamp(event),
        move |end| {
            let scratch = Arc::new(Scratch::new());
            let options = DurableOptions::new(scratch.store()).sync(Sync::Os).unconfirmed(8);
            let queue = between(options, end);
            let (stats, kept) = (queue.clone(), Arc::clone(&scratch));
            Subject::new(queue).counted(move || {
                let _kept = &kept;
                let stats = stats.stats();
                stats.pending.saturating_sub(stats.delivered - stats.acknowledged)
            })
        },
    )
    .rounds(100)
    .assert();
}

#[test]
fn durable() {
    keeps_all(|options, end| end.durable_with(options).unwrap());
}

#[test]
fn on_a_thread_of_its_own() {
    keeps_all(|options, end| end.durable_with(options.dedicated()).unwrap());
}

#[test]
fn over_an_async_sink() {
    keeps_all(|options, end| end.into_async().durable_with(options).unwrap());
}
