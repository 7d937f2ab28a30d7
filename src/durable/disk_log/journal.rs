//! The log: many writers, whose records one of them commits for all.
//!
//! # Group commit
//!
//! A writer adds its records to the group that is pending, under the lock of `shared`. If no thread leads, it leads: it
//! takes the group, gives its records their numbers and places, writes them with one call, syncs as the policy says,
//! publishes the result and wakes the others. Meanwhile a new group forms. All waiting is on one condition variable, under
//! the lock that `leading` and every outcome are changed under, so no wake-up is lost: a writer that waits has seen, under
//! that lock, that its group has no outcome and that a thread leads, and that thread notifies all when it is done. A leader
//! that unwinds refuses all that is pending, and notifies, too ([`Lead`]).
//!
//! # Zeros ahead
//!
//! A sync of a file that has grown commits its new length to the journal of the file system as well, which takes about as long
//! as the bytes do. So a small group that is synced is written with zeros behind it, in one write; the groups that come
//! next overwrite these, and the file does not grow ([`AHEAD`]). (PostgreSQL fills the segments of its log with zeros for
//! that, `wal_init_zero`.)
//! Zeros at the end of the last segment are what a crash may leave, and are cut off when the store is opened. A segment that
//! is sealed or closed is cut before its last sync.
//!
//! Two locks, always in this order: `log` (the file being written, held while the disk works), then `shared`.
//!
//! # Failures
//!
//! A write for which there was no room is cut off again, and its group gets the error. After any other failure of a write,
//! and after every failure of a sync, of a cut and of a name, the store refuses everything: what is on disk then is known
//! only after it has been read again. A sync is never tried again.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::acked::Progress;
use super::disk::{Disk, DiskFile, Site};
use super::error::{OpenError, StoreError};
use super::format::{
    Header, Kind, MAX_PAYLOAD, MAX_SCHEMA, Place, START, place_record, push_record, record_size,
};
use super::options::{Options, Sync};
use super::recover::{Damage, acknowledged_name, look, repair, segment_name, unnamed_name};
use super::wall_clock::unix_millis;

/// Records on disk, from many writers to one reader. Everything blocks while the disk works.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    options: Options,
    log: Mutex<Log>,
    shared: Mutex<Shared>,
    done: Condvar,
    recovered: Recovered,
}

/// What was found when the store was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovered {
    /// Events that are on disk and not acknowledged.
    pub pending: u64,
    /// What could not be read, and has been kept aside.
    pub damage: Vec<Damage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreStats {
    pub(crate) pending: u64,
    /// The number of the next event.
    pub(crate) next: u64,
    /// The bytes of all segments.
    pub(crate) bytes: u64,
    pub(crate) segments: usize,
    /// To make room, since the store was made.
    pub(crate) dropped: u64,
}

/// When all is acknowledged, a segment with more bytes than this is left for a new one.
const IDLE_BYTES: u64 = 1 << 20;

/// How many bytes a group is written with, and the largest that is.
const AHEAD: usize = 256 << 10;
const SMALL: usize = AHEAD / 8;

/// The segment that is written to.
struct Log {
    file: Arc<dyn DiskFile>,
    place: Place,
    /// The number of its first event.
    first: u64,
    len: u64,
    /// The length of the file: with the zeros ahead.
    file_len: u64,
    /// Everything before is on disk.
    synced: u64,
    /// The number of the next event.
    next: u64,
    /// Acknowledged events of which the disk does not know for certain.
    unsynced_acks: u64,
    /// The last state record does not say everything.
    progress_unwritten: bool,
    /// An event of which an attempt is noted that counts only if this is not taken back.
    trial: Option<u64>,
    /// Files to remove once the progress is on disk.
    acknowledged: Vec<String>,
}

struct Shared {
    group: Group,
    leading: bool,
    /// The bytes of the group that is being committed. It has its room already.
    committing: usize,
    /// How many writers committed lately: what a leader waits for, for a moment.
    writers: usize,
    sync_took: Duration,
    /// A write found no room since the last acknowledgement.
    wants_room: bool,
    refusal: Option<StoreError>,
    segments: Vec<Published>,
    /// Of all segments but the last.
    sealed_bytes: u64,
    progress: Progress,
    next: u64,
    /// Events before this were read, and are not dropped to make room.
    taken: u64,
}

