//! Bits that flip, files that are cut or missing, and repairs that are interrupted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::disk::Site;
use super::super::format::{Item, Kind, RECORD, START, Scan};
use super::super::journal::Journal;
use super::super::options::Options;
use super::super::reader::{Next, Reader};
use super::super::recover::look;
use super::memory_disk::MemoryDisk;
use super::{numbers, open, read_all, rounds};

fn options() -> Options {
    Options { segment_bytes: 8_000, ..Options::default() }
}

/// The event with this number: no two have the same bytes.
fn event(number: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// A store with events in some segments, closed.
fn filled(disk: &MemoryDisk, random: &mut fastrand::Rng, count: u64) {
    let journal = open(disk, &options()).unwrap();
    for number in 0..count {
        let event = event(number, random.usize(0..600));
        assert_eq!(journal.write([event.as_slice()]).unwrap(), number);
        if random.u8(..) < 30 {
            journal.attempt(number, false).unwrap();
        }
    }
    journal.close().unwrap();
}

/// A record of a file: where it is, how many bytes count, and the number of the event if it is one.
struct Place {
    file: String,
    at: u64,
    len: u64,
    event: Option<u64>,
}

fn places(disk: &MemoryDisk) -> Vec<Place> {
    let found = look(&disk.handle(), "memory".as_ref(), None).unwrap();
    let mut places = Vec::new();
    for segment in &found.segments {
        let mut scan = Scan::new(Arc::clone(&segment.file), segment.place, segment.end);
        while let Some((at, item)) = scan.next().unwrap() {
            let Item::Record(record) = item else { panic!("{item:?}") };
            places.push(Place {
                file: segment.name.clone(),
                at,
                len: (RECORD + record.len) as u64,
                event: (record.kind == Kind::Event).then_some(record.number),
            });
        }
    }
    places
}

fn flip(disk: &MemoryDisk, file: &str, byte: u64, bit: u8) {
    let mut content = disk.content(file);
    content[byte as usize] ^= 1 << bit;
    disk.replace(file, content);
}

/// What was reported as lost, and what is missing: events that were written and do not come.
fn lost(journal: &Arc<Journal>, count: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let reported = journal.recovered().damage.iter().flat_map(|damage| damage.events.clone()).collect();
    let there: BTreeSet<u64> = numbers(journal).into_iter().collect();
    (reported, (0..count).filter(|number| !there.contains(number)).collect())
}

#[test]
fn the_last_record_before_zeros_is_damaged_and_no_cut() {
    for seed in 0..rounds(500) {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new(seed);
        let journal = open(&disk, &Options::default()).unwrap();
        let count = random.u64(1..12);
        (0..count).for_each(|n| _ = journal.write([&*event(n, random.usize(1..600))]).unwrap());
        disk.kill();
        let last = places(&disk).pop().unwrap();
        assert!(disk.content(&last.file).ends_with(&[0; 100]));
        flip(&disk, &last.file, random.u64(last.at..last.at + last.len), random.u8(0..8));
        let journal = open(&disk, &Options::default()).unwrap();
        let gone = BTreeSet::from([count - 1]);
        assert_eq!(lost(&journal, count), (gone.clone(), gone), "seed {seed}");
    }
}

#[test]
fn flipped_bits_cost_the_records_that_have_them() {
    for seed in 0..rounds(2_000) {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new(seed);
        let count = random.u64(1..80);
        filled(&disk, &mut random, count);
        let places = places(&disk);
        let mut damaged = BTreeSet::new();
        let mut hit = BTreeSet::new();
        for _ in 0..random.u32(1..6) {
            let index = random.usize(0..places.len());
            // A bit that flips twice is as it was.
            if hit.insert(index) {
                let place = &places[index];
                flip(&disk, &place.file, place.at + random.u64(0..place.len), random.u8(0..8));
                damaged.extend(place.event);
            }
        }
        let journal = open(&disk, &options()).unwrap();
        let (mut reported, missing) = lost(&journal, count);
        assert_eq!(missing, damaged, "seed {seed}");
        // A state record at the very end may have been an event, for all that can be known.
        reported.remove(&count);
        // At the very end, where nothing follows, the bytes say that an event is damaged, and not how many are.
        let torn = journal.recovered().damage.iter().filter(|damage| !damage.committed);
        let torn = torn.map(|damage| damage.events.end).max().unwrap_or(u64::MAX);
        assert!(reported.is_subset(&damaged), "seed {seed}: {:?}", journal.recovered());
        assert!(
            damaged.difference(&reported).all(|number| *number >= torn),
            "seed {seed}: {:?}",
            journal.recovered()
        );
        let bytes: u64 = journal.recovered().damage.iter().map(|damage| damage.bytes).sum();
        let aside = disk.names().into_iter().filter(|name| name.starts_with("damaged-"));
        assert_eq!(aside.map(|name| disk.content(&name).len() as u64).sum::<u64>(), bytes, "seed {seed}");

        let next = journal.write([b"more".as_slice()]).unwrap();
        assert!(next >= damaged.difference(&reported).next().copied().unwrap_or(count));
        journal.close().unwrap();
        disk.cut_power();
        let journal = open(&disk, &options()).unwrap();
        assert_eq!(journal.recovered().damage, [], "seed {seed}: damage is reported once");
        let there = numbers(&journal);
        let intact = (0..count).filter(|number| !damaged.contains(number)).chain([next]);
        assert_eq!(there, intact.collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_file_that_is_cut_in_its_last_records_is_no_damage() {
    let original = MemoryDisk::new(0);
    filled(&original, &mut fastrand::Rng::with_seed(1), 10);
    let places = places(&original);
    let file = places.last().unwrap().file.clone();
    let content = original.content(&file);
    let records: Vec<_> = places.iter().filter(|place| place.file == file).collect();
    let from = records[records.len().saturating_sub(4)].at as usize;
    for cut in from..content.len() {
        for zeros in [0, 100] {
            let disk = MemoryDisk::new(0);
            filled(&disk, &mut fastrand::Rng::with_seed(1), 10);
            // Its salt is another one.
            let whole = disk.content(&file);
            let mut content = whole.clone();
            content.truncate(cut);
            content.resize(cut + zeros, 0);
            disk.replace(&file, content.clone());
            let journal = open(&disk, &options()).unwrap();
            let damage = &journal.recovered().damage;
            // With zeros behind it, a cut may look like a record that is damaged, but not like one that was committed.
            assert!(damage.iter().all(|damage| !damage.committed && zeros > 0), "cut at {cut}: {damage:?}");
            let whole = places.iter().filter(|place| {
                let bytes = place.at as usize..(place.at + place.len).next_multiple_of(8) as usize;
                place.file < file || content.get(bytes.clone()) == Some(&whole[bytes])
            });
            let expected: Vec<_> = whole.filter_map(|place| place.event).collect();
            assert_eq!(numbers(&journal), expected, "cut at {cut}");
            let next = journal.write([b"more".as_slice()]).unwrap();
            assert_eq!(numbers(&journal).last(), Some(&next));
        }
    }
}

#[test]
fn a_damaged_header_costs_no_event() {
    for both in [false, true] {
        for segment in 0..3 {
            let disk = MemoryDisk::new(0);
            filled(&disk, &mut fastrand::Rng::with_seed(2), 80);
            let name = format!("{segment:016x}.events");
            flip(&disk, &name, 20, 3);
            if both {
                flip(&disk, &name, 2048 + 20, 3);
            }
            let journal = open(&disk, &options()).unwrap();
            assert_eq!(numbers(&journal), (0..80).collect::<Vec<_>>());
            assert_eq!(journal.recovered().damage.len(), 1);
            assert!(journal.recovered().damage[0].events.is_empty());
            disk.kill();
            assert_eq!(open(&disk, &options()).unwrap().recovered().damage, []);
        }
    }
}

#[test]
fn a_file_that_is_missing_is_reported_by_number() {
    let disk = MemoryDisk::new(0);
    filled(&disk, &mut fastrand::Rng::with_seed(2), 80);
    let places = places(&disk);
    let name = "0000000000000001.events";
    let gone: Vec<_> =
        places.iter().filter(|place| place.file == name).filter_map(|place| place.event).collect();
    disk.lose(name);
    let journal = open(&disk, &options()).unwrap();
    let reported: Vec<_> =
        journal.recovered().damage.iter().flat_map(|damage| damage.events.clone()).collect();
    assert_eq!(reported, gone);
    assert_eq!(journal.stats().pending, 80 - gone.len() as u64);
    disk.kill();
    assert_eq!(open(&disk, &options()).unwrap().recovered().damage, []);
}

#[test]
fn an_event_that_looks_like_records_is_none_when_its_length_is_damaged() {
    let disk = MemoryDisk::new(0);
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let journal = open(&disk, &options).unwrap();
    for number in 0..5 {
        journal.write([event(number, 100).as_slice()]).unwrap();
    }
    // The file itself as an event, such that its records are at multiples of 8 again.
    let file = "0000000000000000.events";
    journal.write([disk.content(file).as_slice()]).unwrap();
    journal.write([b"last".as_slice()]).unwrap();
    journal.close().unwrap();
    let place = places(&disk).into_iter().find(|place| place.event == Some(5)).unwrap();
    flip(&disk, file, place.at + 5, 0);
    disk.kill();
    let journal = open(&disk, &options).unwrap();
    assert_eq!(numbers(&journal), [0, 1, 2, 3, 4, 6]);
    assert_eq!(journal.recovered().damage[0].events, 5..6);
}

#[test]
fn damage_while_it_is_open_is_read_past_and_kept_aside() {
    let disk = MemoryDisk::new(0);
    filled(&disk, &mut fastrand::Rng::with_seed(3), 20);
    let places = places(&disk);
    let journal = open(&disk, &options()).unwrap();
    for number in [3, 19] {
        let place = places.iter().find(|place| place.event == Some(number)).unwrap();
        // Once in a header, once in what is last.
        flip(&disk, &place.file, place.at + 9, 0);
    }
    let read = read_all(&journal);
    let position = read.iter().position(|next| *next == Next::Damaged(3..4)).unwrap();
    assert_eq!(position, 3);
    assert_eq!(read.last(), Some(&Next::Damaged(19..20)));
    assert_eq!(read.len(), 20);
    assert_eq!(disk.names().iter().filter(|name| name.starts_with("damaged-")).count(), 2);
    journal.acknowledge(0..20).unwrap();
    assert_eq!(journal.stats().pending, 0);
    assert_eq!(read_all(&journal), []);
}

#[test]
fn a_reader_that_is_behind_what_was_given_back_finds_nothing_there() {
    let disk = MemoryDisk::new(0);
    filled(&disk, &mut fastrand::Rng::with_seed(3), 60);
    let journal = open(&disk, &options()).unwrap();
    let mut reader = Reader::new(Arc::clone(&journal));
    assert!(reader.next().unwrap().is_some());
    journal.acknowledge(0..60).unwrap();
    let next = journal.write([b"more".as_slice()]).unwrap();
    let Some(Next::Event { number, .. }) = reader.next().unwrap() else { panic!("no event") };
    assert_eq!(number, next);
    assert!(disk.names().iter().all(|name| !name.starts_with("damaged-")));
}

/// Crashes at the n-th change of a repair. Afterwards the damaged bytes are somewhere.
fn interrupted_repair(seed: u64, skip: Option<Site>) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = MemoryDisk::new(seed);
    filled(&disk, &mut random, 30);
    let places = places(&disk);
    let place = &places[random.usize(1..places.len())];
    if place.at == START || place.event.is_none() {
        return Ok(());
    }
    // In its header, so that its bytes are overwritten.
    flip(&disk, &place.file, place.at + random.u64(0..RECORD as u64), random.u8(0..8));
    let damaged = disk.content(&place.file)[place.at as usize..][..place.len as usize].to_vec();
    disk.set(|world| world.skip = skip);
    for _ in 0..3 {
        let after = random.u64(0..14);
        disk.set(|world| world.dies_after = Some(after));
        let _ = open(&disk, &options());
        if random.u8(..) < 64 { disk.kill() } else { disk.cut_power() }
    }
    let journal = open(&disk, &options()).map_err(|error| error.to_string())?;
    let there = numbers(&journal);
    if there.len() == 30 {
        // What is written over the damage begins with what was there before: half of that heals the record.
        return Ok(());
    }
    if there != (0..30).filter(|number| Some(*number) != place.event).collect::<Vec<_>>() {
        return Err(format!("{there:?} are there, and {:?} was damaged", place.event));
    }
    disk.cut_power();
    let mut aside = disk.names().into_iter().filter(|name| name.starts_with("damaged-"));
    let kept = aside.any(|name| disk.content(&name).starts_with(&damaged));
    if kept { Ok(()) } else { Err("the damaged bytes are gone".to_owned()) }
}

#[test]
fn a_repair_may_be_interrupted() {
    for seed in 0..rounds(2_000) {
        assert_eq!(interrupted_repair(seed, None), Ok(()), "seed {seed}");
    }
    for site in [Site::Aside, Site::AsideEntry] {
        let found = (0..20_000).find_map(|seed| interrupted_repair(seed, Some(site)).err());
        println!("without {site:?}: {found:?}");
        assert!(found.is_some(), "no repair fails without the sync {site:?}");
    }
}
