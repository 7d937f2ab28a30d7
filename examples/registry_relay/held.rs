//! What an endpoint is being sent just now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use outflow::{Closing, Flushing, Sink, WriteError};
use parking_lot::Mutex;

use crate::books::Books;
use crate::envelope::Event;

/// The events in a write that has not come back, in order.
///
/// Who takes an event out of it accounts for it: the write, once the endpoint has it or does not want it, or
/// who cannot wait for the write. So nobody accounts for one twice.
#[derive(Default)]
pub(crate) struct InHand(Mutex<Hand>);

#[derive(Default)]
struct Hand {
    held: VecDeque<Event>,
    /// Those that were taken from the write, and may still come back with it.
    taken: VecDeque<Event>,
}

impl InHand {
    fn hold(&self, events: &[Event]) {
        self.0.lock().held = events.iter().cloned().collect();
    }

    /// The write accounts for the first `events` of them. Answers for how many: none, if they were taken from it.
    pub(crate) fn let_go(&self, events: usize) -> u64 {
        let held = &mut self.0.lock().held;
        held.drain(..events.min(held.len())).len() as u64
    }

    /// As [`let_go`](InHand::let_go) of the first, if `account` can account for it; not called if it was taken.
    pub(crate) fn let_go_if<X>(&self, account: impl FnOnce() -> Result<(), X>) -> Result<(), X> {
        // Under the lock, so that it is not taken meanwhile.
        let held = &mut self.0.lock().held;
        if !held.is_empty() {
            account()?;
            held.pop_front();
        }
        Ok(())
    }

    /// Takes them from the write.
    pub(crate) fn take(&self) -> Vec<Event> {
        let Hand { held, taken } = &mut *self.0.lock();
        taken.extend(held.iter().cloned());
        held.drain(..).collect()
    }

    /// Whether this event, which has come back with its write, was taken from it.
    pub(crate) fn was_taken(&self, event: &Event) -> bool {
        let taken = &mut self.0.lock().taken;
        // They come back in order, but for those that arrived after all.
        let place = taken.iter().position(|taken| Arc::ptr_eq(taken, event));
        place.inspect(|place| _ = taken.drain(..=*place)).is_some()
    }
}

/// Has in hand what is being written. For one writer at a time, as a queue's worker is.
pub(crate) struct Held<S> {
    sink: S,
    books: Arc<Books>,
}

impl<S> Held<S> {
    pub(crate) fn new(sink: S, books: &Arc<Books>) -> Self {
        Self { sink, books: Arc::clone(books) }
    }
}

impl<S> Sink<Vec<Event>> for Held<S>
where
    S: Sink<Vec<Event>>,
{
    type Error = S::Error;

    fn write(&self, events: Vec<Event>) -> Result<(), WriteError<Vec<Event>, S::Error>> {
        self.books.in_hand.hold(&events);
        let _let_go = LetGo(&self.books);
        self.sink.write(events).inspect_err(|_| self.books.end())
    }

    fn flush(&self) -> Flushing {
        self.books.flush(self.sink.flush())
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

/// What comes back is its queue's to account for; what a panic leaves, nobody's but ours.
struct LetGo<'a>(&'a Books);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
            self.0.leave_in_hand("the relay panicked while it was being posted: it may have arrived");
        } else {
            self.0.in_hand.let_go(usize::MAX);
        }
    }
}

/// Counts what the endpoint has taken, and lets go of it.
pub(crate) struct Counted<S> {
    sink: S,
    books: Arc<Books>,
}

impl<S> Counted<S> {
    pub(crate) fn new(sink: S, books: &Arc<Books>) -> Self {
        Self { sink, books: Arc::clone(books) }
    }
}

impl<S> Sink<Vec<Event>> for Counted<S>
where
    S: Sink<Vec<Event>>,
{
    type Error = S::Error;

    fn write(&self, events: Vec<Event>) -> Result<(), WriteError<Vec<Event>, S::Error>> {
        let count = events.len();
        self.sink.write(events)?;
        self.books.deliver(count);
        Ok(())
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
