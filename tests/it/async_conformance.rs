//! Queues, batches and followers over asynchronous sinks keep the laws, wherever their workers run. Those over synchronous sinks
//! are in `conformance.rs`.

use std::convert::Infallible;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use futures::executor::{ThreadPool, block_on};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

use crate::common::{OneByOne, runtime};
use crate::conformance::{SHORT, age, async_flaky, counted, is_even, spilling};
use outflow::buffer::{Block, Policy};
use outflow::log::{FollowOptions, Lag};
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::testing::{AsyncDownstream, Conformance, Downstream, Law, Probe, Slow, Subject};
use outflow::{
    AsyncOnly, AsyncSink, AsyncSinkExt, Buffer, Closing, Counter, DeadLetter, Flushing, Log, Queue, Rate,
    Sink, SinkExt, WorkerFuture, Workers, WriteError, sink,
};

/// Where a worker runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    Global,
    PoolOfOne,
    Thread,
    Tokio,
    CurrentThread,
    Closure,
}

use Place::{Closure, CurrentThread, Global, PoolOfOne, Thread, Tokio};

const PLACES: [Place; 6] = [Global, PoolOfOne, Thread, Tokio, CurrentThread, Closure];

/// A policy is the writers' part of a queue: where the worker runs is nothing to it.
const TWO_PLACES: [Place; 2] = [Global, CurrentThread];

/// A pool that never has a second thread.
fn pool_of_one() -> &'static Workers {
    static POOL: OnceLock<Workers> = OnceLock::new();
    POOL.get_or_init(|| Workers::builder().threads(1).max_threads(1).build())
}

/// A current-thread runtime, driven for as long as the process.
fn current_thread() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// An executor that this crate knows nothing of.
fn spawn(worker: WorkerFuture) {
    static EXECUTOR: OnceLock<ThreadPool> = OnceLock::new();
    let build = || ThreadPool::builder().pool_size(1).create().expect("a thread");
    EXECUTOR.get_or_init(build).spawn_ok(worker);
}

impl Place {
    fn options<P>(self, buffer: Buffer<Probe, P>) -> QueueOptions<Probe, P, AsyncOnly> {
        let options = QueueOptions::new(buffer);
        match self {
            Global => options.into(),
            PoolOfOne => options.on(pool_of_one()).into(),
            Thread => options.dedicated().into(),
            Tokio => options.on(runtime()),
            CurrentThread => options.on(current_thread()),
            Closure => options.on(spawn),
        }
    }

    fn follow(self, options: FollowOptions<Probe>) -> FollowOptions<Probe, AsyncOnly> {
        match self {
            Global => options.into(),
            PoolOfOne => options.on(pool_of_one()).into(),
            Thread => options.dedicated().into(),
            Tokio => options.on(runtime()),
            CurrentThread => options.on(current_thread()),
            Closure => options.on(spawn),
        }
    }
}

/// Checks what `make` makes of an asynchronous downstream.
fn keeps(
    make: impl Fn(AsyncDownstream) -> Subject + Send + Sync + 'static,
    without: impl IntoIterator<Item = Law>,
) {
    Conformance::of_subjects(move |end| make(end.into_async())).without(without).rounds(15).assert();
}

