//! A log in memory: written once, and read by every reader at its own pace, by reference.
//!
//! [`Log`] is the sink. A [`Cursor`] reads it on whatever thread calls it; a [follower](FollowerHandle) is a
//! thread that writes it to a sink. When to take a log and when a [`Broadcaster`](crate::Broadcaster), and what
//! each costs: [`docs::fan_out`](crate::docs::fan_out).
//!
//! # How it works
//!
//! Writers push into an open segment, a vector under a lock. A reader that runs out of events seals the open
//! segment: it swaps the vector out and links it to the end of a chain, where it and all other readers read it by
//! reference and without a lock. So the busier the readers are, the larger the segments become. A segment lives as
//! long as a reader can still reach it, and ten readers that are stuck hold one backlog and not ten.
//!
//! # Where to begin
//!
//! Every event has a number, from 0. A reader begins with the [next](Start::Now) event, the
//! [oldest](Start::Oldest) that the log [retains](LogOptions::retain), or a [given](Start::At) one; and
//! [`subscribe_with_snapshot`](Log::subscribe_with_snapshot) begins it exactly behind a state that it takes.
//!
//! ```
//! use outflow::log::{Log, LogOptions, Start, StartError};
//!
//! let log = Log::with(LogOptions::new().retain(1000));
//! for event in 0..5000_u32 {
//!     log.append(event)?;
//! }
//! let mut resumed = log.subscribe_with(Start::At(4990))?;
//! assert_eq!(resumed.recv()?, 4990);
//!
//! let Err(StartError::NotHeld { oldest, .. }) = log.subscribe_with(Start::At(7)) else { panic!() };
//! assert!(oldest <= 4000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A reader that falls behind
//!
//! Without a bound, everything from its position on is kept: [`Log::held`] says how much that is. With
//! `max_lag(n, ..)`, for each reader, [writers wait](Lag::Block), [it skips ahead](Lag::Skip), or
//! [it is closed](Lag::Close).
//!
//! # Destructors that panic
//!
//! An event is dropped when its segment is, on whatever thread is the last to use that: a writer's, a reader's, a
//! follower's. If its destructor panics, the panic hook runs, the other events of the segment are dropped all the
//! same, and the panic goes no further.

mod abort;
mod bound;
mod chunk;
mod claims;
mod cursor;
mod cursor_handle;
mod error;
mod follower;
mod follower_sink;
mod follower_state;
mod iter;
mod options;
mod reader;
mod register;
mod remote;
mod segment;
mod seq;
mod shared;
mod snapshot;
mod state;
mod stats;
#[cfg(feature = "futures")]
mod stream;
mod wake;
mod worker;

pub use self::chunk::Chunk;
pub use self::cursor::Cursor;
pub use self::cursor_handle::CursorHandle;
pub use self::error::{FollowError, StartError};
pub use self::follower::FollowerHandle;
pub use self::iter::{IntoIter, Iter, Numbered};
pub use self::options::{FollowOptions, Lag, LogOptions, Start, SubscribeOptions};
pub use self::seq::Seq;
pub use self::stats::{FollowerStats, Held};
pub use crate::contract::{Lagged, RecvError, TryRecvError};

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::vec;

use self::abort::AbortLog;
use self::bound::Bound;
use self::reader::Reader;
use self::shared::Shared;
use self::state::State;
use crate::contract::Never;
use crate::contract::{AsyncSink, Sink, WriteAllError, WriteError, write_all};
use crate::lifecycle::{Closing, Ended, Flushing};
use crate::worker::AsyncOnly;

/// A log in memory, and the sink to write it. See the [module](self).
///
/// Cheap to clone; clones share, and dropping the last one begins a close. A write takes a lock for as long
/// as it takes to push to a vector, and wakes readers that sleep; [`append_all`](Log::append_all) and
/// [`write_all`](crate::SinkExt::write_all) do so once for up to 1024 events. It waits while a
/// [snapshot](Log::subscribe_with_snapshot) is taken, and for a reader with [`Lag::Block`]; otherwise never.
/// It clones nothing; `write_ref` clones once, whatever the number of readers.
///
/// - What is appended while there is no reader and nothing is [retained](LogOptions::retain) is dropped, and
///   counted as [`unheard`](Log::unheard).
/// - A follower whose sink closes or panics ends alone. [`ended`](Log::ended) and the outcome of the close name it.
/// - [`flush`](Sink::flush) waits until what was appended before is delivered, also by followers that were closed
///   and are still draining. It says what those did not deliver.
/// - [`close`](Sink::close) refuses writes; every follower delivers what is left and closes its sink. Cursors
///   read what is left and then end; the close does not wait for them.
///
/// Events are read by reference on many threads, so they must be `Sync`.
///
/// # Examples
///
/// ```
/// use outflow::{Log, Sink, SinkExt, sink};
///
/// let pushes = sink::collector();
/// let log = Log::new();
/// log.follow(pushes.clone().filter(|event: &&str| event.starts_with("push")));
/// let watcher = log.subscribe();
///
/// log.write("push alpine").unwrap();
/// log.write("pull alpine").unwrap();
/// log.close().wait()?;
///
/// assert_eq!(pushes.events(), ["push alpine"]);
/// assert_eq!(watcher.into_iter().count(), 2);
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub struct Log<E> {
    shared: Arc<Shared<E>>,
    handle: Arc<Handle<E>>,
}

