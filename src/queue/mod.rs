//! A queue with a worker before a sink, so that its writers do not wait for it.
//!
//! [`queued`](crate::SinkExt::queued) makes one without a bound,
//! [`queued_with`](crate::SinkExt::queued_with) one as a [`Buffer`] or
//! [`QueueOptions`] say, and [`batched`](crate::SinkExt::batched) one whose worker writes vectors.

mod batch;
mod chain;
mod index;
#[cfg(feature = "futures")]
mod into_futures;
mod keys;
mod lane;
mod lanes;
mod options;
mod received;
mod reentrant;
mod reserve;
mod state;
mod stats;
#[cfg(test)]
mod tests;
mod worker;

pub use self::batch::Batch;
#[cfg(feature = "futures")]
pub use self::into_futures::IntoFutures;
pub use self::options::QueueOptions;
pub use self::reserve::Permit;
pub use self::stats::QueueStats;

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::vec;

use self::lane::{Gather, InBatches, Lane, OneByOne};
use self::lanes::{Lanes, Start};
use self::options::MakeLanes;
use self::received::Received;
use self::state::{QueuePipe, QueueState};
use self::worker::{Batches, Single};
use crate::buffer::{BlockFor, Buffer, Full, Policy, Reject, Unbounded};
use crate::contract::{AsyncSink, Never, Sink, WriteError, erase};
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::{Handle, Writer, pipe};
use crate::worker::{
    AbortDrain, AsyncOnly, Awaited, Closes, ClosesAsync, Deliver, Direct, Life, Place, Source, Together,
};

/// A queue before a sink, and between them a worker: a task of a [pool](crate::Workers), or a
/// [thread of its own](crate::queue::QueueOptions::dedicated). Made by
/// [`queued`](crate::SinkExt::queued), [`queued_with`](crate::SinkExt::queued_with) and
/// [`batched`](crate::SinkExt::batched).
///
/// FIFO. Cheap to clone; clones share. A write hands the event to the worker and returns; when the buffer
/// is bounded, the [policy](crate::buffer) says what a write into a full one does. A write from the queue's
/// own worker never waits, since no other thread makes room: beyond capacity its event goes to a list that the
/// worker owns.
///
/// [`close`](Sink::close) refuses writes, delivers what was accepted, then closes the sink and the spill.
/// Dropping the last handle begins a close too, and does not wait. Should the sink panic or be closed by
/// itself, the queue is closed, and what is left is spilled or counted; the close says which.
/// [`catch_panic`](crate::SinkExt::catch_panic) below the queue is how to go on after a panic.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// let queue = delivered.clone().queued();
/// for event in 0..100 {
///     queue.write(event).unwrap();
/// }
/// queue.close().wait()?;
/// assert_eq!(delivered.len(), 100);
/// assert_eq!(queue.stats().delivered, 100);
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub struct Queue<E, P = Unbounded> {
    writer: Writer<E, P, QueueState<E>>,
}

