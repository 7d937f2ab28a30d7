//! Publishes what meters, counters and queues count through the [`metrics`] facade, for Prometheus
//! and whatever else has an exporter. Feature `metrics`.
//!
//! A [`Publisher`] is given what to publish, and under which name, once. Nothing more happens on the way of an
//! event: the counts are those that a [`Meter`], a [`Counter`] and a [`Queue`] keep in any case, and
//! [`Publisher::update`], called before each scrape, passes on what was added since. Only
//! [`Publisher::latency`] makes a write pay, for two looks at the clock and the record.
//!
//! The names, units and labels are listed in [`docs::observability`](crate::docs::observability).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;

use crate::adapter::Histograms;
use crate::adapter::{Counter, Meter, MeterSnapshot};
use crate::queue::Queue;
use crate::queue::QueueStats;

use crate::sync::caught::{drop_caught, run_caught};

const EVENTS: &str = "outflow_events_total";
const SUCCESSES: &str = "outflow_successes_total";
const FAILURES: &str = "outflow_failures_total";
const ERRORS: &str = "outflow_errors_total";
const RETRIES: &str = "outflow_retries_total";
const DROPPED: &str = "outflow_dropped_total";
const IN_FLIGHT: &str = "outflow_in_flight";
const LATENCY: &str = "outflow_delivery_duration_seconds";
const QUEUE_ACCEPTED: &str = "outflow_queue_accepted_total";
const QUEUE_DELIVERED: &str = "outflow_queue_delivered_total";
const QUEUE_DROPPED: &str = "outflow_queue_dropped_total";
const QUEUE_SPILLED: &str = "outflow_queue_spilled_total";
const QUEUE_LOST: &str = "outflow_queue_lost_total";
const QUEUE_PENDING: &str = "outflow_queue_pending";
const QUEUE_IN_FLIGHT: &str = "outflow_queue_in_flight";

/// Publishes counts under names through the [`metrics`] facade. Cheap to clone; clones share.
///
/// [`update`](Publisher::update) publishes, on the thread that calls it, to the recorder that is installed
/// then: install it first, since what is passed on to none is not passed on again. Counts are passed on as
/// what was added, so that several sinks of one name add up, and so does a queue that takes the place of
/// one that was closed.
///
/// It keeps nothing open: a queue whose last handle is dropped closes as it would. What it holds of one is
/// let go by the first update after its end, of a meter or a counter by the first after every handle is dropped, with
/// the last counts published.
///
/// # Examples
///
/// ```
/// use metrics_util::debugging::{DebugValue, DebuggingRecorder};
/// use outflow::metrics::Publisher;
/// use outflow::{Meter, Sink, SinkExt, sink};
///
/// let recorder = DebuggingRecorder::new();
/// let scrape = recorder.snapshotter();
/// recorder.install()?;
///
/// let meter = Meter::new();
/// let queue = sink::discard().metered(&meter).queued();
/// let publisher = Publisher::new();
/// publisher.meter("webhooks", &meter).queue("webhooks", &queue);
///
/// queue.write("push").unwrap();
/// queue.close().wait()?;
/// publisher.update();
///
/// let values: Vec<_> = scrape.snapshot().into_vec();
/// let delivered = values.iter().find(|(key, ..)| key.key().name() == "outflow_successes_total");
/// assert!(matches!(delivered, Some((.., DebugValue::Counter(1)))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    sources: Mutex<Vec<Arc<dyn Source>>>,
    described: AtomicBool,
}

impl Publisher {
    /// One that publishes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::metrics::Publisher;
    ///
    /// Publisher::new().update();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes a meter: events, successes, failures, errors, and how many writes are in flight, labelled
    /// `sink="name"`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Meter, SinkExt, metrics::Publisher, sink};
    ///
    /// let meter = Meter::new();
    /// let sink = sink::discard::<u32>().metered(&meter);
    /// Publisher::new().meter("webhooks", &meter).update();
    /// # let _ = sink;
    /// ```
    pub fn meter<N>(&self, name: N, meter: &Meter) -> &Self
    where
        N: Into<Arc<str>>,
    {
        self.add(OfMeter {
            name: name.into(),
            counts: Box::new(meter.observer()),
            published: Default::default(),
        })
    }

