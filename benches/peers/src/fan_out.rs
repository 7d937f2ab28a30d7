//! One writer, and readers on threads that keep up as well as they can.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use outflow::{Closing, Flushing, Log, Sink, WriteError};

use crate::{Case, Peer, nanos_per};

pub type Event = Arc<u64>;

/// How many events a bounded peer holds.
const CAPACITY: usize = 1024;

pub fn events(n: u64) -> Vec<Event> {
    (0..n).map(Arc::new).collect()
}

/// Adds up what it is written, by reference.
#[derive(Default)]
struct Sum(AtomicU64, AtomicU64);

impl Sink<Event> for Shared<Sum> {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        let _ = self.write_ref(&event);
        Ok(())
    }

    #[inline]
    fn write_ref(&self, event: &Event) -> Result<(), WriteError<(), Infallible>> {
        // One thread writes it.
        self.0.0.store(self.0.0.load(Ordering::Relaxed) + **event, Ordering::Relaxed);
        self.0.1.store(self.0.1.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

/// An `Arc` of our own, to implement a sink for.
struct Shared<T>(Arc<T>);

fn check(sum: u64, read: u64, n: u64) {
    assert_eq!((sum, read), (n * (n - 1) / 2, n), "not everything was delivered");
}

fn log_followers(readers: usize, n: u64) -> Duration {
    let log = Log::new();
    let sums: Vec<Arc<Sum>> = (0..readers).map(|_| Arc::default()).collect();
    for sum in &sums {
        log.follow(Shared(Arc::clone(sum)));
    }
    let events = events(n);
    let start = Instant::now();
    for event in events {
        log.write(event).unwrap();
    }
    log.close().wait().unwrap();
    let took = start.elapsed();
    for sum in sums {
        check(sum.0.load(Ordering::Relaxed), sum.1.load(Ordering::Relaxed), n);
    }
    took
}

/// Starts a thread for each reader, then the clock, and writes; the rest is with `read`, which answers how
/// many events it read and their sum.
fn threads<R>(
    readers: Vec<R>,
    n: u64,
    write: impl FnOnce(),
    read: impl Fn(R) -> (u64, u64) + Sync,
) -> Duration
where
    R: Send,
{
    let ready = Barrier::new(readers.len() + 1);
    let mut took = Duration::ZERO;
    thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let (ready, read) = (&ready, &read);
                scope.spawn(move || {
                    ready.wait();
                    read(reader)
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        write();
        for thread in threads {
            let (sum, read) = thread.join().unwrap();
            check(sum, read, n);
        }
        took = start.elapsed();
    });
    took
}

fn add((sum, read): (u64, u64), event: &Event) -> (u64, u64) {
    (sum + **event, read + 1)
}

fn log_cursors(readers: usize, n: u64) -> Duration {
    let log = Log::new();
    let cursors: Vec<_> = (0..readers).map(|_| log.subscribe()).collect();
    let events = events(n);
    let write = || {
        events.into_iter().for_each(|event| log.write(event).unwrap());
        drop(log.close());
    };
    threads(cursors, n, write, |mut cursor| {
        let mut sum = (0, 0);
        while let Ok(next) = cursor.recv_with(|event| add(sum, event)) {
            sum = next;
        }
        sum
    })
}

fn crossbeam(n: u64) -> Duration {
    let (sender, receiver) = crossbeam_channel::unbounded::<Event>();
    let events = events(n);
    let write = || {
        events.into_iter().for_each(|event| sender.send(event).unwrap());
        drop(sender);
    };
    threads(vec![receiver], n, write, |receiver| receiver.iter().fold((0, 0), |sum, event| add(sum, &event)))
}

fn bus(readers: usize, n: u64) -> Duration {
    let mut bus = bus::Bus::new(CAPACITY);
    let receivers: Vec<_> = (0..readers).map(|_| bus.add_rx()).collect();
    let events = events(n);
    let write = || {
        events.into_iter().for_each(|event| bus.broadcast(event));
        drop(bus);
    };
    threads(receivers, n, write, |mut receiver| receiver.iter().fold((0, 0), |sum, event| add(sum, &event)))
}

/// It loses what a reader is too slow for, so it gets room for everything.
fn tokio(readers: usize, n: u64) -> Duration {
    let (sender, _) = tokio::sync::broadcast::channel(n as usize);
    let receivers: Vec<_> = (0..readers).map(|_| sender.subscribe()).collect();
    let events = events(n);
    let write = || {
        events.into_iter().for_each(|event| _ = sender.send(event).unwrap());
        drop(sender);
    };
    threads(receivers, n, write, |mut receiver| {
        let mut sum = (0, 0);
        while let Ok(event) = receiver.blocking_recv() {
            sum = add(sum, &event);
        }
        sum
    })
}

fn async_broadcast(readers: usize, n: u64) -> Duration {
    let (sender, first) = async_broadcast::broadcast(CAPACITY);
    let mut receivers = vec![first];
    (1..readers).for_each(|_| receivers.push(sender.new_receiver()));
    let events = events(n);
    let write = || {
        events.into_iter().for_each(|event| _ = sender.broadcast_blocking(event).unwrap());
        drop(sender);
    };
    threads(receivers, n, write, |mut receiver| {
        let mut sum = (0, 0);
        while let Ok(event) = receiver.recv_blocking() {
            sum = add(sum, &event);
        }
        sum
    })
}

pub fn cases(quick: bool) -> Vec<Case> {
    let scale = if quick { 10 } else { 1 };
    type Peers = fn(usize, u64) -> Duration;
    let peers: [(&str, Peers); 3] = [("bus", bus), ("tokio", tokio), ("async-broadcast", async_broadcast)];
    let case =
        |name: String, n: u64, ours: Box<dyn Fn() -> Duration>, peer: Box<dyn Fn() -> Duration>, bar| Case {
            name,
            unit: "ns an event",
            ours: Box::new(move || nanos_per(ours(), n)),
            peer: Peer::Run(Box::new(move || nanos_per(peer(), n))),
            bar,
        };

    let mut cases = Vec::new();
    let n = 200_000 / scale;
    cases.push(case(
        "1 follower against a bare crossbeam channel".into(),
        n,
        Box::new(move || log_followers(1, n)),
        Box::new(move || crossbeam(n)),
        Some(1.0),
    ));
    cases.push(case(
        "1 cursor against a bare crossbeam channel".into(),
        n,
        Box::new(move || log_cursors(1, n)),
        Box::new(move || crossbeam(n)),
        Some(1.0),
    ));
    for (readers, n, bars) in [(2, 100_000 / scale, [0.6, 0.6, 0.6]), (10, 50_000 / scale, [0.3, 0.2, 0.2])] {
        for ((name, peer), bar) in peers.into_iter().zip(bars) {
            cases.push(case(
                format!("{readers} followers against {name}"),
                n,
                Box::new(move || log_followers(readers, n)),
                Box::new(move || peer(readers, n)),
                Some(bar),
            ));
        }
        cases.push(case(
            format!("{readers} cursors against bus"),
            n,
            Box::new(move || log_cursors(readers, n)),
            Box::new(move || bus(readers, n)),
            None,
        ));
    }
    let n = 20_000 / scale;
    cases.push(Case {
        name: "100 followers".into(),
        unit: "ns a delivery",
        ours: Box::new(move || nanos_per(log_followers(100, n), 100 * n)),
        peer: Peer::None,
        bar: Some(6.0),
    });
    cases
}
