use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use super::batch::Batch;
use super::lanes::{Lanes, LanesBy};
use super::received::Received;
use crate::buffer::{Buffer, Unbounded};
use crate::worker::{AsyncOnly, BlocksFor, Executor, MayBlock, Place};

/// A [`Buffer`], and where the worker is to run. `R` says which kinds of sinks it may be for: both, unless it is
/// [`AsyncOnly`].
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, buffer::Buffer, queue::QueueOptions, sink};
///
/// let names = sink::collector();
/// let seen = names.clone();
/// let queue = sink::for_each(move |_: u32| {
///     let name = std::thread::current().name().map(str::to_owned);
///     seen.write(name).unwrap();
/// })
/// .queued_with(QueueOptions::new(Buffer::bounded(8)).name("webhooks").dedicated());
///
/// queue.write(1).unwrap();
/// queue.close().wait().unwrap();
/// assert_eq!(names.take(), [Some("webhooks".to_string())]);
/// ```
#[must_use = "options do nothing until a queue takes them"]
pub struct QueueOptions<E, P = Unbounded, R = MayBlock> {
    pub(super) buffer: Buffer<E, P>,
    pub(super) place: Place,
    /// If it has several workers.
    pub(super) lanes: Option<MakeLanes<E>>,
    sinks: PhantomData<fn() -> R>,
}

/// Makes the lanes of a queue, which deliver so many events at once; without the type of their keys.
pub(super) struct MakeLanes<E> {
    most: usize,
    make: Arc<dyn Fn(Batch<E>) -> BothFaces<E> + Send + Sync>,
}

/// The same lanes, as their workers and as the pipe know them.
pub(super) type BothFaces<E> = (Arc<dyn Lanes<E>>, Arc<dyn Received<E>>);

impl<E, P> QueueOptions<E, P> {
    /// A buffer, and a worker on the [global pool](crate::Workers::global).
    pub fn new(buffer: Buffer<E, P>) -> Self {
        Self { buffer, place: Place::new(), lanes: None, sinks: PhantomData }
    }
}

impl<E, P, R> QueueOptions<E, P, R> {
    /// Names the queue in logs, and the thread of one that is [`dedicated`](QueueOptions::dedicated).
    ///
    /// # Panics
    ///
    /// Starting a dedicated queue panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, sink};
    ///
    /// let queue = sink::for_each(|_: u32| assert_eq!(std::thread::current().name(), Some("webhooks")))
    ///     .queued_with(QueueOptions::default().dedicated().name("webhooks"));
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.place.name = Some(name.into());
        self
    }

    /// The size of the worker's stack, in bytes: see [`std::thread::Builder::stack_size`]. It asks for a thread of the queue's
    /// own, as [`dedicated`](QueueOptions::dedicated) does.
    pub fn stack_size(mut self, bytes: usize) -> QueueOptions<E, P> {
        self.place.set_stack_size(bytes);
        self.with_sinks()
    }

    /// Has the queue's worker run on this pool, and not on the [global](crate::Workers::global) one, or by another
    /// [`Executor`], which takes asynchronous sinks alone. See [`docs::workers`](crate::docs::workers) and
    /// [`docs::async_sinks`](crate::docs::async_sinks).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, SinkExt, Workers, queue::QueueOptions, sink};
    ///
    /// let workers = Workers::builder().threads(2).name("webhooks").build();
    /// let delivered = sink::collector();
    /// let broadcaster = Broadcaster::new();
    /// for _ in 0..1000 {
    ///     broadcaster.add(delivered.clone().keep_open().queued_with(QueueOptions::default().on(&workers)))?;
    /// }
    /// broadcaster.write("pushed").unwrap();
    /// broadcaster.close().wait()?;
    /// assert_eq!(delivered.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<X>(mut self, executor: X) -> QueueOptions<E, P, X::Sinks>
    where
        X: Executor,
    {
        self.place.set(executor.runs());
        self.with_sinks()
    }

    /// Has the queue's worker run on a thread of its own: for a sink that keeps something in thread-local storage, needs a
    /// stack or a priority of its own, or blocks most of the time. See [`docs::workers`](crate::docs::workers).
    pub fn dedicated(mut self) -> QueueOptions<E, P> {
        self.place.set_dedicated();
        self.with_sinks()
    }

    fn with_sinks<T>(self) -> QueueOptions<E, P, T> {
        QueueOptions { buffer: self.buffer, place: self.place, lanes: self.lanes, sinks: PhantomData }
    }
}

