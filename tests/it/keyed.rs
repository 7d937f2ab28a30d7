//! Queues of several workers: by keys, in whose order events are delivered, and without.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use outflow::buffer::Policy;
use outflow::queue::{Batch, QueueOptions, WeakQueue};
use outflow::retry::{Constant, ExponentialBackoff};
use outflow::testing::{Latch, VirtualClock};
use outflow::{Buffer, CloseError, Closing, FlushError, Flushing, Sink, SinkExt, Workers, WriteError, sink};

use crate::common::{in_time, planned_panic, rounds, spin_below, wait_until};

type Event = (u32, u32);

fn key((key, _): &Event) -> u32 {
    *key
}

/// Where lanes run: a thread each, and pools of several sizes.
fn places() -> Vec<Option<Workers>> {
    let pool = |threads| Workers::builder().threads(threads).keep_alive(Duration::from_millis(100)).build();
    vec![None, Some(pool(1)), Some(pool(2)), Some(pool(8))]
}

fn at<E, P>(buffer: Buffer<E, P>, place: &Option<Workers>) -> QueueOptions<E, P> {
    let options = QueueOptions::new(buffer);
    match place {
        None => options.dedicated(),
        Some(workers) => options.on(workers),
    }
}

/// Keeps what it gets, and how many events were in it at once.
#[derive(Default)]
struct Watch {
    delivered: Mutex<Vec<Event>>,
    inside: Mutex<Vec<u32>>,
    most: AtomicUsize,
    twice: AtomicBool,
    flushes: Mutex<Vec<usize>>,
    panics_on: Option<u32>,
    closes_on: Option<u32>,
    closed: AtomicBool,
}

impl Sink<Event> for Watch {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(WriteError::Closed(event));
        }
        {
            let mut inside = self.inside.lock().unwrap();
            if inside.contains(&event.0) {
                self.twice.store(true, Ordering::SeqCst);
            }
            inside.push(event.0);
            self.most.fetch_max(inside.len(), Ordering::SeqCst);
        }
        spin_below(event.1, 40);
        if event.1 % 16 == 3 {
            thread::yield_now();
        }
        {
            let mut inside = self.inside.lock().unwrap();
            let place = inside.iter().position(|key| *key == event.0).unwrap();
            inside.swap_remove(place);
        }
        if self.panics_on == Some(event.1) {
            planned_panic();
        }
        if self.closes_on == Some(event.1) {
            self.closed.store(true, Ordering::SeqCst);
        }
        self.delivered.lock().unwrap().push(event);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.flushes.lock().unwrap().push(self.delivered.lock().unwrap().len());
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::SeqCst);
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Watch {
    fn by_key(&self) -> HashMap<u32, Vec<u32>> {
        let mut keys: HashMap<u32, Vec<u32>> = HashMap::new();
        self.delivered
            .lock()
            .unwrap()
            .iter()
            .for_each(|(key, event)| keys.entry(*key).or_default().push(*event));
        keys
    }

    fn len(&self) -> u64 {
        self.delivered.lock().unwrap().len() as u64
    }

    fn assert_kept_apart(&self, most: usize) {
        assert!(!self.twice.load(Ordering::SeqCst), "two events of a key at once");
        assert!(self.most.load(Ordering::SeqCst) <= most, "more than {most} at once");
    }
}

#[test]
fn the_events_of_a_key_are_delivered_in_order_one_at_a_time_and_no_more_than_n_keys_at_once() {
    for place in places() {
        for (lanes, bound) in [(1, 3), (2, 1000), (3, 4), (8, 16)] {
            let place = place.clone();
            in_time("the keyed queue", move || {
                let watch = Arc::new(Watch::default());
                let options = at(Buffer::bounded(bound), &place).keyed(lanes, key);
                let queue = Arc::clone(&watch).queued_with(options);
                let events = rounds(2000_u32);
                thread::scope(|scope| {
                    for writer in 0..3 {
                        let queue = &queue;
                        scope.spawn(move || {
                            for event in 0..events {
                                queue.write((writer * 10 + event % 7, event)).unwrap();
                            }
                        });
                    }
                });
                queue.close().wait().unwrap();
                watch.assert_kept_apart(lanes);
                for (key, delivered) in watch.by_key() {
                    let expected: Vec<u32> = (0..events).filter(|event| event % 7 == key % 10).collect();
                    assert_eq!(delivered, expected);
                }
                let stats = queue.stats();
                assert_eq!((stats.accepted, stats.delivered), (watch.len(), u64::from(3 * events)));
            });
        }
    }
}

