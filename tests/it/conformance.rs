//! Every sink and combinator of this crate keeps the laws that it claims. A law that one does not claim is left out by
//! name, with the reason.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::{OneByOne, rounds};
use outflow::adapter::{CloseWithLast, Tee};
use outflow::buffer::Policy;
use outflow::log::{FollowOptions, Lag, Log};
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::sink::Collector;
use outflow::testing::{
    AsyncDownstream, Conformance, Downstream, Flaky, Latch, Law, Outcome, Panicking, Probe, Recorder, Slow,
    Stamp, Stuck, Subject,
};
use outflow::{
    AsyncSink, AsyncSinkExt, Broadcaster, Buffer, Closing, Counter, DeadLetter, Meter, Queue, Rate, Sink,
    SinkExt, channel, sink,
};

pub(crate) const SHORT: Duration = Duration::from_micros(20);

/// A leaf has no downstream: what its closure writes to is not the leaf's to close.
const OF_A_LEAF: [Law; 2] = [Law::ClosesDownstream, Law::ClosedBelow];

/// Nor has a channel, whose reader moreover waits for events instead of being called with them.
const OF_A_CHANNEL: [Law; 4] =
    [Law::ClosesDownstream, Law::ClosedBelow, Law::CalledFromWithin, Law::SurvivesPanic];

fn keeps_all<S, F>(make: F)
where
    F: Fn(Downstream) -> S + Send + Sync + 'static,
    S: Sink<Probe> + Send + Sync + 'static,
{
    Conformance::new(make).assert();
}

fn flaky(end: Downstream) -> Flaky<Downstream> {
    Flaky::at_random(end, 0.3, 7)
}

pub(crate) fn is_even(stamp: Stamp) -> bool {
    stamp.sequence % 4 < 2
}

fn stamps(kept: &Collector<Probe>) -> Vec<Stamp> {
    kept.events().iter().map(Probe::stamp).collect()
}

/// The subject spills into a collector, and closes it.
pub(crate) fn spilling(subject: Subject, kept: Collector<Probe>) -> Subject {
    let closed = kept.clone();
    subject.spilled(move || stamps(&kept)).closes(move || closed.is_closed())
}

#[test]
fn from_fn() {
    let make = |end: Downstream| {
        sink::from_fn(move |probe: &Probe| match probe.stamp().sequence % 5 {
            3 => Err("unlucky"),
            _ => end.write_ref(probe).map_err(|_| "closed"),
        })
    };
    Conformance::new(make).without(OF_A_LEAF).assert();
}

#[test]
fn from_fn_mut() {
    let make = |end: Downstream| sink::from_fn_mut(move |probe: &Probe| end.write_ref(probe));
    // Its closure has what it owns for itself: entered again on its own thread it panics, as it says.
    Conformance::new(make).without(OF_A_LEAF).without([Law::CalledFromWithin]).assert();
}

#[test]
fn for_each() {
    let make = |end: Downstream| sink::for_each(move |probe: Probe| assert!(end.write(probe).is_ok()));
    Conformance::new(make).without(OF_A_LEAF).assert();
}

#[test]
fn discard() {
    Conformance::of_subjects(|_| Subject::new(sink::discard()).delivers(|_| false).delivered(Vec::new))
        .assert();
}

#[test]
fn collector() {
    Conformance::of_subjects(|_| {
        let kept = sink::collector();
        Subject::new(kept.clone()).delivered(move || stamps(&kept))
    })
    .assert();
}

#[test]
fn filter() {
    keeps_all(|end| end.filter(|_: &Probe| true));
    Conformance::of_subjects(|end| {
        Subject::new(end.filter(|probe: &Probe| is_even(probe.stamp()))).delivers(is_even)
    })
    .assert();
}

#[test]
fn map() {
    keeps_all(|end| end.map(|probe: &Probe| probe.clone()));
    keeps_all(|end| {
        end.map_owned(|wrapped: Wrapped| wrapped.0, Wrapped).map_owned(Wrapped, |wrapped: Wrapped| wrapped.0)
    });
}

