//! A disk in memory that keeps what was not synced apart.
//!
//! A power failure keeps a random part of it: of each write some of its sectors of 512 bytes, each change of a length and
//! each change of a name or not, by turns in order or not. A sync that fails forgets what was to be synced, as a kernel
//! does: what is read afterwards is still the new content, and the next sync answers `Ok`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::disk::{Disk, DiskFile, Site};

const SECTOR: u64 = 512;

#[derive(Clone)]
pub(in crate::durable) struct MemoryDisk {
    world: Arc<Mutex<World>>,
    /// That of the process it was opened by; those of a dead one find nothing.
    life: u64,
}

pub(in crate::durable) struct World {
    life: u64,
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    renames: Vec<Rename>,
    files: Vec<Content>,
    random: fastrand::Rng,
    /// The sync that is left out.
    pub(super) skip: Option<Site>,
    /// After so many changes everything fails: the process is dying.
    pub(in crate::durable) dies_after: Option<u64>,
    pub(in crate::durable) fails: Option<Fault>,
    pub(in crate::durable) capacity: u64,
    /// While it is set, a sync of a file does not return.
    pub(in crate::durable) holds_syncs: Arc<AtomicBool>,
    /// How often files were written and synced.
    pub(in crate::durable) writes: u64,
    pub(in crate::durable) syncs: u64,
}

pub(in crate::durable) enum Fault {
    /// The next write does half of its work.
    Write(ErrorKind),
    /// The next write does half of its work, and the cut after it fails, too.
    WriteAndCut,
    Sync,
    /// The sync after the next.
    SecondSync,
    /// The next sync unwinds.
    Panic,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// Of an inode: from a name, to a name.
type Rename = (Option<String>, Option<String>, usize);

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

impl MemoryDisk {
    pub(in crate::durable) fn new(seed: u64) -> Self {
        let world = World {
            life: 0,
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            renames: Vec::new(),
            files: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            skip: None,
            dies_after: None,
            fails: None,
            capacity: u64::MAX,
            holds_syncs: Arc::default(),
            writes: 0,
            syncs: 0,
        };
        Self { world: Arc::new(Mutex::new(world)), life: 0 }
    }

    /// For a process that starts now.
    pub(super) fn handle(&self) -> Self {
        Self { world: Arc::clone(&self.world), life: self.world.lock().life }
    }

    pub(in crate::durable) fn set<F>(&self, change: F)
    where
        F: FnOnce(&mut World),
    {
        change(&mut self.world.lock());
    }

    /// The process ends, and what it wrote stays.
    pub(in crate::durable) fn kill(&self) {
        let mut world = self.world.lock();
        world.life += 1;
        world.dies_after = None;
    }

    /// The machine ends, and what was synced stays.
    pub(in crate::durable) fn cut_power(&self) {
        let mut world = self.world.lock();
        world.life += 1;
        world.dies_after = None;
        let World { random, durable, now, renames, files, .. } = &mut *world;
        // All, nothing, the first, or some of them.
        let (mut likely, in_order) = (random.choice([0.0, 0.5, 0.5, 1.0]).unwrap_or(0.5), random.bool());
        for (from, to, inode) in renames.drain(..) {
            if random.f64() >= likely {
                if in_order {
                    likely = 0.0;
                }
                continue;
            }
            if let Some(from) = from {
                durable.remove(&from);
            }
            if let Some(to) = to {
                durable.insert(to, inode);
            }
        }
        now.clone_from(durable);
        for file in files.iter_mut() {
            let likely = random.choice([0.0, 0.5, 0.9, 1.0]).unwrap_or(0.5);
            for change in std::mem::take(&mut file.changes) {
                match change {
                    Change::Len(len) if random.f64() < likely => file.durable.resize(len as usize, 0),
                    Change::Len(_) => {}
                    Change::Write(mut at, mut bytes) => {
                        while !bytes.is_empty() {
                            let len = (SECTOR - at % SECTOR).min(bytes.len() as u64);
                            let rest = bytes.split_off(len as usize);
                            if random.f64() < likely {
                                put(&mut file.durable, at, &bytes);
                            }
                            (at, bytes) = (at + len, rest);
                        }
                    }
                }
            }
            file.now.clone_from(&file.durable);
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.world.lock().now.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let world = self.world.lock();
        world.files[world.now[name]].now.clone()
    }

    /// Replaces a file's content, now and on disk.
    pub(super) fn replace(&self, name: &str, content: Vec<u8>) {
        let mut world = self.world.lock();
        let inode = world.now[name];
        world.files[inode] = Content { now: content.clone(), durable: content, changes: Vec::new() };
    }

    /// What the world says.
    pub(in crate::durable) fn get<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.lock())
    }

    pub(in crate::durable) fn bytes(&self) -> u64 {
        self.world.lock().bytes()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.world.lock().files.iter().all(|file| file.changes.is_empty())
    }