    /// Has a meter time each write from now on, into a histogram in seconds, labelled `sink="name"` and
    /// `outcome="success"` or `"failure"`. One that is refused, since the sink is closed, is not recorded,
    /// nor one that panics.
    ///
    /// What is timed is one write through the meter: below a retry one attempt, above it all of them and the
    /// waits between; above a queue what it takes to be accepted. It goes to the recorder that is installed
    /// now, at the end of each write and on its thread. A panic of that goes no further: the write ends as it
    /// would have.
    ///
    /// # Panics
    ///
    /// If the meter has a histogram already: it can have one.
    ///
    /// # Examples
    ///
    /// ```
    /// use metrics_util::debugging::DebuggingRecorder;
    /// use outflow::{Meter, Sink, SinkExt, metrics::Publisher, sink};
    ///
    /// let recorder = DebuggingRecorder::new();
    /// let scrape = recorder.snapshotter();
    /// recorder.install()?;
    ///
    /// let meter = Meter::new();
    /// Publisher::new().meter("webhooks", &meter).latency("webhooks", &meter);
    /// let sink = sink::discard().metered(&meter);
    /// sink.write("push").unwrap();
    ///
    /// let names: Vec<_> = scrape.snapshot().into_vec().into_iter().map(|(key, ..)| key).collect();
    /// assert!(names.iter().any(|key| key.key().name() == "outflow_delivery_duration_seconds"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn latency<N>(&self, name: N, meter: &Meter) -> &Self
    where
        N: Into<Arc<str>>,
    {
        let name = name.into();
        let of = |outcome: &'static str| histogram!(LATENCY, "sink" => name.clone(), "outcome" => outcome);
        let histograms = Histograms { success: of("success"), failure: of("failure") };
        assert!(
            meter.time_writes(histograms),
            "this meter has a latency histogram already: give {name} a meter of its own"
        );
        self
    }

    /// Publishes a queue: what it accepted, delivered, dropped, spilled and lost, and how many events are
    /// pending and in flight, labelled `queue="name"`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SinkExt, metrics::Publisher, sink};
    ///
    /// let queue = sink::discard::<u32>().queued();
    /// Publisher::new().queue("webhooks", &queue).update();
    /// ```
    pub fn queue<N, E, P>(&self, name: N, queue: &Queue<E, P>) -> &Self
    where
        N: Into<Arc<str>>,
        E: Send + 'static,
    {
        self.add(OfQueue { name: name.into(), stats: queue.observer(), published: Default::default() })
    }

    /// Publishes retries, labelled `sink="name"`, as
    /// [`count_retries`](crate::retry::Retry::count_retries) counts them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Counter, SinkExt, metrics::Publisher, retry::Breaker, sink};
    ///
    /// let retries = Counter::new();
    /// let http = sink::from_fn(|_: &u32| Err("no route to host"))
    ///     .retry(Breaker::new(5, Duration::from_secs(1)))
    ///     .count_retries(&retries);
    /// Publisher::new().retries("webhooks", &retries).update();
    /// ```
    pub fn retries<N>(&self, name: N, retries: &Counter) -> &Self
    where
        N: Into<Arc<str>>,
    {
        self.add(OfCounter {
            metric: RETRIES,
            name: name.into(),
            count: Box::new(retries.observer()),
            published: Published::default(),
        })
    }

