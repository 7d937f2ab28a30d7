//! What is logged to `tracing`: each line of `docs::observability` with its level, target and fields. A flood of losses
//! is logged in a few lines whose counts add up. The content of an event, an error or a panic is never logged.

#[path = "it/common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{SOON, in_time, planned_panic, rounds, wait_until};
use outflow::queue::QueueOptions;
use outflow::retry::{Breaker, Constant, Failure, RetryStrategy};
use outflow::{Broadcaster, Buffer, CloseError, Sink, SinkExt, channel, sink};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone, Debug)]
struct Line {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        let value = self.field(name).unwrap_or_else(|| panic!("no field {name} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number in {self:?}"))
    }

    fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }

    /// The names of its fields, without the message.
    fn names(&self) -> Vec<&str> {
        self.fields.keys().map(String::as_str).filter(|name| *name != "message").collect()
    }

    fn is(&self, level: Level, target: &str, message: &str) -> bool {
        self.level == level && self.target == target && self.message() == message
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

thread_local! {
    /// The filter for what this thread logs. Without one, everything is logged.
    static FILTER: RefCell<Option<Filter>> = const { RefCell::new(None) };
}

type Filter = Rc<dyn Fn(&Metadata<'_>) -> bool>;

/// Sets the filter of this thread.
fn filter(filter: impl Fn(&Metadata<'_>) -> bool + 'static) {
    FILTER.set(Some(Rc::new(filter)));
}

fn filter_that_panics() {
    filter(|_| planned_panic());
}

/// A subscriber that hands each event to a closure.
struct Listener<F>(F);

impl<F> Subscriber for Listener<F>
where
    F: Fn(Line) + 'static,
{
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        // So that the filter is called each time.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let filter = FILTER.try_with(|filter| filter.borrow().clone()).ok().flatten();
        filter.is_none_or(|filter| filter(metadata))
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let metadata = event.metadata();
        (self.0)(Line { level: *metadata.level(), target: metadata.target().to_owned(), fields });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// What all threads of this process have logged so far, except in tests with a listener of their own.
fn log() -> &'static Mutex<Vec<Line>> {
    static LOG: OnceLock<Arc<Mutex<Vec<Line>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let listener = Listener(move |line| lines.lock().unwrap().push(line));
        tracing::subscriber::set_global_default(listener).unwrap();
        log
    })
}

/// The lines in which a field has this value. Tests run concurrently, so each uses names of its own.
fn lines(field: &str, value: &str) -> Vec<Line> {
    log().lock().unwrap().iter().filter(|line| line.field(field) == Some(value)).cloned().collect()
}

fn counted(lines: &[Line]) -> u64 {
    lines.iter().map(|line| line.number("count")).sum()
}

/// The most lines in which a flood that began then may be logged: the first at once, one a second, and the rest.
fn bound(begun: Instant) -> usize {
    2 + begun.elapsed().as_secs() as usize
}

fn named<P>(name: &str, buffer: Buffer<u64, P>) -> QueueOptions<u64, P> {
    QueueOptions::new(buffer).name(name)
}

#[test]
fn each_failed_attempt_is_logged_at_debug_level() {
    log();
    let attempts = AtomicU64::new(0);
    let flaky =
        sink::from_fn(
            move |_: &u64| {
                if attempts.fetch_add(1, Ordering::SeqCst) < 3 { Err("unavailable") } else { Ok(()) }
            },
        );
    let queue = flaky
        .retry(Constant::new(Duration::from_millis(2)))
        .queued_with(named("attempts", Buffer::unbounded()));
    queue.write(1).unwrap();
    queue.close().wait().unwrap();

    let lines = lines("queue", "attempts");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (i, line) in lines.iter().enumerate() {
        assert!(line.is(Level::DEBUG, "outflow::retry", "an attempt failed"), "{line:?}");
        assert_eq!(line.names(), ["attempt", "elapsed_ms", "error_type", "queue"]);
        assert_eq!(line.number("attempt"), i as u64 + 1);
        assert!(line.number("elapsed_ms") >= 2 * i as u64);
        assert_eq!(line.field("error_type"), Some("&str"));
    }
}

#[test]
fn what_a_retry_gives_up_is_counted_in_few_lines() {
    #[derive(Debug)]
    struct Rejected;
    let error_type = std::any::type_name::<Rejected>();

    log();
    let begun = Instant::now();
    let http = sink::from_fn(|_: &u64| Err(Rejected)).retry(Constant::new(Duration::ZERO)).max_attempts(2);
    for event in 0..5_000 {
        assert!(http.write(event).is_err());
    }
    http.close().wait().unwrap();
    assert!(http.write(1).unwrap_err().is_closed());

    let (attempts, given_up): (Vec<_>, Vec<_>) =
        lines("error_type", error_type).into_iter().partition(|line| line.level == Level::DEBUG);
    assert_eq!(attempts.len(), 10_000);
    for line in &given_up {
        assert!(line.is(Level::WARN, "outflow::retry", "events were given up"), "{line:?}");
        assert_eq!(line.names(), ["count", "error_type"]);
    }
    assert_eq!(given_up[0].number("count"), 1, "the first is logged at once");
    assert_eq!(counted(&given_up), 5_000);
    assert!(given_up.len() <= bound(begun), "{given_up:?}");
}

#[test]
fn what_a_lossy_sink_drops_is_counted_in_few_lines_the_last_when_it_is_dropped() {
    #[derive(Debug)]
    struct Malformed;
    let error_type = std::any::type_name::<Malformed>();

    log();
    let begun = Instant::now();
    let lossy = sink::from_fn(|_: &u64| Err(Malformed)).lossy();
    lossy.write_all(0..5_000).unwrap();
    let dropped = lossy.dropped();
    // Never closed.
    drop(lossy);

    let lines = lines("error_type", error_type);
    for line in &lines {
        assert!(line.is(Level::WARN, "outflow::lossy", "events were dropped"), "{line:?}");
        assert_eq!(line.names(), ["count", "error_type"]);
    }
    assert_eq!(counted(&lines), dropped);
    assert!(lines.len() <= bound(begun), "{lines:?}");
}

#[test]
fn what_follows_a_line_is_logged_with_the_first_event_after_the_second() {
    #[derive(Debug)]
    struct Refused;

    log();
    let begun = Instant::now();
    let lossy = sink::from_fn(|_: &u64| Err(Refused)).lossy();
    let logged = || lines("error_type", std::any::type_name::<Refused>());
    lossy.write(0).unwrap();
    assert_eq!(counted(&logged()), 1);
    wait_until("the second line", || {
        lossy.write(0).unwrap();
        logged().len() == 2
    });
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(counted(&logged()), lossy.dropped());
}

#[test]
fn a_breaker_that_opens_warns_and_one_that_closes_informs() {
    log();
    let attempts = AtomicU64::new(0);
    let flaky =
        sink::from_fn(
            move |_: &u64| {
                if attempts.fetch_add(1, Ordering::SeqCst) < 4 { Err("unavailable") } else { Ok(()) }
            },
        );
    let breaker = Breaker::new(2, Duration::from_millis(3)).name("b1");
    let queue = flaky.retry(breaker).queued_with(named("under b1", Buffer::unbounded()));
    queue.write(1).unwrap();
    queue.close().wait().unwrap();

    let lines = lines("breaker", "b1");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].is(Level::WARN, "outflow::breaker", "a breaker opened"), "{lines:?}");
    assert_eq!(lines[0].names(), ["backoff_ms", "breaker", "failures", "queue"]);
    assert_eq!(["backoff_ms", "failures"].map(|name| lines[0].number(name)), [3, 2]);
    assert!(lines[1].is(Level::INFO, "outflow::breaker", "a breaker closed"), "{lines:?}");
    assert_eq!(lines[1].names(), ["breaker", "queue"]);
    assert!(lines.iter().all(|line| line.field("queue") == Some("under b1")));
}

