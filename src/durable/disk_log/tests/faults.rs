//! A disk that refuses.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::error::StoreError;
use super::super::format::START;
use super::super::options::{Options, Sync};
use super::super::reader::{Next, Reader};
use super::super::store::sync_every;
use super::memory_disk::{Fault, MemoryDisk};
use super::{events, numbers, open, read_all, rounds};

fn options() -> Options {
    Options { segment_bytes: 8_000, ..Options::default() }
}

const EVENT: &[u8] = &[7; 300];

#[test]
fn a_write_that_fails_half_way_is_refused_until_the_store_is_read_again() {
    for seed in 0..rounds(200) {
        for fault in [Fault::Write(ErrorKind::Other), Fault::WriteAndCut] {
            let disk = MemoryDisk::new(seed);
            let journal = open(&disk, &options()).unwrap();
            journal.write([EVENT, EVENT]).unwrap();
            disk.set(|world| world.fails = Some(fault));
            for _ in 0..2 {
                assert!(matches!(journal.write([EVENT, EVENT]), Err(StoreError::Failed(_))));
            }
            assert!(matches!(journal.acknowledge(0..1), Err(StoreError::Failed(_))));
            assert!(matches!(journal.close(), Err(StoreError::Failed(_))));
            assert_eq!(numbers(&journal), [0, 1], "what was committed can still be read");

            disk.kill();
            let journal = open(&disk, &options()).unwrap();
            assert!(numbers(&journal).starts_with(&[0, 1]));
            assert_eq!(journal.recovered().damage, []);
            let next = journal.write([EVENT]).unwrap();
            assert_eq!(numbers(&journal).last(), Some(&next));
        }
    }
}

#[test]
fn a_sync_that_failed_is_not_tried_again() {
    for seed in 0..rounds(200) {
        let disk = MemoryDisk::new(seed);
        let journal = open(&disk, &options()).unwrap();
        journal.write([EVENT]).unwrap();
        disk.set(|world| world.fails = Some(Fault::Sync));
        assert!(matches!(journal.write([EVENT]), Err(StoreError::Failed(_))));
        assert!(matches!(journal.write([EVENT]), Err(StoreError::Failed(_))));

        // The pages are clean, and not on disk: what a second store finds, it has to write again.
        disk.kill();
        let found = numbers(&open(&disk, &options()).unwrap());
        assert_eq!(found, [0, 1]);
        disk.cut_power();
        let journal = open(&disk, &options()).unwrap();
        assert_eq!(numbers(&journal), found);
        assert_eq!(journal.recovered().damage, []);
    }
}

#[test]
fn a_full_disk_works_again_when_events_have_been_delivered() {
    for seed in 0..rounds(200) {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new(seed);
        let capacity = random.u64(30_000..60_000);
        disk.set(|world| world.capacity = capacity);
        let journal = open(&disk, &options()).unwrap();
        let mut written = Vec::new();
        let full = loop {
            let event = vec![1; random.usize(0..700)];
            match journal.write([event.as_slice()]) {
                Ok(number) => written.push(number),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::DiskFull(_)), "{full}");
        assert_eq!(numbers(&journal), written);
        // Nobody makes room but the store itself.
        let capacity = disk.bytes();
        disk.set(|world| world.capacity = capacity);
        for number in written.drain(..) {
            journal.acknowledge(number..number + 1).unwrap();
        }
        assert!(disk.bytes() < capacity, "an acknowledgement frees a full disk");
        let next = journal.write([EVENT]).expect("there is room");
        if random.bool() {
            journal.close().unwrap();
        }
        disk.cut_power();
        let journal = open(&disk, &options()).unwrap();
        assert_eq!(journal.recovered().damage, [], "seed {seed}");
        assert_eq!(numbers(&journal).last(), Some(&next));
        assert!(journal.stats().pending <= options().unsynced_acks);
    }
}

