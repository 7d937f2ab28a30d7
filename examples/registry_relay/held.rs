//! What an endpoint is being sent just now.

use std::sync::Arc;

use outflow::{Closing, Flushing, Sink, WriteError};
use parking_lot::Mutex;

use crate::envelope::Event;

/// The events in a write that has not come back, for who cannot wait for it. Clones share.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<Vec<Event>>>);

impl InHand {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().clone()
    }
}

/// Keeps in an [`InHand`] what is being written. For one writer at a time, as a queue's worker is.
pub(crate) struct Held<S> {
    sink: S,
    in_hand: InHand,
}

impl<S> Held<S> {
    pub(crate) fn new(sink: S, in_hand: &InHand) -> Self {
        Self { sink, in_hand: in_hand.clone() }
    }

    fn hold(&self, events: &[Event]) -> LetGo<'_> {
        *self.in_hand.0.lock() = events.to_vec();
        LetGo(&self.in_hand)
    }
}

impl<S> Sink<Vec<Event>> for Held<S>
where
    S: Sink<Vec<Event>>,
{
    type Error = S::Error;

    fn write(&self, events: Vec<Event>) -> Result<(), WriteError<Vec<Event>, S::Error>> {
        let _let_go = self.hold(&events);
        self.sink.write(events)
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

/// Also when the write panics.
struct LetGo<'a>(&'a InHand);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.0.lock().clear();
    }
}
