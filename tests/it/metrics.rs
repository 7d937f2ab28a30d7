//! Metrics: each series of `docs::observability` is published, and each increment once, in any race.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::common::{planned_panic, rounds, wait_until};
use metrics::{CounterFn, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use outflow::metrics::Publisher;
use outflow::retry::{Breaker, Constant};
use outflow::{Broadcaster, Buffer, Counter, Log, Meter, Sink, SinkExt, sink};

/// A recorder for one test, since tests run concurrently. The counters of a snapshot begin at the last one; here they are
/// added up.
struct Scrapes {
    recorder: DebuggingRecorder,
    counters: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Scrape {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Vec<f64>>,
}

impl Scrapes {
    fn new() -> Self {
        Self { recorder: DebuggingRecorder::new(), counters: Mutex::default() }
    }

    fn with<T>(&self, f: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, f)
    }

    fn update(&self, publisher: &Publisher) -> Scrape {
        self.with(|| publisher.update());
        self.scrape()
    }

    fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::default();
        let mut counters = self.counters.lock().unwrap();
        for (key, unit, description, value) in self.recorder.snapshotter().snapshot().into_vec() {
            let (_, key) = key.into_parts();
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            if !name.starts_with("outflow_delivery") {
                assert!(unit.is_some() && description.is_some(), "{name} is not described");
            }
            match value {
                DebugValue::Counter(count) => *counters.entry(name).or_default() += count,
                DebugValue::Gauge(value) => _ = scrape.gauges.insert(name, value.into_inner()),
                DebugValue::Histogram(values) => {
                    _ = scrape
                        .histograms
                        .insert(name, values.into_iter().map(|value| value.into_inner()).collect());
                }
            }
        }
        scrape.counters = counters.clone();
        scrape
    }
}

fn counters<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn gauges<const N: usize>(of: [(&str, f64); N]) -> BTreeMap<String, f64> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_meter_publishes_events_successes_failures_errors_and_writes_in_flight() {
    let scrapes = Scrapes::new();
    let (meter, publisher) = (Meter::new(), Publisher::new());
    publisher.meter("webhooks", &meter);
    let none = scrapes.update(&publisher);
    assert_eq!(none.counters.get("outflow_events_total{sink=webhooks}"), Some(&0), "there before the first");

    let below = sink::from_fn(|event: &u64| match event {
        0..5 => Ok(()),
        5..8 => Err("unavailable"),
        _ => planned_panic(),
    })
    .metered(&meter);
    for event in 0..9 {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| below.write(event)));
    }
    below.close().wait().unwrap();
    for _ in 0..2 {
        assert!(below.write(0).unwrap_err().is_closed());
    }

    // A second update publishes no increment again.
    for _ in 0..2 {
        let scrape = scrapes.update(&publisher);
        assert_eq!(
            scrape.counters,
            counters([
                ("outflow_events_total{sink=webhooks}", 11),
                ("outflow_successes_total{sink=webhooks}", 5),
                ("outflow_failures_total{sink=webhooks}", 3),
                ("outflow_errors_total{sink=webhooks,reason=closed}", 2),
                ("outflow_errors_total{sink=webhooks,reason=panic}", 1),
                ("outflow_errors_total{sink=webhooks,reason=cancelled}", 0),
            ])
        );
        assert_eq!(scrape.gauges, gauges([("outflow_in_flight{sink=webhooks}", 0.0)]));
        assert!(scrape.histograms.is_empty(), "no latency was asked for");
    }
}