#[test]
fn zeros_ahead_take_no_room_from_events_and_end_with_the_segment() {
    let taken = 344; // Of an event, with its header.
    for (capacity, max_bytes) in [(30_000, u64::MAX), (u64::MAX, 30_000)] {
        let disk = MemoryDisk::new(0);
        let options = Options { max_bytes, ..options() };
        let journal = open(&disk, &options).unwrap();
        disk.set(|world| world.capacity = capacity);
        let mut was_ahead = false;
        while journal.write([EVENT]).is_ok() {
            assert!(disk.bytes() <= max_bytes);
            was_ahead |= disk.bytes() > journal.stats().bytes;
        }
        assert!(was_ahead);
        let (bytes, segments) = (journal.stats().bytes, journal.stats().segments as u64);
        assert!(bytes + taken + START > 30_000, "{bytes} in {segments}");
        journal.close().unwrap();
        assert_eq!(disk.bytes(), journal.stats().bytes);
    }
}

#[test]
fn max_bytes_is_an_error_until_there_is_room() {
    let disk = MemoryDisk::new(0);
    let options = Options { max_bytes: 30_000, ..options() };
    let journal = open(&disk, &options).unwrap();
    let written = (0..).take_while(|_| journal.write([EVENT]).is_ok()).count() as u64;
    assert!(matches!(journal.write([EVENT]), Err(StoreError::MaxBytes { max_bytes: 30_000 })));
    assert!(journal.stats().bytes <= 30_000);
    journal.acknowledge(0..written).unwrap();
    assert_eq!(journal.write([EVENT]).unwrap(), written);
    assert_eq!(numbers(&journal), [written]);
}

#[test]
fn a_backlog_that_was_large_once_does_not_stay() {
    let disk = MemoryDisk::new(0);
    let journal = open(&disk, &options()).unwrap();
    for number in 0..1_000 {
        assert_eq!(journal.write([EVENT]).unwrap(), number);
    }
    assert!(disk.bytes() > 300_000);
    journal.acknowledge(0..1_000).unwrap();
    assert!(disk.bytes() < 10_000, "{} bytes stay", disk.bytes());
    // Out of order, too, around one that stays.
    for number in 1_000..2_000 {
        assert_eq!(journal.write([EVENT]).unwrap(), number);
    }
    journal.acknowledge(1_001..2_000).unwrap();
    assert!(disk.bytes() < 50_000, "{} bytes stay", disk.bytes());
    disk.kill();
    let journal = open(&disk, &options()).unwrap();
    assert_eq!(numbers(&journal), [1_000]);
    assert_eq!(journal.recovered().damage, []);
}

#[test]
fn the_files_do_not_grow_with_all_that_was_ever_written() {
    let disk = MemoryDisk::new(0);
    let journal = open(&disk, &options()).unwrap();
    let stuck = journal.write([EVENT]).unwrap();
    for attempt in 1..=5_000 {
        assert_eq!(journal.attempt(stuck, false).unwrap(), attempt);
    }
    for _ in 0..5_000 {
        let number = journal.write([EVENT]).unwrap();
        journal.acknowledge(number..number + 1).unwrap();
    }
    assert!(disk.bytes() < 60_000, "{} bytes", disk.bytes());
    disk.kill();
    let journal = open(&disk, &options()).unwrap();
    let read = read_all(&journal);
    assert!(matches!(read[..], [Next::Event { number: 0, attempts: 5_000, .. }]), "{read:?}");
}

#[test]
fn an_attempt_on_trial_counts_if_the_process_ends_and_not_if_the_store_is_closed() {
    let disk = MemoryDisk::new(0);
    let tried = |journal: &_| match read_all(journal)[..] {
        [Next::Event { number: 0, attempts, .. }] => attempts,
        ref other => panic!("{other:?}"),
    };
    let journal = open(&disk, &options()).unwrap();
    journal.write([EVENT]).unwrap();
    assert_eq!(journal.attempt(0, true).unwrap(), 1);
    disk.kill();
    let journal = open(&disk, &options()).unwrap();
    assert_eq!(tried(&journal), 1);
    assert_eq!(journal.attempt(0, true).unwrap(), 2);
    journal.close().unwrap();
    disk.cut_power();
    let journal = open(&disk, &options()).unwrap();
    assert_eq!(tried(&journal), 1, "taken back");
    assert_eq!(journal.attempt(0, true).unwrap(), 2);
    assert_eq!(journal.attempt(0, false).unwrap(), 2, "noted once");
    journal.close().unwrap();
    disk.cut_power();
    let journal = open(&disk, &options()).unwrap();
    assert_eq!(tried(&journal), 2, "it stands");
    assert_eq!(journal.attempt(0, true).unwrap(), 3);
    journal.acknowledge(0..1).unwrap();
    journal.close().unwrap();
    disk.cut_power();
    assert_eq!(read_all(&open(&disk, &options()).unwrap()), []);
}

