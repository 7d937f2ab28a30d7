//! Random programs of write, acknowledge, crash and reopen, against a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::disk::Site;
use super::super::error::StoreError;
use super::super::journal::Journal;
use super::super::options::{Options, Sync};
use super::super::reader::{Next, Reader};
use super::memory_disk::MemoryDisk;
use super::{open, rounds};

/// Programs that once found something.
const SEEDS: [u64; 7] = [248, 1761, 67, 1074, 80, 1841, 2717];

/// What has to be there, and what may be.
#[derive(Default)]
struct Model {
    /// Written and not acknowledged.
    live: BTreeMap<u64, Vec<u8>>,
    /// Those of them that survive a power failure.
    durable: BTreeSet<u64>,
    /// Acknowledged.
    acked: BTreeSet<u64>,
    /// Acknowledged, and that is on disk.
    gone: BTreeSet<u64>,
    /// How many of those that are acknowledged may come twice.
    twice: u64,
    /// The disk may have been full: then acknowledgements and attempts were not written.
    full: bool,
    /// Everything that was ever written under a number.
    written: BTreeMap<u64, Vec<Vec<u8>>>,
    attempts: BTreeMap<u64, u32>,
    /// The attempt of this one is taken back by a close.
    trial: Option<u64>,
    /// How many events were written.
    count: u64,
}

