//! Sinks in each other as deep as memory allows: no end of them needs a stack of that depth, or time beyond measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Latch, in_time};
use outflow::sink::Collector;
use outflow::{Broadcaster, CloseError, Closing, Queue, Sink, SinkExt, sink};

/// A stack that is small, and has to do for any depth.
fn on_a_small_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new().stack_size(256 * 1024).spawn(f).unwrap().join().unwrap()
}

/// So many broadcasters in each other, and what is in the innermost.
fn nested(depth: usize) -> (Broadcaster<u32>, Collector<u32>) {
    let innermost = sink::collector();
    let mut broadcaster = Broadcaster::new();
    broadcaster.add(innermost.clone()).unwrap();
    for _ in 1..depth {
        let outer = Broadcaster::new();
        outer.add(broadcaster).unwrap();
        broadcaster = outer;
    }
    (broadcaster, innermost)
}

#[test]
fn broadcasters_that_are_closed() {
    for depth in [1, 2, 63, 64, 65, 1000] {
        in_time("the close", move || {
            on_a_small_stack(move || {
                let (broadcaster, innermost) = nested(depth);
                broadcaster.close().wait().unwrap();
                assert!(innermost.is_closed());

                let (broadcaster, innermost) = nested(depth);
                #[cfg(feature = "futures")]
                futures::executor::block_on(broadcaster.close()).unwrap();
                #[cfg(not(feature = "futures"))]
                broadcaster.close().wait().unwrap();
                assert!(innermost.is_closed());

                let (broadcaster, innermost) = nested(depth);
                broadcaster.close().abort().unwrap();
                assert!(innermost.is_closed());

                let (broadcaster, innermost) = nested(depth);
                drop(broadcaster);
                assert!(innermost.is_closed(), "by the drop of the last handle");
            });
        });
    }
}

#[test]
fn broadcasters_whose_innermost_sink_is_slow_are_done_when_that_is() {
    in_time("the close", || {
        on_a_small_stack(|| {
            let latch = Latch::new();
            let stuck = latch.clone();
            let mut broadcaster = Broadcaster::new();
            broadcaster.add(sink::for_each(move |_: u32| stuck.pass()).queued()).unwrap();
            let innermost = broadcaster.clone();
            for _ in 0..300 {
                let outer = Broadcaster::new();
                outer.add(broadcaster).unwrap();
                broadcaster = outer;
            }
            innermost.write(1).unwrap();
            let closing = broadcaster.close();
            latch.arrived(1);
            assert!(!closing.is_done());
            latch.open();
            closing.wait().unwrap();
        });
    });
}

#[test]
fn an_abort_of_a_chain_of_stuck_queues_gives_all_of_them_its_time_together() {
    const QUEUES: usize = 2000;
    let latch = Latch::new();
    let stuck = latch.clone();
    let begun = in_time("the abort", move || {
        on_a_small_stack(move || {
            let mut chain: Queue<u32> = sink::for_each(|_| {}).queued();
            let mut queues = vec![chain.clone()];
            for _ in 1..QUEUES {
                let stuck = stuck.clone();
                let options = outflow::queue::QueueOptions::default().stack_size(64 * 1024);
                chain = chain.inspect(move |_: &u32| stuck.pass()).queued_with(options);
                queues.push(chain.clone());
            }
            queues.iter().skip(1).for_each(|queue| queue.write(1).unwrap());
            stuck.arrived(QUEUES - 1);
            let begun = Instant::now();
            let error = chain.close().abort().unwrap_err();
            assert_eq!(error.undelivered(), QUEUES as u64 - 1, "each has an event in flight");
            begun
        })
    });
    let took = begun.elapsed();
    latch.open();
    // A tenth of a second is promised. One after the other they would take minutes.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A closing of a closing, and so on.
fn wrapped(depth: usize) -> (Closing, outflow::PendingClose) {
    let (mut closing, pending) = Closing::pending();
    for _ in 0..depth {
        closing = Closing::all([closing, Closing::failed(CloseError::other("planned"))]);
    }
    (closing, pending)
}

#[test]
fn closings_that_are_put_together_are_aborted_printed_and_dropped() {
    const DEPTH: usize = 15_000;
    in_time("the abort", || {
        on_a_small_stack(|| {
            let (closing, pending) = wrapped(DEPTH);
            assert!(format!("{closing:?}").contains("outcome: None"));
            drop(closing);
            drop(pending);

            let (closing, pending) = wrapped(300);
            let hooks = Arc::new(AtomicUsize::new(0));
            let hook = Arc::clone(&hooks);
            pending.on_abort(move || {
                hook.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            assert!(matches!(closing.abort(), Err(CloseError::Several(errors)) if errors.len() == 300));
            assert_eq!(hooks.load(Ordering::SeqCst), 1);
        });
        on_a_small_stack(|| {
            let (mut closing, pending) = Closing::pending();
            for _ in 0..DEPTH {
                closing = Closing::all([closing, Closing::done()]);
            }
            pending.on_abort(|| Ok(()));
            closing.abort().unwrap();
        });
        on_a_small_stack(|| {
            let (mut closing, pending) = Closing::pending();
            for _ in 0..DEPTH {
                closing = Closing::all([closing, Closing::done()]);
            }
            // The one that waits below is the last that keeps them.
            let waits = closing.clone();
            drop(closing);
            pending.finish(Ok(()));
            waits.wait().unwrap();
        });
    });
}

#[test]
fn flushes_that_are_put_together_are_dropped() {
    in_time("the drop", || {
        on_a_small_stack(|| {
            let (mut flushing, pending) = outflow::Flushing::pending();
            for _ in 0..15_000 {
                flushing = outflow::Flushing::all([flushing, outflow::Flushing::done()]);
            }
            assert!(!flushing.is_done());
            drop(flushing);
            drop(pending);
        });
    });
}
