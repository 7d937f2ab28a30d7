use std::fmt;
use std::io;
use std::time::Duration;

use crate::adapter::{
    CatchPanic, CatchPanicError, CloseGuard, CloseOnFailure, CloseWithLast, Closeable, Counter, DeadLetter,
    DeadLettered, Fallback, Filter, FilterMap, Inspect, KeepOpen, Lossy, Map, MapOwned, Meter, Metered, Tee,
};
use crate::buffer::{Policy, Unbounded};
use crate::contract::{Never, SharedSink, Sink, WriteError};
use crate::queue::{Batch, Queue, QueueOptions};
use crate::retry::{Retry, RetryStrategy};

/// The combinators, on every sink. The [front page](crate#all-combinators) has a table of them all.
///
/// In a chain the last call is the outermost and sees an event first: in
/// `http.retry(breaker).queued().filter(is_push)` an event goes through the filter into the queue, and on
/// the queue's thread through the retry to `http`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, retry::Breaker, sink};
///
/// let posted = sink::collector();
/// let endpoint = posted.clone();
/// let http = sink::from_fn(move |event: &u32| endpoint.write(*event).map_err(|_| "no route to host"));
/// let chain = http
///     .retry(Breaker::new(5, Duration::from_secs(1)))
///     .queued()
///     .filter(|event: &u32| event % 2 == 0);
///
/// chain.write_all(0..6).unwrap();
/// chain.close().wait()?;
/// assert_eq!(posted.events(), [0, 2, 4]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub trait SinkExt<E>: Sink<E> + Sized {
    /// Writes the events that `predicate` holds for, and drops the others, as asked. See [`Filter`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let pushes = sink::collector();
    /// let sink = pushes.clone().filter(|event: &&str| event.starts_with("push"));
    /// sink.write_all(["push alpine", "pull alpine"]).unwrap();
    /// assert_eq!(pushes.events(), ["push alpine"]);
    /// ```
    fn filter<P>(self, predicate: P) -> Filter<Self, P>
    where
        P: Fn(&E) -> bool,
    {
        assert_sink::<E, Self::Error, _>(Filter::new(self, predicate))
    }

    /// Makes a sink of `T` that writes what `f` makes of each event. `f` borrows, so that the original can
    /// be handed back. See [`Map`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let lengths = sink::collector();
    /// let sink = lengths.clone().map(|event: &String| event.len());
    /// sink.write("push".to_string()).unwrap();
    /// assert_eq!(lengths.events(), [4]);
    /// ```
    fn map<T, F>(self, f: F) -> Map<Self, T, E, F>
    where
        F: Fn(&T) -> E,
    {
        assert_sink::<T, Self::Error, _>(Map::new(self, f))
    }

    /// As [`map`](SinkExt::map), for events that are too large to copy: `into` takes the event, and `back`
    /// turns what is handed back into an event again. See [`MapOwned`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let boxes = sink::collector();
    /// let sink = boxes.clone().map_owned(|event: [u8; 4096]| Box::new(event), |event| *event);
    /// sink.write([0; 4096]).unwrap();
    /// assert_eq!(boxes.len(), 1);
    /// ```
    fn map_owned<T, I, B>(self, into: I, back: B) -> MapOwned<Self, T, E, I, B>
    where
        I: Fn(T) -> E,
        B: Fn(E) -> T,
    {
        assert_sink::<T, Self::Error, _>(MapOwned::new(self, into, back))
    }

    /// Makes a sink of `T` that writes what `f` makes of an event, if it makes something. See
    /// [`FilterMap`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let tags = sink::collector();
    /// let sink = tags.clone().filter_map(|event: &&str| event.split_once(':').map(|(_, tag)| tag.to_string()));
    /// sink.write_all(["alpine:3.20", "alpine"]).unwrap();
    /// assert_eq!(tags.events(), ["3.20"]);
    /// ```
    fn filter_map<T, F>(self, f: F) -> FilterMap<Self, T, E, F>
    where
        F: Fn(&T) -> Option<E>,
    {
        assert_sink::<T, Self::Error, _>(FilterMap::new(self, f))
    }

    /// Calls `f` before each write. See [`Inspect`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = sink::discard().inspect(|event: &u32| println!("writing {event}"));
    /// sink.write(1).unwrap();
    /// ```
    fn inspect<F>(self, f: F) -> Inspect<Self, F>
    where
        F: Fn(&E),
    {
        assert_sink::<E, Self::Error, _>(Inspect::new(self, f))
    }

    /// Writes every event to `other` too. Both must be reliable. See [`Tee`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let (log, audit) = (sink::collector(), sink::collector());
    /// log.clone().tee(audit.clone()).write("push").unwrap();
    /// assert_eq!(log.events(), audit.events());
    /// ```
    fn tee<T>(self, other: T) -> Tee<Self, T>
    where
        E: Clone,
        T: Sink<E>,
        Self::Error: Never,
        T::Error: Never,
    {
        assert_sink::<E, std::convert::Infallible, _>(Tee::new(self, other))
    }

    /// Writes to `other` what this sink fails or refuses. See [`Fallback`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, channel, sink};
    ///
    /// let overflow = sink::collector();
    /// let (fast, _events) = channel::with(Buffer::bounded(2).reject());
    /// fast.fallback(overflow.clone()).write_all(0..4).unwrap();
    /// assert_eq!(overflow.events(), [2, 3]);
    /// ```
    fn fallback<T>(self, other: T) -> Fallback<Self, T>
    where
        T: Sink<E>,
    {
        assert_sink::<E, T::Error, _>(Fallback::new(self, other))
    }

    /// Writes to `other` what fails, with the error. See [`DeadLettered`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Breaker, sink};
    ///
    /// let dead = sink::collector();
    /// let queue = sink::from_fn(|_: &u32| Err("no route to host"))
    ///     .retry(Breaker::new(5, Duration::from_secs(1)))
    ///     .max_attempts(3)
    ///     .dead_letter(dead.clone())
    ///     .queued();
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!((dead.events()[0].event, dead.events()[0].error), (1, "no route to host"));
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn dead_letter<T>(self, other: T) -> DeadLettered<Self, T>
    where
        T: Sink<DeadLetter<E, Self::Error>>,
    {
        assert_sink::<E, T::Error, _>(DeadLettered::new(self, other))
    }

    /// Drops what fails, as asked, and counts it. See [`Lossy`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let best_effort = sink::from_fn(|_: &u32| Err("full")).lossy();
    /// best_effort.write(1).unwrap();
    /// assert_eq!(best_effort.dropped(), 1);
    /// ```
    fn lossy(self) -> Lossy<Self> {
        self.lossy_counted(&Counter::new())
    }

    /// Drops what fails, as asked, and adds to `counter`, which can be read once the sink is part of a chain.
    /// See [`Lossy`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Counter, Sink, SinkExt, sink};
    ///
    /// let dropped = Counter::new();
    /// let broadcaster = Broadcaster::new();
    /// broadcaster.add(sink::from_fn(|_: &u32| Err("full")).lossy_counted(&dropped))?;
    /// broadcaster.write(1).unwrap();
    /// assert_eq!(dropped.get(), 1);
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    fn lossy_counted(self, counter: &Counter) -> Lossy<Self> {
        assert_sink::<E, std::convert::Infallible, _>(Lossy::new(self, counter.clone()))
    }

    /// Turns a panic of this sink into an error, with the event. See [`CatchPanic`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// // The queue goes on after the panic, and the event is counted by `lossy`.
    /// let queue = sink::for_each(|event: u32| assert!(event < 10)).catch_panic().lossy().queued();
    /// queue.write_all([10, 1]).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(queue.stats().delivered, 2);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn catch_panic(self) -> CatchPanic<Self>
    where
        E: Clone,
    {
        assert_sink::<E, CatchPanicError<Self::Error>, _>(CatchPanic::new(self))
    }

    /// Counts writes and their outcomes into `meter`. See [`Metered`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Meter, Sink, SinkExt, sink};
    ///
    /// let posts = Meter::new();
    /// let queue = sink::discard().metered(&posts).queued();
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(posts.snapshot().successes, 1);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn metered(self, meter: &Meter) -> Metered<Self> {
        assert_sink::<E, Self::Error, _>(Metered::new(self, meter.clone()))
    }

    /// Passes everything on but `close`: for a sink that several chains share and that is closed by hand. See
    /// [`KeepOpen`]; [`close_with_last`](SinkExt::close_with_last) closes it with the last chain.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let log = sink::collector();
    /// let (pushes, pulls) = (log.clone().keep_open().queued(), log.clone().keep_open().queued());
    /// pushes.write("push").unwrap();
    /// pushes.close().wait()?;
    /// pulls.write("pull").unwrap();
    /// pulls.close().wait()?;
    /// assert_eq!(log.events(), ["push", "pull"]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn keep_open(self) -> KeepOpen<Self> {
        assert_sink::<E, Self::Error, _>(KeepOpen::new(self))
    }

    /// Counts the clones of this sink and closes it with the last of them: for a sink that several chains
    /// share. See [`CloseWithLast`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let log = sink::collector();
    /// let pushes = log.clone().close_with_last();
    /// let pulls = pushes.clone();
    /// let (pushes, pulls) = (pushes.queued(), pulls.queued());
    /// pushes.write("push").unwrap();
    /// pushes.close().wait()?;
    /// pulls.write("pull").unwrap();
    /// pulls.close().wait()?;
    /// assert_eq!(log.events(), ["push", "pull"]);
    /// assert!(log.is_closed());
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn close_with_last(self) -> CloseWithLast<Self, E> {
        assert_sink::<E, Self::Error, _>(CloseWithLast::new(self))
    }

    /// Closes this sink at its first failure. See [`CloseOnFailure`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = sink::from_fn(|event: &u32| if *event < 2 { Ok(()) } else { Err("no route to host") });
    /// let strict = sink.close_on_failure();
    /// assert!(strict.write(1).is_ok());
    /// assert!(strict.write(2).unwrap_err().is_closed());
    /// assert!(strict.write(1).unwrap_err().is_closed());
    /// ```
    fn close_on_failure(self) -> CloseOnFailure<Self> {
        assert_sink::<E, std::convert::Infallible, _>(CloseOnFailure::new(self))
    }

    /// Refuses writes once it was closed, whatever this sink does. See [`Closeable`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let log = sink::collector();
    /// let mine = log.clone().keep_open().closeable();
    /// mine.close().wait()?;
    /// assert!(mine.write("refused").is_err() && log.write("accepted").is_ok());
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn closeable(self) -> Closeable<Self> {
        assert_sink::<E, Self::Error, _>(Closeable::new(self))
    }

    /// Writes again what fails, when `strategy` says so. See [`Retry`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Breaker, sink};
    ///
    /// let mut attempts = 0;
    /// let flaky = sink::from_fn_mut(move |_: &&str| {
    ///     attempts += 1;
    ///     if attempts < 3 { Err("service unavailable") } else { Ok(()) }
    /// });
    /// // Reliable now, so it can be queued.
    /// let queue = flaky.retry(Breaker::new(5, Duration::from_secs(1))).queued();
    /// queue.write("push").unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(queue.stats().delivered, 1);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn retry<R>(self, strategy: R) -> Retry<Self, R>
    where
        R: RetryStrategy<E, Self::Error>,
    {
        Retry::new(self, strategy)
    }

    /// Puts a queue without a bound and a worker thread before this sink, which must be reliable. See
    /// [`Queue`]; an event of 64 KiB and more [belongs in an `Arc` or a
    /// `Box`](crate::docs::tutorial::chapter_3#large-events).
    ///
    /// # Panics
    ///
    /// If no thread can be started, as [`std::thread::spawn`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued();
    /// queue.write_all(0..3).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(delivered.events(), [0, 1, 2]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    fn queued(self) -> Queue<E, Unbounded>
    where
        E: Send + 'static,
        Self: Send + Sync + 'static,
        Self::Error: Never,
    {
        started(Queue::of_events(QueueOptions::default(), self))
    }

    /// Puts a queue before this sink, which must be reliable, with a [`Buffer`](crate::buffer::Buffer) or
    /// with [`QueueOptions`]. See [`Queue`].
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, buffer::Buffer, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(1024).drop_oldest());
    /// assert!(queue.write(1).is_ok());
    /// ```
    #[track_caller]
    fn queued_with<P, O>(self, options: O) -> Queue<E, P>
    where
        E: Send + 'static,
        Self: Send + Sync + 'static,
        Self::Error: Never,
        P: Policy,
        O: Into<QueueOptions<E, P>>,
    {
        started(Queue::of_events(options.into(), self))
    }

    /// As [`queued_with`](SinkExt::queued_with).
    ///
    /// # Errors
    ///
    /// No thread could be started. This sink is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, sink};
    ///
    /// let queue = sink::discard::<u32>().try_queued_with(Buffer::bounded(1024))?;
    /// assert!(queue.write(1).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn try_queued_with<P, O>(self, options: O) -> io::Result<Queue<E, P>>
    where
        E: Send + 'static,
        Self: Send + Sync + 'static,
        Self::Error: Never,
        P: Policy,
        O: Into<QueueOptions<E, P>>,
    {
        Queue::of_events(options.into(), self)
    }

    /// Puts a queue before this sink of vectors. Its worker writes one event or more at once, at most as many
    /// as `batch` says; what the sink hands back of a vector is spilled event by event. See [`Batch`].
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, queue::Batch, sink};
    ///
    /// let requests = sink::collector();
    /// let queue = requests.clone().batched(Batch::of(2).within(Duration::from_secs(60)));
    /// queue.write_all(0..5).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(requests.events(), [vec![0, 1], vec![2, 3], vec![4]]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    fn batched<T>(self, batch: Batch) -> Queue<T, Unbounded>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
    {
        started(Queue::of_batches(QueueOptions::default(), batch, self))
    }

    /// As [`batched`](SinkExt::batched), with a buffer or options; capacity and counts are of events.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, buffer::Buffer, queue::Batch, sink};
    ///
    /// let batches = sink::collector::<Vec<u32>>();
    /// let queue = batches.clone().batched_with(Batch::of(100), Buffer::bounded(1000));
    /// queue.write(1).unwrap();
    /// queue.close().wait().unwrap();
    /// assert_eq!(batches.take().concat(), [1]);
    /// ```
    #[track_caller]
    fn batched_with<T, P, O>(self, batch: Batch, options: O) -> Queue<T, P>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P>>,
    {
        started(Queue::of_batches(options.into(), batch, self))
    }

    /// As [`batched_with`](SinkExt::batched_with), for those that would rather see that there is no thread for it.
    ///
    /// # Errors
    ///
    /// What the system says when it cannot start a thread. The sink is dropped, and not closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, buffer::Buffer, queue::Batch, sink};
    ///
    /// let batches = sink::collector::<Vec<u32>>();
    /// let queue = batches.clone().try_batched_with(Batch::of(100), Buffer::bounded(1000))?;
    /// queue.write(1).unwrap();
    /// queue.close().wait().unwrap();
    /// assert_eq!(batches.take().concat(), [1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn try_batched_with<T, P, O>(self, batch: Batch, options: O) -> io::Result<Queue<T, P>>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P>>,
    {
        Queue::of_batches(options.into(), batch, self)
    }

    /// Erases the type of this sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SharedSink, SinkExt, sink};
    ///
    /// let shared: SharedSink<u32, &str> = sink::from_fn(|_: &u32| Err("full")).shared();
    /// ```
    fn shared(self) -> SharedSink<E, Self::Error>
    where
        Self: Send + Sync + 'static,
    {
        std::sync::Arc::new(self)
    }

    /// Makes a `futures::Sink` of this sink, which must be reliable and must never make a writer wait. With
    /// the feature `futures`. See [`IntoFutures`](crate::adapter::IntoFutures).
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued().into_futures();
    /// futures::executor::block_on(stream::iter(0..3).map(Ok).forward(queue)).unwrap();
    /// assert_eq!(delivered.events(), [0, 1, 2]);
    /// ```
    #[cfg(feature = "futures")]
    fn into_futures(self) -> crate::adapter::IntoFutures<Self, E>
    where
        Self: crate::contract::ImmediateSink<E>,
        Self::Error: Never,
    {
        crate::adapter::IntoFutures::new(self)
    }

    /// Writes all of `events`, in order, and stops at the first that fails or is refused.
    ///
    /// # Errors
    ///
    /// That event, and the rest of the iterator.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, channel};
    ///
    /// let (sink, _events) = channel::with(outflow::buffer::Buffer::bounded(2).reject());
    /// let stopped = sink.write_all(0..10).unwrap_err();
    /// assert_eq!(stopped.refused.into_event(), 2);
    /// assert_eq!(stopped.rest, 3..10);
    /// ```
    fn write_all<I>(&self, events: I) -> Result<(), WriteAllError<E, Self::Error, I::IntoIter>>
    where
        I: IntoIterator<Item = E>,
    {
        let mut rest = events.into_iter();
        while let Some(event) = rest.next() {
            if let Err(refused) = self.write(event) {
                return Err(WriteAllError { refused, rest });
            }
        }
        Ok(())
    }

    /// Closes this sink when dropped, and waits at most `timeout`: for `main`. See [`CloseGuard`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued().close_on_drop(Duration::from_secs(5));
    /// queue.write(1).unwrap();
    /// drop(queue);
    /// assert_eq!(delivered.events(), [1]);
    /// ```
    fn close_on_drop(self, timeout: Duration) -> CloseGuard<Self, E> {
        CloseGuard::new(self, timeout)
    }
}

