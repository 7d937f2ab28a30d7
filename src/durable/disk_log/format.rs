//! The bytes of a segment: a header, written twice, and records, each with a length, a number and checksums.
//!
//! ```text
//! segment   header at 0, the same at 2,048, records from 4,096 on, each at a multiple of 8
//! header    magic 8 | version 4 | checksum 4 | salt 8 | index 8 | first number 8 | acknowledged below 8 | schema 4 + n
//! record    mark 4 | length 4 | number 8 | milliseconds 6 | kind 1 | flags 1 | checksum of the payload 4 |
//!           checksum of this header 4 | payload, filled up to 8
//! ```
//!
//! Numbers are little-endian. The checksum of a record's header goes over its place, too: the salt of the store, the index
//! of the segment and the offset. So bytes that look like a record because they were one elsewhere, or because an event
//! consists of such bytes, are none here. A record's length has a checksum that does not depend on the payload: damage in a
//! payload leaves the way to the next record. After damage in a record's header, the next is searched for.

use std::io;
use std::sync::Arc;

use crc32fast::Hasher;

use super::disk::DiskFile;
use crate::sync::blocking::blocking;

pub(super) const VERSION: u32 = 1;
/// Where the records begin.
pub(super) const START: u64 = 4096;
const COPY: usize = 2048;
const MAGIC: &[u8; 8] = b"outflowq";
pub(super) const MAX_SCHEMA: usize = 1024;

pub(super) const RECORD: usize = 32;
const MARK: [u8; 4] = *b"\xf0rec";
/// The largest payload. A larger one could not be told from a damaged length.
pub(crate) const MAX_PAYLOAD: usize = 1 << 30;

/// Everything before this record in its segment has been synced.
const SYNCED: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event = 1,
    /// A [`Progress`](super::acked::Progress); its number is that of the next event.
    State = 2,
    /// Stands where damaged bytes were; its payload is what is left of them.
    Lost = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) place: Place,
    /// The number of the first event, if there is one.
    pub(super) first: u64,
    /// All events below were acknowledged when it was made.
    pub(super) below: u64,
    pub(super) schema: String,
}

/// What distinguishes a segment from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) salt: u64,
    pub(super) index: u64,
}

pub(super) enum FoundHeader {
    Intact(Header),
    /// One of the copies is damaged.
    Half(Header),
    Newer(u32),
    Damaged,
    /// There is not even a magic.
    Foreign,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = vec![0; 16];
        copy[..8].copy_from_slice(MAGIC);
        copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
        for number in [self.place.salt, self.place.index, self.first, self.below] {
            copy.extend(number.to_le_bytes());
        }
        copy.extend((self.schema.len() as u32).to_le_bytes());
        copy.extend(self.schema.as_bytes());
        let checksum = Self::checksum(&copy);
        copy[12..16].copy_from_slice(&checksum.to_le_bytes());
        copy.resize(COPY, 0);
        copy.repeat(2)
    }

    pub(super) fn read(file: &dyn DiskFile) -> io::Result<FoundHeader> {
        let mut bytes = [0; START as usize];
        let read = file.read_at(0, &mut bytes)?;
        let copies = [&bytes[..COPY.min(read)], &bytes[COPY.min(read)..read]];
        let magic = |copy: &&[u8]| copy.starts_with(MAGIC);
        let version = |copy: &[u8]| copy.get(8..12).map_or(0, |bytes| u32_at(bytes, 0));
        Ok(match copies.map(Self::decode) {
            [Some(header), Some(other)] if header == other => FoundHeader::Intact(header),
            [Some(header), _] | [_, Some(header)] => FoundHeader::Half(header),
            [None, None]
                if copies.iter().all(magic)
                    && version(copies[0]) > VERSION
                    && version(copies[0]) == version(copies[1]) =>
            {
                FoundHeader::Newer(version(copies[0]))
            }
            [None, None] if copies.iter().any(magic) => FoundHeader::Damaged,
            [None, None] => FoundHeader::Foreign,
        })
    }

    fn decode(copy: &[u8]) -> Option<Self> {
        if copy.len() < 52 || !copy.starts_with(MAGIC) || u32_at(copy, 8) != VERSION {
            return None;
        }
        let schema = copy.get(52..)?.get(..u32_at(copy, 48) as usize)?;
        if Self::checksum(&copy[..52 + schema.len()]) != u32_at(copy, 12) {
            return None;
        }
        Some(Self {
            place: Place { salt: u64_at(copy, 16), index: u64_at(copy, 24) },
            first: u64_at(copy, 32),
            below: u64_at(copy, 40),
            schema: String::from_utf8(schema.to_vec()).ok()?,
        })
    }

    fn checksum(copy: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&copy[..12]);
        hasher.update(&copy[16..]);
        hasher.finalize()
    }
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) number: u64,
    /// Since 1970.
    pub(super) millis: u64,
    /// Everything before it in the segment has been synced.
    pub(super) synced: bool,
    pub(super) len: usize,
    checksum: u32,
}

