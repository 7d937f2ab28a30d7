use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::lifecycle::Remaining;
use crate::sync::caught::drop_caught;
use crate::sync::clock::{Clock, Monotonic, nanos};
use crate::sync::{Label, SinkId};

/// What can happen a million times a second is told once in so long, with the count. It is also how long a
/// close may take before that is told.
const PERIOD: Duration = Duration::from_secs(1);

thread_local! {
    /// This thread is telling something, or asks whether anybody wants to hear it.
    static TELLING: Cell<bool> = const { Cell::new(false) };
    /// The name of the queue whose worker this thread is.
    static QUEUE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// `tracing::event!`, if somebody may listen and this thread is not telling something already.
macro_rules! tell {
    ($level:ident, $target:literal, { $($fields:tt)* }, $message:literal) => {
        if may_be_heard!($level) {
            guarded(|| ::tracing::event!(target: $target, ::tracing::Level::$level, $($fields)*, $message));
        }
    };
}

/// One load, and no call of a subscriber: `false` with nobody listening.
macro_rules! may_be_heard {
    ($level:ident) => {
        ::tracing::Level::$level <= ::tracing::level_filters::STATIC_MAX_LEVEL
            && ::tracing::Level::$level <= ::tracing::level_filters::LevelFilter::current()
    };
}

/// Whether somebody listens, and can be told now. Filters are asked, which are a user's: one that panics does
/// not listen.
macro_rules! heard {
    ($level:ident, $target:literal) => {
        may_be_heard!($level)
            && guarded(|| ::tracing::enabled!(target: $target, ::tracing::Level::$level)) == Some(true)
    };
}

/// Whether somebody listens, or, of what a subscriber causes, may: that is counted, to be told later.
macro_rules! counted {
    ($level:ident, $target:literal) => {
        may_be_heard!($level) && (is_telling() || heard!($level, $target))
    };
}

/// Calls a subscriber. `None` if it panics, or if this thread is calling one already.
#[cold]
fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    // Of a thread that is being torn down nothing is told.
    if TELLING.try_with(|telling| telling.replace(true)) != Ok(false) {
        return None;
    }
    let answer = catch_unwind(AssertUnwindSafe(f)).map_err(drop_caught).ok();
    let _ = TELLING.try_with(|telling| telling.set(false));
    answer
}

fn is_telling() -> bool {
    TELLING.try_with(Cell::get) != Ok(false)
}

fn current_queue() -> Option<Arc<str>> {
    QUEUE.try_with(|queue| queue.borrow().clone()).ok().flatten()
}

/// This thread is the worker of the queue whose buffer that is, for good.
pub(crate) fn on_worker_of(given_up: &ShedLog) {
    let name = given_up.queue().map(Arc::from);
    let _ = QUEUE.try_with(|queue| *queue.borrow_mut() = name);
}

#[inline]
pub(crate) fn attempt_failed(attempt: u32, elapsed: Duration, error_type: &'static str) {
    tell!(DEBUG, "outflow::retry", {
        queue = current_queue().as_deref(),
        attempt,
        elapsed_ms = millis(elapsed),
        error_type
    }, "an attempt failed");
}

pub(crate) fn panicked(queue: Option<&str>, lost: u64, left: u64) {
    tell!(ERROR, "outflow::queue", { queue, lost, left }, "a sink panicked, and its queue is closed");
}

pub(crate) fn downstream_closed(queue: Option<&str>, left: u64) {
    tell!(WARN, "outflow::queue", { queue, left }, "a sink closed by itself, and its queue is closed");
}

pub(crate) fn sink_ended(label: &Label) {
    tell!(WARN, "outflow::broadcast", { sink = %label }, "a sink closed by itself, and was removed");
}

pub(crate) fn follower_panicked(id: SinkId, lost: u64, left: u64) {
    tell!(ERROR, "outflow::log", { sink = %id, lost, left }, "a sink panicked, and its follower has ended");
}

pub(crate) fn follower_ended(id: SinkId, left: u64) {
    tell!(WARN, "outflow::log", { sink = %id, left }, "a sink closed by itself, and its follower has ended");
}

pub(crate) fn follower_lagged(id: SinkId, left: u64) {
    tell!(WARN, "outflow::log", { sink = %id, left }, "a follower was too far behind, and has ended");
}

/// Counts what can be a flood: one line a period, with the count since the last one.
///
/// The first is told at once. Each is in exactly one count, since a count is taken with a swap; it is told
/// with the first that comes when the period is over, or with the rest.
#[derive(Default)]
struct Tally {
    untold: AtomicU64,
    /// Before this time nothing is told, in nanoseconds by the monotonic clock.
    due: AtomicU64,
}

