//! What a directory holds, and how it is made whole again.
//!
//! # Why nothing committed is lost, and nothing torn is taken for damage
//!
//! A segment is synced before the next one gets its name ([`Site::Seal`]), and a new one is synced before it gets its own
//! ([`Site::Header`]). So whatever is unreadable in a segment that is not the last, or in a header, was readable once and
//! is damage. In the last segment a record may say that everything before it had been synced; the last that does divides
//! the segment. Before it, what is unreadable is damage. From it on, it may be what a power failure left of a write that
//! never returned; it is reported as not [`committed`](Damage::committed), unless it is a plain cut (a file that ends
//! within a record, or with zeros, also from a sector of its last record on), which an ordinary crash leaves.
//!
//! Everything intact is kept, also behind a hole. That is more than was committed, perhaps, and never less. From then on
//! it is committed: it is written once more, because after a sync that failed the kernel may hold clean pages which never
//! reached the disk, and synced ([`Site::Recovered`]).
//!
//! A repair may be interrupted anywhere. Damaged bytes are overwritten, by the header of a `Lost` record, only once a copy
//! of them is durable; until then the next repair finds the same damage.
//!
//! Event numbers have no gaps but those of `Lost` records, so a number that is missing and was not acknowledged has been
//! lost with what is damaged before it, or with a file that is missing. Numbers are not used again if anything durable
//! mentions them: the next one is above every event, every state record and every acknowledgement that can be read.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::acked::Progress;
use super::disk::{Disk, DiskFile, Site};
use super::error::OpenError;
use super::format::{FoundHeader, Header, Item, Kind, Place, START, Scan, VERSION, lost_header};

pub(super) const LOCK: &str = "lock";

/// Bytes of a store that could not be read, or a file that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file; empty if one is missing.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The numbers of the events that were lost with it. None were if it is empty. Where nothing readable follows, it is
    /// not known how many there were: then it is one.
    pub events: Range<u64>,
    /// Whether they were on disk for certain. If not, this may be what a power failure left of a write that never
    /// returned.
    pub committed: bool,
}

pub(super) struct Segment {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) file: Arc<dyn DiskFile>,
    /// The number of its first event, and the one after its last.
    pub(super) events: Range<u64>,
    /// The length without what is cut off.
    pub(super) end: u64,
    len: u64,
    /// From here on it may not be on disk.
    synced_to: u64,
    broken_header: bool,
}

pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    pub(super) progress: Progress,
    /// The number of the next event.
    pub(super) next: u64,
    pub(super) damage: Vec<Damage>,
    /// How many events earlier repairs gave up.
    pub(super) lost_before: u64,
    pub(super) schema: String,
    pub(super) newest_millis: Option<u64>,
    pub(super) leftovers: Leftovers,
}

/// Files that are no segments.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Segments that had no name yet.
    unnamed: Vec<String>,
    /// Segments that were acknowledged, and not removed yet.
    pub(super) acknowledged: Vec<String>,
    /// Copies of damaged bytes.
    pub(super) aside: Vec<String>,
}

pub(super) fn segment_name(index: u64) -> String {
    format!("{index:016x}.events")
}

pub(super) fn unnamed_name(index: u64) -> String {
    format!("new-{index:016x}")
}

pub(super) fn acknowledged_name(events: &Range<u64>) -> String {
    format!("acknowledged-{:016x}-{:016x}", events.start, events.end)
}

