use std::convert::Infallible;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

/// A signal that is raised once and for good, and wakes every `select` on it.
pub(crate) struct Stop {
    /// Dropped to raise it: `raised` disconnects.
    keeper: Mutex<Option<Sender<Infallible>>>,
    /// Ready when it is raised.
    pub(crate) raised: Receiver<Infallible>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        let (keeper, raised) = crossbeam_channel::bounded(0);
        Self { keeper: Mutex::new(Some(keeper)), raised }
    }

    pub(crate) fn raise(&self) {
        let keeper = self.keeper.lock().take();
        drop(keeper);
    }
}
