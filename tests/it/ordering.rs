//! Law 6: events of one writer arrive in the order written, and what was written before precedes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::in_time;
use outflow::queue::Batch;
use outflow::{Broadcaster, Buffer, Sink, SinkExt, channel, sink};

const WRITERS: u64 = 4;
const EVENTS: u64 = 3000;

fn write_from_several<S: Sink<(u64, u64)> + Sync>(sink: &S) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                (0..EVENTS).for_each(|n| assert!(sink.write((writer, n)).is_ok()));
            });
        }
    });
}

fn in_order(events: &[(u64, u64)], all: bool) {
    for writer in 0..WRITERS {
        let of_one: Vec<u64> = events.iter().filter(|event| event.0 == writer).map(|event| event.1).collect();
        assert!(of_one.windows(2).all(|pair| pair[0] < pair[1]), "events of one writer out of order");
        if all {
            assert_eq!(of_one.len() as u64, EVENTS);
        }
    }
}

#[test]
fn of_one_writer_through_a_queue_of_any_buffer() {
    in_time("the queue", || {
        let dest = sink::collector();
        let queue = dest.clone().queued();
        write_from_several(&queue);
        queue.close().wait().unwrap();
        in_order(&dest.take(), true);

        let dest = sink::collector();
        let queue = dest.clone().queued_with(Buffer::bounded(3));
        write_from_several(&queue);
        queue.close().wait().unwrap();
        in_order(&dest.take(), true);

        let dest = sink::collector();
        let queue = dest.clone().queued_with(Buffer::bounded(3).drop_oldest());
        write_from_several(&queue);
        queue.close().wait().unwrap();
        in_order(&dest.take(), false);

        let dest = sink::collector();
        let queue = dest.clone().queued_with(Buffer::bounded(3).drop_newest());
        write_from_several(&queue);
        queue.close().wait().unwrap();
        in_order(&dest.take(), false);
    });
}

#[test]
fn of_one_writer_through_batches() {
    in_time("the queue", || {
        for batch in [Batch::of(1), Batch::of(7), Batch::of(100).within(Duration::from_millis(1))] {
            let dest = sink::collector();
            let queue = dest.clone().batched_with(batch, Buffer::bounded(16));
            write_from_several(&queue);
            queue.close().wait().unwrap();
            in_order(&dest.take().concat(), true);
        }
    });
}

#[test]
fn of_one_writer_through_a_channel() {
    in_time("the channel", || {
        for capacity in [0, 1, 16] {
            let (sink, events) = channel::bounded(capacity);
            let reader = thread::spawn(move || events.into_iter().collect::<Vec<_>>());
            write_from_several(&sink);
            sink.close().wait().unwrap();
            in_order(&reader.join().unwrap(), true);
        }
    });
}

#[test]
fn of_one_writer_through_a_broadcaster_of_queues_and_one_order_behind_a_queue() {
    in_time("the broadcaster", || {
        let broadcaster = Broadcaster::new();
        let dests = [sink::collector(), sink::collector()];
        dests.iter().for_each(|dest| _ = broadcaster.add(dest.clone().queued()).unwrap());
        let top = broadcaster.queued();
        write_from_several(&top);
        top.close().wait().unwrap();
        in_order(&dests[0].events(), true);
        assert_eq!(dests[0].events(), dests[1].events(), "one order for all");
    });
}

#[test]
fn of_what_was_written_after_anothers_write_returned() {
    in_time("the queue", || {
        // Each writer takes the next number, waits until the one before is written, and writes its own.
        let dest = sink::collector();
        let queue = dest.clone().queued_with(Buffer::bounded(2));
        let written = Arc::new(AtomicU64::new(0));
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let mine = next.fetch_add(1, Ordering::SeqCst);
                        if mine >= 3000 {
                            return;
                        }
                        while written.load(Ordering::SeqCst) < mine {
                            thread::yield_now();
                        }
                        queue.write(mine).unwrap();
                        written.store(mine + 1, Ordering::SeqCst);
                    }
                });
            }
        });
        queue.close().wait().unwrap();
        assert_eq!(dest.take(), (0..3000).collect::<Vec<_>>());
    });
}
