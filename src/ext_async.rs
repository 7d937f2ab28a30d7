use std::convert::Infallible;
use std::io;
use std::time::Duration;

use crate::adapter::{
    CatchPanic, CatchPanicError, CloseGuard, CloseOnFailure, CloseWithLast, Closeable, Counter, DeadLetter,
    DeadLettered, ExpireAfter, ExpireError, Fallback, Filter, FilterMap, Inspect, KeepOpen, Lossy, Map,
    MapOwned, Meter, Metered, RateLimit, SplitOn, Timeout, TimeoutError,
};
use crate::buffer::{Policy, Unbounded};
use crate::contract::{AsyncSink, ImmediateSink, Never, SharedAsyncSink, WriteAllError};
#[cfg(feature = "durable")]
use crate::durable::{Durable, DurableOptions, OpenError};
use crate::queue::{Batch, Queue, QueueOptions};
use crate::retry::{Retry, RetryStrategy};
use crate::sync::Rate;
use crate::worker::AsyncOnly;

/// The combinators of asynchronous sinks, as methods: the twins of those of [`SinkExt`](crate::SinkExt), which return the
/// same types. [`docs::async_sinks`](crate::docs::async_sinks) has more.
///
/// In a chain the last call is the outermost and sees an event first. Unless its method says otherwise,
///
/// - a combinator owns the sink and passes `flush`, `close` and `is_closed` on to it;
/// - its error type is that of the sink, and an error hands back the event that was written to the combinator;
/// - its closures run in a poll of the write's future, and must not block.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{AsyncSink, AsyncSinkExt, retry::Breaker, sink};
///
/// # async fn publish(_: String) -> Result<(), &'static str> { Ok(()) }
/// let chain = sink::from_async_fn(publish)
///     .timeout(Duration::from_secs(10))
///     .retry(Breaker::new(5, Duration::from_secs(1)))
///     .filter(|event: &String| event.starts_with("push"));
///
/// let write = chain.write("push alpine".to_string()); // To be awaited.
/// # let mut write = std::pin::pin!(write);
/// # assert!(write.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
/// ```
pub trait AsyncSinkExt<E>: AsyncSink<E> + Sized {
    /// Writes the events for which `predicate` returns `true`, and drops the others: their writes succeed. See
    /// [`Filter`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, Meter, sink};
    ///
    /// let published = Meter::new();
    /// let publish = sink::from_async_fn(|_: u32| async { Ok::<_, &str>(()) }).metered(&published);
    /// let even = publish.filter(|event| event % 2 == 0);
    /// block_on(even.write_all(0..5)).unwrap();
    /// assert_eq!(published.snapshot().successes, 3);
    /// # }
    /// ```
    fn filter<P>(self, predicate: P) -> Filter<Self, P>
    where
        E: Send,
        P: Fn(&E) -> bool + Send + Sync,
    {
        assert_async_sink::<E, Self::Error, _>(Filter::new(self, predicate))
    }

    /// Makes a sink of `T` that writes `f(&event)`. It borrows the event, so that an error can hand back the original.
    /// See [`Map`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let lines = sink::from_async_fn(|line: String| async move { Err::<(), _>(format!("no room for {line}")) });
    /// let numbers = lines.map(|event: &u32| format!("event {event}"));
    /// let refused = block_on(numbers.write(7)).unwrap_err();
    /// assert_eq!(refused.error().unwrap(), "no room for event 7");
    /// assert_eq!(refused.into_event(), 7);
    /// # }
    /// ```
    fn map<T, F>(self, f: F) -> Map<Self, T, E, F>
    where
        E: Send,
        T: Send,
        F: Fn(&T) -> E + Send + Sync,
    {
        assert_async_sink::<T, Self::Error, _>(Map::new(self, f))
    }

    /// As [`map`](AsyncSinkExt::map), for events that are too large to copy: `into` consumes the event, and `back` turns
    /// what an error hands back into an event again. See [`MapOwned`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let bodies = sink::from_async_fn(|_: Vec<u8>| async { Err::<(), _>("down") });
    /// let texts = bodies.map_owned(String::into_bytes, |body| String::from_utf8(body).unwrap());
    /// assert_eq!(block_on(texts.write("push".to_string())).unwrap_err().into_event(), "push");
    /// # }
    /// ```
    fn map_owned<T, I, B>(self, into: I, back: B) -> MapOwned<Self, T, E, I, B>
    where
        T: Send,
        I: Fn(T) -> E + Send + Sync,
        B: Fn(E) -> T + Send + Sync,
    {
        assert_async_sink::<T, Self::Error, _>(MapOwned::new(self, into, back))
    }

