//! A million events: how long they take, and how much memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use outflow::{Sink, SinkExt};

use crate::queue::{Gate, events, open};
use crate::{Sync, micros};

const RUN: usize = 1000;

/// What one round has shown.
pub struct Found {
    pub micros: f64,
    /// How much memory the process had at most, in MiB. `None` where the system does not say.
    pub memory: Option<f64>,
}

/// Writes `count` events in runs of 1,000 to a sink that takes them at once, until all are delivered and acknowledged.
pub fn in_and_out(path: &Path, count: usize, sync: Sync) -> Found {
    let gate = Arc::new(Gate::default());
    gate.open();
    measure(count, || {
        let queue = open(path, sync, &gate);
        for _ in 0..count / RUN {
            queue.write_all(events(RUN)).map_err(|_| ()).expect("room");
        }
        queue.close().wait().expect("everything is delivered");
        assert_eq!(queue.left_on_disk(), 0);
    })
}

/// Opens a store in which `count` events wait, then delivers them.
pub fn opened_and_delivered(path: &Path, count: usize) -> [Found; 2] {
    let stuck = Arc::new(Gate::default());
    let queue = open(path, Sync::Os, &stuck);
    for _ in 0..count / RUN {
        queue.write_all(events(RUN)).map_err(|_| ()).expect("room");
    }
    drop(queue);
    stuck.open();

    let (gate, mut queue) = (Arc::new(Gate::default()), None);
    let opened = measure(count, || queue = Some(open(path, Sync::Os, &gate)));
    let queue = queue.expect("it was opened");
    assert_eq!(queue.recovered().pending, count as u64);
    let delivered = measure(count, || {
        gate.open();
        queue.close().wait().expect("everything is delivered");
    });
    assert_eq!(queue.left_on_disk(), 0);
    [opened, delivered]
}

fn measure(count: usize, run: impl FnOnce()) -> Found {
    // The most that it had is what it has now, from here on.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    run();
    Found { micros: micros(start.elapsed(), count), memory: most_resident() }
}

/// In MiB.
fn most_resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}
