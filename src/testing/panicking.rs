use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// A sink that panics on command. A write that panics does not reach the sink that it wraps.
///
/// The panic's payload is its message, a `String`. The panic hook is not called, so that nothing is printed.
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
    /// Panics at the write of this number. Writes are numbered from 0 in the order in which they begin.
    pub fn at(sink: S, write: u64) -> Self {
        Self::when(sink, move |at, _| at == write)
    }

    /// Panics at every `n`-th write: with 3, at the third, the sixth and so on.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    #[track_caller]
    pub fn every(sink: S, n: u64) -> Self {
        assert!(n > 0, "a panic at every 0th write: give at least 1");
        Self::when(sink, move |at, _| (at + 1) % n == 0)
    }

    /// Panics when `f`, called with the number of a write and its event, returns `true`.
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

    /// Sets the message of the panic. Default: "planned panic".
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

    /// A write that the closed sink refuses is not counted, and does not panic.
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

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Panicking<E, S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    /// As that of the `Sink`. It panics in a poll.
    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(event));
        }
        self.check(&event);
        self.sink.write(event).await
    }

    delegate!(sink: flush, close, is_closed, wants);
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
