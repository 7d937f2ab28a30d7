use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use parking_lot::Mutex;

use super::disk::{Directory, Disk};
use super::error::{OpenError, StoreError};
use super::journal::{Journal, Recovered, StoreStats};
use super::options::{Options, Sync};
use super::reader::Reader;
use super::recover::{LOCK, look};
use crate::sync::blocking::blocking;

/// Records in a directory, from many threads to one reader. Everything that writes blocks while the disk works, and says so
/// to the pool that the thread belongs to, if any. Dropping it closes it and frees the lock.
pub(crate) struct Store {
    journal: Arc<Journal>,
    /// Its end ends the thread of [`Sync::Every`].
    _syncing: Option<Sender<()>>,
    /// Until it is closed; a test's store has no file.
    lock: Mutex<Option<Option<File>>>,
}

impl Store {
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        blocking(|| Self::open_now(path, options))
    }

    fn open_now(path: &Path, options: Options) -> Result<Self, OpenError> {
        let directory = Directory::make(path)?;
        if !directory
            .list()
            .map_err(|error| OpenError::io(path, "listing", error))?
            .iter()
            .any(|name| name == LOCK)
        {
            // Before the lock is made: what is something else is not touched.
            look(&directory, path, Some(&options.schema))?;
        }
        let lock = directory.lock(LOCK)?;
        let sync = options.sync;
        let journal = Arc::new(Journal::open(Arc::new(directory), path, options)?);
        let syncing = match sync {
            Sync::Every(interval) => {
                let syncing = sync_every(Arc::clone(&journal), interval);
                Some(syncing.map_err(|error| OpenError::io(path, "starting a thread for", error))?)
            }
            Sync::Always | Sync::Os => None,
        };
        Ok(Self { journal, _syncing: syncing, lock: Mutex::new(Some(Some(lock))) })
    }

    /// Without a lock.
    #[cfg(test)]
    pub(super) fn of(journal: Arc<Journal>) -> Self {
        Self { journal, _syncing: None, lock: Mutex::new(Some(None)) }
    }

    /// How many writers are in the group that is pending.
    #[cfg(test)]
    pub(crate) fn pending_writers(&self) -> usize {
        self.journal.pending_writers()
    }

    /// What was found when it was opened.
    pub(crate) fn recovered(&self) -> &Recovered {
        self.journal.recovered()
    }

    /// Reads from the oldest event that is not acknowledged.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.journal))
    }

    /// Commits records as the policy says, all at once, and answers the number of the first. On an error none of them
    /// counts as written, though they may be found after a crash.
    pub(crate) fn write_all<'a, I>(&self, records: I) -> Result<u64, StoreError>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        blocking(|| self.journal.write(records))
    }

    /// These events are done with.
    pub(crate) fn acknowledge(&self, events: Range<u64>) -> Result<(), StoreError> {
        blocking(|| self.journal.acknowledge(events))
    }

    /// Notes an attempt of the event, and answers how often that was, this time included. `trial`: it is about to begin, and
    /// counts if the process ends now, or if it is noted once more; not if the event is acknowledged or the store closed.
    pub(crate) fn attempt(&self, number: u64, trial: bool) -> Result<u32, StoreError> {
        blocking(|| self.journal.attempt(number, trial))
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.journal.stats()
    }

    /// Everything is on disk after this; what is written later is refused, and the store may be opened again.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut lock = self.lock.lock();
        let Some(file) = lock.take() else { return Ok(()) };
        let closed = blocking(|| self.journal.close());
        // To close the file is not enough: a process that is being started may have it for a moment, too.
        let _ = file.map(|file| file.unlock());
        closed
    }
}

/// Starts a thread that syncs, until what is returned is dropped.
pub(super) fn sync_every(journal: Arc<Journal>, interval: Duration) -> io::Result<Sender<()>> {
    let (sender, receiver) = crossbeam_channel::bounded::<()>(0);
    let sync = move || {
        while let Err(RecvTimeoutError::Timeout) = receiver.recv_timeout(interval) {
            if journal.sync_now().is_err() {
                break; // Every write says so.
            }
        }
    };
    std::thread::Builder::new().name("outflow-durable-sync".to_owned()).spawn(sync)?;
    Ok(sender)
}

impl Drop for Store {
    fn drop(&mut self) {
        // An error was there for `close` to see.
        let _ = self.close();
    }
}
