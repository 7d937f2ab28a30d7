//! Where a batch goes that an endpoint has refused.

use std::io;
use std::sync::Arc;

use outflow::{Closing, DeadLetter, Flushing, Sink, WriteError};

use crate::books::{Books, PostError};
use crate::envelope::Event;

/// Tries the events of a batch each alone when the endpoint has refused them together: it may mean only one
/// of them.
pub(crate) struct OneByOne<S> {
    alone: S,
    books: Arc<Books>,
}

impl<S> OneByOne<S> {
    /// `alone` accounts for the event that it is given, or fails.
    pub(crate) fn new(alone: S, books: &Arc<Books>) -> Self {
        Self { alone, books: Arc::clone(books) }
    }
}

impl<S> Sink<DeadLetter<Vec<Event>, PostError>> for OneByOne<S>
where
    S: Sink<Vec<Event>, Error = io::Error>,
{
    type Error = io::Error;

    fn write(
        &self,
        letter: DeadLetter<Vec<Event>, PostError>,
    ) -> Result<(), WriteError<DeadLetter<Vec<Event>, PostError>, io::Error>> {
        let DeadLetter { event: mut events, error } = letter;
        if let [event] = &events[..] {
            return match self.books.refuse(event, &error) {
                Ok(()) => Ok(()),
                Err(why) => Err(WriteError::failed(DeadLetter { event: events, error }, why)),
            };
        }
        for next in 0..events.len() {
            if let Err(refused) = self.alone.write(vec![Arc::clone(&events[next])]) {
                // What comes back is the rest, in order: what is in hand.
                events.drain(..next);
                return Err(refused.map_event(|_| DeadLetter { event: events, error }));
            }
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.alone.flush()
    }

    fn close(&self) -> Closing {
        self.alone.close()
    }

    fn is_closed(&self) -> bool {
        self.alone.is_closed()
    }
}
