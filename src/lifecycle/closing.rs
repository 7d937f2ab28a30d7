use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::completion::{Abort, Completion, MaybeDone, Remaining};
use super::error::CloseError;
use super::graph;
use super::slow_close::SlowClose;
use super::task::Task;
use super::trail::Trail;
use super::wait::{Waited, deadline};
use crate::sync::caught::panic_message;

/// What [`Sink::close`](crate::Sink::close) returns: the close has begun, and this waits for it.
///
/// Cheap to clone; clones, and those of other callers, wait for the same drain and get the same outcome.
/// Dropped without waiting, the drain goes on by itself, on the threads of the queues that it drains; the
/// events that are left when the process ends die with it.
///
/// With the `futures` feature it can be awaited. A task does not keep the thread that it is polled on, so
/// [`CloseError::WouldDeadlock`] is never what awaiting it yields. `block_on` does keep its thread: inside a sink, over
/// the close of something that waits for that sink, it waits for ever, where [`wait`](Closing::wait) says so.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// let queue = delivered.clone().queued();
/// queue.write("pushed").unwrap();
///
/// queue.close().within(Duration::from_secs(5))?;
/// assert_eq!(delivered.events(), ["pushed"]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[must_use = "the close has begun, but nothing waits for it: what is not delivered when the process ends is lost"]
#[derive(Clone)]
pub struct Closing(pub(crate) MaybeDone, Task);

impl Closing {
    pub(crate) fn of(done: MaybeDone) -> Self {
        Self(done, Task::default())
    }

    pub(crate) fn pending_on(completion: &Arc<Completion>) -> Self {
        Self::of(MaybeDone::Pending(Arc::clone(completion)))
    }

    /// A close that is done.
    pub fn done() -> Self {
        Self::of(MaybeDone::Done(Ok(())))
    }

    /// A close that is done, but did not deliver everything.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{CloseError, Closing};
    ///
    /// let closing = Closing::failed(CloseError::other("the file could not be synced"));
    /// assert!(closing.wait().is_err());
    /// ```
    pub fn failed(error: CloseError) -> Self {
        Self::of(MaybeDone::Done(Err(error)))
    }

    /// One that is done when all of `closings` are. Their errors are put together.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Closing, Sink, SinkExt, sink};
    ///
    /// let queues = [sink::for_each(|_: u32| {}).queued(), sink::for_each(|_: u32| {}).queued()];
    /// Closing::all(queues.iter().map(|queue| queue.close())).wait()?;
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn all<I>(closings: I) -> Self
    where
        I: IntoIterator<Item = Self>,
    {
        Self::of(MaybeDone::all(closings.into_iter().map(|closing| closing.0).collect()))
    }

    /// A close that is under way, for the author of a sink that has something to drain: what waits for it,
    /// and what ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Closing;
    ///
    /// let (closing, pending) = Closing::pending();
    /// let worker = std::thread::spawn(move || {
    ///     // ... deliver what is left ...
    ///     pending.finish(Ok(()));
    /// });
    /// closing.wait()?;
    /// # worker.join().unwrap();
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn pending() -> (Self, PendingClose) {
        let completion = Completion::new();
        (Self::pending_on(&completion), PendingClose { completion })
    }

    /// Waits until everything is delivered and the downstream is closed, for as long as that takes.
    ///
    /// # Errors
    ///
    /// What was not delivered. [`CloseError::WouldDeadlock`], at once, on a thread that is inside what it
    /// would wait for: a queue's worker, a broadcaster's write, a spill. Waiting there for a sink further
    /// *up* the chain can hang all the same when a bounded buffer lies between, since the drain cannot get
    /// as far as here; [`within`](Closing::within) ends that.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let queue = sink::discard().queued();
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(queue.stats().delivered, 1);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn wait(&self) -> Result<(), CloseError> {
        self.wait_until(None).unwrap_or_else(|| Err(CloseError::Aborted))
    }

    /// Waits as [`wait`](Closing::wait) does, but at most `timeout`; then [`abort`](Closing::abort)s. Comes
    /// back within `timeout` and what an abort takes.
    ///
    /// # Errors
    ///
    /// As `wait` and `abort`. `WouldDeadlock` aborts nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{CloseError, Sink, SinkExt, retry::Constant, sink};
    ///
    /// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
    /// let queue = dead.retry(Constant::new(Duration::from_secs(3600))).queued();
    /// queue.write(1).unwrap();
    /// let error = queue.close().within(Duration::from_millis(10)).unwrap_err();
    /// assert!(matches!(error, CloseError::Undelivered { events: 1, in_flight: 0 }));
    /// ```
    pub fn within(&self, timeout: Duration) -> Result<(), CloseError> {
        match self.wait_until(deadline(timeout)) {
            Some(outcome) => outcome,
            None => self.abort(),
        }
    }

    /// Ends the drain: closes what is downstream at once, so that a retry that sleeps wakes; wakes writes
    /// that are blocked; and spills, or drops and counts, what is left, on this thread. It reaches every
    /// queue and broadcaster downstream, but no spill, and releases every thread that waits.
    ///
    /// A user's write that is under way gets 100 ms to come back, as one woken from a backoff does at once.
    /// After that it counts as in flight; if it does come back later, its event is accounted for then.
    /// What blocks is the spill, if it does: an abort takes 100 ms and what the spills of the events take.
    ///
    /// # Errors
    ///
    /// What was not delivered. `Ok` if the drain was done before anything had to be shed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, buffer::Buffer, retry::Constant, sink};
    ///
    /// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
    /// let saved = sink::collector();
    /// let queue = dead
    ///     .retry(Constant::new(Duration::from_secs(3600)))
    ///     .queued_with(Buffer::unbounded().spill(saved.clone()));
    /// queue.write(1).unwrap();
    /// queue.write(2).unwrap();
    ///
    /// assert_eq!(queue.close().abort().unwrap_err().undelivered(), 2);
    /// assert_eq!(saved.len(), 2);
    /// ```
    pub fn abort(&self) -> Result<(), CloseError> {
        self.0.abort()
    }

