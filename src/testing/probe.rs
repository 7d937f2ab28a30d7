use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Who wrote an event, and the how manieth of its own it is: an event that can be told from every other.
///
/// # Examples
///
/// ```
/// use outflow::testing::Stamp;
///
/// assert!(Stamp::new(1, 2) < Stamp::new(1, 3));
/// assert_eq!(Stamp::new(1, 2).to_string(), "event 2 of writer 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Who wrote it.
    pub writer: u64,
    /// The number of the event among those of its writer, from 0.
    pub sequence: u64,
}

impl Stamp {
    /// The stamp of the event that is number `sequence`, from 0, of `writer`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Stamp;
    ///
    /// let stamp = Stamp::new(3, 0);
    /// assert_eq!((stamp.writer, stamp.sequence), (3, 0));
    /// ```
    pub fn new(writer: u64, sequence: u64) -> Self {
        Self { writer, sequence }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of writer {}", self.sequence, self.writer)
    }
}

/// The event that [`Conformance`](super::Conformance) writes: stamped, counted as long as it lives, and able
/// to tell whether it is the one that was made or a copy.
///
/// # Examples
///
/// ```
/// use outflow::SinkExt;
/// use outflow::testing::{Conformance, Downstream, Probe};
///
/// Conformance::new(|end: Downstream| end.filter(|probe: &Probe| !probe.is_copy())).run()?;
/// # Ok::<(), outflow::testing::Violation>(())
/// ```
pub struct Probe {
    stamp: Stamp,
    copy: bool,
    census: Census,
}

/// How many probes of a run are alive.
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

    /// Who wrote it, and the how manieth it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream, Probe, Subject};
    ///
    /// let even = |end: Downstream| {
    ///     Subject::new(end.filter(|probe: &Probe| probe.stamp().sequence % 2 == 0))
    ///         .delivers(|stamp| stamp.sequence % 2 == 0)
    /// };
    /// Conformance::of_subjects(even).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether it was cloned, from one that was made or from another copy.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream, Probe};
    ///
    /// // An event that is written by reference, and then owned, has been cloned.
    /// let queue = |end: Downstream| end.filter(|probe: &Probe| probe.is_copy() == (probe.stamp().sequence % 2 == 1)).queued();
    /// Conformance::new(queue).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
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
