//! The queue that a user has, `sink.durable_with(..)`: with its worker, its encoding, and a sink.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use outflow::durable::{self, Durable, DurableOptions};
use outflow::{Sink, SinkExt, sink};

use crate::{SIZE, Sync as Policy, micros};

/// What the sink does while events are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Downstream {
    /// Takes each at once, so that events are read, delivered and acknowledged meanwhile.
    Ready,
    /// Is stuck on the first, as an endpoint that is down.
    Stuck,
}

/// Lets a sink through when it is opened.
#[derive(Default)]
pub struct Gate {
    is_open: AtomicBool,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        let locked = self.lock.lock().expect("no panic");
        self.is_open.store(true, Ordering::Release);
        drop(locked);
        self.opened.notify_all();
    }

    fn pass(&self) {
        if !self.is_open.load(Ordering::Acquire) {
            let locked = self.lock.lock().expect("no panic");
            let is_shut = |_: &mut ()| !self.is_open.load(Ordering::Acquire);
            drop(self.opened.wait_while(locked, is_shut).expect("no panic"));
        }
    }
}

pub fn open(path: &Path, sync: Policy, gate: &Arc<Gate>) -> Durable<String> {
    let sync = match sync {
        Policy::Always => durable::Sync::Always,
        Policy::Every => durable::Sync::Every(Duration::from_millis(100)),
        Policy::Os => durable::Sync::Os,
    };
    let gate = Arc::clone(gate);
    let sink = sink::for_each(move |event: String| {
        gate.pass();
        drop(black_box(event));
    });
    sink.durable_with(DurableOptions::new(path).sync(sync)).expect("a store")
}

pub fn events(count: usize) -> Vec<String> {
    (0..count).map(|_| "x".repeat(SIZE)).collect()
}

/// The microseconds an event until `writers` threads have written `count` events, each `run` at once.
pub fn writing(
    writers: usize,
    run: usize,
    count: usize,
    sync: Policy,
    downstream: Downstream,
) -> impl Fn(&Path) -> f64 {
    move |path| {
        let gate = Arc::new(Gate::default());
        if downstream == Downstream::Ready {
            gate.open();
        }
        let queue = open(path, sync, &gate);
        let each: Vec<Vec<String>> = (0..writers).map(|_| events(count / writers)).collect();
        let start = Instant::now();
        thread::scope(|scope| {
            for own in each {
                scope.spawn(|| write(&queue, own, run));
            }
        });
        let took = micros(start.elapsed(), count);
        gate.open();
        queue.close().wait().expect("everything is delivered");
        took
    }
}

fn write(queue: &Durable<String>, events: Vec<String>, run: usize) {
    let mut events = events.into_iter();
    while events.len() > 0 {
        let written = match run {
            1 => events.next().map_or(Ok(()), |event| queue.write(event).map_err(|_| ())),
            run => queue.write_all(events.by_ref().take(run)).map_err(|_| ()),
        };
        written.expect("room");
    }
}

/// The microseconds an event from when the sink takes events until a backlog is delivered and acknowledged.
pub fn delivering(count: usize) -> impl Fn(&Path) -> f64 {
    move |path| {
        let gate = Arc::new(Gate::default());
        let queue = open(path, Policy::Os, &gate);
        queue.write_all(events(count)).map_err(|_| ()).expect("room");
        drop(queue);
        gate.open();

        let gate = Arc::new(Gate::default());
        let queue = open(path, Policy::Os, &gate);
        assert_eq!(queue.recovered().pending, count as u64);
        let start = Instant::now();
        gate.open();
        queue.flush().wait().expect("everything is delivered");
        while queue.left_on_disk() > 0 {
            thread::sleep(Duration::from_micros(100));
        }
        micros(start.elapsed(), count)
    }
}
