//! Publishes what meters, counters, queues, followers and subscriptions count through the [`metrics`] facade, for
//! Prometheus and every other system that has an exporter. Needs the `metrics` feature.
//!
//! You register each with a [`Publisher`] once, under a name. A write costs no more for that: a [`Meter`], a [`Counter`]
//! and a [`Queue`] keep their counts in any case, and [`Publisher::update`], called before each scrape, publishes what
//! was added since the last update. Only [`Publisher::latency`] costs each write something: two readings of the clock
//! and a record in the histogram.
//!
//! The names, units and labels are listed in [`docs::observability`](crate::docs::observability).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;

use crate::adapter::{Counter, Histograms, Meter, MeterSnapshot};
use crate::broadcast::Subscription;
use crate::log::FollowerHandle;
use crate::queue::Queue;
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
const QUEUE_AGE: &str = "outflow_queue_oldest_age_seconds";
#[cfg(feature = "durable")]
mod durable {
    pub(super) const DELIVERED: &str = "outflow_durable_delivered_total";
    pub(super) const ACKNOWLEDGED: &str = "outflow_durable_acknowledged_total";
    pub(super) const DROPPED: &str = "outflow_durable_dropped_total";
    pub(super) const DEAD_LETTERED: &str = "outflow_durable_dead_lettered_total";
    pub(super) const DAMAGED: &str = "outflow_durable_damaged_total";
    pub(super) const FAILED_FLUSHES: &str = "outflow_durable_failed_flushes_total";
    pub(super) const FAILED_READS: &str = "outflow_durable_failed_reads_total";
    pub(super) const PENDING: &str = "outflow_durable_pending";
    pub(super) const UNCONFIRMED: &str = "outflow_durable_unconfirmed";
    pub(super) const PASSED_OVER: &str = "outflow_durable_passed_over";
    pub(super) const BYTES: &str = "outflow_durable_bytes";
    pub(super) const AGE: &str = "outflow_durable_oldest_age_seconds";
}
const FOLLOWER_ACCEPTED: &str = "outflow_follower_accepted_total";
const FOLLOWER_DELIVERED: &str = "outflow_follower_delivered_total";
const FOLLOWER_SKIPPED: &str = "outflow_follower_skipped_total";
const FOLLOWER_DROPPED: &str = "outflow_follower_dropped_total";
const FOLLOWER_SPILLED: &str = "outflow_follower_spilled_total";
const FOLLOWER_LOST: &str = "outflow_follower_lost_total";
const FOLLOWER_PENDING: &str = "outflow_follower_pending";
const FOLLOWER_IN_FLIGHT: &str = "outflow_follower_in_flight";
const FOLLOWER_AGE: &str = "outflow_follower_oldest_age_seconds";
const SUBSCRIPTION_DROPPED: &str = "outflow_subscription_dropped_total";
const SUBSCRIPTION_SPILLED: &str = "outflow_subscription_spilled_total";
const SUBSCRIPTION_PENDING: &str = "outflow_subscription_pending";

