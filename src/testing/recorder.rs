use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Stamp;
use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A reliable sink that keeps every event and checks each writer's order: it finds events that are out of order,
/// repeated or missing, and writes after the close. Clones share one record.
///
/// # Examples
///
/// ```
/// use outflow::testing::{Recorder, Stamp};
/// use outflow::{Sink, SinkExt};
///
/// let recorder = Recorder::new();
/// let queue = recorder.clone().queued();
/// std::thread::scope(|scope| {
///     for writer in 0..4 {
///         let queue = &queue;
///         scope.spawn(move || queue.write_all((0..100).map(|n| Stamp::new(writer, n))).unwrap());
///     }
/// });
/// queue.close().wait()?;
/// recorder.assert_complete(4, 100);
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub struct Recorder<E = Stamp> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    key: Box<dyn Fn(&E) -> Stamp + Send + Sync>,
    record: Mutex<Record<E>>,
}

struct Record<E> {
    events: Vec<(Stamp, E)>,
    closed: bool,
    late: Vec<Stamp>,
}

/// What a [`Recorder`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Irregularity {
    /// It came after a later event of its writer.
    #[error("{late} came after {after}")]
    OutOfOrder {
        /// The event that came too late.
        late: Stamp,
        /// The event that it should have preceded.
        after: Stamp,
    },
    /// It came more than once. Reported once for each repetition.
    #[error("{0} came again")]
    Repeated(Stamp),
    /// It did not come, though a later event of its writer did.
    #[error("{0} is missing")]
    Missing(Stamp),
    /// It was written after the close, and refused.
    #[error("{0} was written after the close")]
    Late(Stamp),
}

impl Recorder<Stamp> {
    /// Makes a recorder of plain stamps.
    pub fn new() -> Self {
        Self::keyed(|stamp: &Stamp| *stamp)
    }
}

impl Default for Recorder<Stamp> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Recorder<E> {
    /// Makes a recorder of events of any type; `key` returns the stamp of an event.
    /// [`irregularities`](Recorder::irregularities) has an example.
    pub fn keyed<F>(key: F) -> Self
    where
        F: Fn(&E) -> Stamp + Send + Sync + 'static,
    {
        let record = Record { events: Vec::new(), closed: false, late: Vec::new() };
        Self { shared: Arc::new(Shared { key: Box::new(key), record: Mutex::new(record) }) }
    }

    /// A copy of the events, in the order in which they came.
    ///
    /// Each is cloned while the recorder is locked: writers wait meanwhile, and an event whose `clone` calls
    /// the recorder deadlocks. [`stamps`](Recorder::stamps) clones no event.
    pub fn events(&self) -> Vec<E>
    where
        E: Clone,
    {
        self.shared.record.lock().events.iter().map(|(_, event)| event.clone()).collect()
    }

    /// The stamps of the events, in the order in which they came.
    pub fn stamps(&self) -> Vec<Stamp> {
        self.shared.record.lock().events.iter().map(|(stamp, _)| *stamp).collect()
    }

    /// How many events have come.
    pub fn len(&self) -> usize {
        self.shared.record.lock().events.len()
    }

    /// Whether no event has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that is wrong: first events out of order or repeated, in the order in which they came, then missing
    /// ones (at most 1,000 of a writer), then writes after the close.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Irregularity, Recorder, Stamp};
    /// use outflow::{Sink, SinkExt};
    ///
    /// // Events of your own, which are numbers here.
    /// let of = |number| Stamp::new(0, number);
    /// let recorder = Recorder::keyed(move |number: &u64| of(*number));
    /// recorder.write_all([0, 2, 1, 2]).unwrap();
    /// recorder.close().wait()?;
    /// assert!(recorder.write(3).is_err());
    /// assert_eq!(
    ///     recorder.irregularities(),
    ///     [
    ///         Irregularity::OutOfOrder { late: of(1), after: of(2) },
    ///         Irregularity::Repeated(of(2)),
    ///         Irregularity::Late(of(3)),
    ///     ],
    /// );
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn irregularities(&self) -> Vec<Irregularity> {
        let stamps = self.stamps();
        let mut found = irregularities(&stamps);
        found.extend(self.shared.record.lock().late.iter().copied().map(Irregularity::Late));
        found
    }

    /// Checks that each writer's events came in order, none twice and none after the close. Some may be
    /// missing: for a buffer that evicts.
    ///
    /// # Panics
    ///
    /// If not, with a list of what is wrong.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let mut found = self.irregularities();
        found.retain(|irregularity| !matches!(irregularity, Irregularity::Missing(_)));
        assert!(found.is_empty(), "{}", list(&found));
    }

    /// Checks that the events are exactly the first `each` of the first `writers` writers, each writer's in
    /// order and none after the close.
    ///
    /// # Panics
    ///
    /// If not, with a list of what is wrong.
    #[track_caller]
    pub fn assert_complete(&self, writers: u64, each: u64) {
        let mut found = self.irregularities();
        let came: BTreeSet<Stamp> = self.stamps().into_iter().collect();
        let expected = (0..writers).flat_map(|writer| (0..each).map(move |n| Stamp::new(writer, n)));
        let missing: Vec<_> = expected.filter(|stamp| !came.contains(stamp)).collect();
        found.retain(|irregularity| !matches!(irregularity, Irregularity::Missing(_)));
        found.extend(missing.into_iter().map(Irregularity::Missing));
        assert!(found.is_empty(), "{}", list(&found));
        let unknown = came.iter().find(|stamp| stamp.writer >= writers || stamp.sequence >= each);
        assert!(unknown.is_none(), "{} came, and is none of them", list(unknown));
    }
}

fn irregularities(stamps: &[Stamp]) -> Vec<Irregularity> {
    let mut found = Vec::new();
    let mut of_writers: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for stamp in stamps {
        let seen = of_writers.entry(stamp.writer).or_default();
        let last = seen.last().copied();
        if !seen.insert(stamp.sequence) {
            found.push(Irregularity::Repeated(*stamp));
        } else if let Some(last) = last.filter(|last| *last > stamp.sequence) {
            found.push(Irregularity::OutOfOrder { late: *stamp, after: Stamp::new(stamp.writer, last) });
        }
    }
    for (writer, seen) in of_writers {
        let missing = seen.iter().zip(seen.iter().skip(1)).flat_map(|(one, next)| one + 1..*next);
        let before = 0..seen.first().copied().unwrap_or(0);
        let missing = before.chain(missing).take(1000);
        found.extend(missing.map(|n| Irregularity::Missing(Stamp::new(writer, n))));
    }
    found
}

/// The first ten.
fn list<'a, T, I>(found: I) -> String
where
    T: fmt::Display + 'a,
    I: IntoIterator<Item = &'a T>,
{
    let mut found = found.into_iter();
    let shown: Vec<String> = found.by_ref().take(10).map(ToString::to_string).collect();
    match found.count() {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

impl<E> Sink<E> for Recorder<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        // Before the lock is taken, since the key is a user's code.
        let stamp = (self.shared.key)(&event);
        let mut record = self.shared.record.lock();
        if record.closed {
            record.late.push(stamp);
            return Err(WriteError::Closed(event));
        }
        record.events.push((stamp, event));
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.shared.record.lock().closed = true;
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.shared.record.lock().closed
    }
}

impl<E> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for Recorder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.shared.record.lock();
        f.debug_struct("Recorder")
            .field("len", &record.events.len())
            .field("closed", &record.closed)
            .field("late", &record.late.len())
            .finish_non_exhaustive()
    }
}