    /// Publishes what a lossy sink drops, labelled `sink="name"`, as
    /// [`lossy_counted`](crate::SinkExt::lossy_counted) counts it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Counter, SinkExt, metrics::Publisher, sink};
    ///
    /// let dropped = Counter::new();
    /// let sink = sink::from_fn(|_: &u32| Err("full")).lossy_counted(&dropped);
    /// Publisher::new().dropped("audit", &dropped).update();
    /// ```
    pub fn dropped<N>(&self, name: N, dropped: &Counter) -> &Self
    where
        N: Into<Arc<str>>,
    {
        self.add(OfCounter {
            metric: DROPPED,
            name: name.into(),
            count: Box::new(dropped.observer()),
            published: Published::default(),
        })
    }

    fn add(&self, source: impl Source + 'static) -> &Self {
        self.shared.sources.lock().push(Arc::new(source));
        self
    }

    /// Publishes everything: call it before each scrape. Any number of threads may; each count is passed on
    /// once. Costs a look-up in the recorder for each series. No lock is held while the recorder runs.
    ///
    /// A panic of the recorder goes no further. It costs what the recorder was being passed, and nothing else: the
    /// other series are published, and this one goes on with the next update.
    ///
    /// # Examples
    ///
    /// ```
    /// use metrics_util::debugging::DebuggingRecorder;
    /// use outflow::{Meter, Sink, SinkExt, metrics::Publisher, sink};
    ///
    /// let recorder = DebuggingRecorder::new();
    /// let scrape = recorder.snapshotter();
    /// recorder.install()?;
    ///
    /// let (publisher, meter) = (Publisher::new(), Meter::new());
    /// publisher.meter("webhooks", &meter);
    /// sink::discard().metered(&meter).write("push").unwrap();
    /// publisher.update(); // What an exporter's handler does before it renders.
    ///
    /// let series = scrape.snapshot().into_vec();
    /// assert!(series.iter().any(|(key, ..)| key.key().name() == "outflow_events_total"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self) {
        if !self.shared.described.swap(true, Ordering::Relaxed) {
            run_caught(describe);
        }
        let sources = self.shared.sources.lock().clone();
        let mut gauges = Gauges::default();
        let (ended, others): (Vec<_>, Vec<_>) =
            sources.into_iter().partition(|source| source.update(&mut gauges));
        for ((metric, label, name), value) in gauges.0 {
            run_caught(|| gauge!(metric, label => name).set(value as f64));
        }
        if !ended.is_empty() {
            let is_ended = |source: &Arc<dyn Source>| ended.iter().any(|other| Arc::ptr_eq(source, other));
            self.shared.sources.lock().retain(|source| !is_ended(source));
        }
        // What is let go here, or by another update meanwhile, may hold a user's spill: its destructor runs without
        // the lock.
        drop_caught((ended, others));
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("sources", &self.shared.sources.lock().len()).finish()
    }
}

/// By metric, label and name; what several sources have under one name adds up.
#[derive(Default)]
struct Gauges(BTreeMap<(&'static str, &'static str, Arc<str>), u64>);

impl Gauges {
    fn add(&mut self, metric: &'static str, label: &'static str, name: &Arc<str>, value: u64) {
        *self.0.entry((metric, label, Arc::clone(name))).or_default() += value;
    }
}

trait Source: Send + Sync {
    /// Passes on what was added since the last time. Answers whether nothing can be added any more.
    fn update(&self, gauges: &mut Gauges) -> bool;
}

/// How much of a count is passed on: the greatest that was seen, so that of several threads at once each passes on a
/// part, and none a part twice.
#[derive(Default)]
struct Published(AtomicU64);

impl Published {
    /// Passes on what the count has more, which is nothing if the recorder panics.
    fn update(&self, count: u64, counter: impl FnOnce() -> metrics::Counter) {
        let more = count.saturating_sub(self.0.fetch_max(count, Ordering::Relaxed));
        run_caught(|| counter().increment(more));
    }
}

struct OfMeter {
    name: Arc<str>,
    counts: Box<dyn Fn() -> (MeterSnapshot, bool) + Send + Sync>,
    published: [Published; 5],
}