/// Publishes counts under names through the [`metrics`] facade. Cheap to clone; clones share their registrations.
///
/// [`update`](Publisher::update) publishes to the recorder that is installed when it is called, on the thread that calls
/// it. Install the recorder first: counts that are published without one are lost to it. Counters are published as
/// increments. So several sinks under one name add up, and a new queue can take the name of a closed one.
///
/// It keeps nothing open: a registered queue closes when its last handle is dropped, as it would otherwise. A queue, a
/// follower or a subscription is unregistered by the first update after its end, and a meter or a counter by the first
/// after its last handle is dropped. Their last counts are published then.
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
/// publisher.meter("webhooks", &meter).latency("webhooks", &meter).queue("webhooks", &queue);
///
/// queue.write("push").unwrap();
/// queue.close().wait()?;
/// publisher.update(); // Before each scrape, in the exporter's handler, say.
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
    /// Makes a publisher without registrations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes a meter: events, successes, failures, errors, and how many writes are in flight, labelled
    /// `sink="name"`.
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

    /// Makes a meter time each write from now on, into a histogram in seconds, labelled `sink="name"` and
    /// `outcome="success"` or `"failure"`. A write that is refused because the sink is closed is not recorded, nor is
    /// one that panics.
    ///
    /// It measures a write through the meter: below a retry that is one attempt, above it all attempts and the waits
    /// between them, and above a queue the time until the queue has accepted the event. Each is recorded at the end of
    /// the write, on the writer's thread, by the recorder that is installed when this method is called. A panic of the
    /// recorder is caught, and does not change the outcome of the write.
    ///
    /// # Panics
    ///
    /// If the meter has a histogram already: it can have only one.
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

    /// Publishes a queue: what it accepted, delivered, dropped, spilled and lost, how many events are pending and in
    /// flight, and the age of the oldest that waits, labelled `queue="name"`.
    ///
    /// The age is counted from the first update that finds the event in the queue, since a write does not read the
    /// clock. So it is never too high, and the closer the more often you update.
    pub fn queue<N, E, P>(&self, name: N, queue: &Queue<E, P>) -> &Self
    where
        N: Into<Arc<str>>,
        E: Send + 'static,
    {
        let stats = queue.observer();
        self.add(OfStats::new("queue", QUEUE_AGE, name.into(), move || {
            let (stats, ended) = stats();
            Observed {
                counts: vec![
                    (QUEUE_ACCEPTED, stats.accepted),
                    (QUEUE_DELIVERED, stats.delivered),
                    (QUEUE_DROPPED, stats.dropped),
                    (QUEUE_SPILLED, stats.spilled),
                    (QUEUE_LOST, stats.lost),
                ],
                gauges: vec![(QUEUE_PENDING, stats.pending), (QUEUE_IN_FLIGHT, stats.in_flight)],
                oldest: Oldest::Waits { accepted: stats.accepted, pending: stats.pending },
                ended,
            }
        }))
    }

    /// Publishes a durable queue: what was delivered, acknowledged, dropped and dead-lettered since it was opened, and what
    /// failed; how many events and bytes are on disk, and the age of the oldest, labelled `queue="name"`. Those are right after
    /// a restart, too: the age is counted from the write.
    #[cfg(feature = "durable")]
    pub fn durable<N, E>(&self, name: N, queue: &crate::durable::Durable<E>) -> &Self
    where
        N: Into<Arc<str>>,
        E: 'static,
    {
        let stats = queue.observer();
        self.add(OfStats::new("queue", durable::AGE, name.into(), move || {
            let (stats, ended) = stats();
            Observed {
                counts: vec![
                    (durable::DELIVERED, stats.delivered),
                    (durable::ACKNOWLEDGED, stats.acknowledged),
                    (durable::DROPPED, stats.dropped),
                    (durable::DEAD_LETTERED, stats.dead_lettered),
                    (durable::DAMAGED, stats.damaged),
                    (durable::FAILED_FLUSHES, stats.failed_flushes),
                    (durable::FAILED_READS, stats.failed_reads),
                ],
                gauges: vec![
                    (durable::PENDING, stats.pending),
                    (durable::UNCONFIRMED, stats.unconfirmed),
                    (durable::PASSED_OVER, stats.passed_over),
                    (durable::BYTES, stats.bytes),
                ],
                oldest: Oldest::Is(stats.oldest.unwrap_or_default()),
                ended,
            }
        }))
    }

    /// Publishes a follower of a log: the same as of a [`queue`](Publisher::queue), and how many events it skipped,
    /// labelled `follower="name"`.
    pub fn follower<N, E>(&self, name: N, follower: &FollowerHandle<E>) -> &Self
    where
        N: Into<Arc<str>>,
        E: Send + Sync + 'static,
    {
        let follower = follower.clone();
        self.add(OfStats::new("follower", FOLLOWER_AGE, name.into(), move || {
            // Read first, so that when it has ended the stats below are the last.
            let ended = follower.has_ended();
            let stats = follower.stats();
            Observed {
                counts: vec![
                    (FOLLOWER_ACCEPTED, stats.accepted),
                    (FOLLOWER_DELIVERED, stats.delivered),
                    (FOLLOWER_SKIPPED, stats.skipped),
                    (FOLLOWER_DROPPED, stats.dropped),
                    (FOLLOWER_SPILLED, stats.spilled),
                    (FOLLOWER_LOST, stats.lost),
                ],
                gauges: vec![(FOLLOWER_PENDING, stats.pending), (FOLLOWER_IN_FLIGHT, stats.in_flight)],
                oldest: Oldest::Waits { accepted: stats.accepted, pending: stats.pending },
                ended,
            }
        }))
    }

    /// Publishes a subscription of a broadcaster: how many events it dropped and spilled, and how many wait to be read,
    /// labelled `subscription="name"`.
    pub fn subscription<N, E>(&self, name: N, subscription: &Subscription<E>) -> &Self
    where
        N: Into<Arc<str>>,
        E: Send + 'static,
    {
        let observe = subscription.observer();
        self.add(OfStats::new("subscription", "", name.into(), move || {
            let (pending, dropped, spilled, ended) = observe();
            Observed {
                counts: vec![(SUBSCRIPTION_DROPPED, dropped), (SUBSCRIPTION_SPILLED, spilled)],
                gauges: vec![(SUBSCRIPTION_PENDING, pending)],
                oldest: Oldest::Unknown,
                ended,
            }
        }))
    }

    /// Publishes retries, labelled `sink="name"`, as
    /// [`count_retries`](crate::retry::Retry::count_retries) counts them.
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

    /// Publishes everything that was counted since the last update: call it before each scrape. Threads may call it
    /// concurrently; each increment is published once. It costs a look-up in the recorder for each series. No lock is
    /// held while the recorder runs.
    ///
    /// A panic of the recorder is caught. It loses the one value that was being published: all other series are
    /// published, and this one continues with the next update.
    pub fn update(&self) {
        if !self.shared.described.swap(true, Ordering::Relaxed) {
            run_caught(describe);
        }
        let sources = self.shared.sources.lock().clone();
        let mut gauges = Gauges::default();
        let (ended, others): (Vec<_>, Vec<_>) =
            sources.into_iter().partition(|source| source.update(&mut gauges));
        for ((metric, label, name), value) in gauges.0 {
            run_caught(|| gauge!(metric, label => name).set(value));
        }
        if !ended.is_empty() {
            let is_ended = |source: &Arc<dyn Source>| ended.iter().any(|other| Arc::ptr_eq(source, other));
            self.shared.sources.lock().retain(|source| !is_ended(source));
        }
        // Dropped without the lock: the last reference to a source may hold a user's spill, whose destructor runs here.
        drop_caught((ended, others));
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("sources", &self.shared.sources.lock().len()).finish()
    }
}