    /// Whether the close is done. Does not wait.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// `None` when the time was up.
    fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<(), CloseError>> {
        let mut slow = SlowClose::begin();
        loop {
            match self.0.wait(slow.sooner(deadline)) {
                Waited::Done(outcome) => return Some(outcome),
                Waited::TimedOut if slow.log(deadline, || self.remaining()) => {}
                Waited::TimedOut => return None,
                Waited::WouldDeadlock => return Some(Err(CloseError::WouldDeadlock)),
            }
        }
    }

    /// What there still is to deliver, in every queue on the way of the drain.
    fn remaining(&self) -> Remaining {
        match &self.0 {
            MaybeDone::Pending(completion) => graph::remaining(completion),
            MaybeDone::Done(_) => Remaining::default(),
        }
    }

    /// With `f` of the outcome.
    pub(crate) fn map<F>(&self, f: F) -> Self
    where
        F: FnOnce(Result<(), CloseError>) -> Result<(), CloseError> + Send + 'static,
    {
        Self::of(self.0.map(f))
    }
}

#[cfg(feature = "futures")]
impl std::future::Future for Closing {
    type Output = Result<(), CloseError>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let Self(done, task) = self.get_mut();
        match done {
            MaybeDone::Done(outcome) => std::task::Poll::Ready(outcome.clone()),
            MaybeDone::Pending(completion) => completion.poll(task, context),
        }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remaining = self.remaining();
        f.debug_struct("Closing")
            .field("outcome", &self.0.outcome())
            .field("pending", &remaining.pending)
            .field("in_flight", &remaining.in_flight)
            .finish()
    }
}

/// Ends a [`Closing`] that [`Closing::pending`] made.
///
/// Dropped before it has, it ends the close with [`CloseError::Abandoned`], so that nothing waits for ever.
///
/// # Examples
///
/// ```
/// use outflow::{CloseError, Closing};
///
/// let (closing, pending) = Closing::pending();
/// drop(pending);
/// assert!(matches!(closing.wait(), Err(CloseError::Abandoned)));
/// ```
#[must_use = "dropping it ends the close with `CloseError::Abandoned`"]
pub struct PendingClose {
    completion: Arc<Completion>,
}

impl PendingClose {
    /// Ends the close and wakes every thread and task that waits for it. Only the first outcome counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{CloseError, Closing};
    ///
    /// let (closing, pending) = Closing::pending();
    /// pending.finish(Err(CloseError::other("the file could not be synced")));
    /// assert_eq!(closing.wait().unwrap_err().to_string(), "the file could not be synced");
    /// ```
    pub fn finish(&self, outcome: Result<(), CloseError>) {
        self.completion.complete(outcome);
    }

    /// Sets what an abort calls, on its own thread, to shed what is left. What `hook` returns is the outcome of the
    /// close; a panic in it is one, too. It is called at most once, and not at all once the close is done. Set it
    /// before the closing is handed out: an abort that has begun does not see it. Without a hook an abort gives the
    /// drain 100 ms to end by itself, and then it ends with [`CloseError::Aborted`]; so does an abort beside another
    /// one whose hook takes longer than that.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{CloseError, Closing};
    ///
    /// let (closing, pending) = Closing::pending();
    /// pending.on_abort(|| Err(CloseError::Undelivered { events: 3, in_flight: 0 }));
    /// assert_eq!(closing.abort().unwrap_err().undelivered(), 3);
    /// ```
    pub fn on_abort<F>(&self, hook: F)
    where
        F: FnOnce() -> Result<(), CloseError> + Send + 'static,
    {
        self.completion.set_aborter(Arc::new(HookAbort {
            hook: Mutex::new(Some(Box::new(hook))),
            completion: Arc::downgrade(&self.completion),
        }));
    }
}

impl Drop for PendingClose {
    fn drop(&mut self) {
        self.completion.complete(Err(CloseError::Abandoned));
    }
}

impl fmt::Debug for PendingClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingClose").field("outcome", &self.completion.outcome()).finish()
    }
}

type Hook = Box<dyn FnOnce() -> Result<(), CloseError> + Send>;

struct HookAbort {
    hook: Mutex<Option<Hook>>,
    completion: Weak<Completion>,
}

impl Abort for HookAbort {
    fn begin(&self) {
        let hook = self.hook.lock().take();
        if let (Some(hook), Some(completion)) = (hook, self.completion.upgrade()) {
            completion.complete(catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| {
                Err(CloseError::Panicked { message: panic_message(panic), events: 0 })
            }));
        }
    }
}

/// Begins to close a sink of a user's, whose `close` may panic.
pub(crate) fn close_caught(close: impl FnOnce() -> Closing) -> Closing {
    catch_unwind(AssertUnwindSafe(|| Trail::leave(close))).unwrap_or_else(|panic| {
        Closing::failed(CloseError::Panicked { message: panic_message(panic), events: 0 })
    })
}
