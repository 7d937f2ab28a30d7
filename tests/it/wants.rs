//! What a filter rejects is not counted as undelivered: every combinator says whether it wants an event as its filters
//! do, open or closed, and says so without a write.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use crate::common::planned_panic;
use outflow::retry::Constant;
use outflow::sink::Collector;
use outflow::{
    Broadcaster, CloseError, Closing, Counter, DeadLetter, Flushing, Meter, Rate, Sink, SinkExt, WriteError,
    channel, sink,
};

/// Wants the numbers below ten, and fails at none of them.
fn small(kept: &Collector<u32>) -> impl Sink<u32, Error = Infallible> + Send + Sync + use<> {
    kept.clone().filter(|event| *event < 10)
}

#[track_caller]
fn wants<S>(name: &str, make: impl Fn(&Collector<u32>) -> S, wanted: impl Fn(u32) -> bool)
where
    S: Sink<u32>,
    S::Error: Debug,
{
    let kept = sink::collector();
    let sink = make(&kept);
    let ask = |state: &str| {
        for event in 0..30 {
            assert_eq!(sink.wants(&event), wanted(event), "{name}, {state}: {event}");
        }
    };
    ask("open");
    assert!(kept.is_empty(), "{name}: a question writes nothing");
    drop(sink.close());
    ask("closed");
}

#[test]
fn of_every_combinator() {
    let below_ten = |event| event < 10;
    wants("filter", small, below_ten);
    wants(
        "two filters",
        |kept| small(kept).filter(|event| event % 2 == 0),
        |event| event < 10 && event % 2 == 0,
    );
    wants("map", |kept| small(kept).map(|event: &u32| event * 2), |event| event < 5);
    wants(
        "filter_map",
        |kept| small(kept).filter_map(|event: &u32| (event % 2 == 0).then_some(event / 2)),
        |event| event % 2 == 0 && event < 20,
    );
    // Its closure takes the event, and here there is none to take.
    wants("map_owned", |kept| small(kept).map_owned(|event: u32| event, |event| event), |_| true);
    wants("inspect", |kept| small(kept).inspect(|event| panic!("inspected {event}")), below_ten);
    let meter = Meter::new();
    wants("metered", |kept| small(kept).metered(&meter), below_ten);
    assert_eq!(meter.snapshot().events, 0);
    let dropped = Counter::new();
    wants("lossy", |kept| small(kept).lossy_counted(&dropped), below_ten);
    assert_eq!(dropped.get(), 0);
    wants("catch_panic", |kept| small(kept).catch_panic(), below_ten);
    wants("keep_open", |kept| small(kept).keep_open(), below_ten);
    wants("close_with_last", |kept| small(kept).close_with_last(), below_ten);
    wants("close_on_failure", |kept| small(kept).close_on_failure(), below_ten);
    wants("closeable", |kept| small(kept).closeable(), below_ten);
    wants("retry", |kept| small(kept).retry(Constant::new(Duration::ZERO)), below_ten);
    let rate = Rate::every(Duration::from_secs(3600));
    wants("rate_limit", |kept| small(kept).rate_limit(rate), below_ten);
    wants("expire_after", |kept| small(kept).expire_after(Duration::ZERO, |_| Duration::MAX), below_ten);
    wants("dead_letter", |kept| small(kept).dead_letter(sink::discard::<DeadLetter<_, _>>()), below_ten);
}

#[test]
fn of_a_sink_of_batches() {
    let split = sink::discard()
        .filter(|batch: &Vec<u32>| batch.len() < 3)
        .split_on(|error: &Infallible| match *error {});
    assert!(split.wants(&vec![1, 2]) && !split.wants(&vec![1, 2, 3]));
}

#[test]
fn of_two_sinks_either() {
    let small_or_large = |event| !(10..20).contains(&event);
    let large = || sink::discard().filter(|event: &u32| *event >= 20);
    wants("tee", |kept| small(kept).tee(large()), small_or_large);
    wants("tee, the other way round", |kept| large().tee(small(kept)), small_or_large);
    wants("fallback", |kept| small(kept).fallback(large()), small_or_large);
    wants("fallback, the other way round", |kept| large().fallback(small(kept)), small_or_large);
}

#[test]
fn through_every_pointer_and_where_the_type_is_erased() {
    let below_ten = |event| event < 10;
    wants("shared", |kept| small(kept).shared(), below_ten);
    wants("boxed", |kept| Box::new(small(kept)), below_ten);
    wants("borrowed", |kept| &*Box::leak(Box::new(small(kept))), below_ten);
}