/// The gauges of one update, by metric, label and name.
#[derive(Default)]
struct Gauges(BTreeMap<(&'static str, &'static str, Arc<str>), f64>);

impl Gauges {
    /// Adds to what other sources have under this name.
    fn add(&mut self, metric: &'static str, label: &'static str, name: &Arc<str>, value: u64) {
        *self.entry(metric, label, name) += value as f64;
    }

    /// Keeps the highest value of the sources under this name.
    fn max(&mut self, metric: &'static str, label: &'static str, name: &Arc<str>, value: f64) {
        let entry = self.entry(metric, label, name);
        *entry = entry.max(value);
    }

    fn entry(&mut self, metric: &'static str, label: &'static str, name: &Arc<str>) -> &mut f64 {
        self.0.entry((metric, label, Arc::clone(name))).or_default()
    }
}

trait Source: Send + Sync {
    /// Publishes what was added since the last time. Returns whether it has ended, so that this was the last.
    fn update(&self, gauges: &mut Gauges) -> bool;
}

/// How much of a count is published: the greatest value seen. Threads that update concurrently each publish a part of the
/// increment, and no part is published twice.
#[derive(Default)]
struct Published(AtomicU64);

impl Published {
    /// Publishes the increment. If the recorder panics, it is lost.
    fn update(&self, count: u64, counter: impl FnOnce() -> metrics::Counter) {
        let more = count.saturating_sub(self.0.fetch_max(count, Ordering::Relaxed));
        run_caught(|| counter().increment(more));
    }
}

