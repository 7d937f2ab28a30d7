use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::sync::Label;
use crate::sync::caught::drop_caught;
use crate::sync::clock::{Clock, Monotonic, nanos};

/// What can happen a million times a second is logged once a period, with the count.
const PERIOD: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether this thread is calling a subscriber, or one of its filters.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
    /// The name of the queue whose worker this thread is.
    static QUEUE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// `tracing::event!`, if a subscriber may be interested and this thread is not calling one already.
macro_rules! log {
    ($level:ident, $target:literal, { $($fields:tt)* }, $message:literal) => {
        if may_be_enabled!($level) {
            guarded(|| ::tracing::event!(target: $target, ::tracing::Level::$level, $($fields)*, $message));
        }
    };
}

/// Whether a subscriber may be interested; `false` without one. It costs one load, and calls no subscriber.
macro_rules! may_be_enabled {
    ($level:ident) => {
        ::tracing::Level::$level <= ::tracing::level_filters::STATIC_MAX_LEVEL
            && ::tracing::Level::$level <= ::tracing::level_filters::LevelFilter::current()
    };
}

/// Whether a subscriber is interested, and can be called now. This calls its filters; one that panics counts as not
/// interested.
macro_rules! enabled {
    ($level:ident, $target:literal) => {
        may_be_enabled!($level)
            && guarded(|| ::tracing::enabled!(target: $target, ::tracing::Level::$level)) == Some(true)
    };
}

/// Whether to count something that is to be logged. As `enabled`, and also while this thread is calling a subscriber:
/// what the subscriber causes is counted, and logged later.
macro_rules! counted {
    ($level:ident, $target:literal) => {
        may_be_enabled!($level) && (is_logging() || enabled!($level, $target))
    };
}

/// Calls a subscriber. `None` if it panics, or if this thread is calling one already.
#[cold]
fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    // While a thread is being torn down, nothing is logged on it.
    if LOGGING.try_with(|logging| logging.replace(true)) != Ok(false) {
        return None;
    }
    let value = catch_unwind(AssertUnwindSafe(f)).map_err(drop_caught).ok();
    let _ = LOGGING.try_with(|logging| logging.set(false));
    value
}

fn is_logging() -> bool {
    LOGGING.try_with(Cell::get) != Ok(false)
}

fn current_queue() -> Option<Arc<str>> {
    QUEUE.try_with(|queue| queue.borrow().clone()).ok().flatten()
}

/// Notes that this thread is the worker of the queue that owns the buffer of `shed`, from now on.
pub(crate) fn on_worker_of(shed: &ShedLog) {
    let name = match shed.owner.get() {
        Some(Owner::Queue(name)) => Some(Arc::clone(name)),
        _ => None,
    };
    let _ = QUEUE.try_with(|queue| *queue.borrow_mut() = name);
}

#[inline]
pub(crate) fn attempt_failed(attempt: u32, elapsed: Duration, error_type: &'static str) {
    log!(DEBUG, "outflow::retry", {
        queue = current_queue().as_deref(),
        attempt,
        elapsed_ms = millis(elapsed),
        error_type
    }, "an attempt failed");
}

pub(crate) fn breaker_opened(breaker: Option<&str>, failures: u32, backoff: Duration) {
    log!(WARN, "outflow::breaker", {
        breaker,
        queue = current_queue().as_deref(),
        failures,
        backoff_ms = millis(backoff)
    }, "a breaker opened");
}

pub(crate) fn breaker_closed(breaker: Option<&str>) {
    log!(INFO, "outflow::breaker", {
        breaker,
        queue = current_queue().as_deref()
    }, "a breaker closed");
}

pub(crate) fn panicked(queue: Option<&str>, lost: u64, left: u64) {
    log!(ERROR, "outflow::queue", { queue, lost, left }, "a sink panicked, and its queue is closed");
}

pub(crate) fn downstream_closed(queue: Option<&str>, left: u64) {
    log!(WARN, "outflow::queue", { queue, left }, "a sink closed by itself, and its queue is closed");
}

/// `shed`: it came through, and a buffer below has shed events.
#[cfg(feature = "durable")]
pub(crate) fn flush_failed(queue: Option<&str>, events: u64, backoff: Duration, shed: bool) {
    let backoff_ms = millis(backoff);
    if shed {
        log!(WARN, "outflow::durable", { queue, events, backoff_ms }, "a buffer below shed events, which come again");
    } else {
        log!(WARN, "outflow::durable", { queue, events, backoff_ms }, "a flush failed, and its events come again");
    }
}

pub(crate) fn sink_ended(label: &Label) {
    log!(WARN, "outflow::broadcast", { sink = %label }, "a sink closed by itself, and was removed");
}

pub(crate) fn follower_panicked(label: &Label, lost: u64, left: u64) {
    log!(ERROR, "outflow::log", { sink = %label, lost, left }, "a sink panicked, and its follower has ended");
}

pub(crate) fn follower_ended(label: &Label, left: u64) {
    log!(WARN, "outflow::log", { sink = %label, left }, "a sink closed by itself, and its follower has ended");
}

pub(crate) fn follower_lagged(label: &Label, left: u64) {
    log!(WARN, "outflow::log", { sink = %label, left }, "a follower was too far behind, and has ended");
}

