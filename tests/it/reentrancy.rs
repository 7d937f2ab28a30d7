//! Law 8: a sink may be called from within its own downstream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::common::{Latch, in_time, wait_until};
use outflow::buffer::Policy;
use outflow::queue::WeakQueue;
use outflow::sink::Collector;
use outflow::{Buffer, Queue, Sink, SinkExt, sink};

type Own<P> = Arc<OnceLock<WeakQueue<u64, P>>>;

/// A queue over `dest` before whose events its worker calls `inside`, which can get that queue.
fn writing_to_itself<E, P>(
    dest: &Collector<E>,
    buffer: Buffer<E, P>,
    inside: impl Fn(&E, &(dyn Fn() -> Queue<E, P> + Sync)) + Send + Sync + 'static,
) -> Queue<E, P>
where
    E: Send + 'static,
    P: Policy,
{
    let slot = Arc::new(OnceLock::<WeakQueue<E, P>>::new());
    let own = Arc::clone(&slot);
    let queue = dest
        .clone()
        .inspect(move |event: &E| inside(event, &|| own.get().unwrap().upgrade().unwrap()))
        .queued_with(buffer);
    assert!(slot.set(queue.downgrade()).is_ok());
    queue
}

#[test]
fn a_worker_that_writes_into_its_own_full_queue_never_waits_and_keeps_order() {
    in_time("the worker", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let dest = sink::collector();
        let queue = writing_to_itself(&dest, Buffer::bounded(2), move |event: &u64, own| {
            if *event == 0 {
                stuck.pass();
                let queue = own();
                // Two wait already, in a buffer of two.
                (100..110).for_each(|event| queue.write(event).unwrap());
                assert_eq!(queue.len(), 12);
            }
        });
        queue.write(0).unwrap();
        latch.arrived(1);
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        latch.open();
        wait_until("all are delivered", || dest.len() == 13);
        let expected: Vec<u64> = (0..3).chain(100..110).collect();
        assert_eq!(dest.events(), expected);
        queue.flush().wait().unwrap();
        queue.close().wait().unwrap();
        assert_eq!(queue.stats().delivered, 13);
    });
}