fn fail(breaker: &Breaker) {
    let failure = Failure { event: &(), error: &(), attempt: 1, elapsed: Duration::ZERO };
    let Ok(()) = RetryStrategy::<(), ()>::failure(breaker, failure);
}

fn succeed(breaker: &Breaker) {
    RetryStrategy::<(), ()>::success(breaker);
}

#[test]
fn each_transition_of_a_breaker_is_logged_when_it_happens() {
    log();
    let breaker = Breaker::new(3, Duration::ZERO).name("flapping");
    let levels = || lines("breaker", "flapping").iter().map(|line| line.level).collect::<Vec<_>>();
    let mut expected = Vec::new();
    for _ in 0..50 {
        // Below the threshold there is no transition.
        fail(&breaker);
        fail(&breaker);
        succeed(&breaker);
        fail(&breaker);
        fail(&breaker);
        assert_eq!(levels(), expected);
        fail(&breaker);
        expected.push(Level::WARN);
        assert_eq!(levels(), expected);
        fail(&breaker);
        assert_eq!(levels(), expected, "it is open already");
        succeed(&breaker);
        expected.push(Level::INFO);
        assert_eq!(levels(), expected);
    }
}

#[test]
fn each_transition_of_a_breaker_is_logged_once_however_many_fail_and_succeed() {
    log();
    let start = Barrier::new(4);
    let breakers: Vec<Breaker> =
        (0..4_000).map(|i| Breaker::new(1, Duration::ZERO).name(format!("crowded {i}"))).collect();
    std::thread::scope(|scope| {
        for work in [fail, succeed, fail, succeed] {
            let (start, breakers) = (&start, &breakers);
            scope.spawn(move || {
                for breaker in breakers {
                    start.wait();
                    work(breaker);
                }
            });
        }
    });
    let mut logged: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in log().lock().unwrap().iter().filter(|line| line.target == "outflow::breaker") {
        let name = line.field("breaker").unwrap_or_default().to_owned();
        let (openings, closings) = logged.entry(name).or_default();
        *(if line.level == Level::WARN { openings } else { closings }) += 1;
    }
    for (i, breaker) in breakers.iter().enumerate() {
        let (openings, closings) = logged[&format!("crowded {i}")];
        let open = usize::from(breaker.state() != outflow::retry::BreakerState::Closed);
        assert!((1..=2).contains(&openings) && openings == closings + open, "{i}: {openings}, {closings}");
    }
}

