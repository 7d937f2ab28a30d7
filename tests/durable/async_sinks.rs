//! Durable queues over asynchronous sinks, wherever their workers run.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use outflow::durable::{DurableOptions, Sync};
use outflow::{
    AsyncOnly, AsyncSink, AsyncSinkExt, CloseError, FlushError, Sink, SinkExt, WorkerFuture, Workers,
    WriteError, sink,
};
use tokio::runtime::{Builder, Runtime};

use crate::eventually;
use crate::scratch::Scratch;

fn options(scratch: &Scratch) -> DurableOptions<u32> {
    DurableOptions::new(scratch.store()).sync(Sync::Os)
}

/// Awaits the runtime's turn, then keeps the event.
fn keeps(kept: &sink::Collector<u32>) -> impl AsyncSink<u32, Error = Infallible> + use<> {
    let kept = kept.clone();
    sink::from_async_fn(move |event: u32| {
        let kept = kept.clone();
        async move {
            tokio::task::yield_now().await;
            kept.write(event).map_err(|_| "closed")
        }
    })
    .lossy()
}

/// Never comes back from a write, though something could wake it.
fn stuck() -> impl AsyncSink<u32, Error = Infallible> {
    let stuck = || {
        poll_fn(|context| {
            std::mem::forget(context.waker().clone());
            Poll::<Result<(), &str>>::Pending
        })
    };
    sink::from_async_fn(move |_: u32| stuck()).lossy()
}

/// Spawns on the runtime, without the feature `tokio`.
fn on(runtime: &Runtime) -> impl Fn(WorkerFuture) + Send + std::marker::Sync + use<> {
    let handle = runtime.handle().clone();
    move |worker| drop(handle.spawn(worker))
}

#[test]
fn events_are_delivered_in_order_and_acknowledged_wherever_the_worker_runs() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let single = Workers::builder().threads(1).build();
    let places: [&dyn Fn(DurableOptions<u32>) -> DurableOptions<u32, AsyncOnly>; 4] = [
        &|options| options.into(),
        &|options| options.on(&single).into(),
        &|options| options.dedicated().into(),
        &|options| options.on(on(&runtime)),
    ];
    for place in places {
        let scratch = Scratch::new();
        let kept = sink::collector();
        let queue = keeps(&kept).durable_with(place(options(&scratch).unconfirmed(16))).unwrap();
        queue.write_all(0..1000).unwrap();
        queue.flush().wait().unwrap();
        assert!(kept.events().into_iter().eq(0..1000), "{queue:?}");
        eventually(|| queue.left_on_disk() == 0);
        queue.close().wait().unwrap();
        assert_eq!((queue.stats().delivered, queue.stats().acknowledged), (1000, 1000));
    }
}

#[test]
fn a_write_that_an_abort_leaves_behind_stays_on_disk() {
    let scratch = Scratch::new();
    let queue = stuck().durable_with(options(&scratch)).unwrap();
    queue.write_all(0..3).unwrap();
    eventually(|| queue.stats().unconfirmed == 1);
    assert!(queue.close().within(Duration::from_millis(10)).is_ok());
    assert_eq!(queue.left_on_disk(), 3);
    let kept = sink::collector();
    keeps(&kept).durable_with(options(&scratch)).unwrap().close().wait().unwrap();
    assert_eq!(kept.events(), [0, 1, 2]);
}