impl Source for OfMeter {
    fn update(&self, gauges: &mut Gauges) -> bool {
        let (counts, ended) = (self.counts)();
        let [events, successes, failures, refused, panicked] = &self.published;
        let of = |metric| move || counter!(metric, "sink" => Arc::clone(&self.name));
        let error = |reason| move || counter!(ERRORS, "sink" => Arc::clone(&self.name), "reason" => reason);
        events.update(counts.events, of(EVENTS));
        successes.update(counts.successes, of(SUCCESSES));
        failures.update(counts.failures, of(FAILURES));
        refused.update(counts.refused, error("closed"));
        panicked.update(counts.panicked, error("panic"));
        gauges.add(IN_FLIGHT, "sink", &self.name, counts.in_flight);
        ended
    }
}

struct OfCounter {
    metric: &'static str,
    name: Arc<str>,
    count: Box<dyn Fn() -> (u64, bool) + Send + Sync>,
    published: Published,
}

impl Source for OfCounter {
    fn update(&self, _gauges: &mut Gauges) -> bool {
        let (count, ended) = (self.count)();
        let name = Arc::clone(&self.name);
        self.published.update(count, || counter!(self.metric, "sink" => name));
        ended
    }
}

struct OfQueue {
    name: Arc<str>,
    stats: Box<dyn Fn() -> (QueueStats, bool) + Send + Sync>,
    published: [Published; 5],
}

impl Source for OfQueue {
    fn update(&self, gauges: &mut Gauges) -> bool {
        let (stats, ended) = (self.stats)();
        let [accepted, delivered, dropped, spilled, lost] = &self.published;
        let of = |metric| move || counter!(metric, "queue" => Arc::clone(&self.name));
        accepted.update(stats.accepted, of(QUEUE_ACCEPTED));
        delivered.update(stats.delivered, of(QUEUE_DELIVERED));
        dropped.update(stats.dropped, of(QUEUE_DROPPED));
        spilled.update(stats.spilled, of(QUEUE_SPILLED));
        lost.update(stats.lost, of(QUEUE_LOST));
        gauges.add(QUEUE_PENDING, "queue", &self.name, stats.pending);
        gauges.add(QUEUE_IN_FLIGHT, "queue", &self.name, stats.in_flight);
        ended
    }
}

fn describe() {
    describe_counter!(EVENTS, Unit::Count, "Writes begun.");
    describe_counter!(SUCCESSES, Unit::Count, "Writes that the sink accepted.");
    describe_counter!(FAILURES, Unit::Count, "Writes that the sink failed.");
    describe_counter!(ERRORS, Unit::Count, "Writes that ended otherwise: the sink was closed, or panicked.");
    describe_counter!(RETRIES, Unit::Count, "Failed attempts after which there is to be another.");
    describe_counter!(DROPPED, Unit::Count, "Events that failed and were dropped, as asked.");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Writes under way.");
    describe_histogram!(LATENCY, Unit::Seconds, "The time that a write takes.");
    describe_counter!(QUEUE_ACCEPTED, Unit::Count, "Events that the queue accepted.");
    describe_counter!(QUEUE_DELIVERED, Unit::Count, "Events that the sink under the queue accepted.");
    describe_counter!(QUEUE_DROPPED, Unit::Count, "Events that were evicted or left over, and not spilled.");
    describe_counter!(QUEUE_SPILLED, Unit::Count, "Events that were evicted or left over, and spilled.");
    describe_counter!(QUEUE_LOST, Unit::Count, "Events on which the sink under the queue panicked.");
    describe_gauge!(QUEUE_PENDING, Unit::Count, "Events that wait in the queue.");
    describe_gauge!(
        QUEUE_IN_FLIGHT,
        Unit::Count,
        "Events on their way from the queue to the sink or the spill."
    );
}
