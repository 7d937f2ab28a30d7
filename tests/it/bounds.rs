//! How much a bounded buffer holds, by number and by weight, and that no room is lost.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{iter, thread};

use crossbeam_channel::Select;
use outflow::buffer::{Full, Policy};
use outflow::channel::{self, ChannelSink, Events, TryRecvError};
use outflow::testing::Latch;
use outflow::{Broadcaster, Buffer, Sink, SinkExt, WriteError, sink};

use crate::common::{PLANNED, in_time, planned_panic, rounds, spin_below, wait_until};

/// A number that looks like chance, another for each seed.
fn chance(seed: u64, below: u64) -> u64 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x ^ (x >> 27)) % below
}

fn weighs_itself(event: &u64) -> u64 {
    *event
}

#[test]
fn a_bound_that_no_memory_holds_is_as_good_as_any() {
    for bound in [u32::MAX as usize, usize::MAX / 2, usize::MAX] {
        let (sink, events) = channel::bounded(bound);
        sink.write([1_u8; 4096]).unwrap();
        sink.write_all(vec![[2; 4096], [3; 4096]]).unwrap();
        drop(sink);
        assert_eq!(events.iter().map(|event| event[0]).collect::<Vec<_>>(), [1, 2, 3]);

        let queue = sink::discard::<()>().queued_with(Buffer::bounded(bound));
        queue.write(()).unwrap();
        assert_eq!(queue.capacity(), Some(bound));
        queue.close().wait().unwrap();

        let events = Broadcaster::<u64>::new().subscribe(Buffer::bounded(bound));
        assert_eq!(events.try_recv(), Err(TryRecvError::Ended));
    }
}

#[test]
fn exactly_as_many_events_fit_as_the_bound_says_however_many_write() {
    for round in 0..rounds(300_u32) {
        let bound = 1 + chance(round.into(), 7) as usize;
        let (sink, events) = channel::bounded(bound);
        let written = thread::scope(|scope| {
            let writers = [0, 1, 2].map(|writer| {
                let sink = &sink;
                scope.spawn(move || {
                    spin_below(round ^ writer, 500);
                    (0..4).filter(|event| sink.try_write(*event).is_ok()).count()
                })
            });
            writers.into_iter().map(|writer| writer.join().unwrap()).sum::<usize>()
        });
        assert_eq!((written, events.len()), (bound, bound));
    }
}

/// Lets all out, and sees that a full buffer's worth of events fits, and no more.
#[track_caller]
fn assert_no_room_is_lost<P: Policy>(sink: &ChannelSink<u64, P>, events: &Events<u64>, bound: usize) {
    events.try_iter().for_each(drop);
    assert_eq!(events.weight().unwrap_or(0), 0);
    assert_eq!((0..=bound).filter(|_| sink.try_write(0).is_ok()).count(), bound);
    assert_eq!(events.len(), bound);
}

