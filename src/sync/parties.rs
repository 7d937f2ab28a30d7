use std::sync::atomic::{AtomicUsize, Ordering};

/// Those that may still do something to what is about to end. The last to leave ends it.
#[derive(Debug)]
pub(crate) struct Parties(AtomicUsize);

impl Parties {
    pub(crate) fn new(parties: usize) -> Self {
        Self(AtomicUsize::new(parties))
    }

    /// Joins, unless all have left.
    pub(crate) fn join(&self) -> bool {
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |parties| (parties > 0).then(|| parties + 1))
            .is_ok()
    }

    /// Leaves. Whether this was the last.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether all have left.
    #[cfg(feature = "metrics")]
    pub(crate) fn are_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}
