use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that panics on command; what it panics on never reaches the sink that it wraps.
///
/// The panic unwinds with its message as a `String`, and prints nothing: it is planned.
///
/// # Examples
///
/// ```
/// use outflow::testing::Panicking;
/// use outflow::{CatchPanicError, Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// let sink = Panicking::at(delivered.clone(), 1).message("out of paper").catch_panic();
/// sink.write("push").unwrap();
/// let refused = sink.write("pull").unwrap_err();
/// assert_eq!(refused.error(), Some(&CatchPanicError::Panicked("out of paper".into())));
/// sink.write("mount").unwrap();
/// assert_eq!(delivered.events(), ["push", "mount"]);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Panicking<E, S> {
    sink: S,
    when: Box<When<E>>,
    message: String,
    writes: AtomicU64,
}

type When<E> = dyn Fn(u64, &E) -> bool + Send + Sync;

impl<E, S> Panicking<E, S> {
    /// Panics at one write, numbered from 0 in the order in which they begin.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Panicking;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = Panicking::at(sink::discard(), 1).catch_panic();
    /// let written: Vec<bool> = (0..3).map(|event| sink.write(event).is_ok()).collect();
    /// assert_eq!(written, [true, false, true]);
    /// ```
    pub fn at(sink: S, write: u64) -> Self {
        Self::when(sink, move |at, _| at == write)
    }

    /// Panics at every `n`-th write: with 3, at the third, the sixth and so on.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Panicking;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = Panicking::every(sink::discard(), 3).catch_panic();
    /// let written: Vec<bool> = (0..6).map(|event| sink.write(event).is_ok()).collect();
    /// assert_eq!(written, [true, true, false, true, true, false]);
    /// ```
    #[track_caller]
    pub fn every(sink: S, n: u64) -> Self {
        assert!(n > 0, "a panic at every 0th write: give at least 1");
        Self::when(sink, move |at, _| (at + 1) % n == 0)
    }

    /// Panics when `f` holds for the number of a write and its event.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Panicking;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = Panicking::when(sink::discard(), |_, event: &u32| *event > 9).catch_panic();
    /// assert!(sink.write(9).is_ok());
    /// assert!(sink.write(10).is_err());
    /// ```
    pub fn when<F>(sink: S, f: F) -> Self
    where
        F: Fn(u64, &E) -> bool + Send + Sync + 'static,
    {
        Self { sink, when: Box::new(f), message: "planned panic".to_owned(), writes: AtomicU64::new(0) }
    }

    /// What it panics with; "planned panic" if nothing else is said.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Panicking;
    /// use outflow::{CatchPanicError, Sink, SinkExt, sink};
    ///
    /// let sink = Panicking::at(sink::discard(), 0).message("out of paper").catch_panic();
    /// assert_eq!(sink.write(1).unwrap_err().error(), Some(&CatchPanicError::Panicked("out of paper".into())));
    /// ```
    pub fn message<M>(mut self, message: M) -> Self
    where
        M: Into<String>,
    {
        self.message = message.into();
        self
    }

    fn check(&self, event: &E) {
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        if (self.when)(write, event) {
            // Not `panic!`, whose hook would print it.
            resume_unwind(Box::new(self.message.clone()));
        }
    }
}

impl<E, S> Sink<E> for Panicking<E, S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    /// A closed sink refuses, and does not panic.
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(event));
        }
        self.check(&event);
        self.sink.write(event)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(()));
        }
        self.check(event);
        self.sink.write_ref(event)
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

impl<E, S: fmt::Debug> fmt::Debug for Panicking<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicking")
            .field("sink", &self.sink)
            .field("message", &self.message)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}