#[test]
fn no_room_is_lost_or_made_whatever_writes_wait_evict_and_give_up() {
    fn race<P: Policy>(round: u32, buffer: Buffer<u64, P>, bound: usize) {
        let (sink, events) = channel::with(buffer);
        let (sink, events) = (&sink, &events);
        let written = &AtomicU64::new(0);
        thread::scope(|scope| {
            let writers = [0_u64, 1, 2].map(|writer| {
                scope.spawn(move || {
                    for n in 0..20 {
                        let seed = (u64::from(round) << 32) + (writer << 16) + n;
                        let weight = chance(seed, 13);
                        let written_one = match chance(seed + 7, 3) {
                            0 => sink.try_write(weight).is_ok(),
                            1 => sink
                                .write_timeout(weight, Duration::from_micros(chance(seed + 9, 30)))
                                .is_ok(),
                            _ => sink.write(weight).is_ok(),
                        };
                        written.fetch_add(written_one.into(), Ordering::Relaxed);
                    }
                })
            });
            let reader = scope.spawn(move || {
                let mut read = 0;
                while let Ok(event) = events.recv() {
                    assert!(events.len() <= bound);
                    if event == u64::MAX {
                        return read;
                    }
                    read += 1;
                }
                unreachable!("it is not closed");
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            // Heavier than any bound: in alone. Not `write`, which may shed it.
            while sink.write_timeout(u64::MAX, Duration::from_secs(1)).is_err() {}
            let read: u64 = reader.join().unwrap();
            assert_eq!(read + events.dropped(), written.load(Ordering::Relaxed));
        });
        assert_no_room_is_lost(sink, events, bound);
    }
    in_time("a race for room", || {
        for round in 0..rounds(100_u32) {
            let bound = 1 + round as usize % 4;
            race(round, Buffer::bounded(bound), bound);
            race(round, Buffer::bounded(bound).drop_oldest(), bound);
            race(round, Buffer::bounded(bound).weighing(10, weighs_itself), bound);
            race(round, Buffer::bounded(bound).weighing(10, weighs_itself).drop_oldest(), bound);
            race(round, Buffer::bounded(bound).weighing(10, weighs_itself).drop_newest(), bound);
        }
    });
}

/// What a buffer holds, without threads.
struct Model {
    bound: usize,
    max: u64,
    held: VecDeque<u64>,
}

impl Model {
    fn weight(&self) -> u64 {
        self.held.iter().sum()
    }

    fn has_room(&self, weight: u64) -> bool {
        self.held.len() < self.bound && (self.held.is_empty() || self.weight() + weight <= self.max)
    }
}

#[test]
fn a_program_finds_what_a_model_of_the_buffer_says() {
    for program in 0..rounds(300_u64) {
        let (bound, max) = (1 + chance(program, 5) as usize, 1 + chance(program + 1, 20));
        let mut model = Model { bound, max, held: VecDeque::new() };
        let evicted = sink::collector();
        let buffer = Buffer::bounded(bound).weighing(max, weighs_itself).drop_oldest().spill(evicted.clone());
        let (sink, events) = channel::with(buffer);
        let mut evictions = Vec::new();
        for step in 0..60 {
            let seed = (program << 16) + step;
            let weight = chance(seed, 25);
            match chance(seed + 1, 4) {
                0 => {
                    let written = sink.try_write(weight).map_err(WriteError::into_event);
                    assert_eq!(written, if model.has_room(weight) { Ok(()) } else { Err(weight) });
                    model.held.extend(written.is_ok().then_some(weight));
                }
                1 => {
                    let timeout = Duration::ZERO;
                    assert_eq!(sink.write_timeout(weight, timeout).is_ok(), model.has_room(weight));
                    if model.has_room(weight) {
                        model.held.push_back(weight);
                    }
                }
                2 => {
                    sink.write(weight).unwrap();
                    while !model.has_room(weight) {
                        evictions.push(model.held.pop_front().unwrap());
                    }
                    model.held.push_back(weight);
                }
                _ => assert_eq!(events.try_recv().ok(), model.held.pop_front()),
            }
            assert_eq!((events.len(), events.weight()), (model.held.len(), Some(model.weight())));
        }
        assert_eq!(evicted.events(), evictions);
        assert_no_room_is_lost(&sink, &events, bound);
    }
}

#[test]
fn each_policy_bounds_by_weight() {
    let weighing = || Buffer::bounded(100).weighing(10, weighs_itself);

    let (sink, events) = channel::with(weighing().reject());
    assert_eq!(sink.write(11), Ok(()), "too heavy, and alone");
    assert!(matches!(sink.write(0), Err(WriteError::Failed { event: 0, error: Full { .. } })));
    assert_eq!(events.recv(), Ok(11));
    assert_eq!([sink.write(4), sink.write(6), sink.write(0)], [Ok(()); 3]);
    assert!(sink.write(1).is_err() && sink.write(11).is_err());

    let (sink, events) = channel::with(weighing().block_for(Duration::from_millis(1)));
    sink.write(10).unwrap();
    assert_eq!(sink.write(1).unwrap_err().into_event(), 1);
    assert_eq!(events.weight(), Some(10));

    let (sink, events) = channel::with(weighing().drop_newest());
    sink.write_all([9, 2, 1]).unwrap();
    assert_eq!((events.try_iter().collect::<Vec<_>>(), events.dropped()), (vec![9, 1], 1));

    // As many as it takes, all before one of them is spilled: which comes back, and finds no room.
    let back = std::sync::Arc::new(std::sync::OnceLock::<ChannelSink<u64, _>>::new());
    let into = std::sync::Arc::clone(&back);
    let spilled = sink::collector();
    let spill = spilled.clone().inspect(move |event: &u64| _ = into.get().unwrap().try_write(*event));
    let (sink, events) = channel::with(weighing().spill(spill).drop_oldest());
    assert!(back.set(sink.clone()).is_ok());
    sink.write_all([2, 3, 4, 9]).unwrap();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [9]);
    assert_eq!(spilled.events(), [2, 3, 4]);

    let (sink, events) = channel::with(weighing());
    in_time("a write that waits until it is light enough", move || {
        thread::scope(|scope| {
            sink.write_all([5, 5]).unwrap();
            let writer = scope.spawn(|| sink.write_all([6, 100, 1]).unwrap());
            assert_eq!((0..5).map(|_| events.recv().unwrap()).collect::<Vec<_>>(), [5, 5, 6, 100, 1]);
            writer.join().unwrap();
        });
        assert_no_room_is_lost(&sink, &events, 100);
    });
}

#[test]
fn a_queue_and_a_subscription_say_what_waits_in_them_weighs() {
    let latch = Latch::new();
    let inside = latch.clone();
    let queue = sink::for_each(move |_: u64| inside.pass())
        .queued_with(Buffer::bounded(100).weighing(50, weighs_itself).reject());
    queue.write(7).unwrap();
    latch.arrived(1);
    queue.write_all(vec![20, 30]).unwrap();
    assert_eq!((queue.weight(), queue.try_write(1).is_err()), (Some(50), true));
    latch.open();
    queue.close().wait().unwrap();
    assert_eq!(queue.weight(), Some(0));
    assert_eq!(sink::discard::<u64>().queued_with(Buffer::bounded(1)).weight(), None);

    let broadcaster = Broadcaster::new();
    let watcher = broadcaster.subscribe(Buffer::bounded(100).weighing(50, weighs_itself).drop_oldest());
    broadcaster.write_all([20, 30, 40]).unwrap();
    assert_eq!((watcher.weight(), watcher.dropped()), (Some(40), 2));
}

#[test]
fn a_panic_of_a_weight_writes_nothing_and_takes_no_room() {
    let weigh = |event: &u64| if *event == 3 { planned_panic() } else { *event };
    let (sink, events) = channel::with(Buffer::bounded(5).weighing(10, weigh));
    let written = catch_unwind(AssertUnwindSafe(|| sink.write(3).is_ok()));
    assert_eq!(written.unwrap_err().downcast_ref::<&str>(), Some(&PLANNED));
    assert!(catch_unwind(AssertUnwindSafe(|| sink.write_all(vec![1, 2, 3, 4]).is_ok())).is_err());
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_no_room_is_lost(&sink, &events, 5);
    sink.close().wait().unwrap();
}

#[test]
fn a_close_or_an_abort_finds_every_writer_that_waits_for_room() {
    in_time("writers beside an end", || {
        for round in 0..rounds(600_u32) {
            let latch = Latch::new();
            let inside = latch.clone();
            let spilled = sink::collector();
            let buffer = Buffer::bounded(2).weighing(5, weighs_itself).spill(spilled.clone());
            let queue = sink::for_each(move |_: u64| inside.pass()).queued_with(buffer);
            let accepted = thread::scope(|scope| {
                let writers = [0, 1, 2].map(|writer| {
                    let queue = &queue;
                    scope.spawn(move || {
                        spin_below(round ^ writer, 2000);
                        (0..4).filter(|event| queue.write(*event).is_ok()).count() as u64
                    })
                });
                // Half of them is stuck until the end.
                if round % 2 == 0 {
                    latch.open();
                }
                spin_below(round, 4000);
                let closing = queue.close();
                if round % 3 == 0 {
                    let _ = closing.abort();
                }
                let accepted: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
                latch.open();
                let _ = closing.wait();
                accepted
            });
            wait_until("nothing is in flight", || queue.stats().in_flight == 0);
            let stats = queue.stats();
            assert_eq!((stats.accepted, stats.pending, queue.weight()), (accepted, 0, Some(0)), "{stats:?}");
            assert_eq!(spilled.len() as u64, stats.spilled);
        }
    });
}

#[test]
fn many_events_are_written_as_one_after_another() {
    // More than a run of them.
    const MANY: u64 = 1000;
    let all = || (0..MANY).collect::<Vec<_>>();

    let (sink, events) = channel::unbounded();
    sink.write_all(all()).unwrap();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), all());

    let (sink, events) = channel::with(Buffer::bounded(300).reject());
    let stopped = sink.write_all(all()).unwrap_err();
    assert_eq!(stopped.refused.error().map(Full::capacity), Some(300));
    assert_eq!(
        (stopped.refused.into_event(), stopped.rest.collect()),
        (300, (301..MANY).collect::<Vec<_>>())
    );
    assert_eq!(events.try_iter().collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());

    let spilled = sink::collector();
    let (sink, events) = channel::with(Buffer::bounded(300).spill(spilled.clone()).drop_oldest());
    sink.write_all(all()).unwrap();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), (MANY - 300..MANY).collect::<Vec<_>>());
    assert_eq!(spilled.events(), (0..MANY - 300).collect::<Vec<_>>());

    let (sink, events) = channel::with(Buffer::bounded(300).drop_newest());
    sink.write_all(all()).unwrap();
    assert_eq!((events.len(), events.dropped()), (300, MANY - 300));

    let delivered = sink::collector();
    let queue = delivered.clone().queued_with(Buffer::bounded(3));
    queue.write_all(all()).unwrap();
    queue.write_all(Vec::new()).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(delivered.events(), all());
    let stopped = queue.write_all(vec![1, 2]).unwrap_err();
    assert_eq!((stopped.refused, stopped.rest.collect()), (WriteError::Closed(1), vec![2]));
}