#[test]
fn keys_that_are_stuck_or_retried_hold_up_no_other_and_a_new_key_waits_only_for_one_of_the_n() {
    for place in places() {
        in_time("the healthy keys", move || {
            let latch = Latch::new();
            let down = Arc::new(AtomicBool::new(true));
            let seen = sink::collector();
            let (stuck, is_down, delivered) = (latch.clone(), Arc::clone(&down), seen.clone());
            let queue = sink::from_fn(move |event: &Event| match event.0 {
                0 => {
                    stuck.pass();
                    delivered.write(*event).map_err(drop)
                }
                1 if is_down.load(Ordering::SeqCst) => Err(()),
                _ => delivered.write(*event).map_err(drop),
            })
            .retry(Constant::new(Duration::from_millis(1)))
            .queued_with(at(Buffer::unbounded(), &place).keyed(3, key));
            for event in 0..10 {
                queue.write((0, event)).unwrap();
                queue.write((1, event)).unwrap();
            }
            for event in 0..200 {
                queue.write((2 + event % 50, event)).unwrap();
            }
            wait_until("all others are delivered", || seen.len() == 200);
            // All three are taken: whichever is free first takes the next key.
            queue.write((0, 10)).unwrap();
            // The sink has the last one before the queue counts it.
            wait_until("two are in the sink", || {
                let stats = queue.stats();
                (stats.pending, stats.in_flight) == (19, 2)
            });
            latch.open();
            wait_until("the stuck key goes on", || seen.len() == 211);
            down.store(false, Ordering::SeqCst);
            queue.close().wait().unwrap();
            let of = |key| seen.events().into_iter().filter(move |event| event.0 == key).map(|event| event.1);
            assert!(of(0).eq(0..11) && of(1).eq(0..10));
        });
    }
}

#[test]
fn keys_take_turns_an_event_each() {
    for place in places() {
        in_time("the keys", move || {
            let latch = Latch::new();
            let seen = sink::collector();
            let gate = latch.clone();
            let queue = seen
                .clone()
                .inspect(move |_: &Event| gate.pass())
                .queued_with(at(Buffer::unbounded(), &place).keyed(1, key));
            (0..20_000).for_each(|event| queue.write((0, event)).unwrap());
            (1..5).for_each(|other| queue.write((other, 0)).unwrap());
            latch.open();
            queue.close().wait().unwrap();
            let events = seen.events();
            // They are found as the queue is looked through, some events of it for each that is delivered.
            let last = events.iter().rposition(|event| event.0 != 0).unwrap();
            assert!(last < 1000, "a key waited for {last} events");
        });
    }
}

#[test]
fn concurrent_writes_are_up_to_n_at_once() {
    for place in places() {
        in_time("the concurrent queue", move || {
            let latch = Latch::new();
            let passed = latch.clone();
            let queue = sink::for_each(move |_: u32| passed.pass())
                .queued_with(at(Buffer::unbounded(), &place).concurrent(4));
            (0..10).for_each(|event| queue.write(event).unwrap());
            wait_until("four are in the sink", || latch.arrivals() == 4);
            thread::sleep(Duration::from_millis(5));
            assert_eq!((latch.arrivals(), queue.stats().in_flight, queue.stats().pending), (4, 4, 6));
            let flushing = queue.flush();
            assert_eq!(
                flushing
                    .clone()
                    .within(Duration::from_millis(5))
                    .map_err(|e| matches!(e, FlushError::TimedOut)),
                Err(true)
            );
            latch.open();
            flushing.wait().unwrap();
            assert_eq!(queue.stats().delivered, 10);
            queue.close().wait().unwrap();
        });
    }
}

/// What a queue of one key at a time that is stuck holds, and what it sheds, by a model.
fn compare<P>(buffer: Buffer<Event, P>, capacity: usize, max: u64, evicts: bool)
where
    P: Policy,
{
    for place in places() {
        let buffer = buffer.clone();
        in_time("the policy", move || {
            let latch = Latch::new();
            let gate = latch.clone();
            let delivered = sink::collector();
            let spilled = sink::collector();
            let queue = delivered
                .clone()
                .inspect(move |event: &Event| {
                    if event.0 < 2 {
                        gate.pass()
                    }
                })
                .queued_with(at(buffer.spill(spilled.clone()), &place).keyed(2, key));
            queue.write((0, 1)).ok().unwrap();
            queue.write((1, 1)).ok().unwrap();
            wait_until("both are stuck", || latch.arrivals() == 2);
            let mut model: VecDeque<Event> = VecDeque::new();
            let mut shed = Vec::new();
            for i in 0..200_u32 {
                // Weights of 1 to 5, as of `weighs`.
                let event = (i % 5, 1 + i * 7 % 5);
                let _ = queue.write(event);
                let weight =
                    |model: &VecDeque<Event>| model.iter().map(|event| u64::from(event.1)).sum::<u64>();
                let fits = |model: &VecDeque<Event>| {
                    model.is_empty() || (model.len() < capacity && weight(model) + u64::from(event.1) <= max)
                };
                while evicts && !fits(&model) {
                    shed.extend(model.pop_front());
                }
                if fits(&model) {
                    model.push_back(event);
                }
                assert_eq!(queue.len(), model.len());
                assert_eq!(queue.weight().unwrap_or_else(|| weight(&model)), weight(&model));
            }
            if evicts {
                assert_eq!(spilled.events(), shed);
            }
            latch.open();
            queue.close().wait().unwrap();
            let mut all: Vec<Event> = delivered.events();
            let mut expected: Vec<Event> = model.into_iter().chain([(0, 1), (1, 1)]).collect();
            all.sort_unstable();
            expected.sort_unstable();
            assert_eq!(all, expected);
            let stats = queue.stats();
            assert_eq!(stats.accepted, stats.delivered + stats.spilled + stats.dropped, "{stats:?}");
            assert_eq!(queue.weight().unwrap_or(0), 0);
        });
    }
}

fn weighs(event: &Event) -> u64 {
    u64::from(event.1)
}

