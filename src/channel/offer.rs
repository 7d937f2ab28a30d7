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
    /// Offers the event, and says as which one; gives it back if another writer's is there.
    pub(super) fn put(&self, event: E) -> Result<u64, E> {
        let mut slot = self.0.lock();
        if slot.event.is_some() {
            return Err(event);
        }
        slot.event = Some(event);
        slot.offered += 1;
        Ok(slot.offered)
    }

    /// Takes back what was offered as this one, unless the reader has it.
    pub(super) fn take_back(&self, offered: u64) -> Option<E> {
        let mut slot = self.0.lock();
        if slot.offered == offered { slot.event.take() } else { None }
    }

    pub(super) fn take(&self) -> Option<E> {
        self.0.lock().event.take()
    }
}
