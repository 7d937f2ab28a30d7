//! The sinks of a broadcaster and the followers of a log that ended before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lifecycle::Closing;
use crate::lifecycle::completion::Outcome;
use crate::lifecycle::{CloseError, join};
use crate::sync::SinkId;

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
/// log.close();
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
/// log.close();
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

/// What became of a sink, as those know who write to it.
#[derive(Default)]
pub(crate) struct Record {
    /// Events that it answered `Closed` to.
    refused: AtomicU64,
}

impl Record {
    /// The sink answered `Closed`. Whether it did so for the first time.
    pub(crate) fn refuse(&self) -> bool {
        self.refused.fetch_add(1, Ordering::SeqCst) == 0
    }

    /// A sink's own outcome, and what it refused.
    fn outcome(&self, own: Outcome<CloseError>) -> Outcome<CloseError> {
        match self.refused.load(Ordering::SeqCst) {
            0 => own,
            events => join([own, Err(CloseError::DownstreamClosed { events })]),
        }
    }
}

/// A sink that is being closed, or was.
#[derive(Clone)]
pub(crate) struct One {
    pub(crate) id: SinkId,
    pub(crate) record: Arc<Record>,
    pub(crate) closing: Closing,
}

impl One {
    /// What it did not deliver, as far as is known by now.
    fn error(&self) -> Option<CloseError> {
        self.record.outcome(self.closing.0.outcome().unwrap_or(Ok(()))).err()
    }

    /// Whether it has turned out that there is nothing to tell of it, as of a sink that had only to be drained.
    fn is_clean(&self) -> bool {
        self.closing.is_done() && self.error().is_none()
    }

    /// Whether nothing about it changes any more: it is closed, and nobody holds a list that it stands in.
    fn is_through(&mut self) -> bool {
        self.closing.is_done() && Arc::get_mut(&mut self.record).is_some()
    }

    /// Through when its close is. It counts what it has refused by then, and names it.
    pub(crate) fn closing(&self) -> Closing {
        let record = Arc::clone(&self.record);
        self.closing.map(move |own| record.outcome(own)).of_sink(self.id)
    }
}

/// They have ended: the last ones, and of those before the ones that are still draining, by name.
#[derive(Default)]
pub(crate) struct EndedSinks {
    /// Oldest first.
    recent: VecDeque<One>,
    before: Vec<One>,
    /// How long `before` may become before it is looked through again, so that this is paid for by the pushes.
    look_at: usize,
    older: u64,
    older_undelivered: u64,
}

impl EndedSinks {
    /// Answers those that are kept no longer, to be dropped without a lock.
    #[must_use]
    pub(crate) fn push(&mut self, one: One) -> Vec<One> {
        let recent = std::mem::take(&mut self.recent);
        let (mut through, told): (Vec<_>, Vec<_>) = recent.into_iter().partition(One::is_clean);
        self.recent = told.into();
        self.recent.push_back(one);
        if self.recent.len() <= KEPT {
            return through;
        }
        self.before.extend(self.recent.pop_front());
        if self.before.len() <= self.look_at {
            return through;
        }
        let mut draining = Vec::new();
        for mut one in self.before.drain(..) {
            if one.is_through() { through.push(one) } else { draining.push(one) }
        }
        self.before = draining;
        self.look_at = 2 * self.before.len();
        let errors: Vec<_> = through.iter().filter_map(One::error).collect();
        self.older += errors.len() as u64;
        self.older_undelivered += errors.iter().map(CloseError::undelivered).sum::<u64>();
        through
    }

    /// Those that are kept by name, and how many events the others did not deliver.
    pub(crate) fn all(&self) -> (Vec<One>, u64) {
        (self.before.iter().chain(&self.recent).cloned().collect(), self.older_undelivered)
    }

    pub(crate) fn list(&self) -> Ended {
        let errors: Vec<_> = self
            .before
            .iter()
            .chain(&self.recent)
            .filter_map(|one| Some(EndedSink { id: one.id, error: Some(one.error()?) }))
            .collect();
        let undelivered: u64 = errors.iter().flat_map(|sink| &sink.error).map(CloseError::undelivered).sum();
        let named = errors.len();
        Ended {
            recent: errors.into_iter().skip(named.saturating_sub(KEPT)).collect(),
            count: self.older + named as u64,
            undelivered: self.older_undelivered + undelivered,
        }
    }
}
