//! The sinks of a broadcaster and the followers of a log that ended before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::closing::Closing;
use super::completion::Outcome;
use super::error::CloseError;
use super::maybe_done::join;
use crate::sync::{Label, SinkId};

/// How many are kept by name; those before are counted.
const KEPT: usize = 64;

/// A sink that was removed because it answered `Closed`: see [`Broadcaster::ended`](crate::Broadcaster::ended).
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, CloseError, Sink, sink};
///
/// let broadcaster = Broadcaster::new();
/// let log = sink::collector();
/// let id = broadcaster.add(log.clone())?;
/// log.close().wait().unwrap();
/// broadcaster.write("refused").unwrap();
///
/// let ended = &broadcaster.ended().recent[0];
/// assert_eq!(ended.id, id);
/// assert!(matches!(ended.error, Some(CloseError::DownstreamClosed { events: 1 })));
/// # Ok::<(), outflow::AddError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndedSink {
    /// Which sink.
    pub id: SinkId,
    /// What it was called when it was added, if anything.
    pub name: Option<Arc<str>>,
    /// What was not delivered for it, as far as is known by now.
    pub error: Option<CloseError>,
}

/// The sinks of a broadcaster that were removed because they answered `Closed`.
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, Sink, sink};
///
/// let broadcaster = Broadcaster::new();
/// let log = sink::collector();
/// broadcaster.add(log.clone())?;
/// log.close().wait().unwrap();
/// broadcaster.write("refused").unwrap();
///
/// let ended = broadcaster.ended();
/// assert_eq!((ended.count, ended.undelivered, ended.recent.len()), (1, 1, 1));
/// # Ok::<(), outflow::AddError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ended {
    /// The last 64, oldest first.
    pub recent: Vec<EndedSink>,
    /// How many there were in all.
    pub count: u64,
    /// How many events all of them did not deliver, as far as is known by now.
    pub undelivered: u64,
}

/// What a sink refused, counted by the writes that found out.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Whether it answered `Closed` at all.
    ended: AtomicBool,
    /// Events that it answered `Closed` to, and wanted.
    refused: AtomicU64,
}

impl Refusals {
    /// The sink answered `Closed` to an event. Whether it did so for the first time.
    pub(crate) fn add(&self, wanted: bool) -> bool {
        self.refused.fetch_add(u64::from(wanted), Ordering::SeqCst);
        !self.ended.swap(true, Ordering::SeqCst)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A sink's own outcome, and what it refused.
    pub(crate) fn join(&self, own: Outcome) -> Outcome {
        match self.refused.load(Ordering::SeqCst) {
            0 => own,
            events => join([own, Err(CloseError::DownstreamClosed { events })]),
        }
    }
}

/// A sink that is being closed, or was.
#[derive(Clone)]
pub(crate) struct EndedEntry {
    pub(crate) label: Label,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) closing: Closing,
}

impl EndedEntry {
    /// What it refused or did not deliver, as far as is known by now.
    fn error(&self) -> Option<CloseError> {
        self.refusals.join(self.closing.0.outcome().unwrap_or(Ok(()))).err()
    }

    /// `None` if it neither ended by itself nor has an error, as a sink that had only to be drained.
    fn ended(&self) -> Option<EndedSink> {
        let error = self.error();
        if error.is_none() && !self.refusals.has_ended() {
            return None;
        }
        let Label { id, name } = self.label.clone();
        Some(EndedSink { id, name, error })
    }

    fn is_clean(&self) -> bool {
        self.closing.is_done() && self.ended().is_none()
    }

    /// Whether nothing about it changes any more: it is closed, and in no list of a write under way.
    fn is_finished(&self) -> bool {
        self.closing.is_done() && Arc::strong_count(&self.refusals) == 1
    }
}

/// Sinks that have ended: the last ones, and of those before the ones that still drain, by name.
#[derive(Default)]
pub(crate) struct EndedSinks {
    /// Oldest first.
    recent: VecDeque<EndedEntry>,
    before: Vec<EndedEntry>,
    /// How long `before` may become before those that are finished are removed.
    prune_at: usize,
    /// Those that were removed: how many had an error, what they refused or did not deliver, and the latter alone.
    older: u64,
    older_undelivered: u64,
    older_own: u64,
}

impl EndedSinks {
    /// Returns those that are kept no longer, to be dropped without a lock.
    #[must_use]
    pub(crate) fn push(&mut self, entry: EndedEntry) -> Vec<EndedEntry> {
        let recent = std::mem::take(&mut self.recent);
        let (mut finished, kept): (Vec<_>, Vec<_>) = recent.into_iter().partition(EndedEntry::is_clean);
        self.recent = kept.into();
        self.recent.push_back(entry);
        if self.recent.len() <= KEPT {
            return finished;
        }
        self.before.extend(self.recent.pop_front());
        if self.before.len() <= self.prune_at {
            return finished;
        }
        let (removed, draining): (Vec<_>, Vec<_>) = self.before.drain(..).partition(EndedEntry::is_finished);
        self.before = draining;
        self.prune_at = 2 * self.before.len();
        for ended in removed.iter().filter_map(EndedEntry::ended) {
            self.older += 1;
            self.older_undelivered += ended.error.map_or(0, |error| error.undelivered());
        }
        let own = removed.iter().filter_map(|entry| entry.closing.0.outcome()?.err());
        self.older_own += own.map(|error| error.undelivered()).sum::<u64>();
        finished.extend(removed);
        finished
    }

    /// Those that are kept by name, and how many events that they had accepted the others did not deliver.
    pub(crate) fn all(&self) -> (Vec<EndedEntry>, u64) {
        (self.before.iter().chain(&self.recent).cloned().collect(), self.older_own)
    }

    /// Those that still drain.
    pub(crate) fn draining(&self) -> Vec<EndedEntry> {
        self.before.iter().chain(&self.recent).filter(|entry| !entry.closing.is_done()).cloned().collect()
    }

    pub(crate) fn list(&self) -> Ended {
        let kept = self.before.iter().chain(&self.recent);
        let ended: Vec<_> = kept.filter_map(EndedEntry::ended).collect();
        let undelivered: u64 = ended.iter().flat_map(|sink| &sink.error).map(CloseError::undelivered).sum();
        let named = ended.len();
        Ended {
            recent: ended.into_iter().skip(named.saturating_sub(KEPT)).collect(),
            count: self.older + named as u64,
            undelivered: self.older_undelivered + undelivered,
        }
    }
}
