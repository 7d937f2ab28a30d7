//! Ten thousand subscribers without a thread.
//!
//! The fixed figures are what go-events takes for the same with ten thousand queues on such a machine.

use std::hint::black_box;
use std::time::Instant;

use outflow::{Log, Sink};

use crate::fan_out::{Event, events};
use crate::{Case, Peer, nanos_per};

const CURSORS: usize = 10_000;
const WRITES: u64 = 20;
const MS: f64 = 1e6;

/// A write with so many cursors that read nothing.
fn write(cursors: usize) -> f64 {
    const EVENTS: u64 = 200_000;
    let log = Log::new();
    let cursors: Vec<_> = (0..cursors).map(|_| log.subscribe()).collect();
    let events = events(EVENTS);
    let start = Instant::now();
    for event in events {
        log.write(black_box(event)).unwrap();
    }
    let took = start.elapsed();
    drop(cursors);
    nanos_per(took, EVENTS)
}

struct Took {
    set_up: f64,
    read: f64,
    close: f64,
    bytes: f64,
}

fn ten_thousand() -> Took {
    let resident_before = resident();
    let start = Instant::now();
    let log: Log<Event> = Log::new();
    let mut cursors: Vec<_> = (0..CURSORS).map(|_| log.subscribe()).collect();
    let set_up = start.elapsed().as_nanos() as f64;

    let events = events(WRITES);
    let start = Instant::now();
    events.into_iter().for_each(|event| log.write(event).unwrap());
    let mut sum = 0;
    for cursor in &mut cursors {
        for _ in 0..WRITES {
            sum += cursor.recv_with(|event| **event).unwrap();
        }
    }
    let read = start.elapsed().as_nanos() as f64;
    assert_eq!(sum, CURSORS as u64 * WRITES * (WRITES - 1) / 2);
    let bytes = (resident() - resident_before).max(0.0);

    let start = Instant::now();
    log.close().wait().unwrap();
    drop(cursors);
    let close = start.elapsed().as_nanos() as f64;
    Took { set_up, read, close, bytes }
}

/// How much memory this process has, in bytes; 0 where the system does not tell.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

/// What ten thousand cursors take, in bytes: prints it, for the process that asked.
pub fn print_memory() {
    println!("{}", ten_thousand().bytes);
}

/// Measured in a process of its own, since an allocator does not give back what it has got.
fn memory() -> f64 {
    let this = std::env::current_exe().expect("a program has a path");
    let output = std::process::Command::new(this).arg("--print-memory").output().expect("it can be run");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
}

pub fn cases() -> Vec<Case> {
    let go_events = |name: &str, unit, figure: fn(Took) -> f64, fixed| Case {
        name: format!("10,000 cursors, {name}, against go-events"),
        unit,
        ours: Box::new(move || figure(ten_thousand())),
        peer: Peer::Fixed(fixed),
        bar: Some(0.1),
    };
    vec![
        Case {
            name: "write with 10,000 idle cursors, against with 1".into(),
            unit: "ns an event",
            ours: Box::new(|| write(CURSORS)),
            peer: Peer::Run(Box::new(|| write(1))),
            bar: Some(1.2),
        },
        go_events("set-up", "ns", |took| took.set_up, 51.0 * MS),
        go_events("20 writes read by all", "ns", |took| took.read, 88.0 * MS),
        go_events("close", "ns", |took| took.close, 16.0 * MS),
        Case {
            name: "10,000 cursors, memory, against go-events".into(),
            unit: "bytes",
            ours: Box::new(memory),
            peer: Peer::Fixed(52e6),
            bar: Some(0.1),
        },
    ]
}
