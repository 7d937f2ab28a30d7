//! What a write does when the store has as many bytes as it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use outflow::durable::{CommitError, Durable, DurableOptions, Sync, inspect};
use outflow::retry::Constant;
use outflow::testing::Latch;
use outflow::{Sink, SinkExt, WriteError, sink};

use crate::eventually;
use crate::scratch::Scratch;

type Event = (u32, String);

fn event(number: u32) -> Event {
    (number, "x".repeat(1000))
}

/// Segments of 16 KiB, of which there are four.
fn options(scratch: &Scratch) -> DurableOptions<Event> {
    DurableOptions::new(scratch.store()).sync(Sync::Os).max_bytes(64 << 10)
}

/// Accepts nothing until `up`.
fn down(up: &Arc<AtomicBool>, into: &sink::Collector<u32>, options: DurableOptions<Event>) -> Durable<Event> {
    let (up, into) = (Arc::clone(up), into.clone());
    let below = sink::from_fn(move |event: &Event| match up.load(Ordering::Relaxed) {
        true => into.write(event.0).map_err(|_| "closed"),
        false => Err("down"),
    });
    below.retry(Constant::new(Duration::from_millis(1))).durable_with(options).unwrap()
}

#[test]
fn drop_oldest_makes_room_and_counts_what_it_dropped_across_restarts() {
    let scratch = Scratch::new();
    let (up, delivered) = (Arc::new(AtomicBool::new(false)), sink::collector());
    let queue = down(&up, &delivered, options(&scratch).drop_oldest());
    queue.write(event(0)).unwrap();
    eventually(|| queue.stats().unconfirmed == 1);
    for number in 1..500 {
        queue.write(event(number)).unwrap();
        assert!(queue.stats().bytes <= 64 << 10, "{queue:?}");
    }
    let stats = queue.stats();
    assert_eq!(stats.pending + stats.dropped, 500);
    assert!((20..64).contains(&stats.pending), "{stats:?}");
    queue.close().abort().unwrap();
    assert_eq!(inspect(scratch.store()).unwrap().dropped, stats.dropped);

    // The one that was with the sink is not dropped, nor are the newest; and what was dropped does not come back.
    let queue = down(&up, &delivered, options(&scratch).drop_oldest());
    assert_eq!((queue.stats().dropped, queue.stats().pending), (stats.dropped, stats.pending));
    eventually(|| queue.stats().unconfirmed == 1);
    queue.write_all((500..510).map(event)).unwrap();
    up.store(true, Ordering::Relaxed);
    queue.close().wait().unwrap();
    let events = delivered.events();
    let first = 500 - (stats.pending as u32 - 1) + (queue.stats().dropped - stats.dropped) as u32;
    assert!(events.iter().copied().eq([0].into_iter().chain(first..510)), "{events:?}");
    assert_eq!((queue.left_on_disk(), inspect(scratch.store()).unwrap().damage.len()), (0, 0));
}

#[test]
fn a_run_that_is_larger_than_the_store_drops_what_was_before_its_end() {
    let scratch = Scratch::new();
    let (up, delivered) = (Arc::new(AtomicBool::new(false)), sink::collector());
    let queue = down(&up, &delivered, options(&scratch).drop_oldest());
    queue.write_all((0..300).map(event)).unwrap();
    let stats = queue.stats();
    assert_eq!((stats.next, stats.pending + stats.dropped), (300, 300));
    let error = queue.write((300, "x".repeat(100_000))).unwrap_err();
    assert!(matches!(error.error(), Some(CommitError::MaxBytes { .. })), "{error:?}");
}

/// What the sink has accepted, and no flush has confirmed, is not dropped.
#[test]
fn drop_oldest_drops_nothing_that_is_with_the_sink() {
    for round in 0..20 {
        let scratch = Scratch::new();
        let delivered = sink::collector();
        let into = delivered.clone();
        let below = sink::for_each(move |event: Event| into.write(event.0).unwrap());
        let queue = below.durable_with(options(&scratch).unconfirmed(8).drop_oldest()).unwrap();
        thread::scope(|scope| {
            for writer in 0..2 {
                let queue = &queue;
                scope.spawn(move || (0..200).for_each(|n| queue.write(event(1000 * writer + n)).unwrap()));
            }
        });
        queue.close().wait().unwrap();
        let stats = queue.stats();
        let sum = delivered.len() as u64 + stats.dropped;
        assert_eq!((sum, stats.pending), (400, 0), "in round {round}: {stats:?}");
        let mut events = delivered.events();
        events.sort_unstable();
        events.dedup();
        assert_eq!(events.len(), delivered.len());
    }
}