    /// Makes a sink of `T` that writes the value if `f(&event)` is `Some`, and drops the event if it is `None`: its
    /// write succeeds. See [`FilterMap`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let numbers = sink::from_async_fn(|event: u32| async move { if event < 2 { Ok(()) } else { Err("too large") } });
    /// let texts = numbers.filter_map(|event: &&str| event.parse().ok());
    /// assert!(block_on(texts.write("one")).is_ok());
    /// assert_eq!(block_on(texts.write("2")).unwrap_err().into_event(), "2");
    /// # }
    /// ```
    fn filter_map<T, F>(self, f: F) -> FilterMap<Self, T, E, F>
    where
        E: Send,
        T: Send,
        F: Fn(&T) -> Option<E> + Send + Sync,
    {
        assert_async_sink::<T, Self::Error, _>(FilterMap::new(self, f))
    }

    /// Calls `f` with each event before it is written. See [`Inspect`].
    fn inspect<F>(self, f: F) -> Inspect<Self, F>
    where
        E: Send,
        F: Fn(&E) + Send + Sync,
    {
        assert_async_sink::<E, Self::Error, _>(Inspect::new(self, f))
    }

    /// Counts writes and their outcomes into `meter`, which can be read when the sink is part of a chain. See
    /// [`Metered`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, Meter, sink};
    ///
    /// let meter = Meter::new();
    /// let sink = sink::from_async_fn(|_: u32| async { Ok::<_, &str>(()) }).metered(&meter);
    /// drop(sink.write(1)); // Never polled, and so never begun.
    /// block_on(sink.write(2)).unwrap();
    /// assert_eq!((meter.snapshot().events, meter.snapshot().successes), (1, 1));
    /// # }
    /// ```
    fn metered(self, meter: &Meter) -> Metered<Self>
    where
        E: Send,
    {
        assert_async_sink::<E, Self::Error, _>(Metered::new(self, meter.clone()))
    }