/// Begins a close when it is dropped, with the last log.
struct Handle<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Log<E>
where
    E: 'static,
{
    /// A log that keeps what its readers have not read, and nothing else.
    pub fn new() -> Self
    where
        E: Send + Sync,
    {
        Self::with(LogOptions::new())
    }

    /// A log as `options` say.
    pub fn with(options: LogOptions) -> Self
    where
        E: Send + Sync,
    {
        let shared = Shared::new(options.retain);
        shared.completion.set_aborter(Arc::new(AbortLog(Arc::downgrade(&shared))));
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        Self { shared, handle }
    }
}

impl<E> Log<E> {
    /// Appends an event and returns its number. What [`write`](Sink::write) does.
    ///
    /// # Errors
    ///
    /// The log is closed: hands the event back.
    ///
    /// # Panics
    ///
    /// From within the closure of a snapshot of this log, which would wait for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// assert_eq!((log.append("first")?, log.append("second")?), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn append(&self, event: E) -> Result<Seq, WriteError<E, Infallible>> {
        self.shared.append(event).map_err(WriteError::Closed)
    }

    /// Appends all of `events`, in order, and returns the number of the first and the one behind that of the last. What
    /// [`write_all`](crate::SinkExt::write_all) does. The lock is taken and readers are woken once for a run of events.
    ///
    /// A run is as many events as the iterator says that it has at least ([`Iterator::size_hint`]): at most 1024, or
    /// 64 KiB of them, but 64 at least. It is taken from the iterator before any of it is appended; an iterator that
    /// does not know is appended one event at a time. The numbers of a run are in a row, unless it waits for a reader
    /// with [`Lag::Block`]: then as many as there is room for are, each time. Between two runs other writers may append,
    /// and the range that is returned has their events in it, too.
    ///
    /// # Errors
    ///
    /// The log is closed: hands back the first event that was not appended and all that come after it.
    ///
    /// # Panics
    ///
    /// If the iterator does; what it had returned before is appended. And as [`append`](Log::append).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, Sink};
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// assert_eq!(log.append_all(["first", "second", "third"])?, 0..3);
    /// assert_eq!(*cursor.next_chunk()?, ["first", "second", "third"]);
    ///
    /// log.close().wait()?;
    /// let stopped = log.append_all(["fourth", "fifth"]).unwrap_err();
    /// assert_eq!(stopped.refused.into_event(), "fourth");
    /// assert!(stopped.rest.eq(["fifth"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_all<I>(&self, events: I) -> Result<Range<Seq>, WriteAllError<E, Infallible, I::IntoIter>>
    where
        I: IntoIterator<Item = E>,
    {
        let numbers = Cell::new(None);
        let appended = |some: Range<Seq>| {
            let first = numbers.get().map_or(some.start, |(first, _)| first);
            numbers.set(Some((first, some.end)));
        };
        let append = |event| self.append(event).map(|seq| appended(seq..seq + 1));
        let append_run = |run: &mut _| self.shared.append_run(run).map(appended).map_err(WriteError::Closed);
        write_all(events.into_iter(), self.longest_run(), append, append_run)?;
        let (first, end) = numbers.get().unwrap_or((self.head(), self.head()));
        Ok(first..end)
    }

    /// The number that the next event gets: how many were appended so far.
    pub fn head(&self) -> Seq {
        self.shared.head()
    }

    /// The number of the oldest event that a reader can begin with; that of the next one, if there is none.
    pub fn oldest(&self) -> Seq {
        self.shared.oldest()
    }

    /// How many events and segments are alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let (mut first, second) = (log.subscribe(), log.subscribe());
    /// log.append("pushed")?;
    /// first.recv()?;
    /// assert_eq!((log.held().events, log.held().segments), (1, 1)); // for the second
    /// drop(second);
    /// assert_eq!((log.held().events, log.held().segments), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn held(&self) -> Held {
        self.shared.held()
    }

    /// How many events were appended while there was no reader that could ever read them.
    pub fn unheard(&self) -> u64 {
        self.shared.unheard()
    }

    /// A cursor that reads what is appended from now on. If the log is closed, it has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Log;
    ///
    /// let log = Log::new();
    /// log.append("before")?;
    /// let mut cursor = log.subscribe();
    /// log.append("after")?;
    /// assert_eq!(cursor.recv()?, "after");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self) -> Cursor<E> {
        match self.subscribe_with(Start::Now) {
            Ok(cursor) => cursor,
            Err(_) => unreachable!("one can always begin now"),
        }
    }

    /// A cursor that begins and lags as `options`, or a [`Start`], say. A closed log still has what it
    /// retains.
    ///
    /// # Errors
    ///
    /// It cannot begin there: see [`StartError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Log, LogOptions, Start};
    ///
    /// let log = Log::with(LogOptions::new().retain(10));
    /// log.append("before")?;
    /// let mut cursor = log.subscribe_with(Start::Oldest)?;
    /// assert_eq!(cursor.recv()?, "before");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe_with<O>(&self, options: O) -> Result<Cursor<E>, StartError>
    where
        O: Into<SubscribeOptions>,
    {
        let options = options.into();
        let bound = options.bound();
        let (node, position) = self.shared.join(options.start, &bound)?;
        Ok(Cursor::new(Arc::clone(&self.shared), Reader::new(node, position, bound)))
    }

    /// Calls `snapshot` while no write can intervene, and returns its value with a cursor for all that is
    /// appended after: no event is missing between the two, and none is in both.
    ///
    /// Writers wait meanwhile; readers do not. Several snapshots may be taken at once, but one begins only after
    /// the writes that others have made wait, so that no write waits for ever. The closure must not take a
    /// lock that a writer holds while it writes, nor wait for another thread that takes a snapshot: each would wait
    /// for the other. (Where state and log change under one lock, subscribe under that lock, and there is no need for
    /// this.) It may call the log in every way but to write to it, which panics. If it panics, writes go on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use outflow::log::Log;
    ///
    /// let total = AtomicU64::new(0);
    /// let log = Log::new();
    /// total.store(40, Ordering::SeqCst);
    /// log.append(40_u64)?;
    ///
    /// let (state, mut changes) = log.subscribe_with_snapshot(|| total.load(Ordering::SeqCst));
    /// log.append(2)?;
    /// assert_eq!(state + changes.recv()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe_with_snapshot<F, T>(&self, snapshot: F) -> (T, Cursor<E>)
    where
        F: FnOnce() -> T,
    {
        let (state, node, position) = snapshot::take(&self.shared, snapshot);
        (state, Cursor::new(Arc::clone(&self.shared), Reader::new(node, position, Bound::None)))
    }

    /// How many followers there are that have not ended.
    pub fn followers(&self) -> usize {
        self.shared.register.followers()
    }

    /// The followers that did not deliver everything, and have ended before the log: the last 64 with their
    /// errors, the others counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, Sink, sink};
    ///
    /// let log = Log::new();
    /// let sink = sink::collector();
    /// let follower = log.follow(sink.clone());
    /// sink.close().wait()?;
    /// log.append("refused")?;
    /// follower.flush().wait().unwrap_err();
    /// follower.close().wait().unwrap_err();
    ///
    /// let ended = log.ended();
    /// assert_eq!((ended.recent[0].id, ended.undelivered), (follower.id(), 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended(&self) -> Ended {
        self.shared.register.ended()
    }

    /// A handle that does not keep the log open, for a sink that follows the log it writes to.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, SinkExt, sink};
    ///
    /// let log = Log::<u32>::new();
    /// let weak = log.downgrade();
    /// assert!(weak.upgrade().is_some());
    /// drop(log);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakLog<E> {
        WeakLog { handle: Arc::downgrade(&self.handle) }
    }
}