fn queue<P>(places: &[Place], buffer: impl Fn() -> Buffer<Probe, P> + Send + Sync + Copy + 'static)
where
    P: Policy,
{
    for place in places.iter().copied() {
        keeps(move |end| counted(end.queued_with(place.options(buffer()))), []);
        // A slow sink, so that the buffer fills up.
        let slow = move |end: AsyncDownstream| {
            let kept = sink::collector();
            let options = place.options(buffer().spill(kept.clone()));
            spilling(counted(Slow::new(end, SHORT).queued_with(options)), kept)
        };
        keeps(slow, []);
    }
}

#[test]
fn queues_without_a_bound() {
    queue(&PLACES, Buffer::unbounded);
}

#[test]
fn queues_of_one_event() {
    queue(&PLACES, || Buffer::bounded(1));
}

#[test]
fn queues_that_evict() {
    queue(&PLACES, || Buffer::bounded(2).drop_oldest());
}

#[test]
fn queues_of_the_other_policies() {
    queue(&TWO_PLACES, || Buffer::bounded(100));
    queue(&TWO_PLACES, || Buffer::bounded(2).reject());
    queue(&TWO_PLACES, || Buffer::bounded(2).block_for(SHORT));
    queue(&TWO_PLACES, || Buffer::bounded(2).drop_newest());
}

#[test]
fn queues_of_which_only_the_close_reports() {
    for place in PLACES {
        keeps(move |end| Subject::new(end.queued_with(place.options(Buffer::bounded(3)))), []);
        let twice = move |end: AsyncDownstream| {
            Subject::new(end.queued_with(place.options(Buffer::unbounded())).queued())
        };
        keeps(twice, []);
    }
}

/// Written to by tasks that wait for room.
struct FromTasks {
    queue: Queue<Probe, Block>,
    reserves: bool,
}

impl AsyncSink<Probe> for FromTasks {
    type Error = Infallible;

    async fn write(&self, event: Probe) -> Result<(), WriteError<Probe, Infallible>> {
        if !self.reserves {
            return self.queue.write_async(event).await;
        }
        match self.queue.reserve().await {
            Ok(permit) => permit.send(event),
            Err(_) => Err(WriteError::Closed(event)),
        }
    }

    fn flush(&self) -> Flushing {
        self.queue.flush()
    }

    fn close(&self) -> Closing {
        self.queue.close()
    }

    fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

#[test]
fn queues_that_tasks_write_to() {
    for place in PLACES {
        for (reserves, capacity) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
            let make = move |end: AsyncDownstream| {
                let queue = end.queued_with(place.options(Buffer::bounded(capacity)));
                let stats = queue.clone();
                let lost = move || stats.stats().dropped + stats.stats().lost;
                Subject::of_async(FromTasks { queue, reserves }).counted(lost)
            };
            keeps(make, []);
        }
    }
}

#[test]
fn batches() {
    let weighed = |max| Batch::of(5).within(SHORT).weighing(max, |probe: &Probe| probe.stamp().sequence % 7);
    for place in PLACES {
        let batched = move |batch: Batch<Probe>| {
            move |end| {
                let options = place.options(Buffer::bounded(30));
                counted(AsyncSinkExt::<Vec<Probe>>::batched_with(OneByOne(end), batch.clone(), options))
            }
        };
        // As of synchronous sinks: a batch on which one panics is lost as a whole.
        for batch in [Batch::of(7), Batch::of(5).within(Duration::from_millis(1)), weighed(5)] {
            keeps(batched(batch), [Law::SurvivesPanic]);
        }
        keeps(batched(Batch::of(1)), []);
        keeps(batched(weighed(0)), []);
    }
}

#[test]
fn followers() {
    for place in PLACES {
        let followed = move |options: fn() -> FollowOptions<Probe>| {
            move |end: AsyncDownstream| {
                let log = Log::new();
                let follower = log.follow_async_with(place.follow(options()), end).expect("it can begin now");
                Subject::new(log).counted(move || {
                    let stats = follower.stats();
                    stats.dropped + stats.lost + stats.skipped
                })
            }
        };
        // A follower whose sink closes or panics ends, and the log goes on.
        let without = [Law::ClosedBelow, Law::SurvivesPanic];
        keeps(followed(FollowOptions::new), without);
        keeps(followed(|| FollowOptions::new().max_lag(3, Lag::Block)), without);
        keeps(followed(|| FollowOptions::new().max_lag(3, Lag::Skip)), without);
        let spills = move |end| {
            let kept = sink::collector();
            let options = place.follow(FollowOptions::new().spill(kept.clone()));
            let log = Log::new();
            let follower = log.follow_async_with(options, end).expect("it can begin now");
            let lost = move || follower.stats().dropped + follower.stats().lost;
            spilling(Subject::new(log).counted(lost), kept)
        };
        keeps(spills, without);
    }
}

#[test]
fn retries_below_a_queue() {
    for place in PLACES {
        let unbounded = move || place.options(Buffer::unbounded());
        keeps(move |end| counted(async_flaky(end).retry(Constant::new(SHORT)).queued_with(unbounded())), []);
        keeps(
            move |end| counted(async_flaky(end).retry(Breaker::new(3, SHORT)).queued_with(unbounded())),
            [],
        );
        let short = ExponentialBackoff::default().base(SHORT).factor(SHORT).max(SHORT * 4).per_write();
        keeps(move |end| counted(async_flaky(end).retry(short.clone()).queued_with(unbounded())), []);
    }
}

/// What is given up goes to a collector.
fn dead_letters<S, X>(sink: S, place: Place) -> Subject
where
    S: AsyncSink<Probe, Error = X> + 'static,
    X: Clone + Send + Sync + 'static,
{
    let dead = sink::collector::<DeadLetter<Probe, X>>();
    let (letters, closed) = (dead.clone(), dead.clone());
    counted(sink.dead_letter(dead).queued_with(place.options(Buffer::unbounded())))
        .spilled(move || letters.events().iter().map(|letter| letter.event.stamp()).collect())
        .closes(move || closed.is_closed())
}

#[test]
fn limits_below_a_queue() {
    for place in PLACES {
        let rate = Rate::every(SHORT).burst(2);
        let limited = move |end: AsyncDownstream| {
            counted(end.rate_limit(rate).queued_with(place.options(Buffer::bounded(3))))
        };
        keeps(limited, []);
        keeps(move |end| dead_letters(end.timeout(Duration::from_secs(3600)), place), []);
        keeps(
            move |end| dead_letters(async_flaky(end).retry(Constant::new(SHORT)).max_attempts(2), place),
            [],
        );
        let expires = move |end: AsyncDownstream| {
            let expired = Counter::new();
            let queue = end
                .expire_after(SHORT, |probe: &Probe| age(probe.stamp()))
                .lossy_counted(&expired)
                .queued_with(place.options(Buffer::unbounded()));
            let stats = queue.clone();
            Subject::new(queue).counted(move || expired.get() + stats.stats().dropped + stats.stats().lost)
        };
        keeps(expires, []);
        let splits = move |end: AsyncDownstream| {
            let dead = sink::collector::<DeadLetter<Vec<Probe>, _>>();
            let (kept, closed) = (dead.clone(), dead.clone());
            let halves = AsyncSinkExt::<Vec<Probe>>::split_on(OneByOne(async_flaky(end)), |_| true);
            let queue =
                halves.dead_letter(dead).batched_with(Batch::of(7), place.options(Buffer::unbounded()));
            counted(queue)
                .spilled(move || {
                    let kept = kept.events();
                    kept.iter().flat_map(|letter| letter.event.iter().map(Probe::stamp)).collect()
                })
                .closes(move || closed.is_closed())
        };
        keeps(splits, [Law::SurvivesPanic]);
    }
}

#[test]
fn a_whole_chain() {
    for place in PLACES {
        let make = move |end| {
            let queue = async_flaky(end)
                .timeout(Duration::from_secs(3600))
                .retry(Breaker::new(3, SHORT))
                .rate_limit(Rate::per_second(1_000_000).burst(100))
                .queued_with(place.options(Buffer::bounded(8)));
            let stats = queue.clone();
            let chain = queue.filter(|probe: &Probe| is_even(probe.stamp()));
            Subject::new(chain).delivers(is_even).counted(move || stats.stats().dropped + stats.stats().lost)
        };
        keeps(make, []);
    }
}

/// What is often written by hand: a bounded channel of tokio, and a task that awaits the writes.
struct ByHand {
    events: Mutex<Option<mpsc::Sender<Probe>>>,
    closing: Closing,
}

impl ByHand {
    /// If it does not `wait`, its close does not wait for the task. One that is `late` begins when the channel is full or closed.
    fn new(end: AsyncDownstream, capacity: usize, waits: bool, late: bool) -> Self {
        let (events, mut waiting) = mpsc::channel(capacity);
        let (closing, pending) = if waits {
            let (closing, pending) = Closing::pending();
            (closing, Some(pending))
        } else {
            (Closing::done(), None)
        };
        current_thread().spawn(async move {
            while late && waiting.len() < capacity && !waiting.is_closed() {
                tokio::task::yield_now().await;
            }
            while let Some(event) = waiting.recv().await {
                let _ = end.write(event).await;
            }
            drop(end.close());
            pending.into_iter().for_each(|pending| pending.finish(Ok(())));
        });
        Self { events: Mutex::new(Some(events)), closing }
    }
}

impl Sink<Probe> for ByHand {
    type Error = Infallible;

    fn write(&self, event: Probe) -> Result<(), WriteError<Probe, Infallible>> {
        let events = self.events.lock().unwrap().clone();
        match events {
            Some(events) => block_on(events.send(event)).map_err(|refused| WriteError::Closed(refused.0)),
            None => Err(WriteError::Closed(event)),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        drop(self.events.lock().unwrap().take());
        self.closing.clone()
    }

    fn is_closed(&self) -> bool {
        self.events.lock().unwrap().is_none()
    }
}

#[test]
fn a_queue_by_hand_whose_close_does_not_wait_for_its_task_is_caught() {
    let check = |waits| {
        let make = move |end: Downstream| ByHand::new(end.into_async(), 100, waits, false);
        Conformance::new(make).laws([Law::ClosedRefuses, Law::CloseIsShared]).run()
    };
    let violation = check(false).expect_err("it passes");
    assert_eq!(violation.law, Law::CloseIsShared, "{violation}");
    check(true).unwrap();
}

#[test]
fn a_queue_by_hand_that_flushes_nothing_is_caught() {
    // Late, or it may have written everything by the time of the flush, which is then right by chance.
    let make = |end: Downstream| ByHand::new(end.into_async(), 100, true, true);
    let violation = Conformance::new(make).laws([Law::Accounted]).rounds(1).run().expect_err("it passes");
    assert!(
        violation.law == Law::Accounted && violation.what.contains("the flush completed with"),
        "{violation}"
    );
}