impl Model {
    fn take_back(&mut self, number: u64) {
        if let Some(attempts) = self.attempts.get_mut(&number) {
            *attempts -= 1;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Crash {
    Kill,
    Power,
    /// After a close: nothing is lost and nothing comes twice.
    Closed,
}

struct Program {
    random: fastrand::Rng,
    disk: MemoryDisk,
    options: Options,
    model: Model,
}

impl Program {
    fn new(seed: u64, skip: Option<Site>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new(random.u64(..));
        disk.set(|world| world.skip = skip);
        let sync = random.choice([Sync::Always, Sync::Always, Sync::Every(Duration::MAX), Sync::Os]);
        let options = Options {
            sync: sync.unwrap_or_default(),
            segment_bytes: random.u64(4_500..12_000),
            unsynced_acks: random.u64(1..6),
            ..Options::default()
        };
        Self { random, disk, options, model: Model::default() }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut journal = self.reopen()?;
        for _ in 0..self.random.u32(1..6) {
            self.live(&journal)?;
            self.crash(&journal)?;
            journal = self.reopen()?;
            let survived = self.check_and_adopt(&journal)?;
            self.model.durable = survived;
        }
        Ok(())
    }

    fn crash(&mut self, journal: &Arc<Journal>) -> Result<(), String> {
        let crash = self.random.choice([Crash::Kill, Crash::Power, Crash::Power, Crash::Closed]).unwrap();
        let crash = match crash {
            Crash::Closed if journal.close().is_err() => Crash::Power,
            crash => crash,
        };
        match crash {
            Crash::Kill => self.disk.kill(),
            Crash::Power | Crash::Closed => self.disk.cut_power(),
        }
        self.expect(crash);
        Ok(())
    }

    /// What has to be there after this crash becomes what is live.
    fn expect(&mut self, crash: Crash) {
        let model = &mut self.model;
        match crash {
            // A write that returned is there, and an acknowledgement that returned, too.
            Crash::Kill => model.twice = 0,
            Crash::Closed => {
                model.twice = 0;
                if let Some(number) = model.trial {
                    model.take_back(number);
                }
            }
            Crash::Power => self.expect_durable(),
        }
        self.model.trial = None;
        if self.model.full {
            self.model.twice = u64::MAX;
        }
    }

    fn expect_durable(&mut self) {
        let model = &mut self.model;
        model.live.retain(|number, _| model.durable.contains(number));
        model.attempts.clear();
        model.twice = if self.options.sync == Sync::Os { u64::MAX } else { self.options.unsynced_acks - 1 };
    }

    /// All progress is on disk.
    fn settled(&mut self) {
        if !self.model.full {
            let acked = std::mem::take(&mut self.model.acked);
            self.model.gone.extend(acked);
        }
    }

    /// Opens, and crashes while it does, sometimes.
    fn reopen(&mut self) -> Result<Arc<Journal>, String> {
        loop {
            let dying = self.random.u8(..) < 80;
            let after = self.random.u64(0..12);
            self.disk.set(|world| world.dies_after = dying.then_some(after));
            match open(&self.disk, &self.options) {
                Ok(journal) => {
                    self.disk.set(|world| world.dies_after = None);
                    if !journal.recovered().damage.iter().all(|damage| !damage.committed) {
                        return Err(format!("taken for damage: {:?}", journal.recovered()));
                    }
                    return Ok(journal);
                }
                Err(error) if !dying => return Err(format!("does not open: {error}")),
                Err(_) => {
                    if self.random.bool() {
                        self.disk.kill();
                    } else {
                        self.disk.cut_power();
                        // What was not durable before the first crash may have gone now.
                        self.expect_durable();
                        if self.model.full {
                            self.model.twice = u64::MAX;
                        }
                    }
                }
            }
        }
    }

    fn check_and_adopt(&mut self, journal: &Arc<Journal>) -> Result<BTreeSet<u64>, String> {
        let model = &mut self.model;
        let (mut there, mut last, mut twice) = (BTreeMap::new(), None, 0);
        let mut reader = Reader::new(Arc::clone(journal));
        while let Some(next) = reader.next().map_err(|error| format!("cannot be read: {error}"))? {
            let Next::Event { number, attempts, .. } = next else {
                return Err(format!("missing while it runs: {next:?}"));
            };
            let bytes = reader.payload().to_vec();
            if last.is_some_and(|last| number <= last) {
                return Err(format!("{number} after {last:?}"));
            }
            last = Some(number);
            if !model.written.get(&number).is_some_and(|written| written.contains(&bytes)) {
                return Err(format!("{number} is something else"));
            }
            if model.attempts.get(&number).is_some_and(|noted| attempts < *noted) {
                return Err(format!("{number} was tried more often than {attempts} times"));
            }
            if model.gone.contains(&number) {
                return Err(format!("{number} comes again, which was acknowledged"));
            }
            twice += u64::from(model.acked.contains(&number));
            there.insert(number, bytes);
        }
        if let Some((number, _)) = model.live.iter().find(|(number, bytes)| there.get(number) != Some(bytes))
        {
            return Err(format!("{number} is lost"));
        }
        if twice > model.twice {
            return Err(format!("{twice} come twice, of at most {}", model.twice));
        }
        if journal.stats().pending != there.len() as u64 {
            return Err(format!("{} pending, of {} there", journal.stats().pending, there.len()));
        }
        // What is there now has been recovered, and is there to stay.
        let acked = std::mem::take(&mut model.acked);
        if !model.full {
            model.gone.extend(acked.into_iter().filter(|number| !there.contains_key(number)));
        }
        model.full = false;
        model.attempts.retain(|number, _| there.contains_key(number));
        let survived = there.keys().copied().collect();
        model.live = there;
        Ok(survived)
    }

    fn live(&mut self, journal: &Arc<Journal>) -> Result<(), String> {
        let dying = self.random.u8(..) < 100;
        let after = self.random.u64(0..40);
        self.disk.set(|world| world.dies_after = dying.then_some(after));
        let capacity =
            if self.random.u8(..) < 60 { self.disk.bytes() + self.random.u64(0..30_000) } else { u64::MAX };
        self.disk.set(|world| world.capacity = capacity);
        self.model.full = capacity < u64::MAX;
        let mut reader = Reader::new(Arc::clone(journal));
        let mut unacked = BTreeSet::new();
        for _ in 0..self.random.u32(0..40) {
            let done = match self.random.u32(0..10) {
                0..=4 => self.write(journal),
                5 | 6 => self.acknowledge(journal, &mut reader, &mut unacked),
                7 => self.attempt(journal),
                8 if self.options.sync != Sync::Os => self.sync(journal),
                _ => Ok(true),
            };
            // The process is dying.
            if !done? {
                break;
            }
        }
        self.disk.set(|world| world.capacity = u64::MAX);
        Ok(())
    }

    fn write(&mut self, journal: &Arc<Journal>) -> Result<bool, String> {
        let records: Vec<Vec<u8>> = (0..self.random.usize(1..4))
            .map(|_| {
                self.model.count += 1;
                let mut record = self.model.count.to_le_bytes().to_vec();
                record.resize(
                    8 + self.random.usize(0..self.random.clone().choice([8, 200, 2000]).unwrap_or(8)),
                    7,
                );
                record
            })
            .collect();
        let before = journal.stats().next;
        let result = journal.write(records.iter().map(Vec::as_slice));
        let first = *result.as_ref().unwrap_or(&before);
        for (number, record) in (first..).zip(records) {
            // With `Sync::Os`, a number of which nothing survived is given again.
            self.model.gone.remove(&number);
            self.model.acked.remove(&number);
            self.model.written.entry(number).or_default().push(record.clone());
            if result.is_ok() {
                self.model.live.insert(number, record);
                if self.options.sync == Sync::Always {
                    self.model.durable.insert(number);
                }
            }
        }
        if result.is_ok() && self.options.sync == Sync::Always {
            self.settled();
        }
        let full = matches!(result, Err(StoreError::DiskFull(_)));
        Ok(full || result.is_ok())
    }

    fn acknowledge(
        &mut self,
        journal: &Arc<Journal>,
        reader: &mut Reader,
        unacked: &mut BTreeSet<u64>,
    ) -> Result<bool, String> {
        for _ in 0..self.random.u32(0..6) {
            match reader.next() {
                Ok(Some(Next::Event { number, .. })) => unacked.insert(number),
                Ok(Some(next)) => return Err(format!("missing while it runs: {next:?}")),
                Ok(None) => break,
                Err(_) => return Ok(false),
            };
        }
        let in_order = self.random.u8(..) < 200;
        let number = if in_order { unacked.first() } else { unacked.last() };
        let Some(&number) = number else { return Ok(true) };
        unacked.remove(&number);
        let result = journal.acknowledge(number..number + 1);
        self.model.live.remove(&number);
        self.model.durable.remove(&number);
        self.model.attempts.remove(&number);
        if result.is_ok() {
            self.model.acked.insert(number);
        }
        Ok(result.is_ok())
    }

    fn attempt(&mut self, journal: &Arc<Journal>) -> Result<bool, String> {
        let Some(&number) = self.model.live.keys().next() else { return Ok(true) };
        let trial = self.random.bool();
        let Ok(attempts) = journal.attempt(number, trial) else { return Ok(false) };
        if let Some(other) = self.model.trial.take().filter(|other| *other != number) {
            self.model.take_back(other);
        }
        if !self.model.full {
            self.model.attempts.insert(number, attempts);
        }
        self.model.trial = trial.then_some(number);
        Ok(true)
    }

    fn sync(&mut self, journal: &Arc<Journal>) -> Result<bool, String> {
        let synced = journal.sync_now().is_ok();
        if synced {
            self.model.durable = self.model.live.keys().copied().collect();
            self.settled();
        }
        Ok(synced)
    }
}

fn failure(seed: u64, skip: Option<Site>) -> Option<String> {
    Program::new(seed, skip).run().err().map(|error| format!("seed {seed}: {error}"))
}

#[test]
fn nothing_committed_is_lost_in_a_crash() {
    let seeds = SEEDS.into_iter().chain(0..rounds(2_000)).chain([fastrand::u64(..)]);
    for seed in seeds {
        assert_eq!(failure(seed, None), None);
    }
}

/// Without any one of its syncs the store fails the test above.
#[test]
fn every_sync_is_needed() {
    let sites = [
        Site::Group,
        Site::Every,
        Site::Seal,
        Site::Header,
        Site::Entry,
        Site::Recovered,
        Site::Names,
        Site::Acknowledged,
        Site::Reclaim,
        Site::Close,
    ];
    for site in sites {
        let fails_without = |seed| failure(seed, Some(site)).filter(|_| failure(seed, None).is_none());
        let found = (0..20_000).find_map(fails_without);
        println!("without {site:?}: {found:?}");
        assert!(found.is_some(), "no program fails without the sync {site:?}");
    }
}