#[test]
fn a_queue_publishes_where_its_events_are() {
    let scrapes = Scrapes::new();
    let publisher = Publisher::new();
    let (release, released) = mpsc::channel::<bool>();
    let released = Mutex::new(released);
    let meter = Meter::new();
    let below = sink::for_each(move |_: u64| {
        if released.lock().unwrap().recv() == Ok(true) {
            planned_panic()
        }
    })
    .metered(&meter);
    let spill = sink::collector();
    let queue = below.queued_with(Buffer::bounded(4).drop_newest().spill(spill.clone()));
    publisher.queue("webhooks", &queue).meter("webhooks", &meter);

    queue.write(0).unwrap();
    wait_until("the worker is in the sink", || meter.snapshot().in_flight == 1);
    queue.write_all(1..8).unwrap();
    let scrape = scrapes.update(&publisher);
    let expected = |delivered, spilled, lost| {
        counters([
            ("outflow_queue_accepted_total{queue=webhooks}", 8),
            ("outflow_queue_delivered_total{queue=webhooks}", delivered),
            ("outflow_queue_dropped_total{queue=webhooks}", 0),
            ("outflow_queue_spilled_total{queue=webhooks}", spilled),
            ("outflow_queue_lost_total{queue=webhooks}", lost),
        ])
    };
    let of_queue = |scrape: &Scrape| -> BTreeMap<String, u64> {
        scrape.counters.clone().into_iter().filter(|(name, _)| name.contains("queue")).collect()
    };
    let levels_of = |mut scrape: Scrape| {
        let age = scrape.gauges.remove("outflow_queue_oldest_age_seconds{queue=webhooks}");
        (scrape.gauges, age.unwrap())
    };
    let levels = |pending, in_flight, writes| {
        gauges([
            ("outflow_queue_pending{queue=webhooks}", pending),
            ("outflow_queue_in_flight{queue=webhooks}", in_flight),
            ("outflow_in_flight{sink=webhooks}", writes),
        ])
    };
    assert_eq!(of_queue(&scrape), expected(0, 3, 0));
    assert_eq!(levels_of(scrape).0, levels(4.0, 1.0, 1.0));

    // One event is delivered, the sink panics on the next, and the others are spilled.
    release.send(false).unwrap();
    release.send(true).unwrap();
    assert!(queue.close().wait().is_err());
    let scrape = scrapes.update(&publisher);
    assert_eq!(of_queue(&scrape), expected(1, 6, 1));
    assert_eq!(levels_of(scrape), (levels(0.0, 0.0, 0.0), 0.0));
}

#[test]
fn the_age_of_the_oldest_event_grows_while_it_waits_and_no_longer() {
    let scrapes = Scrapes::new();
    let publisher = Publisher::new();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let queue = sink::for_each(move |_: u64| _ = released.lock().unwrap().recv()).queued();
    publisher.queue("webhooks", &queue);
    let age = || {
        let scrape = scrapes.update(&publisher);
        scrape.gauges["outflow_queue_oldest_age_seconds{queue=webhooks}"]
    };
    assert_eq!(age(), 0.0, "nothing waits");
    queue.write_all(0..3).unwrap();
    wait_until("the worker is in the sink", || queue.stats().in_flight == 1);
    assert_eq!(age(), 0.0, "first seen");
    let of_two = age();
    assert!(of_two > 0.0);
    // A later event does not change the age.
    queue.write(3).unwrap();
    assert!(age() > of_two);
    // When no other event waits, its own age is published.
    (0..3).for_each(|_| release.send(()).unwrap());
    wait_until("the last one is in the sink", || queue.stats().delivered == 3);
    assert_eq!(age(), 0.0, "none waits");
    drop(release);
    queue.close().wait().unwrap();
}