#[test]
fn a_worker_that_writes_into_its_own_queue_beside_other_writers_keeps_its_order() {
    in_time("the worker", || {
        let dest = sink::collector();
        let queue = writing_to_itself(&dest, Buffer::bounded(2), move |event: &u64, own| {
            if *event < 1000 {
                let queue = own();
                queue.write(1000 + 2 * event).unwrap();
                queue.write(1001 + 2 * event).unwrap();
            }
        });
        (0..1000).for_each(|event| queue.write(event).unwrap());
        wait_until("all are delivered", || dest.len() == 3000);
        let events = dest.events();
        let (echoes, own): (Vec<u64>, Vec<u64>) = events.iter().partition(|event| **event >= 1000);
        assert!(own.is_sorted() && own.len() == 1000);
        assert!(echoes.is_sorted() && echoes.len() == 2000, "the worker's own events out of order");
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_worker_may_close_its_queue_amid_its_own_events() {
    in_time("the worker", || {
        let dest = sink::collector();
        let queue = writing_to_itself(&dest, Buffer::bounded(1), move |event: &u64, own| {
            if *event == 0 {
                let queue = own();
                (1..20).for_each(|event| queue.write(event).unwrap());
                drop(queue.close());
                assert!(queue.write(99).is_err());
            }
        });
        queue.write(0).unwrap();
        wait_until("it is closed", || queue.is_closed());
        queue.close().wait().unwrap();
        assert_eq!(dest.events(), (0..20).collect::<Vec<_>>());
    });
}

fn spills_back<P: Policy>(buffer: Buffer<u64, P>)
where
    P::Error: std::fmt::Debug,
{
    let latch = Latch::new();
    let own: Own<P> = Arc::default();
    let (inside, stuck) = (Arc::clone(&own), latch.clone());
    let spills = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&spills);
    let spill = sink::for_each(move |event: u64| {
        counted.fetch_add(1, Ordering::SeqCst);
        if let Some(queue) = inside.get().and_then(outflow::queue::WeakQueue::upgrade) {
            let _ = queue.write(event);
        }
    });
    let delivered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&delivered);
    let queue = sink::for_each(move |_: u64| {
        stuck.pass();
        count.fetch_add(1, Ordering::SeqCst);
    })
    .queued_with(buffer.spill(spill));
    assert!(own.set(queue.downgrade()).is_ok());
    queue.write(0).unwrap();
    latch.arrived(1);
    for event in 1..11 {
        queue.write(event).unwrap();
    }
    let stats = queue.stats();
    assert_eq!(stats.accepted, stats.dropped + stats.spilled + stats.pending + stats.in_flight, "{stats:?}");
    assert_eq!(spills.load(Ordering::SeqCst), 8, "two fit");
    assert_eq!((stats.spilled, stats.dropped, stats.pending), (8, 8, 2), "{stats:?}");
    latch.open();
    queue.close().wait().unwrap();
    assert_eq!(delivered.load(Ordering::SeqCst), 3);
    assert_eq!(queue.stats().delivered, 3);
}

#[test]
fn a_spill_that_writes_back_into_the_buffer_comes_to_an_end_and_is_counted() {
    in_time("the spill", || {
        spills_back(Buffer::bounded(2).drop_newest());
        spills_back(Buffer::bounded(2).drop_oldest());
    });
}

#[test]
fn two_buffers_that_spill_into_each_other_come_to_an_end() {
    in_time("the spills", || {
        let latch = Latch::new();
        let (one, two) = (latch.clone(), latch.clone());
        let back: Arc<OnceLock<WeakQueue<u64, outflow::buffer::DropOldest>>> = Arc::default();
        let inside = Arc::clone(&back);
        let spill = sink::for_each(move |event: u64| {
            if let Some(queue) = inside.get().and_then(outflow::queue::WeakQueue::upgrade) {
                let _ = queue.write(event);
            }
        });
        let first = sink::for_each(move |_: u64| one.pass())
            .queued_with(Buffer::bounded(1).drop_oldest().spill(spill));
        let second = sink::for_each(move |_: u64| two.pass())
            .queued_with(Buffer::bounded(1).drop_oldest().spill(first.clone().keep_open()));
        back.set(second.downgrade()).unwrap();
        (0..100).for_each(|event| first.write(event).unwrap());
        latch.open();
        second.close().wait().unwrap();
        first.close().wait().unwrap();
        for queue in [&first, &second] {
            let stats = queue.stats();
            assert_eq!(stats.accepted, stats.delivered + stats.dropped + stats.spilled, "{stats:?}");
        }
        let kept = first.stats().delivered + second.stats().delivered;
        let dropped = first.stats().dropped + second.stats().dropped;
        assert_eq!(kept + dropped, 100, "an event is missing");
    });
}

#[test]
fn the_worker_of_a_full_queue_that_evicts_keeps_the_order_of_its_writes_by_whatever_means() {
    in_time("the worker", || {
        let latch = Latch::new();
        let (dest, stuck) = (sink::collector(), latch.clone());
        let queue = writing_to_itself(&dest, Buffer::bounded(2).drop_oldest(), move |event: &u64, own| {
            if *event == 0 {
                stuck.pass();
                let queue = own();
                queue.write_timeout(100, std::time::Duration::from_secs(3600)).unwrap();
                queue.write(101).unwrap();
                queue.write_timeout(102, std::time::Duration::ZERO).unwrap();
                assert!(queue.try_write(103).is_err(), "it would overtake");
                queue.write(104).unwrap();
            }
        });
        queue.write(0).unwrap();
        latch.arrived(1);
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        latch.open();
        queue.flush().wait().unwrap();
        queue.close().wait().unwrap();
        assert_eq!(dest.events(), [0, 1, 2, 100, 101, 102, 104]);
    });
}

#[test]
fn what_a_worker_wrote_to_itself_is_overtaken_by_nothing_that_others_write_later_and_evict_for() {
    const EACH: u64 = 20_000;

    in_time("the worker", || {
        // How many the worker has written itself by now.
        let written = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&written);
        let (delivered, evicted) = (sink::collector(), sink::collector());
        let queue = writing_to_itself(
            &delivered,
            Buffer::bounded(2).drop_oldest().spill(evicted.clone()),
            move |(by_worker, _), own| {
                if !by_worker {
                    let queue = own();
                    let next = counted.load(Ordering::SeqCst) + 1;
                    queue.write_timeout((true, next), std::time::Duration::MAX).unwrap();
                    counted.store(next, Ordering::SeqCst);
                }
            },
        );
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        // With the number of those that were written before.
                        queue.write((false, written.load(Ordering::SeqCst))).unwrap();
                    }
                });
            }
        });
        wait_until("nothing is left", || queue.stats().pending + queue.stats().in_flight == 0);
        queue.close().wait().unwrap();
        let gone: std::collections::HashSet<u64> = evicted
            .events()
            .into_iter()
            .filter(|(by_worker, _)| *by_worker)
            .map(|(_, number)| number)
            .collect();
        let mut last = 0;
        for (by_worker, number) in delivered.events() {
            if by_worker {
                assert!(number > last, "{number} after {last}");
                last = number;
            } else {
                let missing = (last + 1..=number).find(|number| !gone.contains(number));
                assert_eq!(missing, None, "overtaken by one that was written after it");
            }
        }
    });
}

#[test]
fn what_a_worker_writes_to_itself_overtakes_nothing_that_waits_while_it_has_more_of_its_own_to_come() {
    in_time("the worker", || {
        let (latch, dest) = (Latch::new(), sink::collector());
        let stuck = latch.clone();
        let queue = writing_to_itself(&dest, Buffer::bounded(3), move |event: &u64, own| {
            match event {
                0 => {
                    stuck.pass();
                    own().write(100).unwrap();
                }
                // By now there is room again for one that another thread has written in the meantime.
                2 => {
                    (4..6).for_each(|event| {
                        std::thread::scope(|scope| _ = scope.spawn(|| own().write(event).unwrap()))
                    });
                    own().write(101).unwrap();
                }
                _ => {}
            }
        });
        queue.write(0).unwrap();
        latch.arrived(1);
        (1..4).for_each(|event| queue.write(event).unwrap());
        latch.open();
        wait_until("all are delivered", || dest.len() == 8);
        assert_eq!(dest.events(), [0, 1, 2, 3, 100, 4, 5, 101]);
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_flush_of_a_queue_whose_worker_writes_to_itself_is_a_barrier() {
    in_time("the flush", || {
        let dest = sink::collector();
        let queue = writing_to_itself(&dest, Buffer::bounded(2), move |event: &u64, own| {
            if *event < 1 << 32 && event % 2 == 0 {
                let queue = own();
                (1..4).for_each(|n| queue.write(event + (n << 32)).unwrap());
            }
        });
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (queue, dest) = (&queue, &dest);
                scope.spawn(move || {
                    for n in 0..300 {
                        let event = (writer << 16) + n;
                        queue.write(event).unwrap();
                        queue.flush().wait().unwrap();
                        assert!(dest.events().contains(&event), "flushed, not delivered");
                    }
                });
            }
        });
        queue.flush().wait().unwrap();
        queue.close().wait().unwrap();
    });
}