impl<E, P> Queue<E, P>
where
    P: Policy,
{
    /// A queue, and its worker, which does not run yet. What `sink` delivers to is closed by `closes`.
    fn with_worker<W, D>(
        buffer: Buffer<E, P>,
        name: Option<&str>,
        closes: Arc<dyn Closes>,
        received: Option<Arc<dyn Received<E>>>,
        source: impl FnOnce(Arc<QueuePipe<E>>) -> W,
        sink: D,
    ) -> (Self, Life<W, D>)
    where
        E: Send + 'static,
        W: Source,
        D: Deliver<W::Item, Receipt = W::Receipt>,
    {
        let (writer, pipe) = pipe(buffer, QueueState::new(closes, received));
        pipe.shed.log.of_queue(name);
        pipe.completion.set_aborter(Arc::new(AbortDrain(Arc::downgrade(&pipe))));
        (Self { writer }, Life::new(source(pipe), sink))
    }

    fn start<T, S, W>(
        options: QueueOptions<E, P>,
        sink: S,
        source: impl FnOnce(Arc<QueuePipe<E>>) -> W,
    ) -> io::Result<Self>
    where
        E: Send + 'static,
        T: Send + 'static,
        S: Sink<T> + Send + Sync + 'static,
        S::Error: Never,
        W: Source<Item = T, Receipt = ()>,
    {
        let QueueOptions { buffer, place, .. } = options;
        let sink = Arc::new(sink);
        let closes = Arc::new(erase::<T, _>(Arc::clone(&sink)));
        let (queue, life) =
            Self::with_worker(buffer, place.name.as_deref(), closes, None, source, Direct(sink));
        place.start(life)?;
        Ok(queue)
    }

    /// Starts a queue of several workers, each a task or a thread.
    fn start_lanes<G, S>(
        options: QueueOptions<E, P>,
        make: MakeLanes<E>,
        batch: Batch<E>,
        sink: S,
    ) -> io::Result<Self>
    where
        E: Send + 'static,
        G: Gather<E, Item: Send + 'static>,
        S: Sink<G::Item> + Send + Sync + 'static,
        S::Error: Never,
    {
        let QueueOptions { buffer, place, .. } = options;
        let sink = Arc::new(sink);
        let closes = Arc::new(erase::<G::Item, _>(Arc::clone(&sink)));
        let deliver = Direct(Arc::clone(&sink));
        let (queue, life, lanes) = Self::with_lanes::<G, _>(buffer, &place, closes, make, batch, deliver);
        let later = place.clone();
        lanes.set_start(start_of(&lanes, move |lane: Lane<E, G>| {
            later.clone().start(Life::of_registered(lane, Direct(Arc::clone(&sink))))
        }));
        place.start(life)?;
        Ok(queue)
    }

    /// A queue of several workers, and the first of them, which does not run yet.
    #[expect(clippy::type_complexity, reason = "three things that are taken apart at once")]
    fn with_lanes<G, D>(
        buffer: Buffer<E, P>,
        place: &Place,
        closes: Arc<dyn Closes>,
        make: MakeLanes<E>,
        batch: Batch<E>,
        sink: D,
    ) -> (Self, Life<Lane<E, G>, D>, Arc<dyn Lanes<E>>)
    where
        E: Send + 'static,
        G: Gather<E>,
        D: Deliver<G::Item, Receipt = ()>,
    {
        let (lanes, received) = make.make(batch);
        let first = |pipe| Lane::new(Arc::clone(&lanes), pipe, false);
        let (queue, life) =
            Self::with_worker(buffer, place.name.as_deref(), closes, Some(received), first, sink);
        (queue, life, lanes)
    }

    pub(crate) fn of_events<S>(mut options: QueueOptions<E, P>, sink: S) -> io::Result<Self>
    where
        E: Send + 'static,
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        match options.lanes.take() {
            None => Self::start(options, sink, Single::new),
            Some(make) => Self::start_lanes::<OneByOne, S>(options, make, Batch::of(1), sink),
        }
    }

    pub(crate) fn of_batches<S>(mut options: QueueOptions<E, P>, batch: Batch<E>, sink: S) -> io::Result<Self>
    where
        E: Send + 'static,
        S: Sink<Vec<E>> + Send + Sync + 'static,
        S::Error: Never,
    {
        match options.lanes.take() {
            None => Self::start(options, sink, |pipe| Batches::new(pipe, batch)),
            Some(make) => Self::start_lanes::<InBatches, S>(options, make, batch, sink),
        }
    }

    fn start_async<T, S, W>(
        options: QueueOptions<E, P, AsyncOnly>,
        sink: S,
        source: impl FnOnce(Arc<QueuePipe<E>>) -> W,
    ) -> io::Result<Self>
    where
        E: Send + 'static,
        T: Send + 'static,
        S: AsyncSink<T> + 'static,
        S::Error: Never,
        W: Source<Item = T, Receipt = ()>,
    {
        let QueueOptions { buffer, place, .. } = options;
        let sink = Arc::new(sink);
        let closes = Arc::new(ClosesAsync::<T, S>::new(Arc::clone(&sink)));
        let (queue, life) =
            Self::with_worker(buffer, place.name.as_deref(), closes, None, source, Awaited(sink));
        place.start(life)?;
        Ok(queue)
    }

    /// Starts a queue of several workers, all in one task.
    fn start_async_lanes<G, S>(
        options: QueueOptions<E, P, AsyncOnly>,
        make: MakeLanes<E>,
        batch: Batch<E>,
        sink: S,
    ) -> io::Result<Self>
    where
        E: Send + 'static,
        G: Gather<E, Item: Send + 'static>,
        S: AsyncSink<G::Item> + 'static,
        S::Error: Never,
    {
        let QueueOptions { buffer, place, .. } = options;
        let sink = Arc::new(sink);
        let closes = Arc::new(ClosesAsync::<G::Item, S>::new(Arc::clone(&sink)));
        let deliver = Awaited(Arc::clone(&sink));
        let (queue, life, lanes) = Self::with_lanes::<G, _>(buffer, &place, closes, make, batch, deliver);
        let workers = Together::new();
        let adds = workers.adds();
        lanes.set_start(start_of(&lanes, move |lane: Lane<E, G>| {
            adds.add(Box::pin(Life::of_registered(lane, Awaited(Arc::clone(&sink))).run(false)));
            Ok(())
        }));
        place.start_together(life, workers)?;
        Ok(queue)
    }

    pub(crate) fn of_async_events<S>(mut options: QueueOptions<E, P, AsyncOnly>, sink: S) -> io::Result<Self>
    where
        E: Send + 'static,
        S: AsyncSink<E> + 'static,
        S::Error: Never,
    {
        match options.lanes.take() {
            None => Self::start_async(options, sink, Single::new),
            Some(make) => Self::start_async_lanes::<OneByOne, S>(options, make, Batch::of(1), sink),
        }
    }

    pub(crate) fn of_async_batches<S>(
        mut options: QueueOptions<E, P, AsyncOnly>,
        batch: Batch<E>,
        sink: S,
    ) -> io::Result<Self>
    where
        E: Send + 'static,
        S: AsyncSink<Vec<E>> + 'static,
        S::Error: Never,
    {
        match options.lanes.take() {
            None => Self::start_async(options, sink, |pipe| Batches::new(pipe, batch)),
            Some(make) => Self::start_async_lanes::<InBatches, S>(options, make, batch, sink),
        }
    }

    /// Writes without waiting and without evicting, whatever the buffer's policy is.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room, `Closed` if the queue is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SinkExt, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued();
    /// assert!(queue.try_write(1).is_ok());
    /// ```
    pub fn try_write(&self, event: E) -> Result<(), WriteError<E, Full>> {
        self.writer.write_by(&Reject, event)
    }

    /// Writes, waiting at most `timeout` for room, whatever the buffer's policy is. On the queue's own
    /// worker it does not wait.
    ///
    /// # Errors
    ///
    /// [`Full`] if there was no room in time, `Closed` if the queue is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{SinkExt, buffer::Buffer, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8));
    /// assert!(queue.write_timeout(1, Duration::from_secs(1)).is_ok());
    /// ```
    pub fn write_timeout(&self, event: E, timeout: Duration) -> Result<(), WriteError<E, Full>> {
        self.writer.write_by(&BlockFor::new(timeout), event)
    }
}

