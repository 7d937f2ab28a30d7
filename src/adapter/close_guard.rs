use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use crate::lifecycle::{CloseError, Closing, close_caught};

/// Closes a sink when dropped, and waits. Made by [`close_on_drop`](crate::SinkExt::close_on_drop), for
/// `main`.
///
/// It dereferences to the sink. The drop begins the close, waits at most the time given and then aborts;
/// what was not delivered goes to [`on_error`](CloseGuard::on_error), or is returned by
/// [`close`](CloseGuard::close). A panic of the sink's `close` is such an error, and goes no further.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// {
///     let queue = delivered
///         .clone()
///         .queued()
///         .close_on_drop(Duration::from_secs(5))
///         .on_error(|error| eprintln!("not everything was delivered: {error}"));
///     queue.write("pushed").unwrap();
/// }
/// assert_eq!(delivered.events(), ["pushed"]);
/// ```
#[must_use = "dropping it closes the sink"]
pub struct CloseGuard<S, E> {
    sink: S,
    /// `close` of its face, a `Sink` or an `AsyncSink`.
    close: fn(&S) -> Closing,
    timeout: Duration,
    on_error: Option<Box<dyn FnOnce(CloseError) + Send + Sync>>,
    closed: bool,
    event: PhantomData<fn(E)>,
}

impl<S, E> CloseGuard<S, E> {
    pub(crate) fn new(sink: S, timeout: Duration, close: fn(&S) -> Closing) -> Self {
        Self { sink, close, timeout, on_error: None, closed: false, event: PhantomData }
    }

    /// Sets what is called when the drop could not deliver everything. Without it the error
    /// is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    ///
    /// let reported = sink::collector();
    /// let report = reported.clone();
    /// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
    /// let queue = dead
    ///     .retry(Constant::new(Duration::from_secs(3600)))
    ///     .queued()
    ///     .close_on_drop(Duration::from_millis(10))
    ///     .on_error(move |error| report.write(error.undelivered()).unwrap());
    /// queue.write(1).unwrap();
    /// drop(queue);
    /// assert_eq!(reported.events(), [1]);
    /// ```
    pub fn on_error<F>(mut self, f: F) -> Self
    where
        F: FnOnce(CloseError) + Send + Sync + 'static,
    {
        self.on_error = Some(Box::new(f));
        self
    }

    /// Closes now, waits at most the time given, and returns the outcome.
    ///
    /// # Errors
    ///
    /// As [`Closing::within`](crate::Closing::within).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued().close_on_drop(Duration::from_secs(5));
    /// queue.write(1).unwrap();
    /// queue.close()?;
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn close(mut self) -> Result<(), CloseError> {
        self.closed = true;
        close_caught(|| (self.close)(&self.sink)).within(self.timeout)
    }
}

impl<S, E> Deref for CloseGuard<S, E> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.sink
    }
}

impl<S, E> Drop for CloseGuard<S, E> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // It may be dropped while a panic unwinds: another one would end the process.
        let outcome = close_caught(|| (self.close)(&self.sink)).within(self.timeout);
        if let (Err(error), Some(on_error)) = (outcome, self.on_error.take()) {
            on_error(error);
        }
    }
}

impl<S, E> fmt::Debug for CloseGuard<S, E>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseGuard")
            .field("sink", &self.sink)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
