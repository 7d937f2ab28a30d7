//! One queue.

use std::convert::Infallible;
use std::env;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use outflow::buffer::Policy;
use outflow::queue::QueueOptions;
use outflow::{Buffer, Closing, Flushing, Queue, Sink, SinkExt, WriteError, sink};

use crate::contest::{Contest, Peer, Run};
use crate::go;

/// Set if each queue has a thread of its own; in the environment, so that the processes that are started have it, too.
pub const DEDICATED: &str = "OUTFLOW_BENCH_DEDICATED";

/// Makes every queue of this benchmark.
pub fn queue<E, P, S>(buffer: Buffer<E, P>, sink: S) -> Queue<E, P>
where
    E: Send + 'static,
    P: Policy,
    S: Sink<E, Error = Infallible> + Send + Sync + 'static,
{
    let options = QueueOptions::new(buffer);
    sink.queued_with(if env::var_os(DEDICATED).is_some() { options.dedicated() } else { options })
}

/// Counts what it is written, by one thread.
#[derive(Default)]
pub struct Count {
    events: AtomicU64,
    /// How many multiplications it makes for an event.
    work: u32,
}

impl Count {
    /// Takes longer for an event than it takes to write one to a queue.
    fn slow() -> Self {
        Self { work: 64, ..Self::default() }
    }

    pub fn check(&self, events: u64) {
        assert_eq!(self.events.load(Ordering::Relaxed), events, "not everything was delivered");
    }
}

impl Sink<u64> for Count {
    type Error = Infallible;

    #[inline]
    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        let _ = self.write_ref(&event);
        Ok(())
    }

    #[inline]
    fn write_ref(&self, event: &u64) -> Result<(), WriteError<(), Infallible>> {
        (1..=self.work).fold(*event, |product, factor| black_box(product.wrapping_mul(u64::from(factor))));
        self.events.store(self.events.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

pub fn nanos_per(duration: Duration, events: u64) -> Vec<f64> {
    vec![duration.as_nanos() as f64 / events as f64]
}

/// Has each of `producers` threads write its share.
fn produce(producers: u64, events: u64, write: impl Fn(u64) + Sync) {
    if producers == 1 {
        (0..events).for_each(write);
    } else {
        thread::scope(|scope| {
            for _ in 0..producers {
                scope.spawn(|| (0..events / producers).for_each(&write));
            }
        });
    }
}

fn ours<P>(buffer: Buffer<u64, P>, count: Count, producers: u64, events: u64) -> Vec<f64>
where
    P: Policy<Error = Infallible>,
{
    let count = Arc::new(count);
    let queue = queue(buffer, Arc::clone(&count));
    let start = Instant::now();
    produce(producers, events, |event| queue.write(event).unwrap());
    queue.close().wait().unwrap();
    let took = start.elapsed();
    count.check(events);
    nanos_per(took, events)
}

/// What a queue is without this crate: a channel and a thread, which ends once the sender is dropped.
pub fn bare_queue(
    (sender, receiver): (Sender<u64>, Receiver<u64>),
    count: Count,
) -> (Sender<u64>, JoinHandle<Count>) {
    let worker = thread::spawn(move || {
        receiver.into_iter().for_each(|event| count.write(event).unwrap());
        count
    });
    (sender, worker)
}

fn bare(channel: (Sender<u64>, Receiver<u64>), count: Count, producers: u64, events: u64) -> Vec<f64> {
    let (sender, worker) = bare_queue(channel, count);
    let start = Instant::now();
    produce(producers, events, |event| sender.send(event).unwrap());
    drop(sender);
    let count = worker.join().unwrap();
    let took = start.elapsed();
    count.check(events);
    nanos_per(took, events)
}

/// Long enough for the worker to be asleep.
const IDLE: Duration = Duration::from_micros(500);

/// The median of the times, in microseconds.
fn median_micros(times: &Mutex<Vec<Duration>>, writes: usize) -> Vec<f64> {
    let mut times = times.lock().unwrap();
    assert_eq!(times.len(), writes, "not everything was delivered");
    times.sort_unstable();
    vec![times[times.len() / 2].as_nanos() as f64 / 1e3]
}

fn write_when_idle(writes: usize, write: impl Fn(Instant)) {
    for _ in 0..writes {
        thread::sleep(IDLE);
        write(Instant::now());
    }
}

fn idle_ours(writes: usize) -> Vec<f64> {
    let times = Arc::new(Mutex::new(Vec::with_capacity(writes)));
    let seen = Arc::clone(&times);
    let sink = sink::for_each(move |at: Instant| {
        let took = at.elapsed();
        seen.lock().unwrap().push(took);
    });
    let queue = queue(Buffer::unbounded(), sink);
    write_when_idle(writes, |at| queue.write(at).unwrap());
    queue.close().wait().unwrap();
    median_micros(&times, writes)
}

fn idle_bare(writes: usize) -> Vec<f64> {
    let times = Mutex::new(Vec::with_capacity(writes));
    let (sender, receiver) = crossbeam_channel::unbounded::<Instant>();
    thread::scope(|scope| {
        scope.spawn(|| {
            receiver.iter().for_each(|at| {
                let took = at.elapsed();
                times.lock().unwrap().push(took);
            });
        });
        write_when_idle(writes, |at| sender.send(at).unwrap());
        drop(sender);
    });
    median_micros(&times, writes)
}

/// How many events a bounded queue holds.
const CAPACITY: usize = 1024;

pub fn contests(quick: bool) -> Vec<Contest> {
    let scale = if quick { 10 } else { 1 };
    let events = 400_000 / scale;
    let unbounded = |producers, bar| {
        let plural = if producers == 1 { "" } else { "s" };
        Contest::new(
            format!("a queue with {producers} producer{plural}, against a crossbeam channel and a thread"),
            "ns an event",
            bar,
            Box::new(move || ours(Buffer::unbounded(), Count::default(), producers, events)) as Run,
            Peer::Run(Box::new(move || {
                bare(crossbeam_channel::unbounded(), Count::default(), producers, events)
            })),
        )
    };
    vec![
        unbounded(1, Some(1.15)),
        unbounded(2, Some(1.2)),
        unbounded(4, None),
        Contest::new(
            "a queue with 4 producers, against go-events",
            "ns an event",
            Some(0.4),
            Box::new(move || ours(Buffer::unbounded(), Count::default(), 4, events)),
            go::peer(vec!["queue".into(), "4".into(), events.to_string()]),
        ),
        Contest::new(
            "a saturated bounded queue, against crossbeam bounded and a thread",
            "ns an event",
            Some(1.3),
            Box::new(move || ours(Buffer::bounded(CAPACITY), Count::slow(), 1, events)),
            Peer::Run(Box::new(move || bare(crossbeam_channel::bounded(CAPACITY), Count::slow(), 1, events))),
        ),
        Contest::new(
            "from a write to an idle queue's sink, against a thread on a crossbeam channel",
            "µs",
            Some(2.0),
            Box::new(move || idle_ours(200 / scale as usize)),
            Peer::Run(Box::new(move || idle_bare(200 / scale as usize))),
        ),
    ]
}