#[test]
fn what_a_full_queue_drops_is_counted_in_few_lines() {
    log();
    let begun = Instant::now();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stuck = sink::for_each(move |_: u64| {
        let _ = released.lock().unwrap().recv();
    });
    let queue = stuck.queued_with(named("full", Buffer::bounded(4).drop_oldest()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| queue.write_all(0..10_000).unwrap());
        }
    });
    let first = lines("queue", "full");
    assert!(!first.is_empty() && first.len() <= bound(begun), "{first:?}");
    drop(release);
    queue.close().wait().unwrap();

    let lines = lines("queue", "full");
    for line in &lines {
        assert!(line.is(Level::WARN, "outflow::buffer", "events were dropped"), "{line:?}");
        assert_eq!(line.names(), ["count", "event_type", "queue"]);
        assert_eq!(line.field("event_type"), Some("u64"));
    }
    assert_eq!(lines[0].number("count"), 1);
    assert_eq!(counted(&lines), queue.stats().dropped, "once the close is through all is logged");
    assert!(lines.len() <= bound(begun), "{lines:?}");
}

#[test]
fn the_counts_add_up_whoever_closes_or_aborts_meanwhile() {
    log();
    for round in 0..rounds(300) {
        let name = format!("raced queue {round}");
        let queue = sink::discard().queued_with(named(&name, Buffer::bounded(2).drop_oldest()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| queue.write_all(0..100));
            }
            scope.spawn(|| if round % 2 == 0 { queue.close().wait() } else { queue.close().abort() });
        });
        let logged = || counted(&lines("queue", &name));
        // After an abort, a write that was under way may still drop events, and logs them when it returns.
        wait_until("what was dropped is logged", || logged() == queue.stats().dropped);
    }
}