#[test]
fn a_sink_that_ignores_nothing_wants_everything() {
    wants("collector", |kept| kept.clone(), |_| true);
    wants("discard", |_| sink::discard(), |_| true);
    wants("from_fn", |_| sink::from_fn(|_: &u32| Ok::<_, Infallible>(())), |_| true);
    wants("queue", |kept| kept.clone().queued(), |_| true);
}

#[test]
fn a_tee_misses_only_what_its_closed_sink_would_have_taken() {
    let write = |first_closed: bool, by_ref: bool| {
        let (first, second) = (sink::collector(), sink::collector());
        let tee = small(&first).tee(second.clone().filter(|event: &u32| *event < 10));
        drop(if first_closed { first.close() } else { second.close() });
        for event in 5..15 {
            let written = if by_ref { tee.write_ref(&event).is_ok() } else { tee.write(event).is_ok() };
            assert!(written, "the open one accepts, or rejects as asked");
        }
        assert_eq!(tee.missed(), 5, "first closed: {first_closed}, by reference: {by_ref}");
        assert_eq!(tee.close().wait().unwrap_err().undelivered(), 5);
    };
    for first_closed in [false, true] {
        write(first_closed, false);
        write(first_closed, true);
    }
}

#[test]
fn a_closed_sink_refuses_what_it_does_not_want_all_the_same() {
    let kept = sink::collector();
    let sink = small(&kept);
    sink.close().wait().unwrap();
    assert!(!sink.wants(&10) && sink.write(10).unwrap_err().is_closed());
}

/// Answers what it wants by a panic.
struct Unsure(Collector<u32>);

impl Sink<u32> for Unsure {
    type Error = Infallible;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, Infallible>> {
        self.0.write(event)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn wants(&self, _: &u32) -> bool {
        planned_panic()
    }
}

#[test]
fn what_a_closed_sink_does_not_want_is_not_counted_as_undelivered_by_a_queue() {
    // Its reader has hung up before anything was delivered.
    let (sink, events) = channel::unbounded();
    drop(events);
    let queue = sink.filter(|event: &u32| *event > 10).queued();
    queue.write(1).unwrap();
    assert!(matches!(queue.close().wait(), Ok(()) | Err(CloseError::DownstreamClosed { events: 0 })));
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.delivered, stats.dropped), (1, 1, 0));

    let (sink, events) = channel::unbounded();
    drop(events);
    let queue = sink.filter(|event: &u32| *event > 10).queued();
    queue.write(11).unwrap();
    assert_eq!(queue.close().wait(), Err(CloseError::DownstreamClosed { events: 1 }));
}

#[test]
fn what_a_closed_sink_does_not_want_is_not_counted_as_undelivered_by_a_broadcaster() {
    for (event, undelivered) in [(1, 0), (11, 1)] {
        // In the midst of others, and last: it gets the event itself there.
        for at in 0..2 {
            let closed = sink::collector();
            let broadcaster = Broadcaster::new();
            if at == 1 {
                broadcaster.add(sink::discard()).unwrap();
            }
            broadcaster.add(closed.clone().filter(|event: &u32| *event > 10)).unwrap();
            if at == 0 {
                broadcaster.add(sink::discard()).unwrap();
            }
            drop(closed.close());
            broadcaster.write(event).unwrap();
            let ended = broadcaster.ended();
            assert_eq!(ended.undelivered, undelivered, "{ended:?}");
            broadcaster.close().wait().unwrap();
        }
    }
}

#[test]
fn a_sink_that_panics_when_it_is_asked_wants_the_event() {
    let closed = sink::collector();
    drop(closed.close());
    let queue = Unsure(closed.clone()).queued();
    queue.write(1).unwrap();
    assert_eq!(queue.close().wait(), Err(CloseError::DownstreamClosed { events: 1 }));
    assert_eq!(queue.stats().dropped, 1);

    for last in [false, true] {
        let (seen, broadcaster) = (sink::collector(), Broadcaster::new());
        broadcaster.add(Unsure(closed.clone())).unwrap();
        if !last {
            broadcaster.add(seen.clone()).unwrap();
        }
        broadcaster.write(1).unwrap();
        assert_eq!(broadcaster.ended().undelivered, 1);
        assert_eq!(seen.len(), usize::from(!last), "the others get it all the same");
    }
}
