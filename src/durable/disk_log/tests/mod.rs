//! The store on a disk that loses what was not synced. `tests/memory_disk.rs` says what a power failure leaves.

mod crashes;
mod damage;
mod faults;
pub(in crate::durable) mod memory_disk;
mod real;

use std::path::Path;
use std::sync::Arc;

use self::memory_disk::MemoryDisk;
use super::error::OpenError;
use super::journal::Journal;
use super::options::Options;
use super::reader::{Next, Reader};
use super::store::Store;

fn open(disk: &MemoryDisk, options: &Options) -> Result<Arc<Journal>, OpenError> {
    Journal::open(Arc::new(disk.handle()), Path::new("memory"), options.clone()).map(Arc::new)
}

/// A store on it, without a lock.
pub(in crate::durable) fn open_store(disk: &MemoryDisk, options: &Options) -> Result<Store, OpenError> {
    open(disk, options).map(Store::of)
}

/// Everything that is there to read: events, and what is missing between them.
fn read_all(journal: &Arc<Journal>) -> Vec<Next> {
    let mut reader = Reader::new(Arc::clone(journal));
    std::iter::from_fn(|| reader.next().expect("the disk can be read")).collect()
}

/// The numbers and bytes of what a reader has yet to read.
fn events(reader: &mut Reader) -> Vec<(u64, Vec<u8>)> {
    let next = || match reader.next().unwrap()? {
        Next::Event { number, .. } => Some((number, reader.payload().to_vec())),
        Next::Damaged(events) => panic!("{events:?}"),
    };
    std::iter::from_fn(next).collect()
}

fn numbers(journal: &Arc<Journal>) -> Vec<u64> {
    let number = |next| match next {
        Next::Event { number, .. } => number,
        Next::Damaged(events) => panic!("damaged: {events:?}"),
    };
    read_all(journal).into_iter().map(number).collect()
}

pub(in crate::durable) fn rounds(n: u64) -> u64 {
    let factor = std::env::var("OUTFLOW_TEST_ROUNDS").ok().and_then(|factor| factor.parse().ok());
    ((n as f64 * factor.unwrap_or(1.0)) as u64).max(1)
}
