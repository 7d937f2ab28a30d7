use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::Closing;
use super::completion::{Completion, MaybeDone};
use super::error::{CloseError, FlushError};
use super::task::Task;
use super::wait::{Waited, deadline};
use crate::sync::caught::panic_message;

/// What [`Sink::flush`](crate::Sink::flush) returns: the flush has begun, and this waits for it.
///
/// It is done when every event that was accepted before it is delivered or accounted for, downstream
/// sinks included. Cheap to clone. Dropped, the flush goes on by itself.
///
/// With the `futures` feature it can be awaited. As of a [`Closing`], [`FlushError::WouldDeadlock`] is never what that
/// yields, and `block_on` inside a sink that the flush waits for waits for ever.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// let queue = delivered.clone().queued();
/// queue.write(1).unwrap();
/// queue.flush().wait()?;
/// assert_eq!(delivered.events(), [1]);
/// # queue.close().wait().unwrap();
/// # Ok::<(), outflow::FlushError>(())
/// ```
#[must_use = "the flush has begun, but nothing waits for it"]
#[derive(Clone)]
pub struct Flushing(pub(crate) MaybeDone, Task);

impl Flushing {
    pub(crate) fn of(done: MaybeDone) -> Self {
        Self(done, Task::default())
    }

    /// A flush that is done.
    pub fn done() -> Self {
        Self::of(MaybeDone::Done(Ok(())))
    }

    /// A flush that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{FlushError, Flushing};
    ///
    /// assert!(Flushing::failed(FlushError::other("disk full")).wait().is_err());
    /// ```
    pub fn failed(error: FlushError) -> Self {
        Self::of(MaybeDone::Done(Err(error.into())))
    }

    /// One that is done when all of `flushings` are. Their errors are put together.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Flushing;
    ///
    /// assert!(Flushing::all([Flushing::done(), Flushing::done()]).is_done());
    /// ```
    pub fn all<I>(flushings: I) -> Self
    where
        I: IntoIterator<Item = Self>,
    {
        Self::of(MaybeDone::all(flushings.into_iter().map(|flushing| flushing.0).collect()))
    }

    /// A flush that is under way, for the author of a sink that has something to flush: what waits for it,
    /// and what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (flushing, pending) = outflow::Flushing::pending();
    /// let worker = std::thread::spawn(move || pending.finish(Ok(())));
    /// flushing.wait()?;
    /// # worker.join().unwrap();
    /// # Ok::<(), outflow::FlushError>(())
    /// ```
    pub fn pending() -> (Self, PendingFlush) {
        let completion = Completion::new();
        (Self::of(MaybeDone::Pending(Arc::clone(&completion))), PendingFlush { completion })
    }

    /// Waits until the flush is done, for as long as that takes.
    ///
    /// # Errors
    ///
    /// Why not everything was delivered. [`FlushError::WouldDeadlock`], at once, on a thread that is inside
    /// what it would wait for; see [`Closing::wait`] for what that can and cannot see.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let queue = sink::discard().queued();
    /// queue.write(1).unwrap();
    /// queue.flush().wait()?;
    /// assert_eq!(queue.stats().delivered, 1);
    /// # Ok::<(), outflow::FlushError>(())
    /// ```
    pub fn wait(&self) -> Result<(), FlushError> {
        self.wait_until(None)
    }

    /// Waits as [`wait`](Flushing::wait) does, but at most `timeout`. Aborts nothing.
    ///
    /// # Errors
    ///
    /// As `wait`, and [`FlushError::TimedOut`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{FlushError, Flushing};
    ///
    /// let (flushing, pending) = Flushing::pending();
    /// assert!(matches!(flushing.within(Duration::from_millis(1)), Err(FlushError::TimedOut)));
    /// pending.finish(Ok(()));
    /// assert!(flushing.within(Duration::from_millis(1)).is_ok());
    /// ```
    pub fn within(&self, timeout: Duration) -> Result<(), FlushError> {
        self.wait_until(deadline(timeout))
    }

    /// Whether the flush is done. Does not wait.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), FlushError> {
        match self.0.wait(deadline) {
            Waited::Done(outcome) => outcome.map_err(FlushError::from),
            Waited::TimedOut => Err(FlushError::TimedOut),
            Waited::WouldDeadlock => Err(FlushError::WouldDeadlock),
        }
    }

    /// Of a sink that is closed: done when everything is delivered, as its close is.
    pub(crate) fn of_close(closing: &Closing) -> Self {
        Self::of(closing.0.clone())
    }
}

#[cfg(feature = "futures")]
impl std::future::Future for Flushing {
    type Output = Result<(), FlushError>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let Self(done, task) = self.get_mut();
        match done {
            MaybeDone::Done(outcome) => std::task::Poll::Ready(outcome.clone().map_err(FlushError::from)),
            MaybeDone::Pending(completion) => completion.poll(task, context).map_err(FlushError::from),
        }
    }
}

impl fmt::Debug for Flushing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushing").field("outcome", &self.0.outcome()).finish()
    }
}

/// Ends a [`Flushing`] that [`Flushing::pending`] made.
///
/// Dropped before it has, it ends the flush with [`CloseError::Abandoned`](crate::CloseError::Abandoned).
///
/// # Examples
///
/// ```
/// use outflow::{CloseError, FlushError, Flushing};
///
/// let (flushing, pending) = Flushing::pending();
/// drop(pending);
/// assert_eq!(flushing.wait(), Err(FlushError::NotDelivered(CloseError::Abandoned)));
/// ```
#[must_use = "dropping it ends the flush with `CloseError::Abandoned`"]
pub struct PendingFlush {
    completion: Arc<Completion>,
}

impl PendingFlush {
    /// Ends the flush and wakes every thread and task that waits for it. Only the first outcome counts.
    pub fn finish(&self, outcome: Result<(), FlushError>) {
        self.completion.complete(outcome.map_err(CloseError::from));
    }
}

impl Drop for PendingFlush {
    fn drop(&mut self) {
        self.completion.complete(Err(CloseError::Abandoned));
    }
}

impl fmt::Debug for PendingFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingFlush").field("outcome", &self.completion.outcome()).finish()
    }
}

/// Begins to flush a sink of a user's, whose `flush` may panic.
pub(crate) fn flush_caught(flush: impl FnOnce() -> Flushing) -> Flushing {
    catch_unwind(AssertUnwindSafe(flush)).unwrap_or_else(|panic| {
        let message = panic_message(panic);
        Flushing::failed(FlushError::NotDelivered(CloseError::Panicked { message, events: 0 }))
    })
}
