use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The identity of an event in a test: its writer, and its number among that writer's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The number of the writer.
    pub writer: u64,
    /// The number of the event among those of its writer, from 0.
    pub sequence: u64,
}

impl Stamp {
    /// The stamp of event number `sequence` of this writer, counted from 0.
    pub fn new(writer: u64, sequence: u64) -> Self {
        Self { writer, sequence }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of writer {}", self.sequence, self.writer)
    }
}

/// The event that [`Conformance`](super::Conformance) writes. It has a [`Stamp`], is counted while it lives, and knows
/// whether it is a clone.
pub struct Probe {
    stamp: Stamp,
    copy: bool,
    census: Census,
}

/// How many probes of a trial are alive, clones included.
#[derive(Clone, Debug, Default)]
pub(super) struct Census(Arc<AtomicI64>);

impl Census {
    pub(super) fn alive(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Probe {
    pub(super) fn new(stamp: Stamp, census: &Census) -> Self {
        census.0.fetch_add(1, Ordering::SeqCst);
        Self { stamp, copy: false, census: census.clone() }
    }

    /// Its writer, and its number among that writer's events. [`Subject::delivers`](super::Subject::delivers) has an
    /// example.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether it is a clone, and not the value that the check made.
    pub fn is_copy(&self) -> bool {
        self.copy
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.stamp, &self.census);
        clone.copy = true;
        clone
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.census.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("stamp", &self.stamp).field("copy", &self.copy).finish_non_exhaustive()
    }
}
