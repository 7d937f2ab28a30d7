use parking_lot::Mutex;

/// The event of a writer at a rendezvous that is waking the reader: for a waker that polls on the writer's own thread,
/// where the writer cannot be found waiting.
pub(super) struct Offer<E>(Mutex<Slot<E>>);

struct Slot<E> {
    event: Option<E>,
    /// Whose event that is.
    offered: u64,
}

impl<E> Default for Offer<E> {
    fn default() -> Self {
        Self(Mutex::new(Slot { event: None, offered: 0 }))
    }
}

impl<E> Offer<E> {
    /// Gives the event back if it was not taken while `wake` ran, or if another writer's was there.
    pub(super) fn hand_over(&self, event: E, wake: impl FnOnce()) -> Option<E> {
        let mut slot = self.0.lock();
        if slot.event.is_some() {
            return Some(event);
        }
        slot.event = Some(event);
        slot.offered += 1;
        let own = slot.offered;
        drop(slot);
        wake();
        let mut slot = self.0.lock();
        if slot.offered == own { slot.event.take() } else { None }
    }

    pub(super) fn take(&self) -> Option<E> {
        self.0.lock().event.take()
    }
}