#[test]
fn each_policy_counts_what_waits_of_all_keys_and_drop_oldest_drops_the_oldest_of_all() {
    compare(Buffer::bounded(7).drop_oldest(), 7, u64::MAX, true);
    compare(Buffer::bounded(7).drop_newest(), 7, u64::MAX, false);
    compare(Buffer::bounded(7).reject(), 7, u64::MAX, false);
    compare(Buffer::bounded(40).block_for(Duration::from_micros(1)), 40, u64::MAX, false);
    compare(Buffer::bounded(100).weighing(17, weighs).drop_oldest(), 100, 17, true);
    compare(Buffer::bounded(5).weighing(17, weighs).reject(), 5, 17, false);
}

#[test]
fn a_million_keys_once_each_leave_no_more_behind_than_one() {
    let keys = AtomicU64::new(0);
    struct Key(u32, Arc<AtomicUsize>);
    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Key {}
    impl Drop for Key {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::SeqCst);
        }
    }
    in_time("a million keys", move || {
        let live = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&live);
        let options = QueueOptions::default().keyed(4, move |event: &u32| {
            made.fetch_add(1, Ordering::SeqCst);
            Key(*event, Arc::clone(&made))
        });
        let queue = sink::discard().queued_with(options);
        for event in 0..1_000_000_u32 {
            queue.write(event).unwrap();
        }
        queue.flush().wait().unwrap();
        keys.store(queue.stats().delivered, Ordering::SeqCst);
        assert_eq!(keys.load(Ordering::SeqCst), 1_000_000);
        wait_until("the last key is dropped", || live.load(Ordering::SeqCst) == 0);
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_flush_is_a_barrier_for_all_keys_and_not_for_what_comes_later() {
    for place in places() {
        for round in 0..rounds(300_u32) {
            let place = place.clone();
            in_time("the flush", move || {
                let watch = Arc::new(Watch::default());
                let buffer = Buffer::bounded(1 + round as usize % 20);
                let queue = Arc::clone(&watch).queued_with(at(buffer, &place).keyed(3, key));
                thread::scope(|scope| {
                    scope.spawn(|| {
                        (1000..1000 + round % 50).for_each(|event| queue.write((9, event)).unwrap())
                    });
                    (0..30).for_each(|event| queue.write((event % 5, event)).unwrap());
                    queue.flush().wait().unwrap();
                    let delivered =
                        watch.delivered.lock().unwrap().iter().filter(|event| event.0 != 9).count();
                    assert_eq!(delivered, 30);
                    assert!(watch.flushes.lock().unwrap().iter().any(|at| *at >= 30));
                });
                queue.close().wait().unwrap();
            });
        }
    }
}

#[test]
fn a_flush_does_not_wait_for_an_event_that_came_after_it() {
    // What comes next is behind the flush if a worker has looked for that by then, which a busy machine may delay.
    let is_before = |place: &Option<Workers>| {
        let (first, second) = (Latch::new(), Latch::new());
        let (one, two) = (first.clone(), second.clone());
        let queue = sink::for_each(move |event: Event| match event.0 {
            0 => one.pass(),
            1 => two.pass(),
            _ => {}
        })
        .queued_with(at(Buffer::unbounded(), place).keyed(3, key));
        queue.write((0, 0)).unwrap();
        wait_until("it is stuck", || first.arrivals() == 1);
        let flushing = queue.flush();
        thread::sleep(Duration::from_millis(5));
        queue.write((1, 0)).unwrap();
        wait_until("another is stuck", || second.arrivals() == 1);
        first.open();
        let came = flushing.within(Duration::from_secs(1)).is_ok();
        second.open();
        flushing.wait().unwrap();
        queue.close().wait().unwrap();
        came
    };
    for place in places() {
        assert!((0..20).any(|_| is_before(&place)));
    }
}

#[test]
fn whatever_races_with_close_abort_drop_panic_and_a_sink_that_closes_every_event_is_accounted_for() {
    for place in places() {
        for round in 0..rounds(1500_u32) {
            let place = place.clone();
            in_time("the end", move || {
                let watch = Arc::new(Watch {
                    panics_on: (round % 5 == 1).then_some(7),
                    closes_on: (round % 5 == 2).then_some(7),
                    ..Watch::default()
                });
                let spilled = Arc::new(Watch::default());
                let lanes = 1 + round as usize % 4;
                let buffer =
                    Buffer::bounded(1 + round as usize % 9).drop_oldest().spill(Arc::clone(&spilled));
                let options = at(buffer, &place);
                let options =
                    if round % 7 == 0 { options.concurrent(lanes) } else { options.keyed(lanes, key) };
                let queue = Arc::clone(&watch).queued_with(options);
                let accepted = AtomicU64::new(0);
                thread::scope(|scope| {
                    for writer in 0..2_u32 {
                        let (queue, accepted) = (&queue, &accepted);
                        scope.spawn(move || {
                            for event in 0..15 {
                                if queue.write((event % 3 + 10 * writer, event)).is_ok() {
                                    accepted.fetch_add(1, Ordering::SeqCst);
                                }
                            }
                        });
                    }
                    scope.spawn(|| {
                        spin_below(round, 2000);
                        assert!(!matches!(
                            queue.flush().within(Duration::from_secs(20)),
                            Err(FlushError::TimedOut)
                        ));
                    });
                    scope.spawn(|| {
                        spin_below(round ^ 21, 4000);
                        match round % 5 {
                            0 | 3 => drop(queue.close()),
                            4 => _ = queue.close().abort(),
                            _ => {}
                        }
                    });
                });
                let begun = Instant::now();
                let closed = queue.close().within(Duration::from_secs(20));
                assert!(begun.elapsed() < Duration::from_secs(15), "{closed:?} {queue:?}");
                let stats = queue.stats();
                assert_eq!(
                    (stats.accepted, stats.pending, stats.in_flight),
                    (accepted.into_inner(), 0, 0),
                    "{stats:?}"
                );
                assert_eq!((stats.delivered, stats.spilled), (watch.len(), spilled.len()), "{stats:?}");
                assert_eq!(stats.accepted, stats.delivered + stats.spilled + stats.dropped + stats.lost);
                assert!(stats.lost <= lanes as u64, "{stats:?}");
                if stats.lost > 0 {
                    assert!(matches!(closed, Err(CloseError::Panicked { .. })), "{closed:?}");
                }
                if round % 7 != 0 {
                    watch.assert_kept_apart(lanes);
                    for (key, delivered) in watch.by_key() {
                        assert!(delivered.is_sorted(), "{key}: {delivered:?}");
                    }
                }
                // No worker holds the sink any more.
                assert_eq!(Arc::strong_count(&watch), 1);
            });
        }
    }
}

#[test]
fn when_the_sink_panics_on_one_key_what_is_in_flight_of_others_is_delivered_and_the_rest_is_left_over() {
    for place in places() {
        in_time("the panic", move || {
            let latch = Latch::new();
            let gate = latch.clone();
            let seen = sink::collector();
            let queue = seen
                .clone()
                .inspect(move |event: &Event| match event.0 {
                    0 => gate.pass(),
                    1 => planned_panic(),
                    _ => {}
                })
                .queued_with(at(Buffer::unbounded(), &place).keyed(2, key));
            queue.write((0, 0)).unwrap();
            wait_until("it is in the sink", || latch.arrivals() == 1);
            (1..4).for_each(|event| queue.write((0, event)).unwrap());
            queue.write((1, 0)).unwrap();
            wait_until("the queue is closed", || queue.is_closed());
            wait_until("the rest is left over", || queue.stats().dropped == 3);
            latch.open();
            let error = queue.close().wait().unwrap_err();
            assert!(matches!(error, CloseError::Panicked { events: 4, .. }), "{error:?}");
            assert_eq!(seen.events(), [(0, 0)]);
            let stats = queue.stats();
            assert_eq!((stats.delivered, stats.dropped, stats.lost), (1, 3, 1));
        });
    }
}

/// Fails at key 1, while it is flushed for the first time.
#[derive(Default)]
struct EndsInAFlush {
    round: u32,
    panics: bool,
    own: Arc<OnceLock<WeakQueue<Event, outflow::buffer::Unbounded>>>,
    /// Where key 0 waits, and where key 1 does.
    first: Latch,
    second: Latch,
    flushes: AtomicUsize,
}

impl Sink<Event> for EndsInAFlush {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        match event.0 {
            0 => self.first.pass(),
            1 => {
                self.second.pass();
                return if self.panics { planned_panic() } else { Err(WriteError::Closed(event)) };
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        if self.flushes.fetch_add(1, Ordering::SeqCst) == 0 {
            let queue = self.own.get().unwrap().upgrade().unwrap();
            self.second.open();
            wait_until("the other lane ends", || queue.is_closed() || queue.stats().dropped > 0);
            spin_below(self.round, 3000);
        }
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn a_flush_does_not_come_through_before_what_a_panic_has_lost_or_a_closed_sink_refused_is_counted() {
    for place in [None, Some(Workers::builder().threads(2).build())] {
        for round in 0..rounds(1000_u32) {
            for panics in [true, false] {
                let place = place.clone();
                let sink = EndsInAFlush { round, panics, ..EndsInAFlush::default() };
                let (own, first, second) = (Arc::clone(&sink.own), sink.first.clone(), sink.second.clone());
                in_time("the flush", move || {
                    let queue = sink.queued_with(at(Buffer::unbounded(), &place).keyed(2, key));
                    assert!(own.set(queue.downgrade()).is_ok());
                    queue.write((0, 0)).unwrap();
                    first.arrived(1);
                    let before = queue.flush();
                    // The other lane looks for that flush before it delivers.
                    queue.write((2, 0)).unwrap();
                    wait_until("it is delivered", || queue.stats().delivered == 1);
                    queue.write((1, 0)).unwrap();
                    second.arrived(1);
                    // The lane that passes on the one before finds this one next.
                    let behind = queue.flush();
                    first.open();
                    let (flushed, stats) = (behind.wait(), queue.stats());
                    assert!(flushed.is_err(), "round {round}, panics: {panics}, {stats:?}");
                    before.wait().unwrap();
                    queue.close().wait().unwrap_err();
                    let stats = queue.stats();
                    assert_eq!((stats.delivered, stats.lost + stats.dropped, stats.in_flight), (2, 1, 0));
                    assert_eq!(stats.lost == 1, panics);
                });
            }
        }
    }
}

#[test]
fn a_panic_of_the_key_ends_the_queue_and_loses_nothing_else() {
    for place in places() {
        in_time("the panic", move || {
            let left = sink::collector();
            let options = at(Buffer::unbounded().spill(left.clone()), &place);
            let queue = sink::discard().queued_with(
                options.keyed(2, |event: &u32| if *event == 5 { planned_panic() } else { *event }),
            );
            let accepted = (0..20).filter(|event| queue.write(*event).is_ok()).count() as u64;
            let error = queue.close().wait().unwrap_err();
            assert!(matches!(error, CloseError::Panicked { .. }), "{error:?}");
            let stats = queue.stats();
            assert_eq!((stats.accepted, stats.accepted), (accepted, stats.delivered + stats.spilled));
            assert_eq!(stats.spilled, left.len() as u64);
        });
    }
}

/// Writes to a queue.
type Writes = Box<dyn Fn(Event) + Send + Sync>;

#[test]
fn a_sink_that_writes_to_its_own_full_queue_neither_waits_nor_loses_an_order() {
    for place in places() {
        for drops in [false, true] {
            let place = place.clone();
            in_time("the sink", move || {
                let own: Arc<OnceLock<Writes>> = Arc::default();
                let (inside, seen) = (Arc::clone(&own), sink::collector());
                let sink = seen.clone().inspect(move |event: &Event| {
                    if event.1 < 100 {
                        let write = inside.get().unwrap();
                        (0..3).for_each(|n| write((event.0, 100 + 3 * event.1 + n)));
                        (0..2).for_each(|n| write((event.0 + 10, 1000 + 2 * event.1 + n)));
                    }
                });
                let count: u32 = 50;
                if drops {
                    let queue = sink.queued_with(at(Buffer::bounded(4).drop_oldest(), &place).keyed(3, key));
                    let weak: WeakQueue<Event, _> = queue.downgrade();
                    let write = move |event| {
                        if let Some(queue) = weak.upgrade() {
                            let _ = queue.write(event);
                        }
                    };
                    assert!(own.set(Box::new(write)).is_ok());
                    (0..count).for_each(|event| queue.write((event % 4, event)).unwrap());
                    queue.flush().wait().unwrap();
                    queue.close().wait().unwrap();
                    let stats = queue.stats();
                    assert_eq!(stats.accepted, stats.delivered + stats.dropped);
                } else {
                    let queue = sink.queued_with(at(Buffer::bounded(4), &place).keyed(3, key));
                    let weak: WeakQueue<Event, _> = queue.downgrade();
                    let write = move |event| weak.upgrade().unwrap().write(event).unwrap();
                    assert!(own.set(Box::new(write)).is_ok());
                    (0..count).for_each(|event| queue.write((event % 4, event)).unwrap());
                    wait_until("all are delivered", || seen.len() == 6 * count as usize);
                    queue.close().wait().unwrap();
                }
                let mut keys: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
                for (key, event) in seen.events() {
                    // Those of each writer: the test, and the sink.
                    keys.entry((key, event / 100)).or_default().push(event);
                }
                for key in 0..4 {
                    assert!(keys.get(&(key, 0)).is_none_or(|events| events.is_sorted()));
                    let own: Vec<u32> =
                        seen.events().into_iter().filter(|e| e.0 == key && e.1 >= 100).map(|e| e.1).collect();
                    assert!(own.is_sorted(), "{own:?}");
                }
            });
        }
    }
}

/// What found no room has its turn, also the second and the third, whatever is written meanwhile.
#[test]
fn what_a_sink_writes_to_its_own_full_queue_is_not_overtaken() {
    const OWN: u32 = 100;
    for place in &places() {
        for _ in 0..rounds(100) {
            let handle = Arc::new(OnceLock::<WeakQueue<Event, outflow::buffer::Block>>::new());
            let (into, may_write) = (sink::collector(), Latch::new());
            let (own, opened, delivered) = (Arc::clone(&handle), may_write.clone(), into.clone());
            let below = sink::for_each(move |event: Event| {
                if event.1 == 0 {
                    opened.pass();
                    let queue = own.get().unwrap().upgrade().unwrap();
                    (OWN..OWN + 3).for_each(|number| queue.write((0, number)).unwrap());
                }
                into.write(event).unwrap();
            });
            let queue = below.queued_with(at(Buffer::bounded(2), place).keyed(3, key));
            assert!(handle.set(queue.downgrade()).is_ok());
            (0..3).for_each(|number| queue.write((0, number)).unwrap());
            may_write.open();
            (3..10).for_each(|number| queue.write((0, number)).unwrap());
            queue.close().within(Duration::from_secs(30)).unwrap();
            let order: Vec<_> = delivered.events().iter().map(|event| event.1).collect();
            // The fourth waits for room until the second is with the sink, after these writes.
            assert_eq!(order, [0, 1, 2, OWN, OWN + 1, OWN + 2, 3, 4, 5, 6, 7, 8, 9]);
        }
    }
}

#[test]
fn a_lane_that_waits_for_its_own_queue_is_told_so() {
    for place in places() {
        in_time("the wait", move || {
            let own: Arc<OnceLock<WeakQueue<Event>>> = Arc::default();
            let inside = Arc::clone(&own);
            let queue = sink::for_each(move |_: Event| {
                let queue = inside.get().unwrap().upgrade().unwrap();
                assert!(matches!(queue.close().wait(), Err(CloseError::WouldDeadlock)));
            })
            .queued_with(at(Buffer::unbounded(), &place).keyed(2, key));
            assert!(own.set(queue.downgrade()).is_ok());
            queue.write((0, 0)).unwrap();
            queue.write((1, 0)).unwrap_or(());
            queue.close().wait().unwrap();
        });
    }
}

#[test]
fn lanes_are_started_as_they_are_needed() {
    let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let seen = Arc::clone(&threads);
    let queue = sink::for_each(move |_: u32| _ = seen.lock().unwrap().insert(thread::current().id()))
        .queued_with(QueueOptions::default().dedicated().keyed(1000, |event: &u32| *event));
    for event in 0..50 {
        queue.write(event).unwrap();
        queue.flush().wait().unwrap();
        // A thread that was interrupted when the flush was done counts as busy until it has looked.
        thread::sleep(Duration::from_millis(2));
    }
    queue.close().wait().unwrap();
    // One, one that looks for the flush, and some more where threads that are done have not had a processor since.
    let threads = threads.lock().unwrap().len();
    assert!(threads <= 10, "{threads}");
}

#[test]
fn a_backoff_of_a_write_counts_the_failures_of_that_write_alone() {
    in_time("the backoffs", || {
        let clock = VirtualClock::new();
        let second = Duration::from_secs(1);
        // A base alone: up to a second after each failure.
        let backoff = ExponentialBackoff::default().base(second).factor(second).max(8 * second).seed(1);
        let failures = Arc::new(Mutex::new(HashMap::<u32, u32>::new()));
        let counted = Arc::clone(&failures);
        let seen = sink::collector();
        let delivered = seen.clone();
        let queue = sink::from_fn(move |event: &Event| {
            if event.0 == 0 && event.1 == 0 {
                let mut failures = counted.lock().unwrap();
                *failures.entry(0).or_default() += 1;
                if failures[&0] < 6 {
                    return Err("down");
                }
            }
            delivered.write(*event).map_err(|_| "closed")
        })
        .retry(backoff.per_write())
        .clock(clock.clone())
        .queued_with(QueueOptions::default().keyed(2, key));
        queue.write((0, 0)).unwrap();
        clock.until_sleeping(1);
        // No other write waits, and none ends the wait of that one by its success.
        (0..20).for_each(|event| queue.write((1, event)).unwrap());
        wait_until("the others are delivered", || seen.len() == 20);
        assert_eq!(failures.lock().unwrap()[&0], 1);
        for failed in 1..6_u32 {
            clock.until_sleeping(1);
            assert_eq!(failures.lock().unwrap()[&0], failed);
            clock.advance(ExponentialBackoff::default().bound(failed).min(8 * second) + second);
        }
        queue.close().wait().unwrap();
        assert_eq!(seen.len(), 21);
    });
}

/// Keeps batches.
fn batches() -> (impl Sink<Vec<Event>, Error = Infallible> + Send + Sync, sink::Collector<Vec<Event>>) {
    let kept = sink::collector();
    (kept.clone(), kept)
}

#[test]
fn a_batch_holds_events_of_one_key_in_order() {
    for place in places() {
        for (size, within) in [(1, 0), (4, 0), (7, 1), (1000, 2)] {
            let place = place.clone();
            in_time("the batches", move || {
                let (end, kept) = batches();
                let batch = Batch::of(size).within(Duration::from_millis(within));
                let queue = end.batched_with(batch, at(Buffer::bounded(50), &place).keyed(3, key));
                thread::scope(|scope| {
                    for writer in 0..2 {
                        let queue = &queue;
                        scope.spawn(move || {
                            (0..500).for_each(|event| queue.write((writer * 10 + event % 6, event)).unwrap());
                        });
                    }
                });
                queue.close().wait().unwrap();
                let mut keys: HashMap<u32, Vec<u32>> = HashMap::new();
                for batch in kept.events() {
                    assert!(
                        (1..=size).contains(&batch.len()) && batch.iter().all(|event| event.0 == batch[0].0)
                    );
                    keys.entry(batch[0].0).or_default().extend(batch.iter().map(|event| event.1));
                }
                assert_eq!(keys.len(), 12);
                for (key, events) in keys {
                    assert!(events.into_iter().eq((0..500).filter(|event| event % 6 == key % 10)));
                }
                let stats = queue.stats();
                assert_eq!((stats.accepted, stats.delivered), (1000, 1000));
            });
        }
    }
}

#[test]
fn batches_fill_up_for_each_key_without_a_worker_and_a_flush_or_a_close_does_not_wait_for_more() {
    for place in places() {
        in_time("the batches", move || {
            let (end, kept) = batches();
            let batch = Batch::of(3).within(Duration::from_secs(3600));
            let queue = end.batched_with(batch, at(Buffer::unbounded(), &place).keyed(1, key));
            // Every key has its own batch, though there is one worker; a full one goes at once.
            queue.write_all([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (1, 2)]).unwrap();
            wait_until("the full batch", || kept.len() == 1);
            assert_eq!(kept.events(), [[(1, 0), (1, 1), (1, 2)]]);
            thread::sleep(Duration::from_millis(2));
            assert_eq!((queue.stats().pending, kept.len()), (3, 1));
            queue.flush().wait().unwrap();
            assert_eq!(kept.events()[1..], [vec![(0, 0), (0, 1)], vec![(2, 0)]]);
            queue.write((3, 0)).unwrap();
            thread::sleep(Duration::from_millis(2));
            assert_eq!((queue.stats().pending, kept.len()), (1, 3));
            queue.close().wait().unwrap();
            assert_eq!(kept.events()[3..], [[(3, 0)]]);
        });
    }
}

#[test]
fn a_batch_waits_no_longer_than_it_is_to_whichever_workers_are_stuck_or_asleep() {
    for place in places() {
        for round in 0..rounds(40_u32) {
            let place = place.clone();
            in_time("the batch", move || {
                let latch = Latch::new();
                let gate = latch.clone();
                let (end, kept) = batches();
                let end = end.inspect(move |batch: &Vec<Event>| {
                    if batch[0].0 == 0 {
                        gate.pass();
                    }
                });
                let batch = Batch::of(10).within(Duration::from_micros(u64::from(1 + round * 100)));
                let queue = end.batched_with(batch, at(Buffer::unbounded(), &place).keyed(2, key));
                queue.write((0, 0)).unwrap();
                if round % 2 == 0 {
                    wait_until("one is stuck", || latch.arrivals() == 1);
                }
                for event in 0..5 {
                    queue.write((1 + event % 3, event)).unwrap();
                    spin_below(round ^ event, 3000);
                }
                // Nothing is written that could wake a worker.
                let others = || kept.events().iter().flatten().filter(|event| event.0 > 0).count();
                wait_until("the batches of the other keys", || others() == 5);
                latch.open();
                queue.close().wait().unwrap();
                assert_eq!(queue.stats().delivered, 6);
            });
        }
    }
}

#[test]
fn batches_of_a_key_end_by_weight_too_and_what_is_too_heavy_is_alone() {
    for place in places() {
        for within in [Duration::ZERO, Duration::from_secs(3600)] {
            let place = place.clone();
            in_time("the batches", move || {
                let latch = Latch::new();
                let gate = latch.clone();
                let (end, kept) = batches();
                let end = end.inspect(move |_: &Vec<Event>| gate.pass());
                let batch = Batch::of(100).within(within).weighing(10, weighs);
                let queue = end.batched_with(batch, at(Buffer::unbounded(), &place).keyed(1, key));
                // Stuck, so that the rest waits together.
                queue.write((9, 10)).unwrap();
                wait_until("one is stuck", || latch.arrivals() == 1);
                for event in [(0, 4), (1, 9), (0, 4), (1, 3), (0, 4), (0, 30), (0, 10), (0, 1)] {
                    queue.write(event).unwrap();
                }
                latch.open();
                queue.close().wait().unwrap();
                let of = |key| kept.events().into_iter().filter(move |batch| batch[0].0 == key);
                let weights = |batch: Vec<Event>| batch.into_iter().map(|event| event.1).collect::<Vec<_>>();
                let of_0: Vec<Vec<u32>> = of(0).map(weights).collect();
                assert_eq!(of_0, [vec![4, 4], vec![4], vec![30], vec![10], vec![1]]);
                let of_1: Vec<Vec<u32>> = of(1).map(weights).collect();
                assert_eq!(of_1, [[9], [3]]);
            });
        }
    }
}

#[test]
fn a_panic_of_a_weight_ends_the_queue_and_loses_nothing() {
    for place in places() {
        in_time("the panic", move || {
            let left = sink::collector();
            let (end, kept) = batches();
            let batch =
                Batch::of(3).weighing(10, |event: &Event| if event.1 == 5 { planned_panic() } else { 1 });
            let options = at(Buffer::unbounded().spill(left.clone()), &place).keyed(2, key);
            let queue = end.batched_with(batch, options);
            let accepted = (0..20).filter(|event| queue.write((event % 3, *event)).is_ok()).count();
            let error = queue.close().wait().unwrap_err();
            assert!(matches!(error, CloseError::Panicked { .. }), "{error:?}");
            let stats = queue.stats();
            let delivered: usize = kept.events().iter().map(Vec::len).sum();
            assert_eq!((stats.lost, delivered + left.len()), (0, accepted), "{stats:?}");
        });
    }
}

#[test]
fn concurrent_batches_are_up_to_n_at_once() {
    for place in places() {
        in_time("the batches", move || {
            let latch = Latch::new();
            let gate = latch.clone();
            let (end, kept) = batches();
            let end = end.inspect(move |_: &Vec<Event>| gate.pass());
            let queue = end.batched_with(Batch::of(2), at(Buffer::unbounded(), &place).concurrent(3));
            (0..20).for_each(|event| queue.write((0, event)).unwrap());
            wait_until("three are in the sink", || latch.arrivals() == 3);
            latch.open();
            queue.close().wait().unwrap();
            let mut events: Vec<Event> = kept.events().into_iter().flatten().collect();
            events.sort_unstable();
            assert!(events.into_iter().eq((0..20).map(|event| (0, event))));
        });
    }
}

#[test]
fn what_a_sink_hands_back_of_a_batch_is_left_over_and_the_rest_delivered() {
    for place in places() {
        in_time("the end", move || {
            /// Takes the first of each batch, then is closed.
            struct First(AtomicBool);
            impl Sink<Vec<Event>> for First {
                type Error = Infallible;
                fn write(&self, mut batch: Vec<Event>) -> Result<(), WriteError<Vec<Event>, Infallible>> {
                    if !self.0.swap(true, Ordering::SeqCst) {
                        batch.remove(0);
                    }
                    Err(WriteError::Closed(batch))
                }
                fn flush(&self) -> Flushing {
                    Flushing::done()
                }
                fn close(&self) -> Closing {
                    Closing::done()
                }
            }
            let left = sink::collector();
            let options = at(Buffer::unbounded().spill(left.clone()), &place).keyed(2, key);
            let batch = Batch::of(4).within(Duration::from_secs(3600));
            let queue = First(AtomicBool::new(false)).batched_with(batch, options);
            let accepted = (0..9).filter(|event| queue.write((0, *event)).is_ok()).count() as u64;
            let error = queue.close().wait().unwrap_err();
            assert!(matches!(error, CloseError::DownstreamClosed { .. }), "{error:?}");
            let stats = queue.stats();
            assert_eq!((stats.accepted, stats.delivered, stats.spilled), (accepted, 1, accepted - 1));
            assert_eq!(left.len() as u64, accepted - 1);
        });
    }
}

/// A key whose `Hash`, `Eq` or `Drop` does what `traps` says.
struct Trap {
    key: u32,
    hash: u32,
    eq: u32,
    drop: u32,
}

impl std::hash::Hash for Trap {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        if self.key == self.hash {
            planned_panic();
        }
        // All have the same.
        0_u32.hash(state);
    }
}

impl PartialEq for Trap {
    fn eq(&self, other: &Self) -> bool {
        if self.key == self.eq {
            planned_panic();
        }
        self.key == other.key
    }
}

impl Eq for Trap {}

impl Drop for Trap {
    fn drop(&mut self) {
        if self.key == self.drop && !thread::panicking() {
            planned_panic();
        }
    }
}

#[test]
fn a_panic_of_a_keys_hash_or_eq_ends_the_queue_and_one_of_its_drop_does_not() {
    const NEVER: u32 = u32::MAX;
    for place in places() {
        for (hash, eq, drop) in [(5, NEVER, NEVER), (NEVER, 5, NEVER), (NEVER, NEVER, 5)] {
            let place = place.clone();
            in_time("the panic", move || {
                let left = sink::collector();
                let kept = sink::collector();
                let options = at(Buffer::unbounded().spill(left.clone()), &place);
                let queue = kept.clone().queued_with(options.keyed(3, move |event: &u32| Trap {
                    key: *event % 7,
                    hash,
                    eq,
                    drop,
                }));
                let accepted = (0..200).filter(|event| queue.write(*event).is_ok()).count();
                let closed = queue.close().wait();
                let stats = queue.stats();
                assert_eq!((stats.lost, kept.len() + left.len()), (0, accepted), "{stats:?}");
                assert_eq!((stats.delivered, stats.spilled), (kept.len() as u64, left.len() as u64));
                if drop == 5 {
                    closed.unwrap();
                    assert_eq!(kept.len(), 200);
                } else {
                    assert!(matches!(closed, Err(CloseError::Panicked { .. })), "{closed:?}");
                    assert!(
                        kept.events().iter().all(|event| event % 7 != 5),
                        "it was delivered without its key"
                    );
                }
            });
        }
    }
}

#[test]
fn a_key_closure_may_write_to_its_own_queue_full_or_not() {
    fn write_from_within<P: Policy + Clone + Send + Sync + 'static>(
        buffer: impl Fn() -> Buffer<Event, P> + Send + 'static,
    ) {
        for place in places() {
            let buffer = buffer();
            in_time("the key", move || {
                let own: Arc<OnceLock<WeakQueue<Event, P>>> = Arc::default();
                let inside = Arc::clone(&own);
                let seen = sink::collector();
                let options = at(buffer, &place).keyed(2, move |event: &Event| {
                    if event.1 < 100 {
                        let queue = inside.get().unwrap().upgrade().unwrap();
                        let _ = queue.write((event.0, 1000 + event.1));
                        assert!(matches!(queue.flush().wait(), Err(FlushError::WouldDeadlock)));
                    }
                    event.0
                });
                let queue = seen.clone().queued_with(options);
                assert!(own.set(queue.downgrade()).is_ok());
                (0..100).for_each(|event| _ = queue.write((event % 3, event)));
                queue.flush().wait().unwrap();
                // What was written from within may still be on its way.
                wait_until("it is at rest", || {
                    let stats = queue.stats();
                    stats.pending + stats.in_flight == 0
                });
                queue.close().wait().unwrap();
                let stats = queue.stats();
                assert_eq!(stats.accepted, stats.delivered + stats.dropped, "{stats:?}");
            });
        }
    }
    write_from_within(Buffer::unbounded);
    write_from_within(|| Buffer::bounded(2));
    write_from_within(|| Buffer::bounded(1).drop_oldest());
    write_from_within(|| Buffer::bounded(2).drop_newest());
    write_from_within(|| Buffer::bounded(2).weighing(3, |_| 2).drop_oldest());
}

#[test]
fn while_one_key_is_stuck_no_other_is_kept() {
    in_time("the keys", || {
        let latch = Latch::new();
        let gate = latch.clone();
        let live = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&live);
        #[derive(PartialEq, Eq, Hash)]
        struct Counted(u32);
        struct Key(Counted, Arc<AtomicUsize>);
        impl PartialEq for Key {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        impl Eq for Key {}
        impl std::hash::Hash for Key {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }
        impl Drop for Key {
            fn drop(&mut self) {
                self.1.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let queue = sink::for_each(move |event: u32| {
            if event == 0 {
                gate.pass();
            }
        })
        .queued_with(QueueOptions::default().keyed(4, move |event: &u32| {
            made.fetch_add(1, Ordering::SeqCst);
            Key(Counted(*event), Arc::clone(&made))
        }));
        queue.write_all(0..10_000).unwrap();
        wait_until("all others are delivered and their keys dropped", || {
            queue.stats().delivered == 9_999 && live.load(Ordering::SeqCst) == 1
        });
        latch.open();
        queue.close().wait().unwrap();
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}
