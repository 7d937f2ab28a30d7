use std::io;
use std::time::Duration;

use crate::adapter::{
    CatchPanic, CatchPanicError, CloseGuard, CloseOnFailure, CloseWithLast, Closeable, Counter, DeadLetter,
    DeadLettered, ExpireAfter, ExpireError, Fallback, Filter, FilterMap, Inspect, KeepOpen, Lossy, Map,
    MapOwned, Meter, Metered, RateLimit, SplitOn, Tee,
};
use crate::buffer::{Policy, Unbounded};
use crate::contract::{Never, SharedSink, Sink, WriteAllError, write_all};
#[cfg(feature = "durable")]
use crate::durable::{Durable, DurableOptions, OpenError};
use crate::queue::{Batch, Queue, QueueOptions};
use crate::retry::{Retry, RetryStrategy};
use crate::sync::Rate;

/// The combinators, as methods of every sink. The [front page](crate#all-combinators) has a table of them all, and the
/// type that each method returns has the details.
///
/// In a chain the last call is the outermost and sees an event first. In
/// `http.retry(breaker).queued().filter(is_push)` an event passes the filter and enters the queue, and the queue's
/// worker writes it through the retry to `http`.
///
/// Unless its method says otherwise,
///
/// - a combinator owns the sink and passes `flush`, `close` and `is_closed` on to it;
/// - its error type is that of the sink, and an error hands back the event that was written to the combinator;
/// - it runs on the writer's thread. Below a queue that is the thread of the queue's worker: one of a [pool](crate::Workers).
///
/// A method with a bound [`Self::Error: Never`](crate::Never) needs a reliable sink. [`retry`](SinkExt::retry),
/// [`lossy`](SinkExt::lossy), and [`fallback`](SinkExt::fallback) or [`dead_letter`](SinkExt::dead_letter) into a
/// reliable sink make one.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let delivered = sink::collector();
/// let chain = delivered.clone().queued().filter(|event: &u32| event % 2 == 0);
/// chain.write_all(0..6).unwrap();
/// chain.close().wait()?;
/// assert_eq!(delivered.events(), [0, 2, 4]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub trait SinkExt<E>: Sink<E> + Sized {
    /// Writes the events for which `predicate` returns `true`, and drops the others: their writes succeed. See
    /// [`Filter`].
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

    /// Makes a sink of `T` that writes `f(&event)`. It borrows the event, so that an error can hand back the original.
    /// See [`Map`].
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

    /// As [`map`](SinkExt::map), for events that are too large to copy: `into` consumes the event, and `back` turns
    /// what an error hands back into an event again. See [`MapOwned`].
    fn map_owned<T, I, B>(self, into: I, back: B) -> MapOwned<Self, T, E, I, B>
    where
        I: Fn(T) -> E,
        B: Fn(E) -> T,
    {
        assert_sink::<T, Self::Error, _>(MapOwned::new(self, into, back))
    }

    /// Makes a sink of `T` that writes the value if `f(&event)` is `Some`, and drops the event if it is `None`: its
    /// write succeeds. See [`FilterMap`].
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

    /// Calls `f` with each event before it is written, on the writer's thread. See [`Inspect`].
    fn inspect<F>(self, f: F) -> Inspect<Self, F>
    where
        F: Fn(&E),
    {
        assert_sink::<E, Self::Error, _>(Inspect::new(self, f))
    }

    /// Writes every event to this sink and then to `other`. Both must be reliable. See [`Tee`].
    fn tee<T>(self, other: T) -> Tee<Self, T>
    where
        E: Clone,
        T: Sink<E>,
        Self::Error: Never,
        T::Error: Never,
    {
        assert_sink::<E, std::convert::Infallible, _>(Tee::new(self, other))
    }

    /// Writes an event that this sink fails, or refuses as closed, to `other`. The errors are then those of `other`. See
    /// [`Fallback`].
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

    /// Writes an event that this sink fails to `other`, together with the error. The errors are then those of `other`.
    /// See [`DeadLettered`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let dead = sink::collector();
    /// let http = sink::from_fn(|_: &u32| Err("no route to host")).dead_letter(dead.clone());
    /// http.write(1).unwrap();
    /// assert_eq!((dead.events()[0].event, dead.events()[0].error), (1, "no route to host"));
    /// ```
    fn dead_letter<T>(self, other: T) -> DeadLettered<Self, T>
    where
        T: Sink<DeadLetter<E, Self::Error>>,
    {
        assert_sink::<E, T::Error, _>(DeadLettered::new(self, other))
    }

    /// Drops an event that this sink fails, and counts it: its write succeeds. The result is reliable, and can be
    /// queued. See [`Lossy`].
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

    /// As [`lossy`](SinkExt::lossy), and counts into `counter`, which can be read when the sink is part of a chain.
    /// [`Counter`] has an example.
    fn lossy_counted(self, counter: &Counter) -> Lossy<Self> {
        assert_sink::<E, std::convert::Infallible, _>(Lossy::new(self, counter.clone()))
    }

    /// Turns a panic of this sink into an error that hands back a clone of the event. See [`CatchPanic`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = sink::for_each(|event: u32| assert!(event < 10)).catch_panic().lossy();
    /// sink.write_all([10, 1]).unwrap();
    /// assert_eq!(sink.dropped(), 1);
    /// ```
    fn catch_panic(self) -> CatchPanic<Self>
    where
        E: Clone,
    {
        assert_sink::<E, CatchPanicError<Self::Error>, _>(CatchPanic::new(self))
    }

    /// Counts writes and their outcomes into `meter`, which can be read when the sink is part of a chain. See
    /// [`Metered`].
    fn metered(self, meter: &Meter) -> Metered<Self> {
        assert_sink::<E, Self::Error, _>(Metered::new(self, meter.clone()))
    }

    /// Passes everything on except `close`: for a sink that several chains share and that is closed by hand. See
    /// [`KeepOpen`]; [`close_with_last`](SinkExt::close_with_last) closes it with the last chain.
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
    /// pushes.close().wait()?;
    /// pulls.write("pull").unwrap(); // `log` is still open.
    /// pulls.close().wait()?;
    /// assert!(log.is_closed());
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn close_with_last(self) -> CloseWithLast<Self, E> {
        assert_sink::<E, Self::Error, _>(CloseWithLast::new(self, Self::close))
    }

    /// Closes this sink at its first failure, and hands the event back as refused. See [`CloseOnFailure`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let sink = sink::from_fn(|event: &u32| if *event < 2 { Ok(()) } else { Err("no route to host") })
    ///     .close_on_failure();
    /// assert!(sink.write(1).is_ok());
    /// assert!(sink.write(2).unwrap_err().is_closed());
    /// assert!(sink.write(1).unwrap_err().is_closed());
    /// ```
    fn close_on_failure(self) -> CloseOnFailure<Self> {
        assert_sink::<E, std::convert::Infallible, _>(CloseOnFailure::new(self))
    }

    /// Refuses writes once it was closed, even if this sink would still accept them. See [`Closeable`].
    fn closeable(self) -> Closeable<Self> {
        assert_sink::<E, Self::Error, _>(Closeable::new(self))
    }

    /// Writes an event again when it fails, after a wait that `strategy` decides on, on the writer's thread. With a
    /// strategy that never gives up the result is reliable, and can be queued. See [`Retry`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::Breaker, sink};
    ///
    /// let mut attempts = 0;
    /// let http = sink::from_fn_mut(move |_: &&str| {
    ///     attempts += 1;
    ///     if attempts < 3 { Err("service unavailable") } else { Ok(()) }
    /// });
    /// http.retry(Breaker::new(5, Duration::from_secs(1))).write("push").unwrap();
    /// ```
    fn retry<R>(self, strategy: R) -> Retry<Self, R>
    where
        R: RetryStrategy<E, Self::Error>,
    {
        Retry::new(self, strategy)
    }

    /// Makes writes wait, so that no more events than `rate` allows reach this sink. See [`RateLimit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Rate, Sink, SinkExt, sink};
    ///
    /// // Writers do not wait, and the endpoint gets 50 events a second.
    /// let http = sink::discard().rate_limit(Rate::per_second(50).burst(10)).queued();
    /// assert!(http.write("push").is_ok());
    /// ```
    fn rate_limit(self, rate: Rate) -> RateLimit<Self> {
        assert_sink::<E, Self::Error, _>(RateLimit::new(self, rate))
    }

    /// Fails an event that is older than `limit` when it is written, with [`ExpireError`](crate::ExpireError). `age`
    /// returns how old an event is. See [`ExpireAfter`], also for its place beside a retry.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use outflow::{Counter, Sink, SinkExt, sink};
    ///
    /// // What has waited for more than a minute is of no use any more: it is dropped, and counted.
    /// let expired = Counter::new();
    /// let quotes = sink::discard()
    ///     .expire_after(Duration::from_secs(60), |made: &Instant| made.elapsed())
    ///     .lossy_counted(&expired)
    ///     .queued();
    /// quotes.write(Instant::now()).unwrap();
    /// quotes.close().wait()?;
    /// assert_eq!(expired.get(), 0);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn expire_after<F>(self, limit: Duration, age: F) -> ExpireAfter<Self, F>
    where
        F: Fn(&E) -> Duration,
    {
        assert_sink::<E, ExpireError<Self::Error>, _>(ExpireAfter::new(self, limit, age))
    }

    /// Writes a vector in halves when this sink fails it with an error for which `predicate` returns `true`, until the
    /// events that the sink refuses are alone. The error hands back those. See [`SplitOn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let http = sink::from_fn(|batch: &Vec<u32>| if batch.contains(&7) { Err(422) } else { Ok(()) })
    ///     .split_on(|status| matches!(status, 400 | 413 | 422));
    /// assert_eq!(http.write((0..100).collect()).unwrap_err().into_event(), [7]);
    /// ```
    fn split_on<T, P>(self, predicate: P) -> SplitOn<Self, P>
    where
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error>,
        P: Fn(&<Self as Sink<E>>::Error) -> bool,
    {
        assert_sink::<Vec<T>, <Self as Sink<E>>::Error, _>(SplitOn::new(self, predicate))
    }

    /// Puts a queue without a bound before this sink, which must be reliable. A write returns when the event is in the
    /// queue; a worker writes it to the sink, on a thread of the [pool](crate::Workers). See [`Queue`]. Put an event of 64 KiB or more [in an `Arc` or a
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
    /// use outflow::{Buffer, Sink, SinkExt, queue::QueueOptions, sink};
    ///
    /// let options = QueueOptions::new(Buffer::bounded(1024).drop_oldest()).name("audit");
    /// let queue = sink::discard::<u32>().queued_with(options);
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

    /// Puts a queue on disk before this sink, which must be reliable: a write returns when its event is committed to the
    /// store in the directory `path`, and after a crash what was not delivered is delivered when that is opened again. See
    /// [`Durable`](crate::durable::Durable). Feature `durable`.
    ///
    /// # Errors
    ///
    /// If the store cannot be opened: it is open already, it is something else, or the operating system says no. This sink
    /// is dropped then, and not closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// # let path = std::env::temp_dir().join(format!("outflow-durable-{}", std::process::id()));
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().durable(&path)?;
    /// queue.write("push alpine".to_string()).unwrap(); // On disk from here on.
    /// queue.close().wait()?;
    /// assert_eq!(delivered.events(), ["push alpine"]);
    /// assert_eq!(queue.left_on_disk(), 0);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "durable")]
    fn durable<T>(self, path: T) -> Result<Durable<E>, OpenError>
    where
        T: AsRef<std::path::Path>,
        E: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
        Self: Send + Sync + 'static,
        Self::Error: Never,
    {
        self.durable_with(DurableOptions::new(path))
    }

    /// As `durable`, with [`DurableOptions`](crate::durable::DurableOptions). Feature `durable`.
    ///
    /// # Errors
    ///
    /// As those of `durable`, and if the store has another schema.
    #[cfg(feature = "durable")]
    fn durable_with(self, options: DurableOptions<E>) -> Result<Durable<E>, OpenError>
    where
        E: Send + 'static,
        Self: Send + Sync + 'static,
        Self::Error: Never,
    {
        Durable::open(options, self)
    }

    /// As [`queued_with`](SinkExt::queued_with), and returns an error where that panics.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started. This sink is dropped then, and not closed.
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

    /// Puts a queue of single events before this sink of vectors. Its worker writes up to as many events at once
    /// as `batch` says. Events of a vector that the sink hands back are spilled one by one. See [`Batch`].
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
    fn batched<T>(self, batch: Batch<T>) -> Queue<T, Unbounded>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
    {
        started(Queue::of_batches(QueueOptions::default(), batch, self))
    }

    /// As [`batched`](SinkExt::batched), with a [`Buffer`](crate::buffer::Buffer) or with [`QueueOptions`]. Its
    /// capacity and its counts are of events, and not of batches.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    #[track_caller]
    fn batched_with<T, P, O>(self, batch: Batch<T>, options: O) -> Queue<T, P>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P>>,
    {
        started(Queue::of_batches(options.into(), batch, self))
    }

    /// As [`batched_with`](SinkExt::batched_with), and returns an error where that panics.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started. This sink is dropped then, and not closed.
    fn try_batched_with<T, P, O>(self, batch: Batch<T>, options: O) -> io::Result<Queue<T, P>>
    where
        T: Send + 'static,
        Self: Sink<Vec<T>, Error = <Self as Sink<E>>::Error> + Send + Sync + 'static,
        <Self as Sink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P>>,
    {
        Queue::of_batches(options.into(), batch, self)
    }

    /// Erases the type of this sink: an `Arc<dyn Sink<E, Error = ..>>`, so that sinks of different types fit into one
    /// field or vector. Clones share the sink. See [`SharedSink`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{SharedSink, Sink, SinkExt, sink};
    ///
    /// let sinks: [SharedSink<u32>; 2] = [sink::discard().shared(), sink::discard().queued().shared()];
    /// assert!(sinks.iter().all(|sink| sink.write(1).is_ok()));
    /// ```
    fn shared(self) -> SharedSink<E, Self::Error>
    where
        Self: Send + Sync + 'static,
    {
        std::sync::Arc::new(self)
    }

    /// Makes a `futures::Sink` of this sink, which must be reliable and must never make a writer wait. Needs the
    /// feature `futures`. See [`IntoFutures`](crate::adapter::IntoFutures).
    #[cfg(feature = "futures")]
    fn into_futures(self) -> crate::adapter::IntoFutures<Self, E>
    where
        Self: crate::contract::ImmediateSink<E>,
        Self::Error: Never,
    {
        crate::adapter::IntoFutures::new(self)
    }

    /// Writes all of `events`, in order, and stops at the first that fails or is refused. It waits where a write does.
    ///
    /// A sink that is better at [runs](Sink::longest_run), as a [`Log`](crate::Log) is, gets them: as many events are
    /// taken from the iterator first as it says that there are at least ([`Iterator::size_hint`]). An iterator that
    /// does not know is written one event at a time, so that what it has returned does not wait for the next. Where the
    /// iterator itself writes to the sink, that is before the run.
    ///
    /// # Errors
    ///
    /// That event with its error, and all that come after it.
    ///
    /// # Panics
    ///
    /// If the iterator or a write does. What the iterator had returned before is written.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, channel};
    ///
    /// let (sink, _events) = channel::with(outflow::buffer::Buffer::bounded(2).reject());
    /// let stopped = sink.write_all(0..10).unwrap_err();
    /// assert_eq!(stopped.refused.into_event(), 2);
    /// assert!(stopped.rest.eq(3..10));
    /// ```
    fn write_all<I>(&self, events: I) -> Result<(), WriteAllError<E, Self::Error, I::IntoIter>>
    where
        I: IntoIterator<Item = E>,
    {
        let (write, write_run) = (|event| self.write(event), |run: &mut _| self.write_run(run));
        write_all(events.into_iter(), self.longest_run(), write, write_run)
    }

    /// Closes this sink when the guard is dropped, waits for its events, and aborts what is not delivered within
    /// `timeout`: for `main`. See [`CloseGuard`].
    fn close_on_drop(self, timeout: Duration) -> CloseGuard<Self, E> {
        CloseGuard::new(self, timeout, Self::close)
    }
}

impl<E, S: Sink<E>> SinkExt<E> for S {}

#[track_caller]
fn started<T>(queue: io::Result<T>) -> T {
    match queue {
        Ok(queue) => queue,
        Err(error) => panic!("no thread could be started for the queue's worker: {error}"),
    }
}

/// Moves the compiler's error here, to the combinator's method, if the type that it returns is no sink.
fn assert_sink<E, X, S>(sink: S) -> S
where
    S: Sink<E, Error = X>,
{
    sink
}