impl<E, S: Sink<E>> SinkExt<E> for S {}

/// Where [`write_all`](SinkExt::write_all) stopped.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let sink = sink::from_fn(|event: &u32| if *event < 2 { Ok(()) } else { Err("full") });
/// let stopped = sink.write_all(0..5).unwrap_err();
/// assert_eq!((stopped.refused.error(), stopped.rest), (Some(&"full"), 3..5));
/// ```
pub struct WriteAllError<E, X, I> {
    /// The event that was refused, and why.
    pub refused: WriteError<E, X>,
    /// The events after it.
    pub rest: I,
}

impl<E, X: fmt::Debug, I> fmt::Debug for WriteAllError<E, X, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAllError").field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl<E, X: fmt::Display, I> fmt::Display for WriteAllError<E, X, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.fmt(f)
    }
}

impl<E, X: std::error::Error + 'static, I> std::error::Error for WriteAllError<E, X, I> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.refused)
    }
}

#[track_caller]
fn started<T>(queue: io::Result<T>) -> T {
    match queue {
        Ok(queue) => queue,
        Err(error) => panic!("the queue's worker thread could not be started: {error}"),
    }
}

/// Moves the compiler's error to the combinator's method, here, if what it makes is no sink.
fn assert_sink<E, X, S>(sink: S) -> S
where
    S: Sink<E, Error = X>,
{
    sink
}