#[test]
fn what_is_spilled_is_logged_as_spilled_and_what_the_spill_refuses_as_dropped() {
    log();
    let spill = sink::collector();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stuck = sink::for_each(move |_: u64| {
        let _ = released.lock().unwrap().recv();
    });
    let queue = stuck.queued_with(named("spilling", Buffer::bounded(1).drop_newest().spill(spill.clone())));
    queue.write_all(0..10).unwrap();
    spill.close().wait().unwrap();
    queue.write_all(0..10).unwrap();
    drop(release);
    queue.close().wait().unwrap();

    let (spilled, dropped): (Vec<_>, Vec<_>) =
        lines("queue", "spilling").into_iter().partition(|line| line.message() == "events were spilled");
    assert!(spilled[0].is(Level::WARN, "outflow::buffer", "events were spilled"));
    assert_eq!(spilled[0].names(), ["count", "event_type", "queue"]);
    assert_eq!(counted(&spilled), queue.stats().spilled);
    assert_eq!(counted(&dropped), queue.stats().dropped);
    assert_eq!((spilled[0].number("count"), dropped[0].number("count")), (1, 1));
}

#[test]
fn a_subscription_is_logged_by_its_id_and_a_channel_by_its_events() {
    #[derive(Clone)]
    struct Tick;

    log();
    let broadcaster = Broadcaster::new();
    let subscription = broadcaster.subscribe(Buffer::bounded(1).drop_oldest());
    for _ in 0..10 {
        broadcaster.write(Tick).unwrap();
    }
    let id = subscription.id().to_string();
    drop(subscription);
    broadcaster.close().wait().unwrap();
    let logged = lines("sink", &id);
    assert!(logged.iter().all(|line| line.is(Level::WARN, "outflow::buffer", "events were dropped")));
    assert_eq!(logged[0].names(), ["count", "event_type", "sink"]);
    assert_eq!(counted(&logged), 10, "nine were evicted, and one was not read");

    struct Tock;
    let (sink, events) = channel::bounded(4);
    for _ in 0..3 {
        assert!(sink.write(Tock).is_ok());
    }
    drop(events);
    drop(sink);
    let logged = lines("event_type", std::any::type_name::<Tock>());
    assert_eq!(counted(&logged), 3);
    assert_eq!(logged[0].names(), ["count", "event_type"]);
}

#[test]
fn a_follower_that_ends_is_logged_by_its_id_with_the_number_of_events_that_remain() {
    log();
    let log = outflow::Log::new();
    let fine = sink::collector();
    let _fine = log.follow(fine.clone());
    let panics = log.follow(sink::for_each(|_: u64| planned_panic()));
    let closed = sink::collector();
    closed.close().wait().unwrap();
    let refused = log.follow(closed);
    log.write_all(0..10).unwrap();
    assert!(log.close().wait().is_err());
    assert_eq!(fine.len(), 10);

    let of = |id: outflow::SinkId| lines("sink", &id.to_string());
    let logged = of(panics.id());
    let errors: Vec<_> = logged.iter().filter(|line| line.level == Level::ERROR).collect();
    assert_eq!(errors.len(), 1, "{logged:?}");
    assert!(errors[0].is(Level::ERROR, "outflow::log", "a sink panicked, and its follower has ended"));
    assert_eq!(errors[0].names(), ["left", "lost", "sink"]);
    assert_eq!((errors[0].number("lost"), errors[0].number("left")), (1, panics.stats().dropped));

    let logged = of(refused.id());
    let ended: Vec<_> = logged.iter().filter(|line| line.target == "outflow::log").collect();
    assert_eq!(ended.len(), 1, "{logged:?}");
    assert!(ended[0].is(Level::WARN, "outflow::log", "a sink closed by itself, and its follower has ended"));
    let dropped: Vec<_> = logged.into_iter().filter(|line| line.target == "outflow::buffer").collect();
    assert_eq!(counted(&dropped), refused.stats().dropped, "what it gave up is logged as dropped");
}