#[test]
fn a_write_waits_for_room_until_events_are_delivered() {
    let scratch = Scratch::new();
    let (up, delivered) = (Arc::new(AtomicBool::new(false)), sink::collector());
    let queue = down(&up, &delivered, options(&scratch).wait_for_room());
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (queue, written) = (queue.clone(), Arc::clone(&written));
            thread::spawn(move || {
                for number in 0..100 {
                    queue.write(event(1000 * writer + number)).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
                queue.write_all((100..200).map(|number| event(1000 * writer + number))).unwrap();
            })
        })
        .collect();
    eventually(|| written.load(Ordering::Relaxed) > 20);
    thread::sleep(Duration::from_millis(50));
    assert!(written.load(Ordering::Relaxed) < 64 && queue.stats().bytes <= 64 << 10);
    // One that never fits does not wait.
    let error = queue.write((0, "x".repeat(40_000))).unwrap_err();
    assert!(matches!(error.error(), Some(CommitError::MaxBytes { .. })), "{error:?}");
    up.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    queue.close().wait().unwrap();
    assert_eq!((delivered.len(), queue.left_on_disk()), (600, 0));
    for writer in 0..3 {
        let mine = delivered.events().into_iter().filter(|number| number / 1000 == writer);
        assert!(mine.eq(1000 * writer..1000 * writer + 200));
    }
}

/// However it ends: a writer that waits gets its event back.
#[test]
fn an_end_wakes_a_write_that_waits_for_room() {
    for end in 0..3 {
        let scratch = Scratch::new();
        let queue = down(&Arc::default(), &sink::collector(), options(&scratch).wait_for_room());
        let writer = queue.clone();
        let waits =
            thread::spawn(move || (0..).find_map(|number| writer.write(event(number)).err()).unwrap());
        eventually(|| queue.stats().bytes > 60 << 10);
        thread::sleep(Duration::from_millis(20));
        match end {
            0 => drop(queue.close()),
            1 => queue.close().abort().unwrap(),
            _ => queue.close().within(Duration::from_millis(10)).unwrap(),
        }
        let refused = waits.join().unwrap();
        assert!(matches!(&refused, WriteError::Closed(event) if event.0 > 20), "{refused}");
    }
}

#[test]
fn a_sink_that_writes_into_its_own_full_queue_does_not_wait_for_itself() {
    let scratch = Scratch::new();
    let (own, refused) = (Arc::new(std::sync::OnceLock::<Durable<Event>>::new()), Latch::new());
    let (queue, opens) = (Arc::clone(&own), refused.clone());
    let below = sink::for_each(move |event: Event| {
        let queue = queue.wait();
        if !opens.is_open() {
            let error = (0..).find_map(|_| queue.write(event.clone()).err()).unwrap();
            assert!(matches!(error.error(), Some(CommitError::MaxBytes { .. })), "{error:?}");
            opens.open();
        }
    });
    let queue = below.durable_with(options(&scratch).wait_for_room()).unwrap();
    own.set(queue.clone()).unwrap();
    queue.write(event(0)).unwrap();
    eventually(|| refused.is_open());
    queue.close().wait().unwrap();
    assert_eq!(queue.left_on_disk(), 0);
}

/// The other two policies of a buffer are combinators above: `lossy` drops the newest, `fallback` spills.
#[test]
fn what_finds_no_room_is_dropped_or_spilled_by_what_is_above() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let spill = sink::collector();
    let queue = down(&Arc::default(), &sink::collector(), options(&scratch));
    let spilling = queue.clone().fallback(spill.clone());
    spilling.write_all((0..100).map(event)).unwrap();
    assert_eq!(queue.left_on_disk() + spill.len() as u64, 100);
    let dropping = down(&Arc::default(), &sink::collector(), options(&other)).lossy();
    (0..100).for_each(|number| dropping.write(event(number)).unwrap());
    assert!(dropping.dropped() > 30, "{}", dropping.dropped());
}