#[cfg(feature = "durable")]
#[test]
fn a_durable_queue_publishes_what_is_on_disk_also_after_a_restart() {
    use outflow::durable::{DurableOptions, Sync};

    let path = std::env::temp_dir().join(format!("outflow-metrics-{}", std::process::id()));
    let open = || {
        let dead = sink::from_fn(|_: &String| Err("no route to host"));
        let options = DurableOptions::new(&path).sync(Sync::Os).max_bytes(64 << 10).drop_oldest();
        dead.retry(Constant::new(Duration::from_secs(3600))).durable_with(options).unwrap()
    };
    let (scrapes, publisher) = (Scrapes::new(), Publisher::new());
    let queue = open();
    publisher.durable("pushes", &queue);
    assert_eq!(scrapes.update(&publisher).gauges["outflow_durable_oldest_age_seconds{queue=pushes}"], 0.0);
    queue.write_all((0..100).map(|n| format!("{n:1000}"))).unwrap();
    let stats = queue.stats();
    let scrape = scrapes.update(&publisher);
    assert_eq!(scrape.gauges["outflow_durable_pending{queue=pushes}"], stats.pending as f64);
    assert_eq!(scrape.gauges["outflow_durable_bytes{queue=pushes}"], stats.bytes as f64);
    assert_eq!(scrape.counters["outflow_durable_dropped_total{queue=pushes}"], stats.dropped);
    assert!(stats.dropped > 0 && stats.pending + stats.dropped == 100);
    queue.close().abort().unwrap();
    drop(queue);
    scrapes.update(&publisher);
    assert!(format!("{publisher:?}").contains("sources: 0"), "it has ended: {publisher:?}");
    std::thread::sleep(Duration::from_millis(50));

    // The first update after the start is right; what was dropped before is not counted once more.
    let (scrapes, publisher, queue) = (Scrapes::new(), Publisher::new(), open());
    publisher.durable("pushes", &queue);
    let scrape = scrapes.update(&publisher);
    assert_eq!(scrape.gauges["outflow_durable_pending{queue=pushes}"], stats.pending as f64);
    assert!(scrape.gauges["outflow_durable_oldest_age_seconds{queue=pushes}"] >= 0.05, "{scrape:?}");
    assert_eq!(scrape.counters["outflow_durable_dropped_total{queue=pushes}"], 0);
    assert_eq!(scrape.counters.len() + scrape.gauges.len(), 12);
    assert_eq!(queue.stats().dropped, stats.dropped);
    drop(queue);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_follower_and_a_subscription_publish_where_their_events_are() {
    let scrapes = Scrapes::new();
    let publisher = Publisher::new();
    let log = Log::new();
    let follower = log.follow(sink::discard::<u64>());
    let broadcaster = Broadcaster::new();
    let saved = sink::collector();
    let watcher = broadcaster.subscribe(Buffer::bounded(2).drop_oldest().spill(saved));
    let other = broadcaster.subscribe(Buffer::bounded(2).drop_newest());
    publisher.follower("webhooks", &follower);
    publisher.subscription("watcher", &watcher).subscription("other", &other);
    log.write_all(0..5).unwrap();
    log.close().wait().unwrap();
    broadcaster.write_all(0..5_u64).unwrap();
    assert_eq!(watcher.recv(), Ok(3));

    let scrape = scrapes.update(&publisher);
    let expected = counters([
        ("outflow_follower_accepted_total{follower=webhooks}", 5),
        ("outflow_follower_delivered_total{follower=webhooks}", 5),
        ("outflow_follower_skipped_total{follower=webhooks}", 0),
        ("outflow_follower_dropped_total{follower=webhooks}", 0),
        ("outflow_follower_spilled_total{follower=webhooks}", 0),
        ("outflow_follower_lost_total{follower=webhooks}", 0),
        ("outflow_subscription_dropped_total{subscription=watcher}", 0),
        ("outflow_subscription_spilled_total{subscription=watcher}", 3),
        ("outflow_subscription_dropped_total{subscription=other}", 3),
        ("outflow_subscription_spilled_total{subscription=other}", 0),
    ]);
    assert_eq!(scrape.counters, expected);
    assert_eq!(scrape.gauges["outflow_subscription_pending{subscription=watcher}"], 1.0);
    assert_eq!(scrape.gauges["outflow_subscription_pending{subscription=other}"], 2.0);

    // After its end each is published once more, and then dropped.
    drop((watcher, other));
    broadcaster.close().wait().unwrap();
    let scrape = scrapes.update(&publisher);
    assert_eq!(scrape.counters["outflow_subscription_dropped_total{subscription=other}"], 5);
    assert_eq!(scrape.counters["outflow_subscription_spilled_total{subscription=watcher}"], 4);
    assert_eq!(format!("{publisher:?}"), "Publisher { sources: 0 }");
}

#[test]
fn retries_and_what_a_lossy_sink_drops_are_published() {
    let scrapes = Scrapes::new();
    let (retries, dropped, publisher) = (Counter::new(), Counter::new(), Publisher::new());
    publisher.retries("webhooks", &retries).dropped("webhooks", &dropped);
    let attempts = AtomicU64::new(0);
    let sink = sink::from_fn(|_: &u64| {
        // The first event takes 3 attempts, the second is given up after 4.
        if attempts.fetch_add(1, Ordering::SeqCst) == 2 { Ok(()) } else { Err("unavailable") }
    })
    .retry(Constant::new(Duration::ZERO))
    .max_attempts(4)
    .count_retries(&retries)
    .lossy_counted(&dropped);
    sink.write_all([1, 2]).unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 7);
    assert_eq!(
        scrapes.update(&publisher).counters,
        counters([("outflow_retries_total{sink=webhooks}", 5), ("outflow_dropped_total{sink=webhooks}", 1)])
    );
}

