//! What writers share: a write, a sync, and its failure.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::thread;

use super::super::disk_log::tests::memory_disk::{Fault, MemoryDisk};
use super::super::disk_log::tests::{open_store, rounds};
use super::super::{CommitError, Durable, DurableOptions};
use crate::contract::{Sink, WriteError, write_all};
use crate::leaf::from_async_fn;

fn open(disk: &MemoryDisk) -> Durable<u64> {
    let stuck = from_async_fn(|_: u64| std::future::pending::<Result<(), Infallible>>());
    // It never runs, so that the writes alone are counted.
    let options = DurableOptions::new("memory").on(std::mem::forget);
    Durable::open_async_on(options, |_, options| open_store(disk, &options), stuck).unwrap()
}

#[test]
fn write_all_commits_a_run_with_one_write_and_one_sync() {
    let disk = MemoryDisk::new(0);
    let queue = open(&disk);
    let cost = || disk.get(|world| (world.writes, world.syncs));
    let before = cost();
    let write_all = |events| {
        let (write, write_run) = (|event| queue.write(event), |run: &mut _| queue.write_run(run));
        write_all(events, queue.longest_run(), write, write_run).unwrap();
    };
    write_all(0..1000);
    assert_eq!(cost(), (before.0 + 1, before.1 + 1));
    assert_eq!(queue.stats().pending, 1000);
    write_all(0..3000);
    assert_eq!(cost(), (before.0 + 4, before.1 + 4), "runs of 1,024");
    queue.write(0).unwrap();
    assert_eq!(cost(), (before.0 + 5, before.1 + 5));
}

/// One thread commits, and waits for the disk; meanwhile others come together, and share the next sync: or its failure.
#[test]
fn writers_of_a_group_share_one_sync_and_each_gets_its_event_back_if_that_fails() {
    for round in 0..rounds(20) {
        let disk = MemoryDisk::new(round);
        let queue = open(&disk);
        let fails = round % 2 == 0;
        disk.set(|world| {
            world.fails = fails.then_some(Fault::SecondSync);
            world.holds_syncs.store(true, Ordering::Relaxed);
            (world.writes, world.syncs) = (0, 0);
        });
        let written: Vec<_> = thread::scope(|scope| {
            let writer = |event| {
                let queue = &queue;
                move || queue.write(event)
            };
            let first = scope.spawn(writer(0));
            while disk.get(|world| world.writes) == 0 {
                thread::yield_now();
            }
            let group: Vec<_> = (1..8).map(|event| scope.spawn(writer(event))).collect();
            while queue.handle.0.store.pending_writers() < 7 {
                thread::yield_now();
            }
            disk.set(|world| world.holds_syncs.store(false, Ordering::Relaxed));
            first.join().unwrap().unwrap();
            group.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(disk.get(|world| (world.writes, world.syncs)), (2, 2));
        for (event, written) in (1..).zip(written) {
            match written {
                Ok(()) => assert!(!fails),
                Err(WriteError::Failed { event: back, error: CommitError::Failed(_) }) => {
                    assert_eq!((back, fails), (event, true));
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        // It refuses, and what was answered `Ok` is there after the power failed.
        assert_eq!(queue.write(8).is_err(), fails);
        disk.cut_power();
        let pending = open(&disk).stats().pending;
        assert!(if fails { (1..=8).contains(&pending) } else { pending == 9 }, "{pending}");
    }
}