struct OfMeter {
    name: Arc<str>,
    counts: Box<dyn Fn() -> (MeterSnapshot, bool) + Send + Sync>,
    published: [Published; 6],
}

impl Source for OfMeter {
    fn update(&self, gauges: &mut Gauges) -> bool {
        let (counts, ended) = (self.counts)();
        let [events, successes, failures, refused, panicked, cancelled] = &self.published;
        let of = |metric| move || counter!(metric, "sink" => Arc::clone(&self.name));
        let error = |reason| move || counter!(ERRORS, "sink" => Arc::clone(&self.name), "reason" => reason);
        events.update(counts.events, of(EVENTS));
        successes.update(counts.successes, of(SUCCESSES));
        failures.update(counts.failures, of(FAILURES));
        refused.update(counts.refused, error("closed"));
        panicked.update(counts.panicked, error("panic"));
        cancelled.update(counts.cancelled, error("cancelled"));
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

/// What a queue, a follower or a subscription counts.
struct Observed {
    /// Counters, always the same ones.
    counts: Vec<(&'static str, u64)>,
    gauges: Vec<(&'static str, u64)>,
    oldest: Oldest,
    /// Whether nothing can be counted any more.
    ended: bool,
}

/// What is known of the age of the oldest event.
enum Oldest {
    /// It is not published.
    Unknown,
    /// How many events were accepted, and how many of them wait: from which it is reckoned.
    Waits { accepted: u64, pending: u64 },
    #[cfg(feature = "durable")]
    Is(Duration),
}

struct OfStats {
    label: &'static str,
    name: Arc<str>,
    observe: Box<dyn Fn() -> Observed + Send + Sync>,
    published: Mutex<BTreeMap<&'static str, Arc<Published>>>,
    age: &'static str,
    arrivals: Mutex<Arrivals>,
}

impl OfStats {
    fn new(
        label: &'static str,
        age: &'static str,
        name: Arc<str>,
        observe: impl Fn() -> Observed + Send + Sync + 'static,
    ) -> Self {
        let observe = Box::new(observe);
        Self { label, name, observe, published: Mutex::default(), age, arrivals: Mutex::default() }
    }
}

impl Source for OfStats {
    fn update(&self, gauges: &mut Gauges) -> bool {
        let observed = (self.observe)();
        for (metric, count) in observed.counts {
            let published = Arc::clone(self.published.lock().entry(metric).or_default());
            published.update(count, || counter!(metric, self.label => Arc::clone(&self.name)));
        }
        for (metric, value) in observed.gauges {
            gauges.add(metric, self.label, &self.name, value);
        }
        let age = match observed.oldest {
            Oldest::Unknown => None,
            Oldest::Waits { accepted, pending } => {
                Some(self.arrivals.lock().age(accepted, pending, Instant::now()))
            }
            #[cfg(feature = "durable")]
            Oldest::Is(age) => Some(age),
        };
        if let Some(age) = age {
            gauges.max(self.age, self.label, &self.name, age.as_secs_f64());
        }
        observed.ended
    }
}

/// When events arrived, as updates saw it: the number accepted by the time of each update. Events carry no time of their
/// own, for which every write would have to read the clock.
#[derive(Default)]
struct Arrivals(VecDeque<(u64, Instant)>);

impl Arrivals {
    /// How many updates are remembered while events wait.
    const KEPT: usize = 256;

    /// How long the oldest of the pending events has waited at least: since the first update that saw it.
    fn age(&mut self, accepted: u64, pending: u64, now: Instant) -> Duration {
        let gone = accepted.saturating_sub(pending);
        while self.0.front().is_some_and(|(seen, _)| *seen <= gone) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(seen, _)| *seen < accepted) && pending > 0 {
            if self.0.len() == Self::KEPT {
                // Keeps every other one, and the first, which is that of the oldest event.
                let mut seen = 0;
                self.0.retain(|_| {
                    seen += 1;
                    seen % 2 == 1
                });
            }
            self.0.push_back((accepted, now));
        }
        self.0.front().map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }
}

fn describe() {
    describe_counter!(EVENTS, Unit::Count, "Writes begun.");
    describe_counter!(SUCCESSES, Unit::Count, "Writes that the sink accepted.");
    describe_counter!(FAILURES, Unit::Count, "Writes that the sink failed.");
    describe_counter!(
        ERRORS,
        Unit::Count,
        "Writes that ended otherwise: the sink was closed, panicked, or was not awaited to the end."
    );
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
    describe_gauge!(QUEUE_AGE, Unit::Seconds, "How long the oldest event has waited in the queue.");
    #[cfg(feature = "durable")]
    describe_durable();
    describe_counter!(FOLLOWER_ACCEPTED, Unit::Count, "Events appended since the follower began.");
    describe_counter!(FOLLOWER_DELIVERED, Unit::Count, "Events that the follower's sink accepted.");
    describe_counter!(FOLLOWER_SKIPPED, Unit::Count, "Events that the follower skipped to keep up.");
    describe_counter!(FOLLOWER_DROPPED, Unit::Count, "Events that were left over, and not spilled.");
    describe_counter!(FOLLOWER_SPILLED, Unit::Count, "Events that were left over, and spilled.");
    describe_counter!(FOLLOWER_LOST, Unit::Count, "Events on which the follower's sink panicked.");
    describe_gauge!(FOLLOWER_PENDING, Unit::Count, "Events that the follower has not come to yet.");
    describe_gauge!(FOLLOWER_IN_FLIGHT, Unit::Count, "Events on their way to the follower's sink or spill.");
    describe_gauge!(FOLLOWER_AGE, Unit::Seconds, "How long the oldest event has waited for the follower.");
    describe_counter!(
        SUBSCRIPTION_DROPPED,
        Unit::Count,
        "Events that were evicted or left unread, and not spilled."
    );
    describe_counter!(
        SUBSCRIPTION_SPILLED,
        Unit::Count,
        "Events that were evicted or left unread, and spilled."
    );
    describe_gauge!(SUBSCRIPTION_PENDING, Unit::Count, "Events that wait to be read.");
}

#[cfg(feature = "durable")]
fn describe_durable() {
    describe_counter!(
        durable::DELIVERED,
        Unit::Count,
        "Events that the sink accepted; again, if they came again."
    );
    describe_counter!(durable::ACKNOWLEDGED, Unit::Count, "Events that are done with.");
    describe_counter!(durable::DROPPED, Unit::Count, "Events that made room for others.");
    describe_counter!(durable::DEAD_LETTERED, Unit::Count, "Events that a dead-letter sink accepted.");
    describe_counter!(
        durable::DAMAGED,
        Unit::Count,
        "Events that the disk damaged while the store was open."
    );
    describe_counter!(durable::FAILED_FLUSHES, Unit::Count, "Flushes after which events come again.");
    describe_counter!(durable::FAILED_READS, Unit::Count, "Reads of the disk that failed.");
    describe_gauge!(durable::PENDING, Unit::Count, "Events that are on disk and not acknowledged.");
    describe_gauge!(
        durable::UNCONFIRMED,
        Unit::Count,
        "Events that are with the sink, without a flush since."
    );
    describe_gauge!(durable::PASSED_OVER, Unit::Count, "Events that stay on disk and are not delivered.");
    describe_gauge!(durable::BYTES, Unit::Bytes, "The bytes of the store.");
    describe_gauge!(durable::AGE, Unit::Seconds, "How long ago the oldest event was written.");
}
