//! How long it takes from a write to a reader that sleeps.

use std::thread;
use std::time::{Duration, Instant};

use outflow::{Log, Sink};

use crate::{Case, Peer};

/// Long enough for the reader to be asleep.
const IDLE: Duration = Duration::from_micros(500);

/// The median of so many, in nanoseconds.
fn latencies(n: usize, mut write: impl FnMut(Instant), read: impl FnOnce() -> Vec<u64> + Send) -> f64 {
    let mut all = thread::scope(|scope| {
        let reader = scope.spawn(read);
        for _ in 0..n {
            thread::sleep(IDLE);
            write(Instant::now());
        }
        reader.join().unwrap()
    });
    all.sort_unstable();
    all[all.len() / 2] as f64
}

fn since(event: &Instant) -> u64 {
    event.elapsed().as_nanos() as u64
}

fn log(n: usize, idle: usize) -> f64 {
    let log = Log::new();
    let mut cursor = log.subscribe();
    // Asleep as well, and woken by the same write.
    let others: Vec<_> = (0..idle)
        .map(|_| {
            let mut cursor = log.subscribe();
            thread::spawn(move || while cursor.recv_with(|_| ()).is_ok() {})
        })
        .collect();
    let took = latencies(
        n,
        |event| log.write(event).unwrap(),
        move || (0..n).map(|_| cursor.recv_with(since).unwrap()).collect(),
    );
    drop(log.close());
    others.into_iter().for_each(|other| other.join().unwrap());
    took
}

fn crossbeam(n: usize) -> f64 {
    let (sender, receiver) = crossbeam_channel::unbounded();
    latencies(
        n,
        |event| sender.send(event).unwrap(),
        move || (0..n).map(|_| since(&receiver.recv().unwrap())).collect(),
    )
}

pub fn cases(quick: bool) -> Vec<Case> {
    let n = if quick { 20 } else { 200 };
    let case = |name: &str, idle| Case {
        name: name.into(),
        unit: "ns",
        ours: Box::new(move || log(n, idle)),
        peer: Peer::Run(Box::new(move || crossbeam(n))),
        bar: Some(2.0),
    };
    let mut cases = vec![case("latency of an idle reader, against crossbeam", 0)];
    cases.push(Case { bar: None, ..case("latency of one of 10 idle readers, against crossbeam", 9) });
    cases
}
