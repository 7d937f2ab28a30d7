#[cfg(feature = "futures")]
use std::sync::{Arc, Weak};
#[cfg(feature = "futures")]
use std::task::Waker;

#[cfg(feature = "futures")]
use parking_lot::Mutex;

#[cfg(feature = "futures")]
use crate::sync::caught::{drop_caught, wake_caught};

/// The task that awaits one `Closing` or `Flushing`. A clone is awaited by a task of its own, and what is
/// dropped is awaited by none.
#[derive(Default)]
pub(crate) struct Task {
    #[cfg(feature = "futures")]
    slot: Option<Arc<Slot>>,
}

impl Clone for Task {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(feature = "futures")]
type Slot = Mutex<Option<Waker>>;

#[cfg(feature = "futures")]
impl Task {
    /// The outcome is known: the task need not be kept for it.
    pub(super) fn forget(&mut self) {
        let waker = self.slot.take().and_then(|slot| slot.lock().take());
        drop_caught(waker);
    }

    /// Has `waker` woken, and no other. Returns the slot if this is the first: `Sleepers` has to know it.
    pub(super) fn sleep(&mut self, waker: &Waker) -> Option<Weak<Slot>> {
        let (slot, first) = match &self.slot {
            Some(slot) => (slot, false),
            None => (&*self.slot.insert(Arc::default()), true),
        };
        let same = slot.lock().as_ref().is_some_and(|waiting| waiting.will_wake(waker));
        if !same {
            // Cloned and dropped without the lock: both are an executor's code.
            let new = waker.clone();
            let old = slot.lock().replace(new);
            drop(old);
        }
        first.then(|| Arc::downgrade(slot))
    }
}

/// The tasks that wait for an outcome.
#[cfg(feature = "futures")]
#[derive(Default)]
pub(super) struct Sleepers {
    slots: Vec<Weak<Slot>>,
    /// How many there may be before those that are gone are removed.
    prune_at: usize,
}

#[cfg(feature = "futures")]
impl Sleepers {
    pub(super) fn add(&mut self, slot: Weak<Slot>) {
        const FEW: usize = 16;

        if self.slots.len() >= self.prune_at.max(FEW) {
            self.slots.retain(|slot| slot.strong_count() > 0);
            self.prune_at = 2 * self.slots.len();
        }
        self.slots.push(slot);
    }

    pub(super) fn wake(self) {
        for slot in self.slots.iter().filter_map(Weak::upgrade) {
            let waker = slot.lock().take();
            waker.into_iter().for_each(wake_caught);
        }
    }
}
