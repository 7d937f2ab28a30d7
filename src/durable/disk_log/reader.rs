use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::Site;
use super::format::{Item, Kind, Scan};
use super::journal::{Journal, Published};
use super::recover::keep_aside;

/// Reads what is committed and not acknowledged, in order, once.
pub(crate) struct Reader {
    journal: Arc<Journal>,
    /// The segment that is read, and how it is read.
    segment: Option<(Published, Scan)>,
    /// The index of the segment to look for.
    index: u64,
    /// The number that has to come.
    next: u64,
    /// The event that was read last, behind what is missing before it.
    held: Option<Next>,
}

/// What comes next in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Event {
        number: u64,
        /// When it was written, since 1970.
        millis: u64,
        /// How often it was tried before.
        attempts: u32,
    },
    /// Bytes have been damaged since the store was opened. They are kept aside; these events are missing, and have to be
    /// acknowledged so that their space is given back.
    Damaged(Range<u64>),
}

impl Reader {
    pub(super) fn new(journal: Arc<Journal>) -> Self {
        Self { journal, segment: None, index: 0, next: 0, held: None }
    }

    /// The next event; `None` if all have been read that are committed.
    ///
    /// # Errors
    ///
    /// If the disk cannot be read. It may be tried again.
    pub(crate) fn next(&mut self) -> io::Result<Option<Next>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            let Some((segment, scan)) = &mut self.segment else {
                let Some(segment) = self.journal.segment_from(self.index) else { return Ok(None) };
                self.index = segment.place.index;
                if let Some(lost) = self.reach(segment.events.start) {
                    return Ok(Some(Next::Damaged(lost)));
                }
                let scan = Scan::new(Arc::clone(&segment.file), segment.place, segment.end);
                self.segment = Some((segment, scan));
                continue;
            };
            match scan.next()? {
                None => {
                    // There is more in this segment, or another one, or nothing.
                    let index = segment.place.index;
                    match self.journal.segment_from(index) {
                        Some(now) if now.place.index == index && now.end > segment.end => {
                            scan.extend(now.end);
                            *segment = now;
                        }
                        _ => {
                            let end = segment.events.end;
                            if let Some(lost) = self.reach(end) {
                                return Ok(Some(Next::Damaged(lost)));
                            }
                            if self.journal.segment_from(index + 1).is_none() {
                                return Ok(None);
                            }
                            self.index = index + 1;
                            self.segment = None;
                        }
                    }
                }
                Some((_, Item::Record(record))) if record.kind == Kind::Event => {
                    if record.number < self.next {
                        continue;
                    }
                    let (number, millis) = (record.number, record.millis);
                    let event = self.journal.take(number);
                    let event = event.map(|attempts| Next::Event { number, millis, attempts });
                    let lost = self.reach(number);
                    self.next = number + 1;
                    if let Some(lost) = lost {
                        self.held = event;
                        return Ok(Some(Next::Damaged(lost)));
                    }
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Some((_, Item::Record(_) | Item::Cut)) => {}
                Some((at, Item::Payload(_) | Item::Damage { .. })) => {
                    let (file, len) = (Arc::clone(&segment.file), scan.at() - at);
                    keep_aside(self.journal.disk(), &*file, segment.place.index, at, len)?;
                    self.journal.disk().sync_entries(Site::AsideEntry)?;
                }
            }
        }
    }

    /// The bytes of the event that [`next`](Self::next) has answered.
    pub(crate) fn payload(&self) -> &[u8] {
        self.segment.as_ref().map_or(&[], |(_, scan)| scan.payload())
    }

    /// Goes on to this number. Answers what is missing on the way.
    fn reach(&mut self, number: u64) -> Option<Range<u64>> {
        if number <= self.next {
            return None;
        }
        let passed = std::mem::replace(&mut self.next, number)..number;
        self.journal.missing(passed)
    }
}
