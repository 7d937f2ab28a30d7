//! Queues and followers over asynchronous sinks, wherever their workers run.

use std::convert::Infallible;

use outflow::queue::{Batch, QueueOptions};
use outflow::{AsyncSink, AsyncSinkExt, Buffer, Sink, SinkExt, Workers, sink};

/// Awaits the runtime's turn, then keeps the event.
fn keeps<T: Clone + Send + 'static>(
    kept: &sink::Collector<T>,
) -> impl AsyncSink<T, Error = Infallible> + use<T> {
    let kept = kept.clone();
    sink::from_async_fn(move |event: T| {
        let kept = kept.clone();
        async move {
            tokio::task::yield_now().await;
            kept.write(event).map_err(|_| "closed")
        }
    })
    .lossy()
}

#[test]
fn a_queue_over_an_async_sink_delivers_in_order_wherever_its_worker_runs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let pool = futures::executor::ThreadPool::builder().pool_size(1).create().unwrap();
    let kept = sink::collector();
    let queues = [
        keeps(&kept).queued(),
        keeps(&kept).queued_with(Buffer::unbounded()),
        keeps(&kept).queued_with(QueueOptions::default().on(&Workers::builder().threads(1).build())),
        keeps(&kept).queued_with(QueueOptions::default().dedicated()),
        keeps(&kept).queued_with(QueueOptions::default().on(runtime.handle())),
        keeps(&kept).queued_with(QueueOptions::default().on(runtime.handle().clone())),
        keeps(&kept).queued_with(QueueOptions::default().on(move |worker| pool.spawn_ok(worker))),
    ];
    for queue in queues {
        queue.write_all(0..1000).unwrap();
        queue.flush().wait().unwrap();
        assert!(kept.take().into_iter().eq(0..1000), "{queue:?}");
        queue.close().wait().unwrap();
        assert_eq!(queue.stats().delivered, 1000);
        assert!(queue.write(0).unwrap_err().is_closed());
    }
}

#[test]
fn a_batching_queue_over_an_async_sink_writes_vectors() {
    let kept = sink::collector();
    let queue = keeps(&kept).batched(Batch::of(3));
    queue.write_all(0..10).unwrap();
    queue.close().wait().unwrap();
    let batches: Vec<Vec<u32>> = kept.take();
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert!(batches.into_iter().flatten().eq(0..10));
}