/// Counts what may happen very often, so that one line a period is logged, with the count since the last line.
///
/// The first event is logged at once. Later ones are logged together, by the first that comes after the period is over,
/// or at the end. A count is taken with a swap, so that each event is in exactly one line.
#[derive(Default)]
struct Tally {
    unlogged: AtomicU64,
    /// The time, in nanoseconds of the monotonic clock, before which nothing is logged.
    due: AtomicU64,
}

impl Tally {
    /// Adds to the count. Returns it if it is to be logged now.
    fn add(&self, events: u64) -> Option<u64> {
        // Relaxed, here and below: no other memory depends on these counts.
        self.unlogged.fetch_add(events, Ordering::Relaxed);
        self.take_due()
    }

    /// The count, if the period is over.
    fn take_due(&self) -> Option<u64> {
        let now = nanos(Monotonic.now());
        let due = self.due.load(Ordering::Relaxed);
        if now < due {
            return None;
        }
        let next = now.saturating_add(nanos(PERIOD));
        // One of several threads succeeds, and logs.
        self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.take()
    }

    fn take(&self) -> Option<u64> {
        // What a subscriber causes stays counted, and is logged later.
        if is_logging() {
            return None;
        }
        match self.unlogged.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some(count),
        }
    }
}

/// Logs the events that a buffer sheds.
#[derive(Default)]
pub(crate) struct ShedLog {
    owner: OnceLock<Owner>,
    dropped: Tally,
    spilled: Tally,
}

enum Owner {
    Queue(Arc<str>),
    Sink(Label),
}

impl ShedLog {
    /// Notes that the buffer belongs to this queue.
    pub(crate) fn of_queue(&self, name: Option<&str>) {
        if let Some(name) = name {
            let _ = self.owner.set(Owner::Queue(Arc::from(name)));
        }
    }

    /// Notes that the buffer belongs to this subscription, or that the shed events are this follower's.
    pub(crate) fn of_sink(&self, label: &Label) {
        let _ = self.owner.set(Owner::Sink(label.clone()));
    }

    pub(crate) fn queue(&self) -> Option<&str> {
        match self.owner.get() {
            Some(Owner::Queue(name)) => Some(name),
            _ => None,
        }
    }

    fn sink(&self) -> Option<&Label> {
        match self.owner.get() {
            Some(Owner::Sink(label)) => Some(label),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn count(&self, spilled: bool, events: u64, event_type: &'static str) {
        if counted!(WARN, "outflow::buffer") {
            let tally = if spilled { &self.spilled } else { &self.dropped };
            if let Some(count) = tally.add(events) {
                self.log(spilled, count, event_type);
            }
        }
    }

    /// Logs what is not logged yet, at the end of the buffer.
    pub(crate) fn flush(&self, event_type: &'static str) {
        for (spilled, tally) in [(false, &self.dropped), (true, &self.spilled)] {
            if let Some(count) = tally.take() {
                self.log(spilled, count, event_type);
            }
        }
    }

    #[cold]
    fn log(&self, spilled: bool, count: u64, event_type: &'static str) {
        let queue = self.queue();
        let sink = self.sink().map(tracing::field::display);
        if spilled {
            log!(WARN, "outflow::buffer", { queue, sink, count, event_type }, "events were spilled");
        } else {
            log!(WARN, "outflow::buffer", { queue, sink, count, event_type }, "events were dropped");
        }
    }
}

/// Logs the events that a retry gives up or a lossy sink drops. Clones share one count, of which the rest is logged when
/// the last is dropped.
#[derive(Clone)]
pub(crate) struct Losses(Arc<Lost>);

struct Lost {
    by_retry: bool,
    tally: Tally,
    error_type: OnceLock<&'static str>,
}

impl Losses {
    pub(crate) fn of_retry() -> Self {
        Self::new(true)
    }

    pub(crate) fn of_lossy() -> Self {
        Self::new(false)
    }

    fn new(by_retry: bool) -> Self {
        Self(Arc::new(Lost { by_retry, tally: Tally::default(), error_type: OnceLock::new() }))
    }

    #[inline]
    pub(crate) fn one(&self, error_type: &'static str) {
        let lost = &*self.0;
        let counted =
            if lost.by_retry { counted!(WARN, "outflow::retry") } else { counted!(WARN, "outflow::lossy") };
        if counted {
            lost.error_type.get_or_init(|| error_type);
            if let Some(count) = lost.tally.add(1) {
                lost.log(count);
            }
        }
    }

    /// Logs what is not logged yet, at the close. A write under way may still add to the count.
    pub(crate) fn rest(&self) {
        if let Some(count) = self.0.tally.take() {
            self.0.log(count);
        }
    }
}

impl Lost {
    #[cold]
    fn log(&self, count: u64) {
        let (queue, error_type) = (current_queue(), self.error_type.get().copied());
        let queue = queue.as_deref();
        if self.by_retry {
            log!(WARN, "outflow::retry", { queue, count, error_type }, "events were given up");
        } else {
            log!(WARN, "outflow::lossy", { queue, count, error_type }, "events were dropped");
        }
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        if let Some(count) = self.tally.take() {
            self.log(count);
        }
    }
}

/// Whether a subscriber is interested in slow closes now.
pub(crate) fn hears_slow_closes() -> bool {
    enabled!(INFO, "outflow::close")
}

pub(crate) fn slow_close(waited: Duration, pending: u64, in_flight: u64, queues: u64, queue: Option<&str>) {
    log!(INFO, "outflow::close", {
        waited_ms = millis(waited),
        pending,
        in_flight,
        queues,
        queue
    }, "a close takes long");
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