/// Several events at once.
impl<E, P, R> QueueOptions<E, P, R>
where
    E: Send + 'static,
{
    /// Delivers events of up to `keys` keys at the same time; those of one key one after the other, in the order in which
    /// they were written. Between events of different keys there is no order.
    ///
    /// A key whose event is with the sink, such as one that is [retried](crate::SinkExt::retry), holds up no other while fewer
    /// than `keys` are. (The retry's backoff has to be that of the write,
    /// [`per_write`](crate::retry::ExponentialBackoff::per_write): the other strategies are about the endpoint, and have all
    /// writes wait.) Keys take turns, an event each; if 64 or more could be next, other keys wait in the order in which they
    /// came. Nothing is kept for a key of which no event waits: while the queue is busy up to a thousand such keys are
    /// removed together, and all of them when it has nothing to deliver.
    ///
    /// Up to `keys` workers deliver to the sink. The first starts with the queue, another when something could be
    /// delivered and all are busy, and all end with the queue. For a [`Sink`](crate::Sink) they are tasks of
    /// [its pool](Self::on), or threads of the queue's own. If one cannot be started, those that there are go on, and it is
    /// tried again. For an [`AsyncSink`](crate::AsyncSink) all of them are one task, which awaits up to `keys` writes.
    ///
    /// Everything else is as without keys. What waits counts against the buffer's bound until its delivery begins, and
    /// [`drop_oldest`](Buffer::drop_oldest) drops the oldest of all keys. A flush, and a close, wait for all keys. If the sink
    /// panics, the queue ends: what is with the sink at that time is delivered, and the rest is left over. If the task is
    /// dropped, what was with the sink is lost.
    ///
    /// A queue that is [batched](crate::SinkExt::batched_with) as well writes batches of one key's events, in order, of up to
    /// `keys` keys at once. [`Batch::within`] begins for a key with its first event of which none of that key is with the
    /// sink, and holds up no worker and no other key.
    ///
    /// `key` is called on a worker, once for each event, in order, with nothing locked; while it runs no other event comes
    /// out of the buffer. A panic of `key`, or of the key's `Hash` or `Eq`, ends the queue as one of the sink does; nothing
    /// is lost by it.
    ///
    /// # Panics
    ///
    /// If `keys` is 0.
    ///
    /// # Examples
    ///
    /// A backoff for each container: one whose runtime does not answer is tried again and again, and its later events wait
    /// behind that one; all others are delivered.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, retry::ExponentialBackoff, sink};
    ///
    /// let failures = AtomicU32::new(0);
    /// let delivered = sink::collector();
    /// let seen = delivered.clone();
    /// let queue = sink::from_fn(move |(container, event): &(&str, &str)| {
    ///     if *container == "stuck" && failures.fetch_add(1, Ordering::Relaxed) < 3 {
    ///         return Err("deadline exceeded");
    ///     }
    ///     seen.write((*container, *event)).unwrap();
    ///     Ok(())
    /// })
    /// .retry(ExponentialBackoff::default().base(Duration::from_millis(20)).per_write())
    /// .queued_with(QueueOptions::default().keyed(8, |(container, _): &(&str, &str)| *container));
    ///
    /// queue.write_all([("stuck", "exit"), ("web", "start"), ("stuck", "delete"), ("web", "exit")]).unwrap();
    /// queue.close().wait()?;
    /// let of = |id| delivered.events().into_iter().filter(|(of, _)| *of == id).map(|(_, event)| event).collect::<Vec<_>>();
    /// assert_eq!(of("web"), ["start", "exit"]);
    /// assert_eq!(of("stuck"), ["exit", "delete"]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    pub fn keyed<K, F>(self, keys: usize, key: F) -> Self
    where
        K: Hash + Eq + Send + 'static,
        F: Fn(&E) -> K + Send + Sync + 'static,
    {
        assert!(keys > 0, "a queue for 0 keys at once would deliver nothing: allow at least 1");
        let key = Arc::new(key);
        self.in_lanes(keys, move |batch| {
            let key = Arc::clone(&key);
            LanesBy::new(keys, batch, move |event: &E| Some(key(event)))
        })
    }

    /// Delivers up to `writes` events at the same time, in no order: an event may overtake those that were written before
    /// it. The rest is as of a queue that is [keyed](Self::keyed), in which each event has a key of its own. One that is
    /// [batched](crate::SinkExt::batched_with) as well writes up to `writes` batches at once.
    ///
    /// # Panics
    ///
    /// If `writes` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Barrier;
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, sink};
    ///
    /// let all_there = Barrier::new(4);
    /// let queue = sink::for_each(move |_: u32| _ = all_there.wait())
    ///     .queued_with(QueueOptions::default().concurrent(4));
    /// queue.write_all([1, 2, 3, 4]).unwrap();
    /// queue.close().wait()?; // Each of the four waits for the others.
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    pub fn concurrent(self, writes: usize) -> Self {
        assert!(writes > 0, "a queue of 0 writes at once would deliver nothing: allow at least 1");
        self.in_lanes(writes, move |batch| LanesBy::new(writes, batch, |_: &E| None::<()>))
    }

    fn in_lanes<K, F>(
        mut self,
        most: usize,
        make: impl Fn(Batch<E>) -> LanesBy<E, K, F> + Send + Sync + 'static,
    ) -> Self
    where
        K: Hash + Eq + Send + 'static,
        F: Fn(&E) -> Option<K> + Send + Sync + 'static,
    {
        let make = move |batch| -> BothFaces<E> {
            let lanes = Arc::new(make(batch));
            (Arc::clone(&lanes) as Arc<dyn Lanes<E>>, lanes)
        };
        self.lanes = Some(MakeLanes { most, make: Arc::new(make) });
        self
    }
}