impl Record {
    /// How many bytes it has in the segment.
    pub(super) fn size(&self) -> u64 {
        record_size(self.len)
    }

    /// The numbers that were lost, of a `Lost` record.
    pub(super) fn lost(&self) -> std::ops::Range<u64> {
        self.number..self.number + u64::from(self.checksum)
    }

    fn decode(header: &[u8], place: &Place, at: u64) -> Option<Self> {
        if header[..4] != MARK || header_checksum(header, place, at) != u32_at(header, 28) {
            return None;
        }
        Some(Self {
            kind: match header[22] {
                1 => Kind::Event,
                2 => Kind::State,
                3 => Kind::Lost,
                _ => return None,
            },
            number: u64_at(header, 8),
            millis: u64_at(header, 16) & 0xffff_ffff_ffff,
            synced: header[23] & SYNCED != 0,
            len: u32_at(header, 4) as usize,
            checksum: u32_at(header, 24),
        })
    }
}

pub(super) fn record_size(payload: usize) -> u64 {
    (RECORD + payload.next_multiple_of(8)) as u64
}

/// Appends a record to `bytes`. What depends on its place comes with [`place_record`].
pub(super) fn push_record(bytes: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let mut header = [0; RECORD];
    header[..4].copy_from_slice(&MARK);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[22] = kind as u8;
    header[24..28].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend(header);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// Completes the record at the start of `bytes`, and answers its kind and its size.
pub(super) fn place_record(
    bytes: &mut [u8],
    place: &Place,
    at: u64,
    number: u64,
    millis: u64,
    synced: bool,
) -> (Kind, usize) {
    let kind = match bytes[22] {
        1 => Kind::Event,
        2 => Kind::State,
        _ => Kind::Lost,
    };
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..22].copy_from_slice(&millis.to_le_bytes()[..6]);
    bytes[23] = if synced { SYNCED } else { 0 };
    let checksum = header_checksum(bytes, place, at);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    (kind, record_size(u32_at(bytes, 4) as usize) as usize)
}

/// The header of a `Lost` record that stands for `size` bytes at `at`.
pub(super) fn lost_header(place: &Place, at: u64, size: u64, lost: &std::ops::Range<u64>) -> Vec<u8> {
    let mut header = vec![0; RECORD];
    header[..4].copy_from_slice(&MARK);
    header[4..8].copy_from_slice(&((size - RECORD as u64) as u32).to_le_bytes());
    header[22] = Kind::Lost as u8;
    header[24..28].copy_from_slice(&(lost.end.saturating_sub(lost.start) as u32).to_le_bytes());
    place_record(&mut header, place, at, lost.start, 0, false);
    header
}

