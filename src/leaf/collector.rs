use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::{ClosedFlag, Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that keeps every event. Made by [`collector`]; clones share the events.
pub struct Collector<E> {
    kept: Arc<Kept<E>>,
}

struct Kept<E> {
    events: Mutex<Vec<E>>,
    closed: ClosedFlag,
}

/// Makes a reliable sink that keeps every event, for tests and small jobs: it grows without a bound. Writers
/// wait for each other for as long as a push takes. `write_ref` clones the event, unless the sink is closed.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, sink};
///
/// let collector = sink::collector();
/// collector.write("push").unwrap();
/// assert_eq!(collector.events(), ["push"]);
/// assert_eq!(collector.take(), ["push"]);
/// assert!(collector.is_empty());
/// ```
pub fn collector<E>() -> Collector<E> {
    Collector::default()
}

impl<E> Collector<E> {
    /// A copy of the events, in the order in which they were written. They are cloned under the collector's
    /// lock: a `clone` of an event that uses the collector deadlocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, sink};
    ///
    /// let collector = sink::collector();
    /// collector.write(1).unwrap();
    /// assert_eq!(collector.events(), [1]);
    /// assert_eq!(collector.events(), [1], "they stay where they are");
    /// ```
    pub fn events(&self) -> Vec<E>
    where
        E: Clone,
    {
        self.kept.events.lock().clone()
    }

    /// Takes the events out, in the order in which they were written.
    pub fn take(&self) -> Vec<E> {
        std::mem::take(&mut *self.kept.events.lock())
    }

    /// How many events it keeps now.
    pub fn len(&self) -> usize {
        self.kept.events.lock().len()
    }

    /// Whether it keeps no event now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Sink<E> for Collector<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let mut events = self.kept.events.lock();
        if self.kept.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        events.push(event);
        Ok(())
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        if self.is_closed() {
            return Err(WriteError::Closed(()));
        }
        // Cloned before the lock is taken, since a user's `clone` may use the collector.
        self.write(event.clone()).map_err(|refused| refused.map_event(drop))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        // Under the lock, so that nothing is added once this has returned.
        let _events = self.kept.events.lock();
        self.kept.closed.set();
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.kept.closed.is_set()
    }
}

impl<E> Default for Collector<E> {
    /// As [`collector`] makes it: with no events.
    fn default() -> Self {
        Self { kept: Arc::new(Kept { events: Mutex::default(), closed: ClosedFlag::default() }) }
    }
}

impl<E> Clone for Collector<E> {
    fn clone(&self) -> Self {
        Self { kept: Arc::clone(&self.kept) }
    }
}

impl<E> fmt::Debug for Collector<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("len", &self.len()).field("closed", &self.kept.closed).finish()
    }
}