/// What was with the sink is on disk, and so is the rest: nothing is lost, and the store is free.
#[test]
fn a_runtime_that_is_shut_down_leaves_everything_on_disk_and_frees_the_store() {
    for round in 0..100 {
        let scratch = Scratch::new();
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let kept = sink::collector();
        // At most eight come twice.
        let queue = keeps(&kept).durable_with(options(&scratch).unconfirmed(8).on(on(&runtime))).unwrap();
        let writer = queue.clone();
        let writes = thread::spawn(move || (0..200).take_while(|n| writer.write(*n).is_ok()).count());
        thread::sleep(Duration::from_micros(fastrand::u64(0..2_000)));
        drop(runtime);
        let written = writes.join().unwrap();
        assert!(matches!(queue.write(200), Err(WriteError::Closed(200))));
        assert!(queue.is_closed());
        let closed = queue.close().wait();
        assert!(closed.is_ok(), "in round {round}: {closed:?}");
        match (queue.left_on_disk(), queue.flush().wait()) {
            (0, flushed) => flushed.unwrap(),
            (_, Err(FlushError::NotDelivered(CloseError::Undelivered { .. }))) => {}
            other => panic!("in round {round}: {other:?}"),
        }

        let before = kept.len() as u32;
        let queue = keeps(&kept).durable_with(options(&scratch)).unwrap();
        queue.close().wait().unwrap();
        let mut seen = kept.events();
        assert!(seen.len() <= written + 9, "{} came twice", seen.len() - written);
        assert!(seen[..before as usize].iter().copied().eq(0..before));
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.iter().copied().take(written).eq(0..written as u32), "in round {round}: {seen:?}");
    }
}

#[test]
fn a_panic_in_a_poll_is_an_attempt_of_its_event() {
    let scratch = Scratch::new();
    let (tries, given_up) = (Arc::new(AtomicU64::new(0)), sink::collector());
    let open = || {
        let tries = Arc::clone(&tries);
        let below = sink::from_async_fn(move |event: u32| {
            let tries = Arc::clone(&tries);
            async move {
                tokio::task::yield_now().await;
                if event == 1 {
                    tries.fetch_add(1, Ordering::Relaxed);
                    panic!("this one again");
                }
                Ok::<_, &str>(())
            }
        });
        let options = options(&scratch).max_attempts(2).dead_letter(given_up.clone().keep_open());
        below.lossy().durable_with(options).unwrap()
    };
    for attempt in 1..=2 {
        let queue = open();
        if attempt == 1 {
            queue.write_all(0..3).unwrap();
        }
        let error = queue.close().wait().unwrap_err();
        assert!(matches!(error, CloseError::Panicked { events: 0, .. }), "{error}");
    }
    let queue = open();
    queue.close().wait().unwrap();
    assert_eq!((tries.load(Ordering::Relaxed), given_up.events(), queue.left_on_disk()), (2, vec![1], 0));
}

/// On one thread, which writes, delivers and acknowledges.
#[test]
fn a_current_thread_runtime_runs_writers_worker_and_close() {
    let scratch = Scratch::new();
    let runtime = Builder::new_current_thread().build().unwrap();
    let kept = sink::collector();
    let handle = runtime.handle().clone();
    let options = options(&scratch).on(move |worker| drop(handle.spawn(worker)));
    let queue = keeps(&kept).durable_with(options).unwrap();
    runtime.block_on(async {
        for event in 0..100 {
            queue.write(event).unwrap();
            tokio::task::yield_now().await;
        }
        let closing = queue.close();
        while !closing.is_done() {
            tokio::task::yield_now().await;
        }
    });
    assert!(kept.events().into_iter().eq(0..100));
    assert_eq!(queue.left_on_disk(), 0);
}

/// Where there is one thread, disk work must not hold up others: each write of the sync sinks of this pool is one.
#[test]
fn a_pool_with_one_thread_goes_on_while_the_disk_works() {
    let scratch = [Scratch::new(), Scratch::new()];
    let single = Workers::builder().threads(1).build();
    let kept = sink::collector();
    let second = keeps(&kept).durable_with(options(&scratch[1]).sync(Sync::Always).on(&single)).unwrap();
    let first = second.lossy().durable_with(options(&scratch[0]).on(&single)).unwrap();
    first.write_all(0..50).unwrap();
    first.flush().wait().unwrap();
    first.close().wait().unwrap();
    assert!(kept.events().into_iter().eq(0..50));
}