/// What `map_owned` makes on the way in.
struct Wrapped(Probe);

#[test]
fn filter_map() {
    keeps_all(|end| end.filter_map(|probe: &Probe| Some(probe.clone())));
    Conformance::of_subjects(|end| {
        let even = |probe: &Probe| is_even(probe.stamp()).then(|| probe.clone());
        Subject::new(end.filter_map(even)).delivers(is_even)
    })
    .assert();
}

#[test]
fn inspect_and_metered_and_closeable() {
    keeps_all(|end| end.inspect(|_: &Probe| {}));
    keeps_all(|end| end.metered(&Meter::new()));
    keeps_all(|end| end.closeable());
}

#[test]
fn keep_open() {
    // It does not pass `close` on: that is its purpose. Behind `closeable` only the downstream stays open.
    Conformance::new(|end: Downstream| end.keep_open())
        .without([Law::ClosedRefuses, Law::ClosesDownstream])
        .assert();
    Conformance::new(|end: Downstream| end.keep_open().closeable()).without([Law::ClosesDownstream]).assert();
}

#[test]
fn close_with_last() {
    keeps_all(|end| end.close_with_last());
    // A clone that was dropped or closed does not keep the downstream open.
    keeps_all(|end| end.close_with_last().clone());
    keeps_all(|end| {
        let (other, shared) = clones(end);
        other.close().wait().unwrap();
        shared
    });
    // Another clone that is open, here as long as the subject lives, keeps the downstream open.
    let beside = |end| {
        let (other, shared) = clones(end);
        Subject::new(shared).closes(move || !other.is_closed())
    };
    Conformance::of_subjects(beside).without([Law::ClosesDownstream]).assert();
    // The same under two queues, of which only one is closed.
    let beside_a_queue = |end| {
        let (other, shared) = clones(end);
        let other = other.queued();
        Subject::new(shared.queued()).closes(move || !other.is_closed())
    };
    Conformance::of_subjects(beside_a_queue).without([Law::ClosesDownstream]).assert();
}

fn clones(end: Downstream) -> (CloseWithLast<Downstream, Probe>, CloseWithLast<Downstream, Probe>) {
    let shared = end.close_with_last();
    (shared.clone(), shared)
}

#[test]
fn close_on_failure() {
    keeps_all(|end| end.close_on_failure());
    // Law 2 is left out since it closes by itself when the sink fails, once in a hundred writes.
    Conformance::new(|end| Flaky::at_random(end, 0.01, 7).close_on_failure())
        .without([Law::ClosedRefuses])
        .assert();
}

#[test]
fn tee() {
    // It is closed when both are. While only one is, as in the middle of its own close, it accepts what the
    // other takes, and counts that as missed. The downstream is the first of the two, then the second.
    let of_both = [Law::ClosesDownstream, Law::ClosedBelow];
    let first = |end: Downstream| {
        let other = Recorder::keyed(Probe::stamp);
        tee_of(end.clone().tee(other.clone()), end, other)
    };
    let second = |end: Downstream| {
        let other = Recorder::keyed(Probe::stamp);
        tee_of(other.clone().tee(end.clone()), end, other)
    };
    Conformance::of_subjects(first).without(of_both).assert();
    Conformance::of_subjects(second).without(of_both).assert();
    // Both write to the downstream, each half of the events: then the tee is closed when the downstream is.
    let halves = |end: Downstream| {
        end.clone()
            .filter(|probe: &Probe| is_even(probe.stamp()))
            .tee(end.filter(|probe: &Probe| !is_even(probe.stamp())))
    };
    Conformance::new(halves).laws([Law::HandedBack, Law::InOrder, Law::ClosedBelow]).assert();
}

/// A tee counts what either of its two sinks misses. What the downstream missed is that without what the other missed.
fn tee_of<S, T>(tee: Tee<S, T>, end: Downstream, other: Recorder<Probe>) -> Subject
where
    Tee<S, T>: Sink<Probe> + Send + Sync + 'static,
{
    let (tee, closed) = (Arc::new(tee), other.clone());
    Subject::new(Arc::clone(&tee)).closes(move || closed.is_closed()).counted(move || {
        let there: BTreeSet<Stamp> = other.stamps().into_iter().collect();
        let missed_there = end.delivered().iter().filter(|stamp| !there.contains(stamp)).count();
        tee.missed().saturating_sub(missed_there as u64)
    })
}