/// Starts a lane by `start`. The lanes keep it, so it does not keep them.
fn start_of<E, G>(
    lanes: &Arc<dyn Lanes<E>>,
    start: impl Fn(Lane<E, G>) -> io::Result<()> + Send + Sync + 'static,
) -> Start<E>
where
    E: Send + 'static,
    G: 'static,
{
    let lanes = Arc::downgrade(lanes);
    Arc::new(move |pipe| match lanes.upgrade() {
        Some(lanes) => start(Lane::new(lanes, Arc::clone(pipe), true)),
        None => Ok(()),
    })
}

impl<E, P> Queue<E, P> {
    /// How many events wait; those that the worker has taken are not among them.
    pub fn len(&self) -> usize {
        usize::try_from(self.state().pending(&self.writer.pipe)).unwrap_or(usize::MAX)
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events may wait; `None` is any number.
    pub fn capacity(&self) -> Option<usize> {
        self.writer.pipe.capacity()
    }

    /// What the events weigh that wait, those included that a writer is about to send; `None` if the buffer does not
    /// [weigh](crate::Buffer::weighing) them. What the queue's own worker wrote beyond capacity is not weighed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, sink};
    ///
    /// let bytes = |event: &String| event.len() as u64;
    /// let queue = sink::discard().queued_with(Buffer::bounded(1000).weighing(64 * 1024, bytes));
    /// queue.write("pushed".to_string()).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(queue.weight(), Some(0));
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn weight(&self) -> Option<u64> {
        self.writer.pipe.weight()
    }

    /// Where the events are. Holds up neither the worker nor a writer.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let queue = sink::discard().queued();
    /// queue.write(1).unwrap();
    /// queue.close().wait().unwrap();
    /// let stats = queue.stats();
    /// assert_eq!((stats.accepted, stats.delivered, stats.pending), (1, 1, 0));
    /// ```
    pub fn stats(&self) -> QueueStats {
        self.state().stats(&self.writer.pipe)
    }

    /// A handle that does not keep the queue open, for a sink that holds its own queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued();
    /// let weak = queue.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(queue);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakQueue<E, P>
    where
        P: Clone,
    {
        WeakQueue { handle: Arc::downgrade(&self.writer.handle), policy: self.writer.policy.clone() }
    }

    /// Gives the stats later, and whether they are the last. Does not keep the queue open.
    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> Box<dyn Fn() -> (QueueStats, bool) + Send + Sync>
    where
        E: Send + 'static,
    {
        let pipe = Arc::clone(&self.writer.pipe);
        Box::new(move || {
            // Looked at first: then nothing is counted after the stats are read.
            let last = pipe.is_left();
            (pipe.end.stats(&pipe), last)
        })
    }

    fn state(&self) -> &QueueState<E> {
        &self.writer.pipe.end
    }
}

impl<E, P> Sink<E> for Queue<E, P>
where
    P: Policy,
{
    type Error = P::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        self.writer.write(event)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        self.writer.write_ref(event)
    }