fn hex(digits: &str) -> Option<u64> {
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// What the names of a store's files say.
struct Names {
    /// Of the segments, in order.
    indices: Vec<u64>,
    acknowledged: Vec<Range<u64>>,
    leftovers: Leftovers,
}

/// An error if there are no segments, and files of another kind.
fn sort_names(disk: &dyn Disk, path: &Path) -> Result<Names, OpenError> {
    let (mut indices, mut acknowledged, mut leftovers) = (Vec::new(), Vec::new(), Leftovers::default());
    let mut foreign = None;
    for name in disk.list().map_err(|error| OpenError::io(path, "listing", error))? {
        if let Some(index) = name.strip_suffix(".events").and_then(hex) {
            indices.push(index);
        } else if name.starts_with("new-") {
            leftovers.unnamed.push(name);
        } else if let Some((start, end)) =
            name.strip_prefix("acknowledged-").and_then(|range| range.split_once('-'))
            && let (Some(start), Some(end)) = (hex(start), hex(end))
        {
            acknowledged.push(start..end);
            leftovers.acknowledged.push(name);
        } else if name.starts_with("damaged-") {
            leftovers.aside.push(name);
        } else if name != LOCK {
            foreign = Some(name);
        }
    }
    if indices.is_empty()
        && let Some(name) = foreign
    {
        let why = format!("it holds something else ({name})");
        return Err(OpenError::NotAStore { path: path.to_owned(), why });
    }
    indices.sort_unstable();
    Ok(Names { indices, acknowledged, leftovers })
}

/// Reads everything, and changes nothing. `wanted` is the schema that it has to have.
pub(super) fn look(disk: &dyn Disk, path: &Path, wanted: Option<&str>) -> Result<Found, OpenError> {
    let Names { indices, acknowledged, leftovers } = sort_names(disk, path)?;
    let mut headers = Vec::new();
    for index in indices {
        let name = segment_name(index);
        let read = disk.open(&name).and_then(|file| Ok((Header::read(&*file)?, file.len()?, file)));
        let (header, len, file) = read.map_err(|error| OpenError::io(&path.join(&name), "reading", error))?;
        headers.push((index, name, header, len, file));
    }
    let known = headers.iter().find_map(|(index, _, header, ..)| match header {
        FoundHeader::Intact(header) | FoundHeader::Half(header) if header.place.index == *index => {
            Some(header.clone())
        }
        _ => None,
    });
    for (_, name, header, ..) in &headers {
        match header {
            FoundHeader::Newer(version) => {
                return Err(OpenError::NewerFormat {
                    path: path.to_owned(),
                    version: *version,
                    newest: VERSION,
                });
            }
            FoundHeader::Intact(Header { schema, .. }) | FoundHeader::Half(Header { schema, .. })
                if wanted.is_some_and(|wanted| wanted != schema) =>
            {
                return Err(OpenError::OtherSchema {
                    path: path.to_owned(),
                    found: schema.clone(),
                    wanted: wanted.unwrap_or_default().to_owned(),
                });
            }
            _ if known.is_none() => {
                let why = format!("{name} has no header of a store, nor has any other file");
                return Err(OpenError::NotAStore { path: path.to_owned(), why });
            }
            _ => {}
        }
    }

    let mut looking = Looking {
        found: Found {
            segments: Vec::new(),
            progress: Progress::default(),
            next: 0,
            damage: Vec::new(),
            lost_before: 0,
            schema: known.as_ref().map_or_else(String::new, |header| header.schema.clone()),
            newest_millis: None,
            leftovers,
        },
        open: None,
    };
    for range in acknowledged {
        looking.found.progress.acknowledge(range);
    }
    let last = headers.len().saturating_sub(1);
    for (position, (index, name, header, len, file)) in headers.into_iter().enumerate() {
        let salt = known.as_ref().map_or(0, |header| header.place.salt);
        let (header, broken) = match header {
            FoundHeader::Intact(header) if header.place.index == index => (Some(header), false),
            FoundHeader::Half(header) if header.place.index == index => (Some(header), true),
            _ => (None, true),
        };
        let place = header.as_ref().map_or(Place { salt, index }, |header| header.place);
        looking
            .segment(name.clone(), place, header, broken, file, len, position == last)
            .map_err(|error| OpenError::io(&path.join(name), "reading", error))?;
    }
    Ok(looking.finish())
}

struct Looking {
    found: Found,
    /// The damage that events would have been lost with, if the next number says that some are missing.
    open: Option<usize>,
}

impl Looking {
    #[allow(clippy::too_many_arguments, reason = "called once")]
    fn segment(
        &mut self,
        name: String,
        place: Place,
        header: Option<Header>,
        broken_header: bool,
        file: Arc<dyn DiskFile>,
        len: u64,
        last: bool,
    ) -> io::Result<()> {
        if broken_header {
            self.damaged(&name, 0, START.min(len));
            self.open = None;
        }
        if let Some(header) = header {
            self.found.progress.acked.insert(0..header.below);
            self.reach(header.first);
        }
        let first = self.found.next;
        let mut segment = Segment {
            name,
            place,
            file,
            events: first..first,
            end: len,
            len,
            synced_to: START,
            broken_header,
        };
        let damage_from = self.found.damage.len();
        let mut scan = Scan::new(Arc::clone(&segment.file), place, len);
        let mut ends_damaged = false;
        while let Some((at, item)) = scan.next()? {
            ends_damaged &= item == Item::Cut;
            match item {
                Item::Record(record) => {
                    if record.synced {
                        segment.synced_to = at;
                    }
                    self.reach(record.number);
                    match record.kind {
                        Kind::Event => {
                            self.found.next = self.found.next.max(record.number + 1);
                            self.found.newest_millis = self.found.newest_millis.max(Some(record.millis));
                        }
                        Kind::State => {
                            if let Some(mut progress) = Progress::decode(scan.payload()) {
                                // What was read before may be more than this one knows: a file's name, a header.
                                let mut acked = self.found.progress.acked.clone();
                                for range in progress.acked.ranges() {
                                    acked.insert(range);
                                }
                                progress.acked = acked;
                                self.found.progress = progress;
                            }
                        }
                        Kind::Lost => {
                            let lost = record.lost();
                            self.found.next = self.found.next.max(lost.end);
                            self.found.lost_before += lost.end - lost.start;
                            self.found.progress.acknowledge(lost);
                        }
                    }
                }
                Item::Payload(record) => {
                    self.reach(record.number);
                    self.damaged(&segment.name, at, record.size());
                    if record.kind == Kind::Event {
                        self.reach(record.number + 1);
                    }
                    self.open = None;
                }
                Item::Damage { len: bytes } => {
                    self.damaged(&segment.name, at, bytes);
                    ends_damaged = true;
                }
                Item::Cut => {
                    segment.end = at;
                    if !last {
                        self.damaged(&segment.name, at, len - at);
                    }
                }
            }
        }
        if last && ends_damaged {
            // Nothing says how many; at least one, if it was no state record.
            self.reach(self.found.next + 1);
        }
        if segment.len < START {
            segment.end = segment.len;
        }
        for damage in &mut self.found.damage[damage_from..] {
            damage.committed = !last || damage.offset < segment.synced_to;
        }
        segment.events.end = self.found.next;
        self.found.segments.push(segment);
        Ok(())
    }

    fn damaged(&mut self, file: &str, offset: u64, bytes: u64) {
        let next = self.found.next;
        self.open = Some(self.found.damage.len());
        let damage = Damage { file: file.to_owned(), offset, bytes, events: next..next, committed: true };
        self.found.damage.push(damage);
    }

    /// All numbers below this one have been given to events.
    fn reach(&mut self, number: u64) {
        let missing = self.found.next..number.max(self.found.next);
        let open = self.open.take();
        if missing.is_empty() {
            return;
        }
        self.found.next = number;
        match open {
            Some(open) => self.found.damage[open].events = missing,
            None => self.found.damage.push(Damage {
                file: String::new(),
                offset: 0,
                bytes: 0,
                events: missing,
                committed: true,
            }),
        }
    }

    /// Only now it is known what was acknowledged.
    fn finish(mut self) -> Found {
        let found = &mut self.found;
        let acked = found.progress.acked.clone();
        for damage in &mut found.damage {
            let mut lost = acked.missing(damage.events.clone());
            damage.events = match lost.next() {
                None => damage.events.end..damage.events.end,
                Some(first) => first.start..lost.last().map_or(first.end, |last| last.end),
            };
        }
        found.damage.retain(|damage| damage.bytes > 0 || !damage.events.is_empty());
        for damage in &found.damage {
            found.progress.acknowledge(damage.events.clone());
        }
        found.next = found.next.max(found.progress.acked.end());
        self.found
    }
}

/// Makes what was found whole: damaged bytes are kept aside and replaced, what is cut off is removed. What is removed
/// afterwards, once the progress is durable, stays in `leftovers`.
pub(super) fn repair(disk: &dyn Disk, found: &mut Found) -> io::Result<()> {
    let damaged = || found.damage.iter().filter(|damage| damage.bytes > 0);
    for damage in damaged() {
        let segment = found.segments.iter().find(|segment| segment.name == damage.file);
        let segment = segment.expect("damage names a segment");
        keep_aside(disk, &*segment.file, segment.place.index, damage.offset, damage.bytes)?;
    }
    if damaged().next().is_some() {
        disk.sync_entries(Site::AsideEntry)?;
    }
    let last = found.segments.len().saturating_sub(1);
    for (position, segment) in found.segments.iter_mut().enumerate() {
        let mut changed = position == last;
        for damage in found.damage.iter().filter(|damage| damage.file == segment.name && damage.bytes > 0) {
            changed = true;
            if damage.offset < START {
                continue;
            }
            if damage.offset < segment.end {
                let size = damage.bytes.next_multiple_of(8);
                let header = lost_header(&segment.place, damage.offset, size, &damage.events);
                segment.file.write_at(damage.offset, &header)?;
                segment.end = segment.end.max(damage.offset + size);
            }
        }
        if segment.broken_header {
            let header = Header {
                place: segment.place,
                first: segment.events.start,
                below: 0,
                schema: found.schema.clone(),
            };
            segment.file.write_at(0, &header.encode())?;
            segment.end = segment.end.max(START);
            segment.broken_header = false;
        }
        if segment.end != segment.len {
            segment.file.set_len(segment.end)?;
        }
        segment.len = segment.end;
        if position == last {
            write_again(&*segment.file, segment.synced_to, segment.end)?;
        }
        if changed {
            segment.file.sync(Site::Recovered)?;
        }
    }
    for name in found.leftovers.unnamed.drain(..) {
        disk.remove(&name)?;
    }
    disk.sync_entries(Site::Names)
}

fn write_again(file: &dyn DiskFile, mut at: u64, end: u64) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
        let read = file.read_at(at, &mut piece[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(at, &piece[..read])?;
        at += read as u64;
    }
    Ok(())
}

/// Copies damaged bytes into a file of their own.
pub(super) fn keep_aside(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    index: u64,
    offset: u64,
    len: u64,
) -> io::Result<()> {
    let taken = disk.list()?;
    let name = (0..u64::MAX)
        .map(|n| format!("damaged-{index:016x}-{offset:08x}-{n}"))
        .find(|name| !taken.contains(name))
        .expect("a directory has fewer files");
    let copy = disk.create(&name)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let read = file.read_at(offset, &mut bytes)?;
    copy.write_at(0, &bytes[..read])?;
    copy.sync(Site::Aside)
}