#[test]
fn fallback() {
    keeps_all(|end| flaky(end.clone()).fallback(end));
    Conformance::of_subjects(|end| {
        let kept = sink::collector();
        spilling(Subject::new(flaky(end).fallback(kept.clone())), kept)
    })
    // It is closed when both are.
    .without([Law::ClosedBelow])
    .assert();
}

#[test]
fn dead_letter() {
    Conformance::of_subjects(|end| {
        let dead = sink::collector::<DeadLetter<Probe, _>>();
        let (kept, closed) = (dead.clone(), dead.clone());
        Subject::new(flaky(end).dead_letter(dead))
            .spilled(move || kept.events().iter().map(|letter| letter.event.stamp()).collect())
            .closes(move || closed.is_closed())
    })
    .assert();
}

#[test]
fn lossy() {
    Conformance::of_subjects(|end| {
        let dropped = Counter::new();
        Subject::new(flaky(end).lossy_counted(&dropped)).counted(move || dropped.get())
    })
    .assert();
}

#[test]
fn catch_panic() {
    keeps_all(|end| Panicking::every(end, 7).catch_panic());
}

#[test]
fn retry_under_each_strategy() {
    keeps_all(|end| flaky(end).retry(Constant::new(SHORT)));
    keeps_all(|end| flaky(end).retry(Constant::new(Duration::ZERO)));
    keeps_all(|end| flaky(end).retry(Breaker::new(0, SHORT)));
    keeps_all(|end| flaky(end).retry(Breaker::new(3, SHORT)));
    keeps_all(|end| flaky(end).retry(ExponentialBackoff::default().base(SHORT).factor(SHORT).max(SHORT * 4)));
    keeps_all(|end| flaky(end).retry(Arc::new(Breaker::new(3, SHORT))));
    let short = ExponentialBackoff::default().base(SHORT).factor(SHORT).max(SHORT * 4);
    keeps_all(move |end| flaky(end).retry(short.clone().per_write()));
}

#[test]
fn retry_that_gives_up() {
    keeps_all(|end| Flaky::at_random(end, 0.6, 3).retry(Constant::new(SHORT)).max_attempts(2));
    keeps_all(|end| {
        Flaky::at_random(end, 0.6, 3)
            .retry(Breaker::new(3, SHORT))
            .give_up_when(|failure| failure.attempt == 3)
            .on_failure(|failure| assert!(failure.attempt <= 3))
    });
}