    /// A close that comes meanwhile is not held up: the rest is refused.
    fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, Self::Error>> {
        self.writer.write_run(run)
    }

    fn longest_run(&self) -> usize {
        self.writer.longest_run()
    }

    /// Takes no room in the queue and displaces nothing. Every event accepted before it is delivered, spilled or counted
    /// by its end, but for one that a writer is carrying into the spill at that moment. The spill is not flushed.
    fn flush(&self) -> Flushing {
        self.state().request_flush(&self.writer.pipe.closing())
    }

    fn close(&self) -> Closing {
        self.writer.pipe.close()
    }

    fn is_closed(&self) -> bool {
        self.writer.pipe.is_shut()
    }
}

/// A panic that unwinds through a write leaves a queue as any other write does.
impl<E, P> UnwindSafe for Queue<E, P> {}
impl<E, P> RefUnwindSafe for Queue<E, P> {}

impl<E, P: Clone> Clone for Queue<E, P> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone() }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for Queue<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("capacity", &self.capacity())
            .field("policy", &self.writer.policy)
            .field("stats", &self.stats())
            .field("closed", &self.writer.pipe.is_shut())
            .finish()
    }
}

/// A handle of a [`Queue`] that does not keep it open. Made by [`Queue::downgrade`].
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, OnceLock};
/// use outflow::{Sink, SinkExt, queue::WeakQueue, sink};
///
/// // A sink that writes into its own queue; with a `Queue` in its place, the queue would never end by itself.
/// let own: Arc<OnceLock<WeakQueue<u32>>> = Arc::default();
/// let inside = Arc::clone(&own);
/// let seen = sink::collector();
/// let queue = seen
///     .clone()
///     .inspect(move |event: &u32| {
///         if let (0, Some(queue)) = (*event, inside.get().expect("set before the first write").upgrade()) {
///             queue.write(1).unwrap();
///         }
///     })
///     .queued();
/// assert!(own.set(queue.downgrade()).is_ok());
/// queue.write(0).unwrap();
/// queue.flush().wait()?;
/// queue.close().wait().unwrap();
/// assert_eq!(seen.events(), [0, 1]);
/// # Ok::<(), outflow::FlushError>(())
/// ```
pub struct WeakQueue<E, P = Unbounded> {
    handle: Weak<Handle<E, QueueState<E>>>,
    policy: P,
}

impl<E, P: Clone> WeakQueue<E, P> {
    /// The queue, unless its last handle was dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SinkExt, sink};
    ///
    /// let queue = sink::discard::<u32>().queued();
    /// let weak = queue.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(queue);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn upgrade(&self) -> Option<Queue<E, P>> {
        let handle = self.handle.upgrade()?;
        let pipe = Arc::clone(&handle.pipe);
        Some(Queue { writer: Writer { pipe, handle, policy: self.policy.clone() } })
    }
}

impl<E, P: Clone> Clone for WeakQueue<E, P> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle), policy: self.policy.clone() }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for WeakQueue<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakQueue").field("policy", &self.policy).finish_non_exhaustive()
    }
}