#[test]
fn a_worker_that_panics_is_an_error() {
    log();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let bad = sink::for_each(move |_: u64| {
        let _ = released.lock().unwrap().recv();
        planned_panic()
    });
    let queue = bad.queued_with(named("panicking", Buffer::unbounded()));
    queue.write_all(0..3).unwrap();
    drop(release);
    assert!(matches!(queue.close().wait(), Err(CloseError::Panicked { events: 3, .. })));

    let errors: Vec<_> =
        lines("queue", "panicking").into_iter().filter(|line| line.level == Level::ERROR).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].is(Level::ERROR, "outflow::queue", "a sink panicked, and its queue is closed"));
    assert_eq!(errors[0].names(), ["left", "lost", "queue"]);
    assert_eq!((errors[0].number("lost"), errors[0].number("left")), (1, 2));
}

#[test]
fn a_sink_that_closes_by_itself_is_logged_by_its_queue_and_by_its_broadcaster() {
    log();
    let below = sink::collector();
    below.close().wait().unwrap();
    let queue = below.clone().queued_with(named("closed below", Buffer::unbounded()));
    queue.write(1).unwrap();
    assert!(queue.close().wait().is_err());
    let logged: Vec<_> =
        lines("queue", "closed below").into_iter().filter(|line| line.target == "outflow::queue").collect();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].is(Level::WARN, "outflow::queue", "a sink closed by itself, and its queue is closed"));
    assert_eq!((logged[0].names(), logged[0].number("left")), (vec!["left", "queue"], 1));

    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(below).unwrap().to_string();
    for event in 0..3 {
        broadcaster.write(event).unwrap();
    }
    let logged = lines("sink", &id);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].is(Level::WARN, "outflow::broadcast", "a sink closed by itself, and was removed"));
    assert_eq!(logged[0].names(), ["sink"]);
}

#[cfg(feature = "durable")]
#[test]
fn a_flush_that_fails_below_a_durable_queue_is_logged_with_how_many_events_come_again() {
    use outflow::durable::{DurableOptions, Sync};
    use outflow::{Closing, FlushError, Flushing, WriteError};

    /// Fails its first flushes, whose error is nobody's business.
    struct Fails(AtomicU64);

    impl Sink<u64> for Fails {
        type Error = Infallible;

        fn write(&self, _: u64) -> Result<(), WriteError<u64, Infallible>> {
            Ok(())
        }

        fn flush(&self) -> Flushing {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0..2 => Flushing::failed(FlushError::other("secret")),
                _ => Flushing::done(),
            }
        }

        fn close(&self) -> Closing {
            Closing::done()
        }
    }

    let path = std::env::temp_dir().join(format!("outflow-tracing-{}", std::process::id()));
    let options = |name: &str| DurableOptions::new(&path).sync(Sync::Os).name(name);
    let queue = Fails(AtomicU64::new(0)).durable_with(options("flushes")).unwrap();
    queue.write_all([1, 2, 3]).unwrap();
    queue.close().wait().unwrap();
    let lines = lines("queue", "flushes");
    let expected = "a flush failed, and its events come again";
    assert!(lines.iter().all(|line| line.is(Level::WARN, "outflow::durable", expected)), "{lines:?}");
    assert!(lines.iter().all(|line| line.names() == ["backoff_ms", "events", "queue"]));
    let numbers = lines.iter().map(|line| (line.number("events"), line.number("backoff_ms")));
    assert_eq!(numbers.collect::<Vec<_>>(), [(3, 100), (1, 200)]);

    let below = sink::for_each(|_: u64| thread::sleep(Duration::from_millis(1)));
    let below = below.queued_with(Buffer::bounded(1).drop_oldest());
    let queue = below.durable_with(options("sheds")).unwrap();
    queue.write_all(0..10).unwrap();
    queue.close().wait().unwrap();
    let lines = self::lines("queue", "sheds");
    let expected = "a buffer below shed events, which come again";
    assert!(lines.iter().any(|line| line.is(Level::WARN, "outflow::durable", expected)), "{lines:?}");
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_close_that_takes_longer_than_a_second_is_logged_with_what_is_pending() {
    log();
    let dead = || sink::from_fn(|_: &u64| Err("no route")).retry(Constant::new(Duration::from_secs(3600)));
    let broadcaster = Broadcaster::new();
    broadcaster.add(dead().queued_with(named("behind", Buffer::unbounded()))).unwrap();
    broadcaster.add(dead().queued_with(named("further behind", Buffer::unbounded()))).unwrap();
    broadcaster.add(sink::discard().queued_with(named("swift", Buffer::unbounded()))).unwrap();
    for event in 0..5 {
        broadcaster.write(event).unwrap();
    }
    let front = broadcaster.queued_with(named("in front", Buffer::unbounded()));

    let begun = Instant::now();
    let closing = front.close();
    assert!(closing.within(Duration::from_millis(2_500)).is_err());
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(2_500) && took < SOON,
        "the lines do not shorten the wait: {took:?}"
    );
    let logged: Vec<_> = log()
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.target == "outflow::close" && line.field("queue") != Some("waited for"))
        .cloned()
        .collect();
    assert_eq!(logged.len(), 2, "after 1 and 2 seconds: {logged:?}");
    for (line, after) in logged.iter().zip([1_000, 2_000]) {
        assert!(line.is(Level::INFO, "outflow::close", "a close takes long"), "{line:?}");
        assert_eq!(line.names(), ["in_flight", "pending", "queue", "queues", "waited_ms"]);
        assert!(line.number("waited_ms") >= after, "{line:?}");
        assert_eq!(["pending", "in_flight", "queues"].map(|name| line.number(name)), [8, 2, 2]);
        assert!(["behind", "further behind"].contains(&line.field("queue").unwrap()));
    }
}