    /// As somebody would who is no store: at once, and durably.
    pub(super) fn lose(&self, name: &str) {
        let mut world = self.world.lock();
        world.now.remove(name);
        world.durable.remove(name);
    }

    /// The world, if this process lives and the change may be made.
    fn change(&self) -> io::Result<parking_lot::MutexGuard<'_, World>> {
        let mut world = self.look()?;
        if let Some(left) = &mut world.dies_after {
            if *left == 0 {
                return Err(io::Error::other("the process is dying"));
            }
            *left -= 1;
        }
        Ok(world)
    }

    fn look(&self) -> io::Result<parking_lot::MutexGuard<'_, World>> {
        let world = self.world.lock();
        if world.life != self.life || world.dies_after == Some(0) {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(world)
    }
}

impl World {
    fn bytes(&self) -> u64 {
        self.now.values().map(|inode| self.files[*inode].now.len() as u64).sum()
    }

    fn rename(&mut self, from: Option<&str>, to: Option<&str>, inode: usize) {
        if let Some(from) = from {
            self.now.remove(from);
        }
        if let Some(to) = to {
            self.now.insert(to.to_owned(), inode);
        }
        self.renames.push((from.map(str::to_owned), to.map(str::to_owned), inode));
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.now.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at as usize..end].copy_from_slice(bytes);
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.now.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.change()?;
        let inode = world.files.len();
        world.files.push(Content::default());
        world.rename(None, Some(name), inode);
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.look()?.inode(name)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.change()?;
        let inode = world.inode(from)?;
        world.rename(Some(from), Some(to), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.change()?;
        let inode = world.inode(name)?;
        world.rename(Some(name), None, inode);
        Ok(())
    }

    fn sync_entries(&self, site: Site) -> io::Result<()> {
        let mut world = self.change()?;
        if world.skip != Some(site) {
            world.renames.clear();
            world.durable = world.now.clone();
        }
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.look()?.files[self.inode].now.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let world = self.disk.look()?;
        let content = world.files[self.inode].now.get(at as usize..).unwrap_or_default();
        let len = content.len().min(into.len());
        into[..len].copy_from_slice(&content[..len]);
        Ok(len)
    }

    fn write_at(&self, at: u64, mut bytes: &[u8]) -> io::Result<()> {
        // A process may die within a write.
        let dying = self.disk.change().err();
        let mut world = self.disk.world.lock();
        if world.life != self.disk.life {
            return Err(io::Error::other("the process is dead"));
        }
        let mut result = dying.map_or(Ok(()), Err);
        match world.fails.take() {
            Some(Fault::Write(kind)) => result = Err(kind.into()),
            Some(Fault::WriteAndCut) => {
                result = Err(io::Error::other("a write"));
                world.fails = Some(Fault::WriteAndCut);
            }
            other => world.fails = other,
        }
        if result.is_err() {
            let end = at + world.random.u64(0..=bytes.len() as u64);
            // Over what is there already, whole sectors.
            let is_over = end < world.files[self.inode].now.len() as u64;
            let end = if is_over { (end / SECTOR * SECTOR).max(at) } else { end };
            bytes = &bytes[..(end - at) as usize];
        }
        let grows = (at + bytes.len() as u64).saturating_sub(world.files[self.inode].now.len() as u64);
        let room = world.capacity.saturating_sub(world.bytes());
        if grows > room {
            bytes = &bytes[..bytes.len() - (grows - room) as usize];
            result = Err(ErrorKind::StorageFull.into());
        }
        world.writes += 1;
        let file = &mut world.files[self.inode];
        put(&mut file.now, at, bytes);
        file.changes.push(Change::Write(at, bytes.to_vec()));
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.change()?;
        if let Some(Fault::WriteAndCut) = world.fails {
            world.fails = None;
            return Err(io::Error::other("a cut"));
        }
        let file = &mut world.files[self.inode];
        file.now.resize(len as usize, 0);
        file.changes.push(Change::Len(len));
        Ok(())
    }

    fn sync(&self, site: Site) -> io::Result<()> {
        let holds = Arc::clone(&self.disk.world.lock().holds_syncs);
        while holds.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let mut world = self.disk.change()?;
        world.syncs += 1;
        match world.fails {
            Some(Fault::Sync) => {
                world.fails = None;
                world.files[self.inode].changes.clear();
                return Err(io::Error::other("a sync"));
            }
            Some(Fault::Panic) => {
                world.fails = None;
                drop(world);
                std::panic::resume_unwind(Box::new("a sync"));
            }
            Some(Fault::SecondSync) => world.fails = Some(Fault::Sync),
            _ => {}
        }
        if world.skip != Some(site) {
            let file = &mut world.files[self.inode];
            for change in std::mem::take(&mut file.changes) {
                match change {
                    Change::Len(len) => file.durable.resize(len as usize, 0),
                    Change::Write(at, bytes) => put(&mut file.durable, at, &bytes),
                }
            }
        }
        Ok(())
    }
}