    /// Writes an event again when it fails, after a wait that `strategy` decides on. The wait is a timer of this crate,
    /// which needs no runtime; `close` ends it. With a strategy that never gives up the result is reliable. See
    /// [`Retry`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use std::time::Duration;
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, retry::ExponentialBackoff, sink};
    ///
    /// # async fn publish(_: u32) -> Result<(), u16> { Err(422) }
    /// let sink = sink::from_async_fn(publish)
    ///     .retry(ExponentialBackoff::default())
    ///     .max_attempts(5)
    ///     .give_up_when(|failure| *failure.error == 422);
    /// assert_eq!(block_on(sink.write(1)).unwrap_err().error(), Some(&422));
    /// # }
    /// ```
    fn retry<R>(self, strategy: R) -> Retry<Self, R>
    where
        E: Send,
        R: RetryStrategy<E, Self::Error>,
    {
        Retry::new(self, strategy)
    }

    /// Makes writes wait, so that no more events than `rate` allows reach this sink. The wait is a timer of this crate,
    /// which needs no runtime; `close` ends it. See [`RateLimit`].
    fn rate_limit(self, rate: Rate) -> RateLimit<Self>
    where
        E: Send,
    {
        assert_async_sink::<E, Self::Error, _>(RateLimit::new(self, rate))
    }

    /// Fails an event that is older than `limit` when it is written, with [`ExpireError`](crate::ExpireError). `age`
    /// returns how old an event is. See [`ExpireAfter`], also for its place beside a retry.
    fn expire_after<F>(self, limit: Duration, age: F) -> ExpireAfter<Self, F>
    where
        E: Send,
        F: Fn(&E) -> Duration + Send + Sync,
    {
        assert_async_sink::<E, ExpireError<Self::Error>, _>(ExpireAfter::new(self, limit, age))
    }

    /// Writes a vector in halves when this sink fails it with an error for which `predicate` returns `true`, until the
    /// events that the sink refuses are alone. The error hands back those. See [`SplitOn`].
    fn split_on<T, P>(self, predicate: P) -> SplitOn<Self, P>
    where
        T: Send,
        Self: AsyncSink<Vec<T>, Error = <Self as AsyncSink<E>>::Error>,
        <Self as AsyncSink<E>>::Error: Send,
        P: Fn(&<Self as AsyncSink<E>>::Error) -> bool + Send + Sync,
    {
        assert_async_sink::<Vec<T>, <Self as AsyncSink<E>>::Error, _>(SplitOn::new(self, predicate))
    }

    /// Fails a write that takes longer than `time`, and gives it up: it may have been done, so that a retry above writes
    /// an event at least once. See [`Timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use std::time::Duration;
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, TimeoutError, sink};
    ///
    /// let time = Duration::from_millis(1);
    /// let stuck = sink::from_async_fn(|_: u32| std::future::pending::<Result<(), &str>>()).timeout(time);
    /// let refused = block_on(stuck.write(1)).unwrap_err();
    /// assert_eq!(refused.error(), Some(&TimeoutError::TimedOut(time)));
    /// # }
    /// ```
    fn timeout(self, time: Duration) -> Timeout<Self>
    where
        E: Clone + Send,
    {
        assert_async_sink::<E, TimeoutError<Self::Error>, _>(Timeout::new(self, time))
    }

    /// Turns a panic of this sink, in a poll say, into an error that hands back the event. A clone is written. See
    /// [`CatchPanic`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, CatchPanicError, sink};
    ///
    /// let sink = sink::from_async_fn(|event: u32| async move {
    ///     assert!(event < 10, "too large");
    ///     Ok::<_, &str>(())
    /// });
    /// let refused = block_on(sink.catch_panic().write(10)).unwrap_err();
    /// assert_eq!(refused.error(), Some(&CatchPanicError::Panicked("too large".into())));
    /// assert_eq!(refused.into_event(), 10);
    /// # }
    /// ```
    fn catch_panic(self) -> CatchPanic<Self>
    where
        E: Clone + Send,
    {
        assert_async_sink::<E, CatchPanicError<Self::Error>, _>(CatchPanic::new(self))
    }

    /// Drops an event that this sink fails, and counts it: its write succeeds. See [`Lossy`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let sink = sink::from_async_fn(|_: u32| async { Err("full") }).lossy();
    /// assert!(block_on(sink.write(1)).is_ok());
    /// assert_eq!(sink.dropped(), 1);
    /// # }
    /// ```
    fn lossy(self) -> Lossy<Self>
    where
        E: Send,
    {
        self.lossy_counted(&Counter::new())
    }

    /// As [`lossy`](AsyncSinkExt::lossy), and counts into `counter`, which can be read when the sink is part of a chain.
    fn lossy_counted(self, counter: &Counter) -> Lossy<Self>
    where
        E: Send,
    {
        assert_async_sink::<E, Infallible, _>(Lossy::new(self, counter.clone()))
    }

    /// Writes an event that this sink fails, or refuses as closed, to `other`, a [`Sink`](crate::Sink) whose writes never
    /// wait: a queue, say. See [`Fallback`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let backup = sink::collector();
    /// let sink = sink::from_async_fn(|_: u32| async { Err("no route to host") }).fallback(backup.clone());
    /// block_on(sink.write(1)).unwrap();
    /// assert_eq!(backup.events(), [1]);
    /// # }
    /// ```
    fn fallback<T>(self, other: T) -> Fallback<Self, T>
    where
        E: Send,
        T: ImmediateSink<E> + Send + Sync,
    {
        assert_async_sink::<E, T::Error, _>(Fallback::new(self, other))
    }

    /// Writes an event that this sink fails to `other`, together with the error. `other` is a [`Sink`](crate::Sink) whose
    /// writes never wait: a queue, say. See [`DeadLettered`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{AsyncSink, AsyncSinkExt, Sink, SinkExt, sink};
    ///
    /// let dead = sink::collector();
    /// let queue = dead.clone().queued();
    /// let chain = sink::from_async_fn(|_: u32| async { Err("no route to host") }).dead_letter(queue);
    /// # let mut write = std::pin::pin!(chain.write(1));
    /// # assert!(write.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
    /// chain.close().wait()?;
    /// assert_eq!((dead.events()[0].event, dead.events()[0].error), (1, "no route to host"));
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn dead_letter<T>(self, other: T) -> DeadLettered<Self, T>
    where
        E: Send,
        T: ImmediateSink<DeadLetter<E, Self::Error>> + Send + Sync,
    {
        assert_async_sink::<E, T::Error, _>(DeadLettered::new(self, other))
    }

    /// Refuses writes once it was closed, even if this sink would still accept them. See [`Closeable`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let client = sink::from_async_fn(|_: u32| async { Ok::<_, &str>(()) });
    /// let first = (&client).keep_open().closeable();
    /// first.close().wait()?;
    /// assert_eq!(block_on(first.write(1)).unwrap_err().into_event(), 1);
    /// assert!(block_on(client.write(1)).is_ok());
    /// # }
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn closeable(self) -> Closeable<Self>
    where
        E: Send,
    {
        assert_async_sink::<E, Self::Error, _>(Closeable::new(self))
    }

    /// Passes everything on except `close`: for a sink that several chains share and that is closed by hand. See
    /// [`KeepOpen`].
    fn keep_open(self) -> KeepOpen<Self> {
        assert_async_sink::<E, Self::Error, _>(KeepOpen::new(self))
    }

    /// Counts the clones of this sink and closes it with the last of them: for a sink that several chains share. See
    /// [`CloseWithLast`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{AsyncSink, AsyncSinkExt, sink};
    ///
    /// let client = sink::from_async_fn(|_: u32| async { Ok::<_, &str>(()) });
    /// let first = (&client).close_with_last();
    /// let second = first.clone();
    /// first.close().wait()?;
    /// assert!(!client.is_closed());
    /// second.close().wait()?;
    /// assert!(client.is_closed());
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn close_with_last(self) -> CloseWithLast<Self, E>
    where
        E: Send,
    {
        assert_async_sink::<E, Self::Error, _>(CloseWithLast::new(self, Self::close))
    }

    /// Closes this sink at its first failure, and hands the event back as refused. See [`CloseOnFailure`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use outflow::testing::block_on;
    /// use outflow::{AsyncSink, AsyncSinkExt, WriteError, sink};
    ///
    /// let sink = sink::from_async_fn(|_: u32| async { Err("connection reset") }).close_on_failure();
    /// assert_eq!(block_on(sink.write(1)), Err(WriteError::Closed(1)));
    /// assert!(sink.is_closed());
    /// # }
    /// ```
    fn close_on_failure(self) -> CloseOnFailure<Self>
    where
        E: Send,
    {
        assert_async_sink::<E, Infallible, _>(CloseOnFailure::new(self))
    }

    /// Closes this sink when the guard is dropped, and waits on that thread, at most for `timeout`. Not in an `async`
    /// function of a current-thread runtime, which the wait would stop. See [`CloseGuard`].
    fn close_on_drop(self, timeout: Duration) -> CloseGuard<Self, E> {
        CloseGuard::new(self, timeout, Self::close)
    }

    /// Puts a queue without a bound before this sink, which must be reliable. The result is a [`Sink`](crate::Sink): a write
    /// returns when the event is in the queue. Its worker is a task of [`Workers::global`](crate::Workers::global), or of
    /// what [`queued_with`](AsyncSinkExt::queued_with) names. See [`Queue`].
    ///
    /// A client that needs tokio's runtime panics on that pool, "there is no reactor running", which ends the queue: name the
    /// runtime, `.queued_with(QueueOptions::default().on(Handle::current()))`. (The webhook sink of this crate knows its own.)
    ///
    /// # Panics
    ///
    /// If the pool has no thread, and none can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use outflow::{AsyncSinkExt, Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let client = delivered.clone();
    /// let queue = sink::from_async_fn(move |event: u32| {
    ///     let client = client.clone();
    ///     async move { client.write(event).map_err(|_| "closed") }
    /// })
    /// .lossy()
    /// .queued();
    /// queue.write_all(0..3).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(delivered.events(), [0, 1, 2]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    fn queued(self) -> Queue<E, Unbounded>
    where
        E: Send + 'static,
        Self: 'static,
        Self::Error: Never,
    {
        started(Queue::of_async_events(QueueOptions::default().into(), self))
    }

    /// Puts a queue before this sink, which must be reliable, with a [`Buffer`](crate::Buffer) or with [`QueueOptions`]. See
    /// [`Queue`].
    ///
    /// # Panics
    ///
    /// If no thread can be started, or if the closure panics that the worker is to run [on](QueueOptions::on).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use outflow::{AsyncSinkExt, Buffer, Sink, queue::QueueOptions, sink};
    ///
    /// let options = QueueOptions::new(Buffer::bounded(1024)).dedicated().name("audit");
    /// let queue = sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }).queued_with(options);
    /// assert!(queue.write(1).is_ok());
    /// ```
    #[track_caller]
    fn queued_with<P, O>(self, options: O) -> Queue<E, P>
    where
        E: Send + 'static,
        Self: 'static,
        Self::Error: Never,
        P: Policy,
        O: Into<QueueOptions<E, P, AsyncOnly>>,
    {
        started(Queue::of_async_events(options.into(), self))
    }

    /// Puts a queue before this sink, which must be reliable, that keeps its events on disk, in this directory. The result is a
    /// [`Sink`](crate::Sink), whose write blocks while the disk works. Feature `durable`, which asks for Rust 1.89. See
    /// [`docs::durable`](crate::docs::durable).
    ///
    /// # Errors
    ///
    /// If the directory is no store, is open already, or cannot be used. This sink is dropped then, and not closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use outflow::{AsyncSinkExt, Sink, sink};
    ///
    /// # let path = std::env::temp_dir().join(format!("outflow-async-{}", std::process::id()));
    /// let publish = sink::from_async_fn(|_: String| async { Ok::<_, Infallible>(()) });
    /// let events = publish.durable(&path)?;
    /// events.write("push alpine".to_string())?;
    /// events.close().wait()?;
    /// assert_eq!(events.left_on_disk(), 0);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "durable")]
    fn durable<T>(self, path: T) -> Result<Durable<E>, OpenError>
    where
        T: AsRef<std::path::Path>,
        E: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
        Self: 'static,
        Self::Error: Never,
    {
        self.durable_with(DurableOptions::new(path))
    }

    /// As `durable`, with [`DurableOptions`](crate::durable::DurableOptions), which say [on](crate::durable::DurableOptions::on)
    /// what the worker runs. Feature `durable`.
    ///
    /// # Errors
    ///
    /// As those of `durable`, and if the store has another schema.
    ///
    /// # Panics
    ///
    /// If the closure panics that the worker is to run on.
    #[cfg(feature = "durable")]
    fn durable_with<O>(self, options: O) -> Result<Durable<E>, OpenError>
    where
        E: Send + 'static,
        Self: 'static,
        Self::Error: Never,
        O: Into<DurableOptions<E, AsyncOnly>>,
    {
        Durable::open_async(options.into(), self)
    }

    /// As [`queued_with`](AsyncSinkExt::queued_with), and returns an error if no thread can be started.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started. This sink is dropped then, and not closed.
    fn try_queued_with<P, O>(self, options: O) -> io::Result<Queue<E, P>>
    where
        E: Send + 'static,
        Self: 'static,
        Self::Error: Never,
        P: Policy,
        O: Into<QueueOptions<E, P, AsyncOnly>>,
    {
        Queue::of_async_events(options.into(), self)
    }

    /// Puts a queue of single events before this sink of vectors. Its worker writes up to as many events at once as `batch`
    /// says. Events of a vector that the sink hands back are spilled one by one. See [`Batch`].
    ///
    /// # Panics
    ///
    /// As [`queued`](AsyncSinkExt::queued).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{AsyncSinkExt, Sink, SinkExt, queue::Batch, sink};
    ///
    /// let requests = sink::collector();
    /// let client = requests.clone();
    /// let queue = sink::from_async_fn(move |events: Vec<u32>| {
    ///     let client = client.clone();
    ///     async move { client.write(events).map_err(|_| "closed") }
    /// })
    /// .lossy()
    /// .batched(Batch::of(2).within(Duration::from_secs(60)));
    /// queue.write_all(0..5).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(requests.events(), [vec![0, 1], vec![2, 3], vec![4]]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    fn batched<T>(self, batch: Batch<T>) -> Queue<T, Unbounded>
    where
        T: Send + 'static,
        Self: AsyncSink<Vec<T>, Error = <Self as AsyncSink<E>>::Error> + 'static,
        <Self as AsyncSink<E>>::Error: Never,
    {
        started(Queue::of_async_batches(QueueOptions::default().into(), batch, self))
    }

    /// As [`batched`](AsyncSinkExt::batched), with a [`Buffer`](crate::Buffer) or with [`QueueOptions`]. Its capacity and its
    /// counts are of events, and not of batches.
    ///
    /// # Panics
    ///
    /// As [`queued_with`](AsyncSinkExt::queued_with).
    #[track_caller]
    fn batched_with<T, P, O>(self, batch: Batch<T>, options: O) -> Queue<T, P>
    where
        T: Send + 'static,
        Self: AsyncSink<Vec<T>, Error = <Self as AsyncSink<E>>::Error> + 'static,
        <Self as AsyncSink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P, AsyncOnly>>,
    {
        started(Queue::of_async_batches(options.into(), batch, self))
    }

    /// As [`batched_with`](AsyncSinkExt::batched_with), and returns an error if no thread can be started.
    ///
    /// # Errors
    ///
    /// The system's, if no thread can be started. This sink is dropped then, and not closed.
    fn try_batched_with<T, P, O>(self, batch: Batch<T>, options: O) -> io::Result<Queue<T, P>>
    where
        T: Send + 'static,
        Self: AsyncSink<Vec<T>, Error = <Self as AsyncSink<E>>::Error> + 'static,
        <Self as AsyncSink<E>>::Error: Never,
        P: Policy,
        O: Into<QueueOptions<T, P, AsyncOnly>>,
    {
        Queue::of_async_batches(options.into(), batch, self)
    }

    /// Erases the type of this sink, so that sinks of different types fit into one field or vector. Clones share the
    /// sink; each write allocates its future. See [`SharedAsyncSink`].
    fn shared(self) -> SharedAsyncSink<E, Self::Error>
    where
        E: 'static,
        Self: 'static,
    {
        SharedAsyncSink::new(self)
    }

    /// Writes all of `events`, one after the other, and stops at the first that fails or is refused. If the future is
    /// dropped before its end, the events that were not written are dropped with it.
    ///
    /// # Errors
    ///
    /// That event with its error, and all that come after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{AsyncSinkExt, sink};
    ///
    /// # fn ready<T>(future: impl Future<Output = T>) -> T {
    /// #     match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
    /// #         std::task::Poll::Ready(done) => done,
    /// #         std::task::Poll::Pending => unreachable!(),
    /// #     }
    /// # }
    /// # ready(async {
    /// let sink = sink::from_async_fn(|event: u32| async move { if event < 2 { Ok(()) } else { Err("too large") } });
    /// let stopped = sink.write_all(0..10).await.unwrap_err();
    /// assert_eq!(stopped.refused.into_event(), 2);
    /// assert!(stopped.rest.eq(3..10));
    /// # });
    /// ```
    fn write_all<I>(
        &self,
        events: I,
    ) -> impl Future<Output = Result<(), WriteAllError<E, Self::Error, I::IntoIter>>> + Send
    where
        E: Send,
        I: IntoIterator<Item = E>,
        I::IntoIter: Send,
    {
        let mut events = events.into_iter();
        async move {
            while let Some(event) = events.next() {
                if let Err(refused) = self.write(event).await {
                    return Err(WriteAllError { refused, rest: Vec::new().into_iter().chain(events) });
                }
            }
            Ok(())
        }
    }
}

impl<E, S: AsyncSink<E>> AsyncSinkExt<E> for S {}

/// Moves the compiler's error here, to the combinator's method, if the type that it returns is no asynchronous sink.
fn assert_async_sink<E, X, S>(sink: S) -> S
where
    S: AsyncSink<E, Error = X>,
{
    sink
}

#[track_caller]
fn started<E, P>(queue: io::Result<Queue<E, P>>) -> Queue<E, P> {
    queue.unwrap_or_else(|error| panic!("no thread for the queue's worker: {error}"))
}