/// Many threads write, the disk fails at some moment, and each of them knows what is there.
#[test]
fn every_writer_of_a_group_learns_what_became_of_its_record() {
    for seed in 0..rounds(100) {
        let disk = MemoryDisk::new(seed);
        let journal = open(&disk, &options()).unwrap();
        let written = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8_u64)
                .map(|writer| {
                    let (journal, disk) = (&journal, &disk);
                    scope.spawn(move || {
                        let mut written = Vec::new();
                        for n in 0..30_u64 {
                            if writer == 0 && n == 15 {
                                let kind =
                                    if seed % 3 == 0 { ErrorKind::StorageFull } else { ErrorKind::Other };
                                let fault = if seed % 2 == 0 { Fault::Sync } else { Fault::Write(kind) };
                                disk.set(|world| world.fails = Some(fault));
                            }
                            let record = [writer.to_le_bytes(), n.to_le_bytes()].concat();
                            if let Ok(number) = journal.write([record.as_slice()]) {
                                written.push((number, record));
                            }
                        }
                        written
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        disk.kill();
        let journal = open(&disk, &options()).unwrap();
        assert_eq!(journal.recovered().damage, []);
        let there: BTreeMap<u64, Vec<u8>> =
            events(&mut Reader::new(Arc::clone(&journal))).into_iter().collect();
        for written in written {
            assert!(written.is_sorted(), "a writer's records have its order");
            for (number, record) in written {
                assert_eq!(there.get(&number), Some(&record), "seed {seed}");
            }
        }
    }
}

/// Writers come and go, so that groups of all sizes form and any of them leads. In half of the rounds one unwinds while it does.
#[test]
fn every_writer_is_answered_whichever_of_them_leads() {
    for seed in 0..rounds(1000) {
        let disk = MemoryDisk::new(seed);
        let journal = open(&disk, &options()).unwrap();
        let (writers, panics) = (2 + seed % 7, seed % 2 == 0);
        let write = |n: u64| match catch_unwind(AssertUnwindSafe(|| journal.write([&n.to_le_bytes()[..]]))) {
            Ok(written) => (u64::from(written.is_ok()), 0),
            Err(_) => (0, 1),
        };
        let of_writer = |writer: u64| {
            let mut random = fastrand::Rng::with_seed(seed * 8 + writer);
            let count = random.u64(6..20);
            let mut sum = (0, 0);
            for n in 0..count {
                if panics && writer == 0 && n == 5 {
                    disk.set(|world| world.fails = Some(Fault::Panic));
                }
                (0..random.u64(0..4)).for_each(|_| std::thread::yield_now());
                let (written, panicked) = write(n);
                sum = (sum.0 + written, sum.1 + panicked);
            }
            sum
        };
        let (written, panicked) = std::thread::scope(|scope| {
            let of_writer = &of_writer;
            let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || of_writer(writer))).collect();
            let sums = threads.into_iter().map(|thread| thread.join().unwrap());
            sums.fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1))
        });
        assert_eq!(panicked, u64::from(panics));
        assert_eq!(journal.pending_writers(), 0);
        assert_eq!(journal.write([EVENT]).is_err(), panics, "it refuses, since nobody knows what is on disk");
        assert!(panics || journal.stats().next == written + 1);
    }
}

#[test]
fn what_was_written_is_synced_within_the_interval() {
    let disk = MemoryDisk::new(0);
    let journal = open(&disk, &Options { sync: Sync::Every(Duration::from_millis(1)), ..options() }).unwrap();
    let syncing = sync_every(journal.clone(), Duration::from_millis(1)).unwrap();
    journal.write([EVENT]).unwrap();
    let start = Instant::now();
    while !disk.is_synced() {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing was synced");
        std::thread::yield_now();
    }
    drop(syncing);
    disk.cut_power();
    assert_eq!(numbers(&open(&disk, &options()).unwrap()), [0]);
}
