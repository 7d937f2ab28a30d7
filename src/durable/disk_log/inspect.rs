use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::acked::Progress;
use super::disk::{Directory, Disk};
use super::error::OpenError;
use super::format::{Item, Kind, Scan};
use super::recover::{Damage, Found, look};
use super::wall_clock::age;

/// What a store holds, without the type of its events. Made by [`inspect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// What the store was made for.
    pub schema: String,
    /// Events that are not acknowledged.
    pub pending: u64,
    /// The number that the next event gets. Numbers begin with 0.
    pub next: u64,
    /// The number of the oldest event that is pending, and its age.
    pub oldest: Option<(u64, Duration)>,
    /// The age of the event that was written last, if it is still there.
    pub newest: Option<Duration>,
    /// How many segments there are.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What cannot be read and has not been repaired, which opening the store does.
    pub damage: Vec<Damage>,
    /// Events that were dropped to make room, since the store was made.
    pub dropped: u64,
    /// Events that were given up by earlier repairs, as far as the segments that had them are still there.
    pub lost: u64,
    /// The files with copies of damaged bytes.
    pub aside: Vec<String>,
    /// Events that were tried and are pending, each with how often.
    pub attempts: Vec<(u64, u32)>,
}

/// Looks at the store in a directory, changes nothing and takes no lock, so that a process may have it open meanwhile. Reads
/// all of it; blocks while the disk works.
///
/// # Errors
///
/// If there is no store, or one of a newer format, or the operating system says no.
///
/// # Examples
///
/// ```
/// use outflow::durable::{OpenError, inspect};
///
/// let error = inspect("no/such/store").unwrap_err();
/// assert!(matches!(error, OpenError::Io { .. }));
/// ```
pub fn inspect<P>(path: P) -> Result<Inspection, OpenError>
where
    P: AsRef<Path>,
{
    let path = path.as_ref();
    let directory = Directory::look(path)?;
    let mut before = Vec::new();
    for _ in 0..100 {
        let found = look(&directory, path, None);
        let committed = |damage: &&Damage| damage.committed;
        let damage = found.as_ref().map(|found| found.damage.iter().filter(committed).cloned().collect());
        let damage: Vec<Damage> = damage.unwrap_or_default();
        if is_settled(&directory, &found) && (damage.is_empty() || damage == before) {
            return found.and_then(|found| describe(found, path));
        }
        // It is looked at twice: a record that is being written is half there.
        before = damage;
    }
    look(&directory, path, None).and_then(|found| describe(found, path))
}

/// Whether what was found is to be believed, and not due to a process that gave a segment back meanwhile: that renames a
/// segment before it empties it.
fn is_settled(directory: &Directory, found: &Result<Found, OpenError>) -> bool {
    match found {
        Ok(found) if found.damage.is_empty() => true,
        Ok(found) => directory
            .list()
            .is_ok_and(|names| found.segments.iter().all(|segment| names.contains(&segment.name))),
        Err(OpenError::Io { error, .. }) => error.kind() != ErrorKind::NotFound,
        Err(OpenError::NotAStore { .. }) => false,
        Err(_) => true,
    }
}

fn describe(found: Found, path: &Path) -> Result<Inspection, OpenError> {
    let (mut damage, lost_before) = (found.damage, found.lost_before);
    if let Some(last) = found.segments.last() {
        // What is being written at this moment.
        damage.retain(|damage| damage.committed || damage.file != last.name);
    }
    let Progress { acked, attempts, dropped } = found.progress;
    let mut oldest = None;
    for segment in &found.segments {
        let Some(number) = acked.missing(segment.events.clone()).map(|range| range.start).next() else {
            continue;
        };
        let mut scan = Scan::new(Arc::clone(&segment.file), segment.place, segment.end);
        while let Some((_, item)) =
            scan.next().map_err(|error| OpenError::io(&path.join(&segment.name), "reading", error))?
        {
            if let Item::Record(record) = item
                && record.kind == Kind::Event
                && record.number == number
            {
                oldest = Some((number, age(record.millis)));
                break;
            }
        }
        break;
    }
    Ok(Inspection {
        schema: found.schema,
        pending: acked.pending(found.next),
        next: found.next,
        oldest,
        newest: found.newest_millis.map(age),
        segments: found.segments.len(),
        bytes: found.segments.iter().map(|segment| segment.end).sum(),
        damage,
        dropped,
        lost: lost_before,
        aside: found.leftovers.aside,
        attempts: attempts.into_iter().collect(),
    })
}
