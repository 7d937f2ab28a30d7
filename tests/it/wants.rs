//! What a filter rejects is not counted as undelivered: every combinator says whether it wants an event as its filters
//! do, open or closed, and says so without a write.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use outflow::retry::Constant;
use outflow::sink::Collector;
use outflow::{Counter, DeadLetter, Meter, Sink, SinkExt, sink};

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
    wants("dead_letter", |kept| small(kept).dead_letter(sink::discard::<DeadLetter<_, _>>()), below_ten);
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