impl Tally {
    /// So many more. Answers a count that is to be told now.
    fn add(&self, events: u64) -> Option<u64> {
        // Relaxed, all of them: counts, on which nothing else depends.
        self.untold.fetch_add(events, Ordering::Relaxed);
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
        // Of several threads one tells.
        self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.take()
    }

    fn take(&self) -> Option<u64> {
        // What a subscriber causes is told later, and is counted until then.
        if is_telling() {
            return None;
        }
        match self.untold.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some(count),
        }
    }

    /// How long from now until something may be told that is not yet.
    fn left(&self) -> Option<Duration> {
        if self.untold.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let now = nanos(Monotonic.now());
        Some(Duration::from_nanos(self.due.load(Ordering::Relaxed).saturating_sub(now)))
    }
}

/// Tells of the events that a buffer gives up.
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
    /// The buffer is this queue's.
    pub(crate) fn of_queue(&self, name: Option<&str>) {
        if let Some(name) = name {
            let _ = self.owner.set(Owner::Queue(Arc::from(name)));
        }
    }

    /// The buffer is this subscription's, or what is shed this follower's.
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
                self.tell(spilled, count, event_type);
            }
        }
    }

    /// Tells what is not told yet: the buffer's end has come.
    pub(crate) fn flush(&self, event_type: &'static str) {
        self.tell_each(Tally::take, event_type);
    }

    /// Tells what is due, for a worker that is about to sleep. Answers when there will be more to tell.
    pub(crate) fn overdue(&self, event_type: &'static str) -> Option<Instant> {
        self.tell_each(
            |tally| tally.left().filter(Duration::is_zero).and_then(|_| tally.take_due()),
            event_type,
        );
        let left = [&self.dropped, &self.spilled].into_iter().filter_map(Tally::left).min()?;
        Instant::now().checked_add(left)
    }

    fn tell_each(&self, take: impl Fn(&Tally) -> Option<u64>, event_type: &'static str) {
        for (spilled, tally) in [(false, &self.dropped), (true, &self.spilled)] {
            if let Some(count) = take(tally) {
                self.tell(spilled, count, event_type);
            }
        }
    }

    #[cold]
    fn tell(&self, spilled: bool, count: u64, event_type: &'static str) {
        let queue = self.queue();
        let sink = self.sink().map(tracing::field::display);
        if spilled {
            tell!(WARN, "outflow::buffer", { queue, sink, count, event_type }, "events were spilled");
        } else {
            tell!(WARN, "outflow::buffer", { queue, sink, count, event_type }, "events were dropped");
        }
    }
}

/// Tells of the events that a retry gives up or a lossy sink drops; of the last ones when it is dropped
/// itself. Clones share.
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
                lost.tell(count);
            }
        }
    }

    /// Tells what is not told yet: the end has come, though a write under way may still add to it.
    pub(crate) fn rest(&self) {
        if let Some(count) = self.0.tally.take() {
            self.0.tell(count);
        }
    }
}

impl Lost {
    #[cold]
    fn tell(&self, count: u64) {
        let (queue, error_type) = (current_queue(), self.error_type.get().copied());
        let queue = queue.as_deref();
        if self.by_retry {
            tell!(WARN, "outflow::retry", { queue, count, error_type }, "events were given up");
        } else {
            tell!(WARN, "outflow::lossy", { queue, count, error_type }, "events were dropped");
        }
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        if let Some(count) = self.tally.take() {
            self.tell(count);
        }
    }
}

/// Tells of a breaker, at most once a period that it opens, and of each opening told that it closes.
///
/// # Why the last line tells the state
///
/// It does, or does once the next failure is told of. `told` goes round: an opening is *claimed* ([`OPEN`] is
/// set), later its closing is (`OPEN` is taken back), each by one thread, with a compare-and-swap.
///
/// *No closing is missed.* An opening is claimed by one thread and the closing found by another: the first sets
/// `OPEN` and then looks at the failures, the second takes the failures back and then looks at `OPEN`. All four
/// are sequentially consistent, so that one of the two sees the other.
///
/// *Lines come in the order of the claims.* Who tells a line has set [`BUSY`] with the claim, and takes it back
/// after the line. Meanwhile nobody else tells one: a closing that is claimed is left to whoever is telling the
/// opening, who finds `OPEN` gone and tells it then; an opening is not claimed at all.
///
/// *An opening that is not claimed*, since the period is not over or a line is being told, is told by the first
/// failure after: a breaker that stays open has one whenever a probe fails. *A closing that is not claimed*, since
/// a subscriber caused it on its own thread and so it cannot be told there, leaves `OPEN`: the first failure
/// after finds it with the failures below the threshold and tells it, or is an opening and makes the line true.
#[derive(Debug, Default)]
pub(crate) struct BreakerLog {
    /// When an opening was told last, in nanoseconds, but for the bits.
    told: AtomicU64,
    /// Openings that were not told.
    openings: AtomicU64,
}

