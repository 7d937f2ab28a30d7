//! What is done by hand, on files of its own: the least that each promise costs.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use crate::{SIZE, micros};

/// Appends `events` events, `run` in one `write`, each followed by an `fdatasync` if `sync`. Microseconds an event.
pub fn append(path: &Path, events: usize, run: usize, sync: bool) -> f64 {
    let mut file = File::create_new(path).expect("a file");
    let bytes = vec![7; run * SIZE];
    let start = Instant::now();
    for _ in 0..events / run {
        file.write_all(&bytes).expect("room");
        if sync {
            file.sync_data().expect("a disk");
        }
    }
    micros(start.elapsed(), events)
}

/// Reads `events` events in pieces of 256 KiB. Microseconds an event.
pub fn read(path: &Path, events: usize) -> f64 {
    std::fs::write(path, vec![7; events * SIZE]).expect("room");
    let (mut file, mut piece) = (File::open(path).expect("the file"), vec![0; 1 << 18]);
    let start = Instant::now();
    while file.read(black_box(&mut piece)).expect("a disk") > 0 {}
    micros(start.elapsed(), events)
}