fn header_checksum(header: &[u8], place: &Place, at: u64) -> u32 {
    let mut bytes = [0; 24 + 28];
    bytes[..8].copy_from_slice(&place.salt.to_le_bytes());
    bytes[8..16].copy_from_slice(&place.index.to_le_bytes());
    bytes[16..24].copy_from_slice(&at.to_le_bytes());
    bytes[24..].copy_from_slice(&header[..28]);
    crc32fast::hash(&bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Its payload is in [`Scan::payload`].
    Record(Record),
    /// Its header is intact, its payload is not.
    Payload(Record),
    /// Bytes that are no record, up to the next one, which is intact, or to the end.
    Damage { len: u64 },
    /// The file ends within a record, or with zeros, between records or from the start of a sector on: what a write leaves that
    /// was interrupted.
    Cut,
}

/// Reads a segment from one record to the next, in pieces.
pub(super) struct Scan {
    file: Arc<dyn DiskFile>,
    place: Place,
    at: u64,
    end: u64,
    piece: Vec<u8>,
    piece_at: u64,
    payload: std::ops::Range<usize>,
}

const PIECE: u64 = 256 << 10;

/// No write is torn within one.
const SECTOR: u64 = 512;

impl Scan {
    pub(super) fn new(file: Arc<dyn DiskFile>, place: Place, end: u64) -> Self {
        Self { file, place, at: START, end, piece: Vec::new(), piece_at: 0, payload: 0..0 }
    }

    /// The offset of what comes next.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The file is longer by now.
    pub(super) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// The payload of the last record; empty for one that is lost.
    pub(super) fn payload(&self) -> &[u8] {
        &self.piece[self.payload.clone()]
    }

    /// What is next, and the offset where it begins; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Item)>> {
        let at = self.at;
        if at >= self.end {
            return Ok(None);
        }
        let item = self.look(at)?;
        self.at = match item {
            Item::Record(record) | Item::Payload(record) => at + record.size(),
            Item::Damage { len } => at + len,
            Item::Cut => self.end,
        };
        Ok(Some((at, item)))
    }

    fn look(&mut self, at: u64) -> io::Result<Item> {
        self.payload = 0..0;
        let Some(record) = self.record(at)? else { return self.search(at) };
        if at + record.size() > self.end {
            return Ok(Item::Cut);
        }
        if record.kind != Kind::Lost {
            let Some(start) = self.load(at, record.size())? else { return Ok(Item::Cut) };
            self.payload = start + RECORD..start + RECORD + record.len;
            if crc32fast::hash(self.payload()) != record.checksum {
                self.payload = 0..0;
                let torn = self.is_torn(at, RECORD + record.len)?;
                return Ok(if torn { Item::Cut } else { Item::Payload(record) });
            }
        }
        Ok(Item::Record(record))
    }

    /// The next intact header after damage. A record has no fewer bytes than its header.
    fn search(&mut self, from: u64) -> io::Result<Item> {
        // It is emptied when it is done with, while it is read perhaps.
        self.end = self.end.min(self.file.len()?);
        let mut at = from + RECORD as u64;
        while at + RECORD as u64 <= self.end {
            if self.record(at)?.is_some_and(|record| at + record.size() <= self.end) {
                return Ok(Item::Damage { len: at - from });
            }
            at += 8;
        }
        let len = self.end.saturating_sub(from);
        if len < RECORD as u64 || self.zeros(from)? || self.is_torn(from, RECORD)? {
            return Ok(Item::Cut);
        }
        // Zeros behind it are a cut.
        let mut bytes = from + RECORD as u64;
        for at in (bytes..self.end).step_by(8) {
            if !self.zeros_in(at, (self.end - at).min(8))? {
                bytes = (at + 8).min(self.end);
            }
        }
        Ok(Item::Damage { len: bytes - from })
    }

    /// Whether only the first of these bytes were written, up to a sector, over the zeros that the file ends with.
    fn is_torn(&mut self, at: u64, len: usize) -> io::Result<bool> {
        let end = at + len as u64;
        let sector = (end - 1) / SECTOR * SECTOR;
        Ok(sector > at && end.next_multiple_of(8) < self.end && self.zeros(sector)?)
    }

    fn record(&mut self, at: u64) -> io::Result<Option<Record>> {
        let place = self.place;
        let start = self.load(at, RECORD as u64)?;
        Ok(start.and_then(|start| Record::decode(&self.piece[start..start + RECORD], &place, at)))
    }

    fn zeros(&mut self, mut at: u64) -> io::Result<bool> {
        while at < self.end {
            let len = (self.end - at).min(PIECE);
            if !self.zeros_in(at, len)? {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }

    fn zeros_in(&mut self, at: u64, len: u64) -> io::Result<bool> {
        let start = self.load(at, len)?;
        Ok(start.is_some_and(|start| self.piece[start..start + len as usize].iter().all(|byte| *byte == 0)))
    }

    /// Where these bytes are in `piece`; `None` if the file does not have them.
    fn load(&mut self, at: u64, len: u64) -> io::Result<Option<usize>> {
        if at + len > self.end {
            return Ok(None);
        }
        if at < self.piece_at || at + len > self.piece_at + self.piece.len() as u64 {
            if self.piece.capacity() as u64 > 4 * PIECE {
                self.piece = Vec::new();
            }
            self.piece.resize(len.max(PIECE.min(self.end - at)) as usize, 0);
            self.piece_at = at;
            let read = blocking(|| self.file.read_at(at, &mut self.piece))?;
            self.piece.truncate(read);
            if (read as u64) < len {
                return Ok(None);
            }
        }
        Ok(Some((at - self.piece_at) as usize))
    }
}