#[test]
fn a_close_that_is_waited_for_without_a_limit_is_logged_too_and_waited_for_still() {
    log();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stuck = sink::for_each(move |_: u64| {
        let _ = released.lock().unwrap().recv();
    });
    let queue = stuck.queued_with(named("waited for", Buffer::unbounded()));
    queue.write_all(0..3).unwrap();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| queue.close().wait());
        wait_until("the close is logged", || !lines("queue", "waited for").is_empty());
        drop(release);
        closing.join().unwrap().unwrap();
    });
    let logged = lines("queue", "waited for");
    assert!(logged[0].is(Level::INFO, "outflow::close", "a close takes long"), "{logged:?}");
    assert!(logged[0].number("waited_ms") >= 1_000);
    assert_eq!(["pending", "in_flight", "queues"].map(|name| logged[0].number(name)), [2, 1, 1]);
}

#[test]
fn a_close_that_is_quick_is_not_logged() {
    log();
    // The close is waited for on this thread, which would log that it is slow. The listener is this thread's.
    let logged = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&logged);
    let listener = Listener(move |line: Line| {
        _ = seen.fetch_add(u64::from(line.target == "outflow::close"), Ordering::SeqCst);
    });
    tracing::subscriber::with_default(listener, || {
        let queue = sink::for_each(|_: u64| std::thread::sleep(Duration::from_millis(2))).queued();
        queue.write_all(0..20).unwrap();
        queue.close().wait().unwrap();
        let queue = sink::from_fn(|_: &u64| Err(())).retry(Constant::new(Duration::from_secs(3600))).queued();
        queue.write(1).unwrap();
        // It is aborted in less than a second.
        assert!(queue.close().within(Duration::from_millis(100)).is_err());
    });
    assert_eq!(logged.load(Ordering::SeqCst), 0);
}

#[test]
fn nothing_of_an_event_an_error_or_a_panic_is_logged() {
    const SECRET: &str = "hunter2";
    let log = log();
    let secret = || format!("the password is {SECRET}");

    let http = sink::from_fn(move |event: &String| Err(event.clone()))
        .retry(Breaker::new(1, Duration::ZERO).name("discreet"))
        .max_attempts(2);
    assert!(http.write(secret()).is_err());
    http.lossy().write(secret()).unwrap();

    let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest());
    sink.write(secret()).unwrap();
    sink.write(secret()).unwrap();
    drop(events);

    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().downcast_ref::<String>().is_some_and(|message| message.contains(SECRET)) {
            before(info);
        }
    }));
    let queue = sink::for_each(|event: String| panic!("cannot send {event}"))
        .queued_with(QueueOptions::default().name("discreet queue"));
    queue.write(secret()).unwrap();
    let error = queue.close().wait().unwrap_err();
    assert!(error.to_string().contains(SECRET), "the error of the close says it");

    assert_eq!(lines("queue", "discreet queue").len(), 1);
    assert_eq!(lines("breaker", "discreet").len(), 1);
    let logged = format!("{:?}", log.lock().unwrap());
    assert!(logged.contains("alloc::string::String"), "the type is logged");
    assert!(!logged.contains(SECRET));
}