impl<E> Log<E>
where
    E: Clone + Send + Sync + 'static,
{
    /// Starts a thread that writes every event from now on to `sink`, by reference: an event is cloned only
    /// if something in the sink must own it. The sink is the log's from now on, and is closed with it.
    ///
    /// If the log is closed, the sink is closed at once.
    ///
    /// # Panics
    ///
    /// If the system has no thread; [`follow_with`](Log::follow_with) returns that as an error.
    ///
    /// # Examples
    ///
    /// A sink that can fail has to say first what happens to what fails:
    ///
    /// ```compile_fail,E0277
    /// use outflow::{Log, sink};
    ///
    /// Log::new().follow(sink::from_fn(|_: &u32| Err("no route to host")));
    /// ```
    ///
    /// ```
    /// use outflow::{Log, SinkExt, sink};
    ///
    /// Log::new().follow(sink::from_fn(|_: &u32| Err("no route to host")).lossy());
    /// ```
    #[track_caller]
    pub fn follow<S>(&self, sink: S) -> FollowerHandle<E>
    where
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        match self.follow_with(FollowOptions::new(), sink) {
            Ok(follower) => follower,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a thread that writes events to `sink` as `options`, or a [`Start`], say.
    ///
    /// # Errors
    ///
    /// It cannot begin there, or has no thread to begin with. The sink's close is begun then, and the spill's.
    ///
    /// # Panics
    ///
    /// If the thread's name has a NUL byte in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Log, LogOptions, Start};
    /// use outflow::{Sink, sink};
    ///
    /// let log = Log::with(LogOptions::new().retain(10));
    /// log.append("before")?;
    /// let delivered = sink::collector();
    /// log.follow_with(Start::Oldest, delivered.clone())?;
    /// log.close().wait()?;
    /// assert_eq!(delivered.events(), ["before"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn follow_with<O, S>(&self, options: O, sink: S) -> Result<FollowerHandle<E>, FollowError>
    where
        O: Into<FollowOptions<E>>,
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        let options = options.into();
        // Before it is registered: nothing would unregister it.
        options.place.check_name();
        worker::start(&self.shared, options, sink).map(|state| FollowerHandle { state })
    }

    /// As [`follow`](Log::follow), for an asynchronous sink: a task of [`Workers::global`](crate::Workers::global) writes a
    /// clone of every event from now on to it.
    ///
    /// # Panics
    ///
    /// If the pool has no thread, and none can be started; [`follow_async_with`](Log::follow_async_with) returns that as an
    /// error.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{AsyncSinkExt, Log, Sink, sink};
    ///
    /// # async fn publish(_: u32) -> Result<(), &'static str> { Ok(()) }
    /// let log = Log::new();
    /// let follower = log.follow_async(sink::from_async_fn(publish).lossy());
    /// log.append(1)?;
    /// log.close().wait()?;
    /// assert_eq!(follower.stats().delivered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn follow_async<S>(&self, sink: S) -> FollowerHandle<E>
    where
        S: AsyncSink<E> + 'static,
        S::Error: Never,
    {
        match self.follow_async_with(FollowOptions::new(), sink) {
            Ok(follower) => follower,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`follow_with`](Log::follow_with), for an asynchronous sink.
    ///
    /// # Errors
    ///
    /// It cannot begin there, or has no thread to begin with. The sink's close is begun then, and the spill's.
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte in it.
    #[track_caller]
    pub fn follow_async_with<O, S>(&self, options: O, sink: S) -> Result<FollowerHandle<E>, FollowError>
    where
        O: Into<FollowOptions<E, AsyncOnly>>,
        S: AsyncSink<E> + 'static,
        S::Error: Never,
    {
        let options = options.into();
        options.place.check_name();
        worker::start_async(&self.shared, options, sink).map(|state| FollowerHandle { state })
    }
}

impl<E> Sink<E> for Log<E> {
    type Error = Infallible;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.append(event).map(|_| ())
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        if self.shared.is_closed() {
            return Err(WriteError::Closed(()));
        }
        self.write(event.clone()).map_err(|refused| refused.map_event(drop))
    }

    fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, Infallible>> {
        self.shared.append_run(run).map(|_| ()).map_err(WriteError::Closed)
    }

    #[inline]
    fn longest_run(&self) -> usize {
        State::<E>::MAX_SEGMENT
    }

    /// Has every follower write what is in the log up to now, and flush its sink. Waits, too, for followers that
    /// were closed before and are still draining.
    fn flush(&self) -> Flushing {
        self.shared.register.flush(|| self.shared.head(), &self.shared.closing())
    }

    /// Refuses writes and wakes the ones that wait. Every follower delivers what is left and closes its sink;
    /// what this returns waits for them, not for cursors.
    fn close(&self) -> Closing {
        self.shared.close()
    }

    fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<E> Drop for Handle<E> {
    fn drop(&mut self) {
        drop(self.shared.close());
        self.shared.retain_nothing();
    }
}

impl<E> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), handle: Arc::clone(&self.handle) }
    }
}

impl<E> Default for Log<E>
where
    E: Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Log<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("head", &self.head())
            .field("held", &self.held())
            .field("followers", &self.followers())
            .field("closed", &self.shared.is_closed())
            .finish()
    }
}

/// A handle of a [`Log`] that does not keep it open. Made by [`Log::downgrade`].
///
/// # Examples
///
/// ```
/// use outflow::Log;
///
/// let log = Log::new();
/// let weak = log.downgrade();
/// weak.upgrade().expect("it is open").append("pushed")?;
/// assert_eq!(log.head(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WeakLog<E> {
    handle: Weak<Handle<E>>,
}

impl<E> WeakLog<E> {
    /// The log, unless its last handle was dropped.
    pub fn upgrade(&self) -> Option<Log<E>> {
        let handle = self.handle.upgrade()?;
        Some(Log { shared: Arc::clone(&handle.shared), handle })
    }
}

impl<E> Clone for WeakLog<E> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

impl<E> fmt::Debug for WeakLog<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakLog").finish_non_exhaustive()
    }
}
