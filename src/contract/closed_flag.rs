use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a sink was closed.
#[derive(Default)]
pub(crate) struct ClosedFlag(AtomicBool);

impl ClosedFlag {
    pub(crate) fn set(&self) {
        // Release: pairs with the acquire of `is_set`.
        self.0.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl fmt::Debug for ClosedFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.is_set().fmt(f)
    }
}
