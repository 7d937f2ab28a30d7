//! A flush ends in a ring of sinks, with what was accepted before it delivered, and is a barrier everywhere else.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::common::{Latch, in_time, rounds};
use outflow::adapter::DeadLetter;
use outflow::queue::WeakQueue;
use outflow::{Broadcaster, Buffer, Closing, FlushError, Flushing, Queue, Sink, SinkExt, WriteError, sink};

/// A sink that is known only later, and not closed by this one.
struct Later<S>(Arc<OnceLock<S>>);

impl<E, S: Sink<E, Error = Infallible>> Sink<E> for Later<S> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        match self.0.get() {
            Some(sink) => sink.write(event),
            None => Err(WriteError::Closed(event)),
        }
    }

    fn flush(&self) -> Flushing {
        self.0.get().map_or_else(Flushing::done, Sink::flush)
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

fn set<S>(slot: &Arc<OnceLock<S>>, sink: S) {
    assert!(slot.set(sink).is_ok());
}

#[test]
fn a_broadcaster_under_itself() {
    in_time("the flush", || {
        let seen = sink::collector();
        let bus = Broadcaster::new();
        bus.add(seen.clone()).unwrap();
        bus.add(bus.clone().keep_open().filter_map(|e: &u32| (*e == 1).then_some(10))).unwrap();
        bus.write(1).unwrap();
        bus.flush().wait().unwrap();
        assert_eq!(seen.events(), [1, 10]);
        bus.close().wait().unwrap();
    });
}

#[test]
fn a_queue_whose_dead_letters_go_back_to_the_broadcaster_above() {
    in_time("the flush", || {
        let seen = sink::collector();
        let kept = seen.clone();
        let bus = Broadcaster::new();
        let back = bus.clone().keep_open().map(|letter: &DeadLetter<u32, &str>| letter.event + 1);
        let sink = sink::from_fn(move |event: &u32| {
            kept.write(*event).unwrap();
            if *event % 10 == 3 { Ok(()) } else { Err("not yet") }
        });
        bus.add(sink.dead_letter(back).queued()).unwrap();
        for round in 0..200 {
            bus.write(round * 10).unwrap();
            bus.flush().wait().unwrap();
            assert!(seen.events().contains(&(round * 10)), "flushed, not delivered");
        }
        // What comes back after this is refused.
        drop(bus.close());
    });
}

#[test]
fn two_broadcasters_that_are_bridged_to_each_other() {
    in_time("the flush", || {
        for queued in [false, true] {
            let (here, there) = (Broadcaster::<u32>::new(), Broadcaster::<u32>::new());
            let seen = sink::collector();
            there.add(seen.clone().queued()).unwrap();
            // An event is even here and odd there.
            let out = there.clone().keep_open().filter_map(|e: &u32| (e % 2 == 0).then_some(e + 1));
            let back = here.clone().keep_open().filter_map(|e: &u32| (e % 2 == 1 && *e < 3).then_some(e + 1));
            if queued {
                here.add(out.queued()).unwrap();
                there.add(back.queued()).unwrap();
            } else {
                here.add(out).unwrap();
                there.add(back).unwrap();
            }
            here.write(0).unwrap();
            here.flush().wait().unwrap();
            there.flush().wait().unwrap();
            assert!(seen.events().contains(&1));
            // There it may still be on its way round once more.
            here.flush().wait().unwrap();
            drop((here.close(), there.close()));
        }
    });
}

#[test]
fn two_queues_in_a_ring() {
    in_time("the flush", || {
        let (first_seen, second_seen) = (sink::collector(), sink::collector());
        let slot = Arc::new(OnceLock::<Queue<u32>>::new());
        let second = Later(Arc::clone(&slot))
            .filter(|e: &u32| *e < 8)
            .map(|e: &u32| e + 1)
            .tee(second_seen.clone())
            .queued();
        let first = second.clone().keep_open().map(|e: &u32| e + 1).tee(first_seen.clone()).queued();
        set(&slot, first.clone());
        for round in 0..500 {
            first.write(100 + round).unwrap();
            first.flush().wait().unwrap();
            assert!(first_seen.events().contains(&(100 + round)));
            assert!(second_seen.events().contains(&(101 + round)), "flushed, and not in the second");
            second.flush().wait().unwrap();
        }
        first.close().wait().unwrap();
        second.close().wait().unwrap();
    });
}

#[test]
fn a_queue_that_writes_into_itself() {
    in_time("the flush", || {
        let slot = Arc::new(OnceLock::<WeakQueue<u32>>::new());
        let (own, seen) = (Arc::clone(&slot), sink::collector());
        let kept = seen.clone();
        let queue = sink::for_each(move |event: u32| {
            kept.write(event).unwrap();
            // The flush is of a queue above this thread: waiting for it would never end, and it does not wait.
            let queue = own.get().and_then(WeakQueue::upgrade);
            if let (Some(queue), true) = (queue, event < 100) {
                queue.write(event + 100).unwrap();
                assert!(matches!(queue.flush().wait(), Err(FlushError::WouldDeadlock)));
            }
        })
        .queued();
        set(&slot, queue.downgrade());
        for event in 0..100 {
            queue.write(event).unwrap();
            queue.flush().wait().unwrap();
            assert!(seen.events().contains(&event));
        }
        // And as the sink of itself.
        let slot = Arc::new(OnceLock::<Queue<u32>>::new());
        let ring = Later(Arc::clone(&slot)).filter(|e: &u32| *e > 0).map(|e: &u32| e - 1).queued();
        set(&slot, ring.clone());
        ring.write(50).unwrap();
        ring.flush().wait().unwrap();
        // What goes round still is refused after this.
        drop(ring.close());
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_ring_in_which_events_go_round_for_ever() {
    in_time("the flush", || {
        let went_round = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&went_round);
        let slot = Arc::new(OnceLock::<Queue<u32>>::new());
        let second = Later(Arc::clone(&slot))
            .inspect(move |_: &u32| _ = counted.fetch_add(1, Ordering::SeqCst))
            .queued();
        let first = second.clone().keep_open().queued();
        set(&slot, first.clone());
        for event in 0..8 {
            first.write(event).unwrap();
        }
        for _ in 0..rounds(200) {
            let before = went_round.load(Ordering::SeqCst);
            first.flush().wait().unwrap();
            second.flush().wait().unwrap();
            crate::common::wait_until("they go on", || went_round.load(Ordering::SeqCst) > before);
        }
        // Nothing is left behind for ever: a worker that has nothing to pass on does not look again.
        let _ = first.close().abort();
        let _ = second.close().abort();
    });
}

#[test]
fn is_a_barrier_on_every_way_through_a_diamond() {
    in_time("the flush", || {
        for _ in 0..rounds(300) {
            let seen = sink::collector();
            let bottom = seen.clone().queued();
            let (left, right) = (bottom.clone().keep_open().queued(), bottom.clone().keep_open().queued());
            let top = left.clone().keep_open().tee(right.clone().keep_open()).queued();
            for event in 0..20 {
                top.write(event).unwrap();
            }
            let flushings = [top.flush(), left.flush(), top.flush()];
            flushings[0].wait().unwrap();
            assert_eq!(seen.len(), 40, "each comes by both ways");
            flushings.iter().for_each(|flushing| flushing.wait().unwrap());
            drop([top.close(), left.close(), right.close(), bottom.close()]);
        }
    });
}

#[test]
fn is_a_barrier_through_a_diamond_whose_one_side_is_slow() {
    in_time("the flush", || {
        let latch = Latch::new();
        let (stuck, seen) = (latch.clone(), sink::collector());
        let bottom = seen.clone().queued();
        let slow = bottom.clone().keep_open().inspect(move |_: &u32| stuck.pass()).queued();
        let top = slow.clone().keep_open().tee(bottom.clone().keep_open()).queued();
        top.write(1).unwrap();
        let flushing = top.flush();
        latch.arrived(1);
        bottom.flush().wait().unwrap();
        assert!(!flushing.is_done(), "one copy is on its way still");
        latch.open();
        flushing.wait().unwrap();
        assert_eq!(seen.events(), [1, 1]);
        drop([top.close(), slow.close(), bottom.close()]);
    });
}

#[test]
fn a_clique_of_eight_queues() {
    const QUEUES: usize = 8;
    in_time("the flush", || {
        let slots: Vec<_> = (0..QUEUES).map(|_| Arc::new(OnceLock::<Queue<u64>>::new())).collect();
        let seen = Arc::new(AtomicUsize::new(0));
        for at in 0..QUEUES {
            let to_all = Broadcaster::new();
            for other in (0..QUEUES).filter(|other| *other != at) {
                to_all
                    .add(Later(Arc::clone(&slots[other])).filter(|e: &u64| *e > 0).map(|e: &u64| e - 1))
                    .unwrap();
            }
            let counted = Arc::clone(&seen);
            let queue = to_all.inspect(move |_: &u64| _ = counted.fetch_add(1, Ordering::SeqCst)).queued();
            set(&slots[at], queue);
        }
        let first = slots[0].get().unwrap();
        for _ in 0..3 {
            let before = seen.load(Ordering::SeqCst);
            first.write(2).unwrap();
            first.flush().wait().unwrap();
            // Itself, and what it became in each of the others.
            assert!(seen.load(Ordering::SeqCst) >= before + QUEUES);
        }
        // From several threads, in the middle of others' events.
        thread::scope(|scope| {
            for slot in &slots {
                let queue = slot.get().unwrap();
                scope.spawn(move || {
                    for _ in 0..3 {
                        queue.write(1).unwrap();
                        queue.flush().wait().unwrap();
                    }
                });
            }
        });
        for slot in &slots {
            slot.get().unwrap().close().wait().unwrap();
        }
    });
}

#[test]
fn a_ring_under_traffic_from_outside() {
    in_time("the flush", || {
        let bus = Broadcaster::new();
        bus.add(
            bus.clone()
                .keep_open()
                .filter_map(|e: &u32| (e % 4 != 0).then(|| e - 1))
                .queued_with(Buffer::bounded(16)),
        )
        .unwrap();
        let seen = sink::collector();
        bus.add(seen.clone().queued_with(Buffer::bounded(16))).unwrap();
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ends.load(Ordering::SeqCst) {
                        bus.write(3).unwrap();
                        seen.take();
                    }
                });
            }
            for _ in 0..rounds(30) {
                bus.flush().wait().unwrap();
            }
            ends.store(true, Ordering::SeqCst);
        });
        // What comes back after this is refused.
        drop(bus.close());
    });
}