/// A segment as far as a reader may read it.
#[derive(Clone)]
pub(super) struct Published {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) place: Place,
    pub(super) events: Range<u64>,
    pub(super) end: u64,
}

/// Records of several writers, and what becomes of them.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    events: u64,
    writers: usize,
    /// The number of the first event.
    outcome: Arc<OnceLock<Result<u64, StoreError>>>,
}

impl Journal {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: &std::path::Path,
        options: Options,
    ) -> Result<Self, OpenError> {
        if options.schema.len() > MAX_SCHEMA {
            let error = io::Error::new(ErrorKind::InvalidInput, "a schema has at most 1,024 bytes");
            return Err(OpenError::io(path, "opening", error));
        }
        let mut found = look(&*disk, path, Some(&options.schema))?;
        let failed = |error| OpenError::io(path, "repairing", error);
        repair(&*disk, &mut found).map_err(failed)?;
        let pending = found.progress.acked.pending(found.next);
        let mut segments: Vec<_> = (found.segments.into_iter())
            .map(|segment| Published {
                file: segment.file,
                place: segment.place,
                events: segment.events,
                end: segment.end,
            })
            .collect();
        if segments.is_empty() {
            let place = Place { salt: fastrand::u64(..), index: 0 };
            let segment = make_segment(&*disk, place, found.next, &found.progress, &options.schema);
            let named = segment.and_then(|segment| name_segment(&*disk, 0).map(|()| segment));
            segments.push(named.map_err(|error| OpenError::io(path, "making a segment", error))?);
        }
        let last = segments.last().expect("one was made").clone();
        let mut log = Log {
            first: last.events.start,
            file: last.file,
            place: last.place,
            len: last.end,
            file_len: last.end,
            synced: last.end,
            next: found.next,
            unsynced_acks: 0,
            progress_unwritten: false,
            trial: None,
            acknowledged: found.leftovers.acknowledged,
        };
        // What was lost and what file names say goes into the log, unless there is no room: then with the next change.
        let recovered = Recovered { pending, damage: found.damage };
        log.progress_unwritten = !recovered.damage.is_empty() || !log.acknowledged.is_empty();
        let journal = Self {
            disk,
            options,
            log: Mutex::new(log),
            shared: Mutex::new(Shared {
                group: Group::default(),
                leading: false,
                committing: 0,
                writers: 0,
                sync_took: Duration::ZERO,
                wants_room: false,
                refusal: None,
                sealed_bytes: sealed_bytes(&segments),
                segments,
                progress: found.progress,
                next: found.next,
                taken: 0,
            }),
            done: Condvar::new(),
            recovered,
        };
        let settled = journal.settle(&mut journal.log.lock(), Site::Recovered);
        journal.noted(settled).map_err(|error| OpenError::io(path, "writing", io::Error::other(error)))?;
        Ok(journal)
    }

    pub(super) fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    #[cfg(test)]
    pub(super) fn pending_writers(&self) -> usize {
        self.shared.lock().group.writers
    }

    pub(super) fn stats(&self) -> StoreStats {
        let shared = self.shared.lock();
        StoreStats {
            pending: shared.progress.acked.pending(shared.next),
            next: shared.next,
            bytes: shared.bytes(),
            segments: shared.segments.len(),
            dropped: shared.progress.dropped,
        }
    }

    /// Commits the records of one writer as the policy says, and answers the number of the first. On an error none of
    /// them counts as written, though they may be found after a crash.
    pub(super) fn write<'a, I>(&self, records: I) -> Result<u64, StoreError>
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        let (mut bytes, mut events) = (Vec::new(), 0);
        for record in records {
            if record.len() > MAX_PAYLOAD {
                return Err(StoreError::TooLarge { len: record.len(), max: MAX_PAYLOAD });
            }
            push_record(&mut bytes, Kind::Event, record);
            events += 1;
        }
        if !self.options.drops_oldest {
            return self.write_bytes(bytes, events);
        }
        // Once nothing is left to drop, it is tried once more: what was acknowledged meanwhile has made room by then.
        let mut drops = true;
        loop {
            match self.write_bytes(bytes.clone(), events) {
                Err(StoreError::MaxBytes { .. }) if drops => drops = self.drop_oldest(bytes.len())?,
                Err(StoreError::DiskFull(_)) if drops => drops = self.drop_oldest(usize::MAX)?,
                result => return result,
            }
        }
    }

    fn write_bytes(&self, bytes: Vec<u8>, events: u64) -> Result<u64, StoreError> {
        let mut shared = self.shared.lock();
        if let Some(refusal) = &shared.refusal {
            return Err(refusal.clone());
        }
        if events == 0 {
            return Ok(shared.next);
        }
        let max_bytes = self.options.max_bytes;
        if !self.has_room(&shared, bytes.len()) {
            shared.wants_room = true;
            return Err(StoreError::MaxBytes { max_bytes });
        }
        let (outcome, before) = shared.group.add(bytes, events);
        while shared.leading && outcome.get().is_none() {
            self.done.wait(&mut shared);
        }
        if outcome.get().is_none() {
            shared.leading = true;
            drop(shared);
            self.lead();
        }
        let outcome = outcome.get().expect("the group that was pending has been committed");
        outcome.clone().map(|first| first + before)
    }

    /// Commits the pending group.
    fn lead(&self) {
        let mut lead = Lead { journal: self, outcome: None };
        self.await_writers();
        let mut log = self.log.lock();
        let (mut group, refusal) = {
            let mut shared = self.shared.lock();
            shared.committing = shared.group.bytes.len();
            (std::mem::take(&mut shared.group), shared.refusal.clone())
        };
        lead.outcome = Some(Arc::clone(&group.outcome));
        let (first, start) = (log.next, (self.options.sync == Sync::Always).then(Instant::now));
        let committed = refusal.map_or_else(|| self.commit(&mut log, &mut group), Err);
        let result = committed.map(|()| first);
        let mut shared = self.shared.lock();
        shared.committing = 0;
        shared.sync_took = start.map_or(Duration::ZERO, |start| start.elapsed());
        match &result {
            Ok(_) => shared.publish(&log),
            Err(_) => shared.wants_room = true,
        }
        let result = shared.note(result);
        shared.writers = group.writers + shared.group.writers;
        // Set by the leader alone.
        let _ = group.outcome.set(result);
        drop(shared);
        drop(lead);
    }

    /// Writers that were answered a moment ago mostly have something more to write. To wait for them costs a fraction of
    /// the sync that they share then. (PostgreSQL's `commit_delay` and MySQL's `binlog_group_commit_sync_delay` are the same,
    /// for a time that is configured.)
    fn await_writers(&self) {
        if self.options.sync != Sync::Always {
            return;
        }
        let (expected, patience) = {
            let shared = self.shared.lock();
            (shared.writers, shared.sync_took / 4)
        };
        if expected < 2 {
            return;
        }
        let start = Instant::now();
        while self.shared.lock().group.writers < expected && start.elapsed() < patience {
            std::thread::yield_now();
        }
    }

    fn commit(&self, log: &mut Log, group: &mut Group) -> Result<(), StoreError> {
        if log.next > log.first && log.len + group.bytes.len() as u64 > self.options.segment_bytes {
            self.next_segment(log)?;
        }
        let (mut next, mut at) = (log.next, 0);
        let millis = unix_millis();
        while at < group.bytes.len() {
            let offset = log.len + at as u64;
            let (_, size) =
                place_record(&mut group.bytes[at..], &log.place, offset, next, millis, offset == log.synced);
            next += 1;
            at += size;
        }
        if self.options.sync == Sync::Always {
            self.append_ahead(log, &mut group.bytes)?;
            self.sync(log, Site::Group)?;
        } else {
            self.append(log, &group.bytes)?;
        }
        log.next = next;
        Ok(())
    }

    /// As [`append`](Self::append), with zeros behind if the file grows and there is room for them.
    fn append_ahead(&self, log: &mut Log, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let len = bytes.len();
        if len > SMALL || log.len + len as u64 <= log.file_len {
            return self.append(log, bytes);
        }
        let end = {
            let Options { max_bytes, segment_bytes, .. } = self.options;
            segment_bytes.min(max_bytes.saturating_sub(self.shared.lock().sealed_bytes))
        };
        let room = usize::try_from(end.saturating_sub(log.len)).unwrap_or(AHEAD);
        bytes.resize(len.max(AHEAD.min(room)), 0);
        let ahead = self.append(log, bytes);
        match ahead {
            Ok(()) => log.len -= (bytes.len() - len) as u64,
            Err(StoreError::DiskFull(_)) => return self.append(log, &bytes[..len]),
            Err(_) => {}
        }
        ahead
    }

    /// Writes at the end, or changes nothing.
    fn append(&self, log: &mut Log, bytes: &[u8]) -> Result<(), StoreError> {
        if let Err(error) = log.file.write_at(log.len, bytes) {
            return Err(match log.cut() {
                Ok(()) => StoreError::from_write(error),
                Err(error) => StoreError::Failed(Arc::new(error)),
            });
        }
        log.len += bytes.len() as u64;
        log.file_len = log.file_len.max(log.len);
        Ok(())
    }

    fn sync(&self, log: &mut Log, site: Site) -> Result<(), StoreError> {
        if log.synced < log.len {
            log.file.sync(site).map_err(failed)?;
            log.synced = log.len;
        }
        self.forget(log);
        Ok(())
    }

    /// Cuts the zeros ahead off.
    fn cut_ahead(&self, log: &mut Log) -> Result<(), StoreError> {
        if log.len < log.file_len { log.cut().map_err(failed) } else { Ok(()) }
    }

    /// Removes the files whose names say what the log says by now.
    fn forget(&self, log: &mut Log) {
        if !log.knows_all() {
            return;
        }
        log.unsynced_acks = 0;
        for name in log.acknowledged.drain(..) {
            // If that fails, the next open removes it.
            let _ = self.disk.remove(&name);
        }
    }

    /// Seals the segment and begins another.
    fn next_segment(&self, log: &mut Log) -> Result<(), StoreError> {
        self.cut_ahead(log)?;
        self.sync(log, Site::Seal)?;
        let place = Place { index: log.place.index + 1, ..log.place };
        let progress = self.shared.lock().progress.clone();
        let made = make_segment(&*self.disk, place, log.next, &progress, &self.options.schema);
        let segment = made.map_err(StoreError::from_write)?;
        name_segment(&*self.disk, place.index).map_err(failed)?;
        log.file = Arc::clone(&segment.file);
        (log.place, log.first, log.len, log.synced) = (place, log.next, segment.end, segment.end);
        log.file_len = log.len;
        (log.progress_unwritten, log.unsynced_acks) = (false, 0);
        let mut shared = self.shared.lock();
        let sealed = shared.segments.last_mut().expect("there is always one");
        sealed.events.end = log.next;
        shared.segments.push(segment);
        shared.sealed_bytes = sealed_bytes(&shared.segments);
        drop(shared);
        self.forget(log);
        Ok(())
    }

    /// These events are done with. They do not come again, unless the machine fails before the next sync; their space is
    /// given back as soon as a whole segment is done with.
    ///
    /// If the disk is full, this is `Ok`, and holds as long as the process does; it is written as soon as there is room.
    pub(super) fn acknowledge(&self, events: Range<u64>) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        self.refuse_if_failed()?;
        {
            let mut shared = self.shared.lock();
            log.unsynced_acks +=
                shared.progress.acked.missing(events.clone()).map(|new| new.end - new.start).sum::<u64>();
            shared.progress.acknowledge(events);
        }
        log.progress_unwritten = true;
        self.noted(self.give_back(&mut log))
    }

    /// Notes an attempt of the event, and answers how often that was, this time included. `trial`: it is about to begin, and
    /// counts if the process ends now, or if it is noted once more; not if the event is acknowledged or the store closed.
    pub(super) fn attempt(&self, number: u64, trial: bool) -> Result<u32, StoreError> {
        let mut log = self.log.lock();
        self.refuse_if_failed()?;
        let is_noted = log.trial == Some(number);
        if !is_noted {
            self.take_back_trial(&mut log);
            let mut shared = self.shared.lock();
            let attempts = shared.progress.attempts.entry(number).or_default();
            *attempts = attempts.saturating_add(1);
            log.progress_unwritten = true;
        }
        log.trial = trial.then_some(number);
        if !is_noted {
            self.noted(self.write_progress(&mut log))?;
        }
        Ok(self.shared.lock().progress.attempts_of(number))
    }

    fn take_back_trial(&self, log: &mut Log) {
        let Some(number) = log.trial.take() else { return };
        let attempts = &mut self.shared.lock().progress.attempts;
        match attempts.get_mut(&number) {
            Some(2..) => *attempts.entry(number).or_default() -= 1,
            Some(_) => _ = attempts.remove(&number),
            None => return, // Acknowledged.
        }
        log.progress_unwritten = true;
    }

    /// Whether `max_bytes` allows so many more, with the segment that may have to be begun for them.
    fn has_room(&self, shared: &Shared, more: usize) -> bool {
        let Options { max_bytes, segment_bytes, .. } = self.options;
        let more = (shared.committing + shared.group.bytes.len() + more) as u64;
        let written_to = shared.segments.last().map_or(0, |segment| segment.end);
        let begins = written_to + more > segment_bytes;
        let begun = if begins { START + record_size(shared.progress.len()) } else { 0 };
        shared.bytes() + more + begun <= max_bytes
    }

    /// Gives up the oldest segment's events, but for those that were read, unless `max_bytes` has room for so many by now.
    /// `false` if there are no other events.
    fn drop_oldest(&self, bytes: usize) -> Result<bool, StoreError> {
        let mut log = self.log.lock();
        self.refuse_if_failed()?;
        if bytes < usize::MAX && self.has_room(&self.shared.lock(), bytes) {
            return Ok(true);
        }
        let oldest = |shared: &Shared| {
            let of_segment = |segment: &Published| segment.events.start.max(shared.taken)..segment.events.end;
            let is_pending = |events: &Range<u64>| !shared.progress.acked.covers(events.clone());
            shared.segments.iter().map(of_segment).find(is_pending)
        };
        let Some(events) = oldest(&self.shared.lock()) else { return Ok(false) };
        if events.end > log.first {
            // The space of the segment that is written to is given back only once another is.
            let sealed = self.next_segment(&mut log);
            self.noted(sealed)?;
        }
        {
            let mut shared = self.shared.lock();
            // What was read meanwhile stays.
            let events = events.start.max(shared.taken)..events.end;
            let dropped = shared
                .progress
                .acked
                .missing(events.clone())
                .map(|range| range.end - range.start)
                .sum::<u64>();
            shared.progress.dropped += dropped;
            shared.progress.acknowledge(events);
            shared.wants_room = true;
            log.unsynced_acks += dropped;
            log.progress_unwritten = true;
        }
        let result = self.give_back(&mut log);
        self.noted(result)?;
        Ok(true)
    }

    fn give_back(&self, log: &mut Log) -> Result<(), StoreError> {
        let written = self.write_progress(log);
        if let Err(StoreError::Failed(_)) = written {
            return written;
        }
        let bounded = self.options.sync != Sync::Os;
        if written.is_ok() && bounded && log.unsynced_acks >= self.options.unsynced_acks {
            self.sync(log, Site::Acknowledged)?;
        }
        let (idle, wanted) = {
            let mut shared = self.shared.lock();
            let idle = shared.progress.acked.pending(log.next) == 0;
            let wanted = std::mem::take(&mut shared.wants_room) || written.is_err();
            (idle, wanted || shared.delivered().0 > 0)
        };
        if idle && log.len > START + IDLE_BYTES.min(self.options.segment_bytes / 8) {
            match self.next_segment(log) {
                Err(StoreError::DiskFull(_)) => {}
                made => made?,
            }
        }
        if idle || wanted {
            if written.is_ok() {
                self.sync(log, Site::Acknowledged)?;
            }
            self.remove_delivered(log)?;
        }
        written
    }

    fn remove_delivered(&self, log: &mut Log) -> Result<(), StoreError> {
        let delivered: Vec<Published> = {
            let mut shared = self.shared.lock();
            let (count, bytes) = shared.delivered();
            if count == 0 {
                return Ok(());
            }
            let Shared { segments, progress, .. } = &mut *shared;
            let sealed = ..segments.len() - 1;
            let delivered =
                segments.extract_if(sealed, |segment| progress.acked.covers(segment.events.clone()));
            let delivered = delivered.collect();
            shared.sealed_bytes -= bytes;
            delivered
        };
        if log.knows_all() {
            for segment in &delivered {
                self.disk.remove(&segment_name(segment.place.index)).map_err(failed)?;
            }
            return Ok(());
        }
        // The disk is full. A name can say that it is done with, and needs no room.
        for segment in &delivered {
            let name = acknowledged_name(&segment.events);
            self.disk.rename(&segment_name(segment.place.index), &name).map_err(failed)?;
            log.acknowledged.push(name);
        }
        self.disk.sync_entries(Site::Reclaim).map_err(failed)?;
        for segment in &delivered {
            segment.file.set_len(0).map_err(failed)?;
        }
        Ok(())
    }

    fn write_progress(&self, log: &mut Log) -> Result<(), StoreError> {
        if log.len > self.options.segment_bytes {
            return self.next_segment(log);
        }
        let mut bytes = Vec::new();
        push_record(&mut bytes, Kind::State, &self.shared.lock().progress.encode());
        place_record(&mut bytes, &log.place, log.len, log.next, unix_millis(), log.len == log.synced);
        self.append(log, &bytes)?;
        log.progress_unwritten = false;
        self.shared.lock().publish(log);
        Ok(())
    }

    fn settle(&self, log: &mut Log, site: Site) -> Result<(), StoreError> {
        let written = if log.progress_unwritten { self.write_progress(log) } else { Ok(()) };
        if let Err(StoreError::Failed(_)) = written {
            return written;
        }
        self.sync(log, site).and(written)
    }

    /// Syncs what was written: what [`Sync::Every`] does when its time has come.
    pub(super) fn sync_now(&self) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        self.refuse_if_failed()?;
        let result = self.sync(&mut log, Site::Every);
        self.noted(result)
    }

    /// Everything is on disk after this, and the store is closed.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        self.refuse_if_failed()?;
        self.take_back_trial(&mut log);
        let result = self.cut_ahead(&mut log).and_then(|()| self.settle(&mut log, Site::Close));
        let result = self.noted(result);
        let mut shared = self.shared.lock();
        shared.refusal.get_or_insert(StoreError::Closed);
        result
    }

    /// The first segment at or after this one, for the reader.
    pub(super) fn segment_from(&self, index: u64) -> Option<Published> {
        let shared = self.shared.lock();
        shared.segments.iter().find(|segment| segment.place.index >= index).cloned()
    }

    /// Takes the event for the reader, unless it is done with; how often it was tried.
    pub(super) fn take(&self, number: u64) -> Option<u32> {
        let mut shared = self.shared.lock();
        if shared.progress.acked.contains(number) {
            return None;
        }
        shared.taken = shared.taken.max(number + 1);
        Some(shared.progress.attempts_of(number))
    }

    /// What of these events is not done with, from the first to the last.
    pub(super) fn missing(&self, events: Range<u64>) -> Option<Range<u64>> {
        let shared = self.shared.lock();
        let mut missing = shared.progress.acked.missing(events);
        let first = missing.next()?;
        Some(first.start..missing.last().map_or(first.end, |last| last.end))
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    fn refuse_if_failed(&self) -> Result<(), StoreError> {
        self.shared.lock().refusal.clone().map_or(Ok(()), Err)
    }

    /// Remembers a failure. A full disk is none.
    fn noted(&self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        match self.shared.lock().note(result) {
            Err(StoreError::DiskFull(_)) => Ok(()),
            result => result,
        }
    }
}