fn queue<P>(buffer: impl Fn() -> Buffer<Probe, P> + Send + Sync + Copy + 'static)
where
    P: Policy,
{
    queue_over(buffer, |end| end);
    // A slow sink, so that the buffer fills up.
    queue_over(buffer, |end| Slow::new(end, SHORT));
}

fn queue_over<P, S>(
    buffer: impl Fn() -> Buffer<Probe, P> + Send + Sync + Copy + 'static,
    over: impl Fn(Downstream) -> S + Send + Sync + Copy + 'static,
) where
    P: Policy,
    S: Sink<Probe, Error = Infallible> + Send + Sync + 'static,
{
    Conformance::of_subjects(move |end| counted(over(end).queued_with(buffer()))).assert();
    Conformance::of_subjects(move |end| {
        let kept = sink::collector();
        let queue = over(end).queued_with(buffer().spill(kept.clone()));
        spilling(counted(queue), kept)
    })
    .assert();
}

pub(crate) fn counted<P>(queue: Queue<Probe, P>) -> Subject
where
    P: Policy,
{
    let stats = queue.clone();
    Subject::new(queue).counted(move || stats.stats().dropped + stats.stats().lost)
}

#[test]
fn queue_of_each_policy() {
    queue(Buffer::unbounded);
    queue(|| Buffer::bounded(1));
    queue(|| Buffer::bounded(100));
    queue(|| Buffer::bounded(2).reject());
    queue(|| Buffer::bounded(2).block_for(SHORT));
    queue(|| Buffer::bounded(2).drop_oldest());
    queue(|| Buffer::bounded(2).drop_newest());
}

/// The key of a probe. Between events of two writers there is no order then.
fn writer(probe: &Probe) -> u64 {
    probe.stamp().writer
}

#[test]
fn keyed_queue_of_each_policy() {
    fn keyed<P: Policy>(buffer: impl Fn() -> Buffer<Probe, P> + Send + Sync + Copy + 'static) {
        Conformance::of_subjects(move |end| {
            let kept = sink::collector();
            let options = QueueOptions::new(buffer().spill(kept.clone())).keyed(3, writer);
            spilling(counted(Slow::new(end, SHORT).queued_with(options)), kept)
        })
        .without([Law::InOrder])
        .assert();
        // All have one key.
        Conformance::of_subjects(move |end| {
            counted(end.queued_with(QueueOptions::new(buffer()).dedicated().keyed(3, |_| ())))
        })
        .assert();
    }
    keyed(Buffer::unbounded);
    keyed(|| Buffer::bounded(1));
    keyed(|| Buffer::bounded(100));
    keyed(|| Buffer::bounded(2).reject());
    keyed(|| Buffer::bounded(2).block_for(SHORT));
    keyed(|| Buffer::bounded(2).drop_oldest());
    keyed(|| Buffer::bounded(2).drop_newest());
}

#[test]
fn concurrent_queue() {
    // It gives up the order, as it says.
    Conformance::of_subjects(|end| {
        counted(end.queued_with(QueueOptions::new(Buffer::bounded(5)).concurrent(3)))
    })
    .without([Law::InOrder])
    .assert();
}

#[test]
fn keyed_batches() {
    for batch in [Batch::of(7), Batch::of(5).within(Duration::from_millis(1))] {
        let options = || QueueOptions::new(Buffer::bounded(20)).keyed(2, writer);
        // As of those without keys.
        Conformance::of_subjects(move |end| counted(OneByOne(end).batched_with(batch.clone(), options())))
            .without([Law::SurvivesPanic, Law::InOrder])
            .assert();
    }
    Conformance::of_subjects(|end| {
        let options = QueueOptions::default().keyed(2, |_| ());
        counted(OneByOne(end).batched_with(Batch::of(1), options))
    })
    .assert();
}

#[test]
fn keyed_queue_over_an_async_sink() {
    Conformance::of_subjects(|end| {
        let options = QueueOptions::new(Buffer::bounded(5)).keyed(3, writer);
        counted(AsyncSinkExt::queued_with(end.into_async(), options))
    })
    .without([Law::InOrder])
    .assert();
    Conformance::of_subjects(|end| {
        let options = QueueOptions::new(Buffer::bounded(5)).keyed(3, |_| ());
        counted(AsyncSinkExt::queued_with(end.into_async(), options))
    })
    .assert();
}

#[test]
fn queue_of_which_only_the_close_reports() {
    keeps_all(|end| end.queued());
    keeps_all(|end| end.queued_with(Buffer::bounded(3)));
    keeps_all(|end| end.queued().queued());
}

#[test]
fn batched() {
    // A batch on which a sink panics counts as lost as a whole, even if the sink had taken some of its events. With
    // batches of one event the count is exact.
    for batch in [Batch::of(7), Batch::of(5).within(Duration::from_millis(1))] {
        Conformance::of_subjects(move |end| counted(OneByOne(end).batched(batch.clone())))
            .without([Law::SurvivesPanic])
            .assert();
    }
    Conformance::of_subjects(move |end| counted(OneByOne(end).batched(Batch::of(1)))).assert();
    Conformance::of_subjects(move |end| {
        let alone = Batch::of(9).within(SHORT).weighing(0, |probe: &Probe| probe.stamp().sequence % 3);
        counted(OneByOne(end).batched(alone))
    })
    .assert();
    for buffer in [Buffer::bounded(1), Buffer::bounded(30)] {
        let weighed = Batch::of(9).within(SHORT).weighing(5, |probe: &Probe| probe.stamp().sequence % 7);
        let make =
            move |end: Downstream| counted(OneByOne(end).batched_with(weighed.clone(), buffer.clone()));
        Conformance::of_subjects(make).without([Law::SurvivesPanic]).assert();
    }
}

#[test]
fn rate_limit() {
    keeps_all(|end| end.rate_limit(Rate::per_second(1_000_000).burst(100)));
    keeps_all(|end| flaky(end).rate_limit(Rate::every(SHORT).burst(2)));
}

#[test]
fn expire_after() {
    keeps_all(|end| end.expire_after(Duration::ZERO, |_: &Probe| Duration::ZERO));
    keeps_all(|end| flaky(end).expire_after(SHORT, |probe: &Probe| age(probe.stamp())));
    Conformance::of_subjects(|end| {
        let expired = Counter::new();
        let sink = end.expire_after(SHORT, |probe: &Probe| age(probe.stamp())).lossy_counted(&expired);
        Subject::new(sink).counted(move || expired.get())
    })
    .assert();
}

/// Half of the events are too old.
pub(crate) fn age(stamp: Stamp) -> Duration {
    if is_even(stamp) { SHORT } else { SHORT * 2 }
}

#[test]
fn split_on() {
    // Of single events, in batches of one.
    keeps_all(|end| {
        OneByOne(flaky(end)).split_on(|_| true).map_owned(
            |probe: Probe| vec![probe],
            |mut batch: Vec<Probe>| batch.pop().expect("it is the refused one"),
        )
    });
    // Of batches. As in `batched`, one on which a sink panics counts as lost as a whole.
    Conformance::of_subjects(|end| {
        let dead = sink::collector::<DeadLetter<Vec<Probe>, _>>();
        let (kept, closed) = (dead.clone(), dead.clone());
        let queue = OneByOne(flaky(end)).split_on(|_| true).dead_letter(dead).batched(Batch::of(7));
        counted(queue)
            .spilled(move || {
                kept.events().iter().flat_map(|letter| letter.event.iter().map(Probe::stamp)).collect()
            })
            .closes(move || closed.is_closed())
    })
    .without([Law::SurvivesPanic])
    .assert();
}

fn channel<P>(buffer: impl Fn() -> Buffer<Probe, P> + Send + Sync + 'static)
where
    P: Policy + Clone,
{
    Conformance::of_subjects(move |end| {
        let (sink, events) = channel::with(buffer());
        let reader = thread::spawn(move || {
            for event in events {
                assert!(end.write(event).is_ok());
            }
        });
        let counts = sink.clone();
        Subject::new(sink).counted(move || counts.dropped()).drained(move || reader.join().unwrap())
    })
    .without(OF_A_CHANNEL)
    .assert();
}

#[test]
fn channel_of_each_policy() {
    channel(Buffer::unbounded);
    channel(|| Buffer::bounded(1));
    channel(|| Buffer::bounded(2).reject());
    channel(|| Buffer::bounded(2).block_for(SHORT));
    channel(|| Buffer::bounded(2).drop_oldest());
    channel(|| Buffer::bounded(2).drop_newest());
    Conformance::of_subjects(|end| {
        let (sink, events) = channel::rendezvous();
        let reader =
            thread::spawn(move || events.into_iter().for_each(|event| assert!(end.write(event).is_ok())));
        Subject::new(sink).drained(move || reader.join().unwrap())
    })
    .without(OF_A_CHANNEL)
    .assert();
}

/// A sink of a broadcaster that closes is removed from it and reported; the broadcaster stays open.
const OF_A_BROADCASTER: [Law; 1] = [Law::ClosedBelow];

#[test]
fn broadcaster() {
    let of_one = |end: Downstream| {
        let broadcaster = Broadcaster::new();
        broadcaster.add(end).unwrap();
        broadcaster
    };
    Conformance::new(of_one).without(OF_A_BROADCASTER).assert();
    // As the first, second and third of three sinks.
    for at in 0..3 {
        let among_others = move |end: Downstream| {
            let broadcaster = Broadcaster::new();
            for n in 0..3 {
                let added =
                    if n == at { broadcaster.add(end.clone()) } else { broadcaster.add(sink::discard()) };
                added.unwrap();
            }
            broadcaster
        };
        Conformance::new(among_others).without(OF_A_BROADCASTER).assert();
    }
    Conformance::new(move |end| of_one(end).queued()).without(OF_A_BROADCASTER).assert();
    Conformance::of_subjects(|_| Subject::new(Broadcaster::new()).delivers(|_| false).delivered(Vec::new))
        .assert();
}

#[test]
fn broadcaster_whose_close_reports_what_each_sink_missed() {
    fn over<S>(between: impl Fn(Downstream) -> S + Send + Sync + 'static)
    where
        S: Sink<Probe, Error = Infallible> + Send + Sync + 'static,
    {
        let make = move |end: Downstream| {
            let (broadcaster, other) = (Broadcaster::new(), Recorder::keyed(Probe::stamp));
            broadcaster.add(between(end.clone())).unwrap();
            broadcaster.add(Slow::new(other.clone(), SHORT).queued()).unwrap();
            let (handle, closed) = (broadcaster.clone(), other.clone());
            Subject::new(broadcaster).closes(move || closed.is_closed()).counted(move || {
                // When its close has completed, another call of `close` returns the same outcome.
                let reported = handle
                    .is_closed()
                    .then(|| handle.close())
                    .filter(Closing::is_done)
                    .map_or(0, |closing| closing.wait().err().map_or(0, |error| error.undelivered()));
                let (here, there) = (set(end.delivered()), set(other.stamps()));
                let (only_here, only_there) =
                    (here.difference(&there).count(), there.difference(&here).count());
                // The close reports what either sink missed, and counts twice what both did.
                let by_both = reported.saturating_sub((only_here + only_there) as u64);
                only_there as u64 + by_both.div_ceil(2)
            })
        };
        Conformance::of_subjects(make)
            .without(OF_A_BROADCASTER)
            // A queue whose sink panics is closed, and so removed.
            .without([Law::SurvivesPanic])
            .rounds(rounds(90))
            .assert();
    }
    over(|end| end);
    over(|end| Slow::new(end, SHORT));
    over(|end| Slow::new(end, SHORT).queued());
    over(|end| Slow::new(end, SHORT).queued_with(Buffer::bounded(2)));
}

fn set(stamps: Vec<Stamp>) -> BTreeSet<Stamp> {
    stamps.into_iter().collect()
}

#[test]
fn broadcaster_of_queues() {
    Conformance::new(|end: Downstream| {
        let broadcaster = Broadcaster::new();
        broadcaster.add(end.queued()).unwrap();
        broadcaster.add(sink::discard().queued()).unwrap();
        broadcaster
    })
    // A queue whose sink panics is closed, and so removed: the broadcaster goes on with the other.
    .without(OF_A_BROADCASTER)
    .without([Law::SurvivesPanic])
    .assert();
}

#[test]
fn subscription() {
    Conformance::of_subjects(|end| {
        let broadcaster = Broadcaster::new();
        let subscription = broadcaster.subscribe(Buffer::unbounded());
        let reader =
            thread::spawn(move || subscription.iter().for_each(|event| assert!(end.write(event).is_ok())));
        Subject::new(broadcaster).drained(move || reader.join().unwrap())
    })
    .without(OF_A_CHANNEL)
    .assert();
}

/// As with a broadcaster, a follower whose sink closes or panics ends, and the log goes on.
#[test]
fn log() {
    fn followed(end: Downstream, options: FollowOptions<Probe>) -> Subject {
        let log = Log::new();
        let follower = log.follow_with(options, end).unwrap();
        let others = [log.follow(sink::discard()), log.follow(sink::discard())];
        Subject::new(log).counted(move || {
            let stats = follower.stats();
            let _ = &others;
            stats.dropped + stats.lost + stats.skipped
        })
    }
    let without = [Law::ClosedBelow, Law::SurvivesPanic];
    Conformance::of_subjects(|end| followed(end, FollowOptions::new())).without(without).assert();
    // A follower that lags makes writers wait, or skips events.
    for lag in [Lag::Block, Lag::Skip] {
        Conformance::of_subjects(move |end| followed(end, FollowOptions::new().max_lag(3, lag)))
            .without(without)
            .assert();
    }
    Conformance::of_subjects(|end| {
        let kept = sink::collector();
        let options = FollowOptions::new().spill(kept.clone());
        spilling(followed(end, options), kept)
    })
    .without(without)
    .assert();
}

#[test]
fn pointers() {
    keeps_all(|end| end.shared());
    keeps_all(|end| Box::new(end.queued()) as Box<dyn Sink<Probe, Error = Infallible> + Send + Sync>);
    keeps_all(|end| Arc::new(flaky(end).retry(Constant::new(SHORT))));
    keeps_all(|end| &*Box::leak(Box::new(end)));
}

#[test]
fn the_kits_own() {
    keeps_all(flaky);
    keeps_all(|end| Flaky::cycle(end, [Outcome::Fail, Outcome::Pass]));
    keeps_all(|end| Slow::new(end, SHORT));
    keeps_all(|end| Panicking::at(end, u64::MAX));
    keeps_all(|end| {
        let latch = Latch::new();
        latch.open();
        Stuck::new(end, &latch).released_by_close()
    });
    Conformance::of_subjects(|_| {
        let recorder = Recorder::keyed(Probe::stamp);
        Subject::new(recorder.clone()).delivered(move || recorder.stamps())
    })
    .assert();
}

#[test]
fn a_whole_chain() {
    Conformance::of_subjects(|end| {
        let queue = flaky(end).retry(Breaker::new(3, SHORT)).queued_with(Buffer::bounded(8));
        let stats = queue.clone();
        let chain = queue.metered(&Meter::new()).filter(|probe: &Probe| is_even(probe.stamp()));
        Subject::new(chain).delivers(is_even).counted(move || stats.stats().dropped + stats.stats().lost)
    })
    .assert();
}

fn async_keeps_all<S, F>(make: F)
where
    F: Fn(AsyncDownstream) -> S + Send + Sync + 'static,
    S: AsyncSink<Probe> + 'static,
{
    Conformance::of_async(make).assert();
}

pub(crate) fn async_flaky(end: AsyncDownstream) -> Flaky<AsyncDownstream> {
    Flaky::at_random(end, 0.3, 7)
}

#[test]
fn from_async_fn() {
    let of_end = |end: AsyncDownstream| {
        let end = Arc::new(end);
        sink::from_async_fn(move |event: Probe| {
            let end = Arc::clone(&end);
            async move { end.write(event).await.map_err(|_| "closed") }
        })
    };
    Conformance::of_async(of_end).without(OF_A_LEAF).assert();
}

#[cfg(feature = "tower")]
#[test]
fn from_service() {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    #[derive(Clone)]
    struct ToEnd(AsyncDownstream);

    impl tower_service::Service<Probe> for ToEnd {
        type Response = ();
        type Error = &'static str;
        type Future = Pin<Box<dyn Future<Output = Result<(), &'static str>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, event: Probe) -> Self::Future {
            let end = self.0.clone();
            Box::pin(async move { end.write(event).await.map_err(|_| "closed") })
        }
    }

    Conformance::of_async(|end| sink::from_service(ToEnd(end))).without(OF_A_LEAF).assert();
}

#[test]
fn async_filter_and_maps() {
    let even = |probe: &Probe| is_even(probe.stamp());
    Conformance::of_subjects(move |end| Subject::of_async(end.into_async().filter(even)).delivers(is_even))
        .assert();
    Conformance::of_subjects(move |end| {
        let some = move |probe: &Probe| even(probe).then(|| probe.clone());
        Subject::of_async(end.into_async().filter_map(some)).delivers(is_even)
    })
    .assert();
    async_keeps_all(|end| end.map(|probe: &Probe| probe.clone()));
    async_keeps_all(|end| {
        end.map_owned(|boxed: Box<Probe>| *boxed, Box::new).map_owned(Box::new, |boxed| *boxed)
    });
}

#[test]
fn async_inspect_and_metered_and_closeable_and_shared() {
    async_keeps_all(|end| end.inspect(|_| ()));
    async_keeps_all(|end| end.metered(&Meter::new()));
    async_keeps_all(|end| end.closeable());
    async_keeps_all(|end| end.shared());
    async_keeps_all(|end| Arc::new(Box::new(end)));
    Conformance::of_async(|end| end.keep_open().closeable()).without([Law::ClosesDownstream]).assert();
    async_keeps_all(|end| end.close_with_last());
}

#[test]
fn async_lossy_and_catch_panic_and_close_on_failure() {
    Conformance::of_subjects(|end| {
        let dropped = Counter::new();
        let lossy = async_flaky(end.into_async()).lossy_counted(&dropped);
        Subject::of_async(lossy).counted(move || dropped.get())
    })
    .assert();
    async_keeps_all(|end| end.catch_panic());
    async_keeps_all(|end| end.close_on_failure());
}

#[test]
fn async_dead_letter_and_fallback() {
    Conformance::of_subjects(|end| {
        let dead = sink::collector::<DeadLetter<Probe, _>>();
        let (letters, closed) = (dead.clone(), dead.clone());
        Subject::of_async(async_flaky(end.into_async()).dead_letter(dead))
            .spilled(move || letters.events().iter().map(|letter| letter.event.stamp()).collect())
            .closes(move || closed.is_closed())
    })
    .assert();
    Conformance::of_subjects(|end| {
        let spare = sink::collector();
        spilling(Subject::of_async(async_flaky(end.into_async()).fallback(spare.clone())), spare)
    })
    // A fallback takes what a closed sink refuses.
    .without([Law::ClosedBelow])
    .assert();
}

#[test]
fn async_retry_and_timeout() {
    async_keeps_all(|end| async_flaky(end).retry(Breaker::new(3, SHORT)));
    async_keeps_all(|end| async_flaky(end).retry(Constant::new(SHORT)));
    async_keeps_all(|end| {
        async_flaky(end).retry(ExponentialBackoff::default().base(SHORT).factor(SHORT).max(SHORT))
    });
    async_keeps_all(|end| async_flaky(end).retry(Constant::new(Duration::ZERO)).max_attempts(2));
    async_keeps_all(|end| end.timeout(Duration::from_secs(3600)));
}

#[test]
fn async_rate_limit_and_expire_after_and_split_on() {
    async_keeps_all(|end| end.rate_limit(Rate::per_second(1_000_000).burst(100)));
    async_keeps_all(|end| async_flaky(end).rate_limit(Rate::every(SHORT).burst(2)));
    async_keeps_all(|end| async_flaky(end).expire_after(SHORT, |probe: &Probe| age(probe.stamp())));
    async_keeps_all(|end| {
        async_flaky(end)
            .map_owned(|mut batch: Vec<Probe>| batch.pop().expect("it has one"), |probe| vec![probe])
            .split_on(|_| true)
            .map_owned(
                |probe: Probe| vec![probe],
                |mut batch: Vec<Probe>| batch.pop().expect("it is the refused one"),
            )
    });
    let short = ExponentialBackoff::default().base(SHORT).factor(SHORT).max(SHORT * 4);
    async_keeps_all(move |end| async_flaky(end).retry(short.clone().per_write()));
}

#[test]
fn async_sinks_of_the_kit() {
    async_keeps_all(async_flaky);
    async_keeps_all(|end| Slow::new(end, SHORT));
    async_keeps_all(|end| {
        Stuck::new(end, &{
            let open = Latch::new();
            open.open();
            open
        })
    });
    async_keeps_all(|end| Panicking::when(end, |_, _: &Probe| false));
}
