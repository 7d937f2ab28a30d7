//! How far a reader may be behind, as the log sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is done about a reader that is too far behind.
#[derive(Clone)]
pub(super) enum Bound {
    /// Nothing: everything from its position on is kept.
    None,
    /// Writers wait for it.
    Block(Arc<LagGate>),
    /// It skips to within so many events of the end.
    Skip(u64),
    /// It is closed.
    Close(u64),
}

/// The position of a reader for which writers wait.
pub(super) struct LagGate {
    position: AtomicU64,
    max_lag: u64,
}

impl Bound {
    /// How far behind the reader may be before the log moves on without it.
    #[inline]
    pub(super) fn window(&self) -> Option<u64> {
        match self {
            Self::Skip(window) | Self::Close(window) => Some(*window),
            Self::None | Self::Block(_) => None,
        }
    }
}

impl LagGate {
    pub(super) fn new(max_lag: u64) -> Arc<Self> {
        Arc::new(Self { position: AtomicU64::new(0), max_lag })
    }

    /// The reader has come to `position`.
    #[inline]
    pub(super) fn move_to(&self, position: u64) {
        // The position only grows: a write to a sink that returns after `open` does not shut the gate again.
        // Sequentially consistent: see `Shared::wait_for_room`.
        self.position.fetch_max(position, Ordering::SeqCst);
    }

    /// The reader has gone: nothing waits for it any more.
    pub(super) fn open(&self) {
        self.move_to(u64::MAX);
    }

    /// The first event that has to wait.
    pub(super) fn limit(&self) -> u64 {
        self.position.load(Ordering::SeqCst).saturating_add(self.max_lag)
    }
}