#[test]
fn a_subscriber_that_panics_harms_nothing() {
    log();
    let called = Arc::new(AtomicU64::new(0));
    let calls = Arc::clone(&called);
    let listener = Listener(move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
        planned_panic()
    });
    tracing::subscriber::with_default(listener, || {
        let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest());
        sink.write_all(0..3).unwrap();
        assert_eq!((events.recv(), events.dropped()), (Ok(2), 2));

        let attempts = AtomicU64::new(0);
        let flaky = sink::from_fn(
            |_: &u64| {
                if attempts.fetch_add(1, Ordering::SeqCst) < 3 { Err(()) } else { Ok(()) }
            },
        );
        assert!(flaky.retry(Breaker::new(1, Duration::ZERO)).write(1).is_ok());
    });
    assert!(called.load(Ordering::SeqCst) >= 6, "one dropped, three attempts, opened, closed");
}

#[test]
fn a_filter_that_panics_harms_no_worker() {
    log();
    let panics = sink::for_each(|_: u64| {
        filter_that_panics();
        planned_panic()
    });
    // On a thread of its own: the filter is that of a thread, and those of the pool are everybody's.
    let queue = panics.queued_with(QueueOptions::default().dedicated());
    queue.write(1).unwrap();
    let outcome = in_time("the close over a sink that panicked", move || queue.close().wait());
    assert!(matches!(outcome, Err(CloseError::Panicked { events: 1, .. })), "{outcome:?}");

    let below = sink::collector();
    below.close().wait().unwrap();
    let below = below.inspect(|_: &u64| filter_that_panics());
    let queue = below.queued_with(QueueOptions::default().dedicated());
    queue.write(1).unwrap();
    let outcome = in_time("the close over a sink that had closed", move || queue.close().wait());
    assert!(matches!(outcome, Err(CloseError::DownstreamClosed { events: 1 })), "{outcome:?}");
}

#[test]
fn a_filter_that_panics_takes_no_event_from_a_write() {
    log();
    filter_that_panics();
    let retry =
        sink::from_fn(|_: &u64| Err("no route")).retry(Breaker::new(1, Duration::ZERO)).max_attempts(3);
    assert_eq!(retry.write(7).unwrap_err().into_event(), 7);
    let lossy = retry.lossy();
    lossy.write(7).unwrap();
    assert_eq!(lossy.dropped(), 1);

    let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest());
    sink.write_all(0..3).unwrap();
    assert_eq!((events.recv(), events.dropped()), (Ok(2), 2));
    sink::discard::<u64>().queued().close().wait().unwrap();
    FILTER.set(None);
}

#[test]
fn a_filter_may_write_to_a_sink_that_fails_and_what_it_drops_is_logged_later() {
    #[derive(Debug)]
    struct OfTheFilter;
    let error_type = std::any::type_name::<OfTheFilter>();

    log();
    let lossy = sink::from_fn(|_: &u64| Err(OfTheFilter))
        .retry(Constant::new(Duration::ZERO))
        .max_attempts(1)
        .lossy();
    let lossy = Arc::new(lossy);
    // The first loss is logged at once, so that losses within the next second are not.
    lossy.write(0).unwrap();
    let deepest = Arc::new(AtomicU64::new(0));
    let (inside, seen) = (Arc::clone(&lossy), Arc::clone(&deepest));
    let depth = Cell::new(0);
    filter(move |_| {
        depth.set(depth.get() + 1);
        seen.fetch_max(depth.get(), Ordering::SeqCst);
        if depth.get() < 3 {
            inside.write(0).unwrap();
        }
        depth.set(depth.get() - 1);
        true
    });
    let http = sink::from_fn(|_: &u64| Err("no route")).retry(Constant::new(Duration::ZERO)).max_attempts(3);
    assert!(http.write(1).is_err());
    assert_eq!(deepest.load(Ordering::SeqCst), 1, "a filter is not called for what it does itself");
    FILTER.set(None);

    assert!(lossy.dropped() > 3);
    lossy.close().wait().unwrap();
    let logged: Vec<_> =
        lines("error_type", error_type).into_iter().filter(|line| line.target == "outflow::lossy").collect();
    assert_eq!(counted(&logged), lossy.dropped());
}

