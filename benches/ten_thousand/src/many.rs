//! Ten thousand queues under one broadcaster, each run in a process of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use crossbeam_channel::{Receiver, Sender};
use outflow::{Broadcaster, Buffer, Closing, Flushing, Sink, WriteError, sink};

use crate::async_queue;
use crate::contest::{Contest, Peer, Row};
use crate::go;
use crate::queue::queue;

/// After that an event that has not come does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many sinks still wait for events.
pub struct Waiting {
    sinks: AtomicUsize,
    all_have_theirs: Sender<()>,
}

impl Waiting {
    pub fn new(sinks: usize) -> (Arc<Self>, Receiver<()>) {
        let (all_have_theirs, done) = crossbeam_channel::bounded(1);
        (Arc::new(Self { sinks: AtomicUsize::new(sinks), all_have_theirs }), done)
    }

    /// A sink has one event less to wait for. Only its queue's worker calls this.
    pub fn count_down(&self, events: &AtomicU64) {
        let left = events.load(Ordering::Relaxed) - 1;
        events.store(left, Ordering::Relaxed);
        if left == 0 && self.sinks.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = self.all_have_theirs.try_send(());
        }
    }
}

/// Counts its own events, and among all sinks itself once it has them all.
struct Awaits {
    events: AtomicU64,
    waiting: Arc<Waiting>,
}

impl Sink<u64> for Awaits {
    type Error = Infallible;

    fn write(&self, _: u64) -> Result<(), WriteError<u64, Infallible>> {
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

pub fn millis(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e6
}

/// The memory that this process holds, in megabytes; not a number where the system does not tell.
pub fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}

pub fn await_all(done: &Receiver<()>) {
    done.recv_timeout(PATIENCE).expect("not everything was delivered");
}

/// Set up, writes until all are delivered, close, in milliseconds; then what the queues hold, in megabytes.
fn measure(queues: usize, writes: u64) -> Vec<f64> {
    let (waiting, done) = Waiting::new(queues);
    let before = resident();

    let start = Instant::now();
    let broadcaster = Broadcaster::new();
    for _ in 0..queues {
        let sink = Awaits { events: AtomicU64::new(writes), waiting: Arc::clone(&waiting) };
        broadcaster.add(queue(Buffer::unbounded(), sink)).unwrap();
    }
    let set_up = millis(start);

    let start = Instant::now();
    (0..writes).for_each(|event| broadcaster.write(event).unwrap());
    await_all(&done);
    let delivered = millis(start);
    let memory = resident() - before;

    let start = Instant::now();
    broadcaster.close().wait().unwrap();
    vec![set_up, delivered, millis(start), memory]
}

/// After how many milliseconds the others have an event, while `stuck` sinks, spread evenly, block.
fn measure_stuck(queues: usize, stuck: usize) -> Vec<f64> {
    let (waiting, done) = Waiting::new(queues - stuck);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let broadcaster = Broadcaster::new();
    for index in 0..queues {
        let added = if index % (queues / stuck) == 0 {
            let released = released.clone();
            // A wait that the crate knows nothing of.
            broadcaster.add(queue(Buffer::unbounded(), sink::for_each(move |_| _ = released.recv())))
        } else {
            let sink = Awaits { events: AtomicU64::new(1), waiting: Arc::clone(&waiting) };
            broadcaster.add(queue(Buffer::unbounded(), sink))
        };
        added.unwrap();
    }
    let start = Instant::now();
    broadcaster.write(0).unwrap();
    let took = done.recv_timeout(PATIENCE).map_or(f64::INFINITY, |()| millis(start));
    drop(release);
    broadcaster.close().wait().unwrap();
    vec![took]
}

/// The figures, if this process was started to measure them.
pub fn of_a_child() -> Option<Vec<f64>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match arguments[..] {
        ["queues", queues, writes] => Some(measure(number(queues), number(writes) as u64)),
        ["async", queues, dead, writes] => {
            Some(async_queue::measure(number(queues), number(dead), number(writes) as u64))
        }
        ["stuck", queues, stuck] => Some(measure_stuck(number(queues), number(stuck))),
        _ => None,
    }
}

pub fn child(arguments: Vec<String>) -> Vec<f64> {
    go::figures(&env::current_exe().expect("a program has a path"), &arguments)
}

pub fn contests(quick: bool) -> Vec<Contest> {
    let (queues, name, stuck) = if quick { (1_000, "1,000", 50) } else { (10_000, "10,000", 500) };
    let arguments = vec!["queues".to_string(), queues.to_string(), "20".to_string()];
    let row = |what: &str, unit, bar| Row {
        name: format!("{name} queues, {what}, against go-events"),
        unit,
        bar: Some(bar),
    };
    vec![
        Contest {
            rows: vec![
                row("set up, one `add` each", "ms", 0.25),
                row("20 writes until delivered", "ms", 0.4),
                row("close", "ms", 1.0),
                row("memory", "MB", 0.4),
            ],
            ours: Box::new({
                let arguments = arguments.clone();
                move || child(arguments.clone())
            }),
            peer: go::peer(arguments),
            time: Duration::from_secs(40),
        },
        Contest {
            rows: vec![Row {
                name: format!("{stuck} of {name} sinks stuck: the others have an event, after"),
                unit: "ms",
                bar: Some(250.0),
            }],
            ours: Box::new(move || child(vec!["stuck".into(), queues.to_string(), stuck.to_string()])),
            peer: Peer::None,
            time: Duration::from_secs(8),
        },
    ]
}
