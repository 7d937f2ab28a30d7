//! The store of this crate. It is no part of its public face, so it is compiled in.

#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "compiled in from the crate, and not all of it is used"
)]
#[path = "../../../src/durable/disk_log/mod.rs"]
pub mod durable;

use std::path::Path;
use std::time::Duration;

use durable::{Next, Options, Store};

use crate::Sync as Policy;
use crate::candidates::Candidate;

impl Candidate for Store {
    fn open(path: &Path, sync: Policy) -> Self {
        let sync = match sync {
            Policy::Always => durable::Sync::Always,
            Policy::Every => durable::Sync::Every(Duration::from_millis(100)),
            Policy::Os => durable::Sync::Os,
        };
        Store::open(path, Options { sync, ..Options::default() }).expect("a store")
    }

    fn append(&self, run: &[Vec<u8>]) {
        self.write_all(run.iter().map(Vec::as_slice)).expect("room");
    }

    fn deliver(&self, group: usize) -> usize {
        let (mut reader, mut count) = (self.reader(), 0);
        let mut from = 0;
        while let Some(next) = reader.next().expect("a disk") {
            let Next::Event { number, .. } = next else { panic!("{next:?}") };
            std::hint::black_box(reader.payload());
            count += 1;
            if count % group == 0 {
                self.acknowledge(from..number + 1).expect("a disk");
                from = number + 1;
            }
        }
        count
    }
}