#[test]
fn latency_is_the_time_of_one_write_through_the_meter_by_outcome() {
    const TAKES: Duration = Duration::from_millis(3);
    let scrapes = Scrapes::new();
    let (attempts, delivery) = (Meter::new(), Meter::new());
    let publisher = Publisher::new();
    scrapes.with(|| _ = publisher.latency("attempts", &attempts).latency("delivery", &delivery));
    let seen = AtomicU64::new(0);
    let http = sink::from_fn(move |_: &u64| {
        std::thread::sleep(TAKES);
        if seen.fetch_add(1, Ordering::SeqCst) < 2 { Err("unavailable") } else { Ok(()) }
    })
    .metered(&attempts)
    .retry(Breaker::new(1, Duration::from_millis(5)))
    .metered(&delivery);
    http.write(1).unwrap();
    http.close().wait().unwrap();
    assert!(http.write(2).is_err(), "refused, which is not recorded");

    let name = |sink, outcome| format!("outflow_delivery_duration_seconds{{sink={sink},outcome={outcome}}}");
    let histograms = scrapes.update(&publisher).histograms;
    let of = |sink, outcome| histograms.get(&name(sink, outcome)).cloned().unwrap_or_default();
    assert_eq!([of("attempts", "success").len(), of("attempts", "failure").len()], [1, 2]);
    assert_eq!([of("delivery", "success").len(), of("delivery", "failure").len()], [1, 0]);
    for seconds in [of("attempts", "success"), of("attempts", "failure")].concat() {
        assert!((0.003..1.0).contains(&seconds), "{seconds}");
    }
    let whole = of("delivery", "success")[0];
    assert!((3.0 * 0.003 + 2.0 * 0.005..2.0).contains(&whole), "with the waits between: {whole}");
}

/// A recorder that panics when it gets a value, while `panics` is set.
#[derive(Clone, Default)]
struct Panicky {
    panics: Arc<AtomicBool>,
    /// If set, it panics only for this series.
    only: Arc<Mutex<Option<&'static str>>>,
    /// The sum of the values of each counter, gauge and histogram.
    passed: Arc<Mutex<BTreeMap<String, f64>>>,
}

struct Instrument(Panicky, String);

impl Panicky {
    fn instrument(&self, key: &Key) -> Arc<Instrument> {
        Arc::new(Instrument(self.clone(), key.name().to_owned()))
    }