/// The bit of [`BreakerLog::told`] that says that the closing of the opening told is not claimed.
const OPEN: u64 = 1;

/// The bit of [`BreakerLog::told`] that says that a line is being told.
const BUSY: u64 = 2;

impl BreakerLog {
    /// There were `failures` in a row, with this one; `now` looks how many there are.
    #[inline]
    pub(crate) fn failed(
        &self,
        name: Option<&str>,
        failures: u32,
        threshold: u32,
        backoff: Duration,
        now: impl Fn() -> u32,
    ) {
        if !may_be_heard!(WARN) {
            return;
        }
        if failures >= threshold && counted!(WARN, "outflow::breaker") {
            if failures == threshold {
                self.openings.fetch_add(1, Ordering::Relaxed);
            }
            self.opened(name, failures, backoff);
        }
        if self.told.load(Ordering::SeqCst) & OPEN == OPEN && now() < threshold {
            self.closed(name);
        }
    }

    /// A success ended `failures` in a row.
    #[inline]
    pub(crate) fn succeeded(&self, name: Option<&str>, failures: u32, threshold: u32) {
        if failures >= threshold {
            self.closed(name);
        }
    }

    #[cold]
    fn opened(&self, breaker: Option<&str>, failures: u32, backoff: Duration) {
        let told = self.told.load(Ordering::SeqCst);
        let claimed = (nanos(Monotonic.now()) & !BUSY) | OPEN | BUSY;
        let early = told > 0 && claimed < told.saturating_add(nanos(PERIOD));
        if early || told & (OPEN | BUSY) > 0 || is_telling() {
            return;
        }
        if self.told.compare_exchange(told, claimed, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        let queue = current_queue();
        tell!(WARN, "outflow::breaker", {
            breaker,
            queue = queue.as_deref(),
            count = self.openings.swap(0, Ordering::Relaxed),
            failures,
            backoff_ms = millis(backoff)
        }, "a breaker opened");
        let open = claimed & !BUSY;
        if self.told.compare_exchange(claimed, open, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // Nobody but a closing changes it meanwhile.
            self.tell_closed(breaker);
        }
    }

    #[cold]
    fn closed(&self, breaker: Option<&str>) {
        let claim = |told: u64| match (told & OPEN, told & BUSY) {
            (0, _) => None,
            (_, 0) => (!is_telling()).then_some(told & !OPEN | BUSY),
            _ => Some(told & !OPEN),
        };
        let claimed = self.told.fetch_update(Ordering::SeqCst, Ordering::SeqCst, claim);
        if claimed.is_ok_and(|told| told & BUSY == 0) {
            self.tell_closed(breaker);
        }
    }

    /// With `BUSY` set, and by whoever has set it.
    fn tell_closed(&self, breaker: Option<&str>) {
        let queue = current_queue();
        tell!(INFO, "outflow::breaker", { breaker, queue = queue.as_deref() }, "a breaker closed");
        self.told.fetch_and(!BUSY, Ordering::SeqCst);
    }
}

/// Tells of a close that is waited for, after 1, 2, 4, 8, ... seconds.
pub(crate) struct SlowClose(Option<Waiting>);

struct Waiting {
    since: Instant,
    told: u32,
}

impl SlowClose {
    /// The wait begins.
    pub(crate) fn begin() -> Self {
        Self(heard!(INFO, "outflow::close").then(|| Waiting { since: Instant::now(), told: 0 }))
    }

    /// Until when to wait, at most until `deadline`.
    pub(crate) fn sooner(&self, deadline: Option<Instant>) -> Option<Instant> {
        let tell = self.0.as_ref().and_then(|waiting| {
            let periods = 1_u32.checked_shl(waiting.told)?;
            waiting.since.checked_add(PERIOD.checked_mul(periods)?)
        });
        match (tell, deadline) {
            (Some(tell), Some(deadline)) => Some(tell.min(deadline)),
            (tell, deadline) => tell.or(deadline),
        }
    }

    /// Tells what is left. Answers `false`, and tells nothing, if the wait is over.
    pub(crate) fn tell(&mut self, deadline: Option<Instant>, left: impl FnOnce() -> Remaining) -> bool {
        let Some(waiting) = &mut self.0 else {
            return false;
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        waiting.told += 1;
        let left = left();
        tell!(INFO, "outflow::close", {
            waited_ms = millis(waiting.since.elapsed()),
            pending = left.pending,
            in_flight = left.in_flight,
            queues = left.queues,
            queue = left.longest.as_deref()
        }, "a close takes long");
        true
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