impl Log {
    /// Cuts off what is behind the end.
    fn cut(&mut self) -> io::Result<()> {
        // It has to be synced before the segment is sealed, or what is cut off may come back.
        self.synced = self.synced.min(self.len - 1);
        self.file.set_len(self.len)?;
        self.file_len = self.len;
        Ok(())
    }

    /// Whether all progress is on disk.
    fn knows_all(&self) -> bool {
        !self.progress_unwritten && self.synced == self.len
    }
}

impl Shared {
    fn bytes(&self) -> u64 {
        self.sealed_bytes + self.segments.last().map_or(0, |segment| segment.end)
    }

    /// How many sealed segments are done with, and their bytes.
    fn delivered(&self) -> (usize, u64) {
        let sealed = &self.segments[..self.segments.len() - 1];
        let delivered = sealed.iter().filter(|segment| self.progress.acked.covers(segment.events.clone()));
        delivered.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.end))
    }

    fn publish(&mut self, log: &Log) {
        let last = self.segments.last_mut().expect("there is always one");
        (last.end, last.events.end) = (log.len, log.next);
        self.next = log.next;
    }

    fn note<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error @ StoreError::Failed(_)) = &result {
            self.refusal.get_or_insert(error.clone());
        }
        result
    }
}

impl Group {
    /// Adds the records of one writer. Answers where the outcome will be, and how many events are before its own.
    fn add(&mut self, bytes: Vec<u8>, events: u64) -> (Arc<OnceLock<Result<u64, StoreError>>>, u64) {
        if self.bytes.is_empty() {
            self.bytes = bytes;
        } else {
            self.bytes.extend(bytes);
        }
        let before = self.events;
        self.events += events;
        self.writers += 1;
        (Arc::clone(&self.outcome), before)
    }
}

