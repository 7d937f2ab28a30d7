//! Queues over asynchronous sinks, on tokio.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outflow::queue::QueueOptions;
use outflow::retry::Constant;
use outflow::{AsyncSink, AsyncSinkExt, Broadcaster, Closing, Flushing, Sink, WriteError, sink};
use tokio::runtime::{Builder, Runtime};

use crate::contest::{Contest, Peer, Row, Run};
use crate::go;
use crate::many::{Waiting, await_all, child, millis, resident};
use crate::queue::nanos_per;

/// With as many threads as the bars are for.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("a runtime can be started")
}

/// Counts what it is written, by one task, and is ready at once.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn count(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn check(&self, events: u64) {
        assert_eq!(self.0.load(Ordering::Relaxed), events, "not everything was delivered");
    }
}

impl AsyncSink<u64> for Count {
    type Error = Infallible;

    fn write(&self, _: u64) -> impl Future<Output = Result<(), WriteError<u64, Infallible>>> + Send {
        self.count();
        ready(Ok(()))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

fn ours(runtime: &Runtime, events: u64) -> Vec<f64> {
    let count = Arc::new(Count::default());
    let queue = Arc::clone(&count).queued_with(QueueOptions::default().on(runtime.handle()));
    let start = Instant::now();
    (0..events).for_each(|event| queue.write(event).unwrap());
    queue.close().wait().unwrap();
    let took = start.elapsed();
    count.check(events);
    nanos_per(took, events)
}

fn bare(runtime: &Runtime, events: u64) -> Vec<f64> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let task = runtime.spawn(async move {
        let count = Count::default();
        while let Some(event) = receiver.recv().await {
            count.write(event).await.unwrap();
        }
        count
    });
    let start = Instant::now();
    (0..events).for_each(|event| sender.send(event).unwrap());
    drop(sender);
    let count = runtime.block_on(task).unwrap();
    let took = start.elapsed();
    count.check(events);
    nanos_per(took, events)
}

/// Counts its own events, as the sinks of `many` do.
struct Awaits {
    events: AtomicU64,
    waiting: Arc<Waiting>,
}

impl AsyncSink<u64> for Awaits {
    type Error = Infallible;

    async fn write(&self, _: u64) -> Result<(), WriteError<u64, Infallible>> {
        self.waiting.count_down(&self.events);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

/// Set up, writes until all are delivered but to the dead sinks, which are in a retry, in milliseconds; then what the queues
/// hold, in megabytes.
pub fn measure(queues: usize, dead: usize, writes: u64) -> Vec<f64> {
    let runtime = runtime();
    let (waiting, done) = Waiting::new(queues - dead);
    let before = resident();

    let start = Instant::now();
    let broadcaster = Broadcaster::new();
    for index in 0..queues {
        let options = QueueOptions::default().on(runtime.handle());
        let queue = if index % (queues / dead) == 0 {
            let sink = sink::from_async_fn(|_: u64| async { Err("no route to host") });
            sink.retry(Constant::new(Duration::from_secs(3600))).queued_with(options)
        } else {
            let sink = Awaits { events: AtomicU64::new(writes), waiting: Arc::clone(&waiting) };
            sink.queued_with(options)
        };
        broadcaster.add(queue).unwrap();
    }
    let set_up = millis(start);

    let start = Instant::now();
    (0..writes).for_each(|event| broadcaster.write(event).unwrap());
    await_all(&done);
    let delivered = millis(start);
    let memory = resident() - before;

    let error = broadcaster.close().within(Duration::from_millis(1)).expect_err("the dead deliver nothing");
    assert!(error.undelivered() > 0, "{error}");
    vec![set_up, delivered, memory]
}

pub fn contests(quick: bool) -> Vec<Contest> {
    let events = if quick { 40_000 } else { 400_000 };
    let (queues, name, dead) = if quick { (1_000, "1,000", 50) } else { (10_000, "10,000", 500) };
    let row = |what: &str, unit| Row {
        name: format!("{name} async queues on tokio, {dead} dead, {what}, against go-events"),
        unit,
        bar: Some(0.5),
    };
    let go_events = match go::peer(vec!["queues".into(), queues.to_string(), "20".into()]) {
        Peer::Run(mut run) => Peer::Run(Box::new(move || {
            // Without its close.
            let figures = run();
            vec![figures[0], figures[1], figures[3]]
        }) as Run),
        skipped => skipped,
    };
    let (one, other) = (runtime(), runtime());
    vec![
        Contest::new(
            "an async queue whose sink is ready at once, against a tokio mpsc channel and a task",
            "ns an event",
            Some(1.3),
            Box::new(move || ours(&one, events)),
            Peer::Run(Box::new(move || bare(&other, events))),
        ),
        Contest {
            rows: vec![row("set up", "ms"), row("20 writes until delivered", "ms"), row("memory", "MB")],
            ours: Box::new(move || {
                child(vec!["async".into(), queues.to_string(), dead.to_string(), "20".into()])
            }),
            peer: go_events,
            time: Duration::from_secs(40),
        },
    ]
}