#[test]
fn a_subscriber_may_write_its_lines_to_a_sink_that_fails_and_drops() {
    log();
    let (logged, heard) = (sink::collector::<Line>(), sink::collector::<Line>());
    let below = heard.clone();
    let shipped = sink::from_fn(move |line: &Line| {
        below.write(line.clone()).unwrap();
        Err::<(), _>(())
    })
    .retry(Constant::new(Duration::ZERO))
    .max_attempts(3)
    .lossy();
    let (full, _events) = channel::with(Buffer::bounded(1).drop_oldest());
    let seen = logged.clone();
    let listener = Listener(move |line: Line| {
        seen.write(line.clone()).unwrap();
        full.write(line.clone()).unwrap();
        shipped.write(line).unwrap();
    });
    tracing::subscriber::with_default(listener, || {
        let http =
            sink::from_fn(|_: &u64| Err("no route")).retry(Constant::new(Duration::ZERO)).max_attempts(5);
        assert!(http.write(1).is_err());
    });
    // Five failed attempts and the loss of the event are logged. Each of these lines is shipped in three attempts, none of
    // which is logged.
    let lines = logged.take();
    let about_http = lines.iter().filter(|line| line.field("error_type") == Some("&str")).count();
    assert_eq!(about_http, 6);
    assert_eq!(heard.len(), 3 * lines.len());
    // What was lost in shipping is logged when the sinks that lost it are dropped.
    assert!(lines.len() <= 6, "{lines:?}");
}

#[test]
fn content_is_logged_by_a_closure_that_asks_for_it() {
    log();
    let http = sink::from_fn(|_: &u64| Err("no route"))
        .retry(Constant::new(Duration::ZERO))
        .max_attempts(1)
        .on_failure(|failure: &Failure<'_, u64, &str>| {
            tracing::warn!(target: "mine", event = failure.event, error = failure.error);
        });
    assert!(http.write(4711).is_err());
    assert_eq!(lines("event", "4711").len(), 1);
}

#[test]
fn of_a_sink_that_never_fails_nothing_is_logged() {
    struct Quiet;
    log();
    let logged = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&logged);
    let listener = Listener(move |_| _ = seen.fetch_add(1, Ordering::SeqCst));
    tracing::subscriber::with_default(listener, || {
        let queue = sink::discard().retry(Breaker::new(1, Duration::ZERO)).queued();
        for _ in 0..1_000 {
            let Ok(()) = queue.write(Quiet).map_err(|_| -> Infallible { panic!("refused") });
        }
        queue.close().wait().unwrap();
    });
    assert_eq!(logged.load(Ordering::SeqCst), 0);
}

#[test]
fn what_a_follower_skips_is_logged_as_dropped() {
    use outflow::log::{FollowOptions, Lag, Log};

    log();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let stuck = sink::for_each(move |_: u64| {
        let _ = released.lock().unwrap().recv();
    });
    let log = Log::new();
    let follower = log.follow_with(FollowOptions::new().max_lag(2, Lag::Skip), stuck).unwrap();
    log.write_all(0..20).unwrap();
    drop(release);
    log.close().wait().unwrap();
    let skipped = follower.stats().skipped;
    assert!(skipped > 0);
    assert_eq!(counted(&lines("sink", &follower.id().to_string())), skipped);
}
