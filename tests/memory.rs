//! What is asked for again and again while a sink is stuck costs no memory. A process of its own, whose memory is looked at.

#![cfg(all(target_os = "linux", feature = "testing"))]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outflow::queue::{Batch, QueueOptions};
use outflow::testing::Latch;
use outflow::{Broadcaster, Buffer, Closing, Flushing, Sink, SinkExt, Workers, channel, sink};

/// One at a time: the memory is that of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// The bytes of the process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    pages.split(' ').nth(1).expect("the second number").parse::<usize>().expect("a number") * 4096
}

/// How many bytes the process has grown by while `ask` was called so often.
#[track_caller]
fn assert_flat(what: &str, calls: usize, mut ask: impl FnMut()) {
    // What grows to its size once, and what the allocator keeps.
    (0..calls / 10).for_each(|_| ask());
    let before = resident();
    (0..calls).for_each(|_| ask());
    let grown = resident().saturating_sub(before);
    // Less than 32 bytes a call: what is kept of each is some two hundred, and threads that come have memory of their own.
    assert!(grown < 32 * calls, "{what} grew by {grown} bytes in {calls} calls");
}

/// A queue whose worker is in a write until the latch opens.
fn stuck() -> (outflow::Queue<u32>, Latch) {
    let latch = Latch::new();
    let inside = latch.clone();
    let queue = sink::for_each(move |_: u32| inside.pass()).queued();
    queue.write(1).unwrap();
    latch.arrived(1);
    (queue, latch)
}

#[test]
fn a_flush_that_is_dropped() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (queue, latch) = stuck();
    assert_flat("a queue's flush", 200_000, || drop(queue.flush()));

    let broadcaster = Broadcaster::new();
    broadcaster.extend([queue.clone().keep_open(), queue.clone().keep_open()]).unwrap();
    assert_flat("a broadcaster's flush", 200_000, || drop(broadcaster.flush()));

    // A flush that the worker has passed on to another that is stuck.
    let above = queue.clone().keep_open().queued();
    assert_flat("a flush through a queue", 50_000, || {
        drop(above.flush());
        std::thread::yield_now();
    });
    let kept = queue.flush();
    assert_flat("flushes put together", 200_000, || drop(Flushing::all([kept.clone(), kept.clone()])));
    latch.open();
    kept.wait().unwrap();
    broadcaster.flush().wait().unwrap();
}

#[test]
fn a_close_that_is_asked_for_again() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (queue, latch) = stuck();
    let (other, other_latch) = stuck();
    let closing = queue.close();
    assert_flat("a queue's close", 200_000, || assert!(!queue.close().is_done()));
    assert_flat("closings put together", 200_000, || drop(Closing::all([closing.clone(), closing.clone()])));
    let error = sink::from_fn(|_: &u32| Err("planned")).closeable();
    let fallback = error.fallback(queue.clone().tee(other.clone()));
    assert_flat("a fallback's close", 200_000, || assert!(!fallback.close().is_done()));
    let broadcaster = Broadcaster::new();
    broadcaster.add(queue.clone()).unwrap();
    assert_flat("a broadcaster's close", 200_000, || assert!(!broadcaster.close().is_done()));
    assert_flat("a closed broadcaster's flush", 200_000, || assert!(!broadcaster.flush().is_done()));
    latch.open();
    other_latch.open();
    closing.wait().unwrap();
    fallback.close().wait().unwrap();
}

/// Keeps how much room the last vector had.
struct Capacity(Arc<Mutex<usize>>);

impl Sink<Vec<[u8; 64]>> for Capacity {
    type Error = Infallible;

    fn write(&self, batch: Vec<[u8; 64]>) -> Result<(), outflow::WriteError<Vec<[u8; 64]>, Infallible>> {
        *self.0.lock().unwrap() = batch.capacity();
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn a_batch_after_a_burst() {
    const BURST: usize = 500_000;

    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let capacity = Arc::<Mutex<usize>>::default();
    let latch = Latch::new();
    let stuck = latch.clone();
    let queue = Capacity(Arc::clone(&capacity))
        .map_owned(
            move |batch: Vec<[u8; 64]>| {
                stuck.pass();
                batch
            },
            |batch| batch,
        )
        .batched(Batch::of(usize::MAX));
    queue.write([0; 64]).unwrap();
    latch.arrived(1);
    queue.write_all((0..BURST).map(|_| [0; 64])).unwrap();
    latch.open();
    queue.flush().wait().unwrap();
    assert!(*capacity.lock().unwrap() >= BURST, "there was no burst");
    for _ in 0..2 {
        queue.write([0; 64]).unwrap();
        queue.flush().wait().unwrap();
        let capacity = *capacity.lock().unwrap();
        assert!(capacity <= 1024, "room for {capacity} events is kept");
    }
    queue.close().wait().unwrap();
}

/// How many threads the process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux has it").count()
}

#[test]
fn a_hundred_thousand_queues_on_a_pool() {
    const QUEUES: usize = 100_000;

    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = threads();
    let workers = Workers::builder().threads(2).keep_alive(Duration::from_millis(100)).build();
    let delivered = Arc::new(AtomicUsize::new(0));
    let queue = || {
        let delivered = Arc::clone(&delivered);
        let sink = sink::for_each(move |_: u32| _ = delivered.fetch_add(1, Ordering::Relaxed));
        sink.queued_with(QueueOptions::default().on(&workers))
    };
    let mut round = 0;
    // Used and dropped, used and closed, never used.
    assert_flat("queues that come and go", QUEUES, || {
        let queue = queue();
        match round % 3 {
            0 => queue.write(1).unwrap(),
            1 => {
                queue.write(1).unwrap();
                drop(queue.close());
            }
            _ => {}
        }
        round += 1;
        // Not faster than they end.
        while workers.stats().runnable > 100 {
            std::thread::yield_now();
        }
    });
    let all = (0..QUEUES).map(|_| queue()).collect::<Vec<_>>();
    // A busy machine looks like sinks that block, so there may be a few more than two.
    assert!(workers.stats().threads <= 20, "{:?}", workers.stats());
    drop((all, workers));
    let deadline = Instant::now() + Duration::from_secs(20);
    while threads() > before {
        assert!(Instant::now() < deadline, "{} threads are left, there were {before}", threads());
        std::thread::sleep(Duration::from_millis(5));
    }
    let used = (0..round).filter(|round| round % 3 < 2).count();
    assert_eq!(delivered.load(Ordering::Relaxed), used);
}

#[test]
fn a_bounded_buffer_that_is_empty() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let broadcaster = Broadcaster::<u64>::new();
    let queue = sink::discard::<[u8; 1000]>().queued_with(Buffer::bounded(1));
    let before = resident();
    let large = sink::discard::<[u8; 1000]>().queued_with(Buffer::bounded(100_000));
    let subscriptions: Vec<_> = (0..100).map(|_| broadcaster.subscribe(Buffer::bounded(10_000))).collect();
    let channel = channel::bounded::<[u8; 1000]>(u32::MAX as usize);
    let weighed = channel::with(Buffer::bounded(u32::MAX as usize).weighing(u64::MAX, |_: &u64| 1));
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes");

    // And it keeps no more than it ever held at once.
    for event in 0..100_000 {
        weighed.0.write(event).unwrap();
        large.write([1; 1000]).unwrap();
        assert_eq!(weighed.1.recv(), Ok(event));
        if event % 100 == 0 {
            large.flush().wait().unwrap();
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes");
    drop((subscriptions, channel));
    large.close().wait().unwrap();
    queue.close().wait().unwrap();
}