/// A thread that leads. When it is dropped another may.
struct Lead<'a> {
    journal: &'a Journal,
    /// Where the outcome of the group that it took has to be.
    outcome: Option<Arc<OnceLock<Result<u64, StoreError>>>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut shared = self.journal.shared.lock();
        if let Some(outcome) = self.outcome.take()
            && outcome.get().is_none()
        {
            // It unwinds. What was written is not known.
            let error = StoreError::Failed(Arc::new(io::Error::other("a panic while writing")));
            shared.refusal.get_or_insert(error.clone());
            let _ = outcome.set(Err(error));
        }
        shared.leading = false;
        drop(shared);
        self.journal.done.notify_all();
    }
}

impl StoreError {
    fn from_write(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::DiskFull(Arc::new(error))
            }
            _ => Self::Failed(Arc::new(error)),
        }
    }
}

fn failed(error: io::Error) -> StoreError {
    StoreError::Failed(Arc::new(error))
}

/// A segment without a name: it gets that only once its header is on disk.
fn make_segment(
    disk: &dyn Disk,
    place: Place,
    next: u64,
    progress: &Progress,
    schema: &str,
) -> io::Result<Published> {
    let below = progress.acked.ranges().next().map_or(0, |range| range.end);
    let mut bytes = Header { place, first: next, below, schema: schema.to_owned() }.encode();
    let mut state = Vec::new();
    push_record(&mut state, Kind::State, &progress.encode());
    place_record(&mut state, &place, START, next, unix_millis(), true);
    bytes.extend(state);
    let unnamed = unnamed_name(place.index);
    let made = disk.create(&unnamed).and_then(|file| {
        file.write_at(0, &bytes)?;
        file.sync(Site::Header)?;
        Ok(file)
    });
    let file = made.inspect_err(|_| {
        // If that fails, the next one of this name replaces it.
        let _ = disk.remove(&unnamed);
    })?;
    Ok(Published { file, place, events: next..next, end: bytes.len() as u64 })
}

fn name_segment(disk: &dyn Disk, index: u64) -> io::Result<()> {
    disk.rename(&unnamed_name(index), &segment_name(index))?;
    disk.sync_entries(Site::Entry)
}

fn sealed_bytes(segments: &[Published]) -> u64 {
    segments.iter().rev().skip(1).map(|segment| segment.end).sum()
}