    fn passed(&self, name: &str) -> f64 {
        self.passed.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn panic_if(&self, panics: bool) {
        self.panics.store(panics, Ordering::SeqCst);
    }
}

impl Instrument {
    fn pass(&self, value: f64) {
        let panics = value > 0.0 && self.0.panics.load(Ordering::SeqCst);
        if panics && self.0.only.lock().unwrap().is_none_or(|only| only == self.1) {
            planned_panic();
        }
        *self.0.passed.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Instrument {
    fn increment(&self, value: u64) {
        self.pass(value as f64);
    }

    fn absolute(&self, _value: u64) {}
}

impl GaugeFn for Instrument {
    fn increment(&self, _value: f64) {}

    fn decrement(&self, _value: f64) {}

    fn set(&self, value: f64) {
        self.pass(value);
    }
}

impl HistogramFn for Instrument {
    fn record(&self, _value: f64) {
        self.pass(1.0);
    }
}

impl Recorder for Panicky {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.instrument(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.instrument(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.instrument(key))
    }
}

#[test]
fn a_histogram_that_panics_changes_the_outcome_of_no_write() {
    let recorder = Panicky::default();
    let timed = || {
        let meter = Meter::new();
        metrics::with_local_recorder(&recorder, || _ = Publisher::new().latency("moody", &meter));
        meter
    };
    recorder.panic_if(true);

    let (delivered, meter) = (sink::collector(), timed());
    let queue = delivered.clone().metered(&meter).queued();
    queue.write(1).unwrap();
    queue.close().wait().unwrap();
    assert_eq!((delivered.len(), queue.stats().delivered, queue.stats().lost), (1, 1, 0));
    assert_eq!((meter.snapshot().successes, meter.snapshot().panicked), (1, 0));

    let (dead, meter) = (sink::collector(), timed());
    let chain = sink::from_fn(|_: &u64| Err("unavailable")).metered(&meter).dead_letter(dead.clone());
    chain.write(1).unwrap();
    assert_eq!((dead.len(), meter.snapshot().failures, meter.snapshot().panicked), (1, 1, 0));

    let delivered = sink::collector();
    let caught = delivered.clone().metered(&timed()).catch_panic().retry(Constant::new(Duration::ZERO));
    caught.write(1).unwrap();
    assert_eq!(delivered.len(), 1, "it is not tried again");

    recorder.panic_if(false);
    caught.write(2).unwrap();
    assert_eq!(recorder.passed("outflow_delivery_duration_seconds"), 1.0);
}

#[test]
fn a_recorder_that_panics_loses_the_value_that_it_got_and_nothing_else() {
    let recorder = Panicky::default();
    let publisher = Publisher::new();
    let update = || metrics::with_local_recorder(&recorder, || publisher.update());
    let (panics, fine, meter) = (Counter::new(), Counter::new(), Meter::new());
    let sink = sink::from_fn(|_: &u64| Err("unavailable"))
        .metered(&meter)
        .retry(Constant::new(Duration::ZERO))
        .max_attempts(2)
        .count_retries(&panics)
        .lossy_counted(&fine);
    publisher.retries("panics", &panics).dropped("fine", &fine).meter("fine", &meter);
    let passed = || {
        let counts = ["outflow_retries_total", "outflow_dropped_total", "outflow_failures_total"];
        counts.map(|name| recorder.passed(name))
    };

    sink.write_all(0..5).unwrap();
    *recorder.only.lock().unwrap() = Some("outflow_retries_total");
    recorder.panic_if(true);
    update();
    assert_eq!(passed(), [0.0, 5.0, 10.0], "the others are passed on");
    recorder.panic_if(false);
    update();
    assert_eq!(passed(), [0.0, 5.0, 10.0], "it is not passed the same again");
    sink.write(1).unwrap();
    update();
    assert_eq!(passed(), [1.0, 6.0, 12.0]);

    // It panics for every series, at their last update: all sources are dropped.
    sink.write(1).unwrap();
    drop((sink, panics, fine, meter));
    *recorder.only.lock().unwrap() = None;
    recorder.panic_if(true);
    update();
    assert_eq!(passed(), [1.0, 6.0, 12.0]);
    assert_eq!(format!("{publisher:?}"), "Publisher { sources: 0 }");
}

#[test]
fn a_meter_that_is_published_twice_is_dropped_by_each_publisher() {
    let scrapes = Scrapes::new();
    let (one, other, meter) = (Publisher::new(), Publisher::new(), Meter::new());
    one.meter("a", &meter).meter("b", &meter);
    other.meter("c", &meter);
    let sink = sink::discard().metered(&meter);
    drop(meter);
    sink.write(1).unwrap();
    scrapes.update(&one);
    assert_eq!(format!("{one:?}"), "Publisher { sources: 2 }", "the sink may be written to still");
    sink.write(2).unwrap();
    drop(sink);
    for publisher in [&one, &other] {
        scrapes.update(publisher);
        assert_eq!(format!("{publisher:?}"), "Publisher { sources: 0 }");
    }
    let counters = scrapes.scrape().counters;
    let published = ["a", "b", "c"].map(|name| counters[&format!("outflow_events_total{{sink={name}}}")]);
    assert_eq!(published, [2, 2, 2], "with the last counts");
}

#[test]
fn a_counter_that_is_published_twice_is_dropped_for_each_name() {
    let scrapes = Scrapes::new();
    let (publisher, dropped) = (Publisher::new(), Counter::new());
    publisher.dropped("a", &dropped).dropped("b", &dropped);
    let sink = sink::from_fn(|_: &u32| Err("full")).lossy_counted(&dropped);
    drop(dropped);
    scrapes.update(&publisher);
    assert_eq!(format!("{publisher:?}"), "Publisher { sources: 2 }", "the sink may be written to still");
    sink.write(1).unwrap();
    drop(sink);
    scrapes.update(&publisher);
    assert_eq!(format!("{publisher:?}"), "Publisher { sources: 0 }");
    let counters = scrapes.scrape().counters;
    let published = ["a", "b"].map(|name| counters[&format!("outflow_dropped_total{{sink={name}}}")]);
    assert_eq!(published, [1, 1], "with the last count");
}

#[test]
#[should_panic(expected = "this meter has a latency histogram already: give second a meter of its own")]
fn a_meter_has_one_latency_histogram() {
    let meter = Meter::new();
    Publisher::new().latency("first", &meter).latency("second", &meter);
}

#[test]
fn what_has_one_name_adds_up_and_a_queue_may_take_the_place_of_another() {
    let scrapes = Scrapes::new();
    let publisher = Publisher::new();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let queues: Vec<_> = (0..3)
        .map(|_| {
            let released = Arc::clone(&released);
            let queue = sink::for_each(move |_: u64| _ = released.lock().unwrap().recv()).queued();
            publisher.queue("pool", &queue);
            queue
        })
        .collect();
    for queue in &queues {
        queue.write_all(0..5).unwrap();
    }
    let held = |scrape: &Scrape| {
        scrape.gauges["outflow_queue_pending{queue=pool}"]
            + scrape.gauges["outflow_queue_in_flight{queue=pool}"]
    };
    assert_eq!(held(&scrapes.update(&publisher)), 15.0);
    drop(release);
    for queue in &queues {
        queue.close().wait().unwrap();
    }
    drop(queues);
    let scrape = scrapes.update(&publisher);
    assert_eq!((held(&scrape), scrape.counters["outflow_queue_delivered_total{queue=pool}"]), (0.0, 15));

    let successor = sink::discard().queued();
    publisher.queue("pool", &successor);
    successor.write(1).unwrap();
    successor.close().wait().unwrap();
    assert_eq!(scrapes.update(&publisher).counters["outflow_queue_delivered_total{queue=pool}"], 16);
}

#[test]
fn a_publisher_keeps_nothing_open_and_drops_what_has_ended_with_its_last_counts() {
    let scrapes = Scrapes::new();
    let publisher = Publisher::new();
    let spill = Arc::new(sink::collector::<u64>());
    let (meter, retries) = (Meter::new(), Counter::new());
    let delivered = sink::collector();
    let queue = delivered
        .clone()
        .metered(&meter)
        .retry(Breaker::new(1, Duration::ZERO))
        .count_retries(&retries)
        .queued_with(Buffer::unbounded().spill(Arc::clone(&spill)));
    publisher.queue("q", &queue).meter("q", &meter).retries("q", &retries);
    drop((meter, retries));
    queue.write_all(0..100).unwrap();
    assert_eq!(format!("{publisher:?}"), "Publisher { sources: 3 }");
    // This drops the last handle: the queue drains, and closes the sink below.
    drop(queue);
    wait_until("the sink below is closed", || delivered.is_closed());

    let counted = || scrapes.update(&publisher).counters["outflow_queue_delivered_total{queue=q}"];
    wait_until("all sources are dropped", || {
        assert_eq!(counted(), 100);
        format!("{publisher:?}") == "Publisher { sources: 0 }"
    });
    assert_eq!(scrapes.scrape().counters["outflow_successes_total{sink=q}"], 100);
    wait_until("the spill is dropped", || Arc::strong_count(&spill) == 1);
}

#[test]
fn each_event_is_published_once_however_many_scrape_while_it_is_counted() {
    let scrapes = Scrapes::new();
    for _ in 0..rounds(50) {
        let (meter, publisher) = (Meter::new(), Publisher::new());
        let queue = sink::discard().metered(&meter).queued_with(Buffer::bounded(64).drop_oldest());
        publisher.queue("raced", &queue).meter("raced", &meter);
        let before = scrapes.update(&publisher).counters;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        scrapes.with(|| publisher.update());
                    }
                });
            }
            scope.spawn(|| {
                queue.write_all(0..2_000).unwrap();
                queue.close().wait().unwrap();
                done.store(true, Ordering::SeqCst);
            });
        });
        let after = scrapes.update(&publisher).counters;
        let stats = queue.stats();
        let published = |name: &str| after[name] - before[name];
        assert_eq!(published("outflow_queue_accepted_total{queue=raced}"), 2_000);
        assert_eq!(published("outflow_queue_delivered_total{queue=raced}"), stats.delivered);
        assert_eq!(published("outflow_queue_dropped_total{queue=raced}"), stats.dropped);
        assert_eq!(published("outflow_successes_total{sink=raced}"), stats.delivered);
    }
}