#[test]
fn a_close_beside_many_events_accounts_for_each() {
    in_time("a close beside many events", || {
        for round in 0..rounds(300_u32) {
            let delivered = sink::collector();
            let queue = match round % 2 {
                0 => delivered.clone().queued_with(Buffer::bounded(3)),
                _ => delivered.clone().queued_with(Buffer::bounded(400)),
            };
            let rest = thread::scope(|scope| {
                let writer = scope.spawn(|| match queue.write_all((0..700).collect::<Vec<_>>()) {
                    Ok(()) => Vec::new(),
                    Err(stopped) => iter::once(stopped.refused.into_event()).chain(stopped.rest).collect(),
                });
                spin_below(round, 5000);
                queue.close().wait().unwrap();
                writer.join().unwrap()
            });
            let mut all = delivered.events();
            all.extend(rest);
            assert_eq!(all, (0..700).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_worker_writes_many_events_to_its_own_queue() {
    let own = std::sync::Arc::new(std::sync::OnceLock::<outflow::queue::WeakQueue<u64, _>>::new());
    let inside = std::sync::Arc::clone(&own);
    let seen = sink::collector();
    let queue = seen
        .clone()
        .inspect(move |event: &u64| {
            if let (0, Some(queue)) = (*event, inside.get().unwrap().upgrade()) {
                queue.write_all(1..10).unwrap();
            }
        })
        .queued_with(Buffer::bounded(3));
    assert!(own.set(queue.downgrade()).is_ok());
    queue.write(0).unwrap();
    in_time("a worker that writes to itself", move || {
        wait_until("all are there", || seen.len() == 10);
        queue.close().wait().unwrap();
        assert_eq!(seen.events(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn what_a_select_has_taken_makes_room() {
    in_time("a select", || {
        let (sink, events) = channel::bounded(1);
        let (_other, others) = channel::rendezvous::<u32>();
        let writer = thread::spawn(move || sink.write_all(0..100).unwrap());
        let mut read = Vec::new();
        loop {
            let mut select = Select::new();
            let here = events.select_in(&mut select);
            others.select_in(&mut select);
            assert_eq!(select.ready(), here);
            match events.try_recv() {
                Ok(event) => read.push(event),
                Err(TryRecvError::Empty) => {}
                Err(_) => break,
            }
        }
        writer.join().unwrap();
        assert_eq!(read, (0..100).collect::<Vec<_>>());
    });
}