impl<E> MakeLanes<E> {
    pub(super) fn make(&self, batch: Batch<E>) -> BothFaces<E> {
        (self.make)(batch)
    }
}

impl<E> Clone for MakeLanes<E> {
    fn clone(&self) -> Self {
        Self { most: self.most, make: Arc::clone(&self.make) }
    }
}

impl<E> Default for QueueOptions<E, Unbounded> {
    fn default() -> Self {
        Self::new(Buffer::unbounded())
    }
}

impl<E, P> From<Buffer<E, P>> for QueueOptions<E, P> {
    fn from(buffer: Buffer<E, P>) -> Self {
        Self::new(buffer)
    }
}

impl<E, P> From<Buffer<E, P>> for QueueOptions<E, P, AsyncOnly> {
    fn from(buffer: Buffer<E, P>) -> Self {
        QueueOptions::new(buffer).into()
    }
}

impl<E, P> From<QueueOptions<E, P>> for QueueOptions<E, P, AsyncOnly> {
    fn from(options: QueueOptions<E, P>) -> Self {
        options.with_sinks()
    }
}

/// Never applies: see [`BlocksFor`].
#[doc(hidden)]
impl<E, P> From<QueueOptions<E, P, AsyncOnly>> for QueueOptions<E, P>
where
    AsyncOnly: BlocksFor<E>,
{
    fn from(options: QueueOptions<E, P, AsyncOnly>) -> Self {
        options.with_sinks()
    }
}

/// Clones share the spill: see [`Buffer`].
impl<E, P: Clone, R> Clone for QueueOptions<E, P, R> {
    fn clone(&self) -> Self {
        let (buffer, place) = (self.buffer.clone(), self.place.clone());
        Self { buffer, place, lanes: self.lanes.clone(), sinks: PhantomData }
    }
}

impl<E, P: fmt::Debug, R> fmt::Debug for QueueOptions<E, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("QueueOptions");
        f.field("buffer", &self.buffer);
        self.place.fields(&mut f);
        f.field("at_once", &self.lanes.as_ref().map_or(1, |lanes| lanes.most));
        f.finish()
    }
}
