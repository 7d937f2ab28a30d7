use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that keeps every event. Made by [`collector`]; clones share the events.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, sink};
///
/// let collector = sink::collector();
/// collector.write(1).unwrap();
/// let same = collector.clone();
/// assert_eq!(same.take(), [1]);
/// assert!(collector.is_empty());
/// ```
pub struct Collector<E> {
    kept: Arc<Mutex<Kept<E>>>,
}

struct Kept<E> {
    events: Vec<E>,
    closed: bool,
}

/// Makes a reliable sink that keeps every event, for tests and small jobs; memory is the bound. Writers wait
/// for each other, as long as a push takes. `write_ref` clones, unless the sink is closed.
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
    Collector { kept: Arc::new(Mutex::new(Kept { events: Vec::new(), closed: false })) }
}

impl<E> Collector<E> {
    /// A copy of the events, in the order in which they were written. They are cloned under the collector's
    /// lock, so a `clone` that calls the collector waits for itself.
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
        self.kept.lock().events.clone()
    }

    /// Takes the events out.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, sink};
    ///
    /// let collector = sink::collector();
    /// collector.write(1).unwrap();
    /// assert_eq!(collector.take(), [1]);
    /// assert!(collector.take().is_empty());
    /// ```
    pub fn take(&self) -> Vec<E> {
        std::mem::take(&mut self.kept.lock().events)
    }

    /// How many events there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, sink};
    ///
    /// let collector = sink::collector();
    /// collector.write(1).unwrap();
    /// assert_eq!(collector.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.kept.lock().events.len()
    }

    /// Whether there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, sink};
    ///
    /// let collector = sink::collector();
    /// collector.write(1).unwrap();
    /// assert!(!collector.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Sink<E> for Collector<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let mut kept = self.kept.lock();
        if kept.closed {
            return Err(WriteError::Closed(event));
        }
        kept.events.push(event);
        Ok(())
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        if self.is_closed() {
            return Err(WriteError::Closed(()));
        }
        // Cloned before the lock is taken: `clone` is a user's.
        self.write(event.clone()).map_err(|refused| refused.map_event(drop))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.kept.lock().closed = true;
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.kept.lock().closed
    }
}

impl<E> Clone for Collector<E> {
    fn clone(&self) -> Self {
        Self { kept: Arc::clone(&self.kept) }
    }
}

impl<E> fmt::Debug for Collector<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.lock();
        f.debug_struct("Collector").field("len", &kept.events.len()).field("closed", &kept.closed).finish()
    }
}
