//! How a log, a cursor and a follower are to be.

use std::fmt;
use std::marker::PhantomData;

use super::bound::{Bound, LagGate};
use super::seq::Seq;
use crate::contract::{Never, erase};
use crate::contract::{SharedSink, Sink};
use crate::worker::{AsyncOnly, BlocksFor, Executor, MayBlock, Place};

/// Where a reader of a log begins.
///
/// # Examples
///
/// ```
/// use outflow::log::{Log, LogOptions, Start, TryRecvError};
///
/// let log = Log::with(LogOptions::new().retain(10));
/// for event in 0..5 {
///     log.append(event)?;
/// }
/// let first = |start| log.subscribe_with(start).map(|mut cursor| cursor.try_recv());
/// assert_eq!(first(Start::Oldest)?, Ok(0));
/// assert_eq!(first(Start::At(3))?, Ok(3));
/// assert_eq!(first(Start::Now)?, Err(TryRecvError::Empty));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next event that is appended.
    #[default]
    Now,
    /// With the oldest event that the log still holds for readers that come later: see
    /// [`LogOptions::retain`].
    Oldest,
    /// With this event. If it is no longer held, that is an error which names the oldest one that is.
    At(Seq),
}

/// What becomes of a reader that is further behind than its `max_lag`.
///
/// # Examples
///
/// ```
/// use outflow::log::{Lag, Log, RecvError, SubscribeOptions};
///
/// let log = Log::new();
/// let mut skips = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Skip))?;
/// let mut closes = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Close))?;
/// for event in 0..3 {
///     log.append(event)?;
/// }
/// assert!(matches!(skips.recv(), Err(RecvError::Lagged(lagged)) if lagged.missed == 2));
/// assert_eq!(skips.recv()?, 2);
/// assert!(matches!(closes.recv(), Err(RecvError::Closed(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// Writers wait for it, on their own threads. A write from a follower's thread does not wait: it could be
    /// waiting for itself.
    Block,
    /// It skips ahead, until it is only `max_lag` behind, and learns how many events it missed.
    Skip,
    /// It ends, and learns why, so that it can begin again [`At`](Start::At) where it was.
    Close,
}

fn bound(max_lag: Option<(u64, Lag)>) -> Bound {
    match max_lag {
        None => Bound::None,
        Some((events, Lag::Block)) => Bound::Block(LagGate::new(events)),
        Some((events, Lag::Skip)) => Bound::Skip(events),
        Some((events, Lag::Close)) => Bound::Close(events),
    }
}

#[track_caller]
fn checked(events: u64, lag: Lag) -> Option<(u64, Lag)> {
    assert!(events > 0, "a reader that may be 0 events behind could read none: give `max_lag` at least 1");
    Some((events, lag))
}

/// What a log keeps.
///
/// # Examples
///
/// ```
/// use outflow::log::{Log, LogOptions, Start};
///
/// let log = Log::with(LogOptions::new().retain(100));
/// log.append("before anybody came")?;
/// let mut late = log.subscribe_with(Start::Oldest)?;
/// assert_eq!(late.recv()?, "before anybody came");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until a log takes them"]
pub struct LogOptions {
    pub(super) retain: u64,
}

impl LogOptions {
    /// Keeps no event for readers that come later.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps at least the last `events` for readers that come later, read or not, and after the close too, as long
    /// as there is a handle of the log. They are freed by the segment: of many events the log holds up to twice as many, of few up to 64 more.
    pub fn retain(mut self, events: u64) -> Self {
        self.retain = events;
        self
    }
}

/// How a cursor reads. A [`Start`] is enough where that is all there is to say.
///
/// # Examples
///
/// ```
/// use outflow::log::{Lag, Log, RecvError, SubscribeOptions};
///
/// let log = Log::new();
/// let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(2, Lag::Skip))?;
/// for event in 0..5 {
///     log.append(event)?;
/// }
/// assert!(matches!(cursor.recv(), Err(RecvError::Lagged(lagged)) if lagged.missed == 3));
/// assert_eq!(cursor.recv()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "options do nothing until a cursor takes them"]
pub struct SubscribeOptions {
    pub(super) start: Start,
    max_lag: Option<(u64, Lag)>,
}

impl SubscribeOptions {
    /// From now on, and any number of events behind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to begin.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How many events the cursor may be behind, and what happens then. Without it, a cursor that does not
    /// read keeps alive whatever comes after it: see [`Log::held`](super::Log::held).
    ///
    /// With `Skip` and `Close` the cursor finds out when it reads, and keeps nothing alive in the meantime; the
    /// log itself holds the last `events` for it, read or not, as it does for [`retain`](LogOptions::retain).
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Lag, Log, SubscribeOptions};
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Block))?;
    /// let writer = std::thread::spawn(move || (0..100).for_each(|event| _ = log.append(event)));
    /// assert_eq!(cursor.iter().count(), 100); // Never more than one behind, and none is missed.
    /// # writer.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn max_lag(mut self, events: u64, lag: Lag) -> Self {
        self.max_lag = checked(events, lag);
        self
    }

    pub(super) fn bound(&self) -> Bound {
        bound(self.max_lag)
    }
}

impl From<Start> for SubscribeOptions {
    fn from(start: Start) -> Self {
        Self::new().start(start)
    }
}

/// How a follower reads, where the events go that it sheds, and where its worker is to run. A [`Start`] is
/// enough where that is all there is to say.
///
/// # Examples
///
/// ```
/// use outflow::log::{FollowOptions, Log, LogOptions, Start};
/// use outflow::{Sink, sink};
///
/// let log = Log::with(LogOptions::new().retain(10));
/// log.append("pushed")?;
/// let delivered = sink::collector();
/// log.follow_with(FollowOptions::new().start(Start::Oldest).name("webhooks"), delivered.clone())?;
/// log.close().wait()?;
/// assert_eq!(delivered.events(), ["pushed"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "options do nothing until a follower takes them"]
pub struct FollowOptions<E, R = MayBlock> {
    pub(super) start: Start,
    max_lag: Option<(u64, Lag)>,
    pub(super) spill: Option<SharedSink<E>>,
    pub(super) place: Place,
    sinks: PhantomData<fn() -> R>,
}

impl<E> FollowOptions<E> {
    /// From now on, any number of events behind, and a thread as [`std::thread::spawn`] makes it.
    pub fn new() -> Self {
        Self { start: Start::Now, max_lag: None, spill: None, place: Place::new(), sinks: PhantomData }
    }
}

impl<E, R> FollowOptions<E, R> {
    /// Where to begin.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How many events the follower may be behind, and what happens then. What it skips is counted in its
    /// [`stats`](super::FollowerHandle::stats); one that is closed for it closes its sink, and the close of the log
    /// fails with [`CloseError::Lagged`](crate::CloseError::Lagged). What the log holds for it is as
    /// [`SubscribeOptions::max_lag`] says.
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{FollowOptions, Lag, Log};
    /// use outflow::{Sink, sink};
    ///
    /// let log = Log::new();
    /// let delivered = sink::collector();
    /// // Writers wait for this one: a queue with a bound, without a copy of its own.
    /// log.follow_with(FollowOptions::new().max_lag(8, Lag::Block), delivered.clone())?;
    /// for event in 0..100 {
    ///     log.append(event)?;
    /// }
    /// log.close().wait()?;
    /// assert_eq!(delivered.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn max_lag(mut self, events: u64, lag: Lag) -> Self {
        self.max_lag = checked(events, lag);
        self
    }

    /// Sends the events that the follower sheds to `sink`: what is left after an abort, when its sink has closed
    /// or panicked, or when it has ended because it lagged; as far as the log still holds that. Without a spill
    /// they are dropped. Either way they are counted.
    ///
    /// `sink` is closed with the follower, after the last write to it. It is written to by reference, on the
    /// thread that aborts or on the follower's own. What it refuses or panics on is counted as dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{FollowOptions, Log};
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    ///
    /// let saved = sink::collector();
    /// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
    /// let log = Log::new();
    /// log.follow_with(
    ///     FollowOptions::new().spill(saved.clone()),
    ///     dead.retry(Constant::new(std::time::Duration::from_secs(3600))),
    /// )?;
    /// log.append(1)?;
    /// log.append(2)?;
    /// assert_eq!(log.close().abort().unwrap_err().undelivered(), 2);
    /// assert_eq!(saved.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spill<S>(mut self, sink: S) -> Self
    where
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        self.spill = Some(erase(sink));
        self
    }

    /// Names the follower in logs, and the thread of one that is [`dedicated`](FollowOptions::dedicated).
    ///
    /// # Panics
    ///
    /// Starting a dedicated follower panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says.
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.place.name = Some(name.into());
        self
    }

    /// The size of the follower's stack, in bytes: see [`std::thread::Builder::stack_size`].
    /// It asks for a thread of the follower's own, as [`dedicated`](FollowOptions::dedicated) does.
    pub fn stack_size(mut self, bytes: usize) -> FollowOptions<E> {
        self.place.set_stack_size(bytes);
        self.with_sinks()
    }

    /// Has the follower's worker run on this pool, and not on the [global](crate::Workers::global) one, or by another
    /// [`Executor`], which takes asynchronous sinks alone. See [`docs::workers`](crate::docs::workers) and
    /// [`docs::async_sinks`](crate::docs::async_sinks).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{FollowOptions, Log};
    /// use outflow::{Sink, SinkExt, Workers, sink};
    ///
    /// let log = Log::new();
    /// let delivered = sink::collector();
    /// let workers = Workers::builder().threads(2).build();
    /// for _ in 0..1000 {
    ///     log.follow_with(FollowOptions::new().on(&workers), delivered.clone().keep_open())?;
    /// }
    /// log.append("pushed")?;
    /// log.close().wait()?;
    /// assert_eq!(delivered.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<X>(mut self, executor: X) -> FollowOptions<E, X::Sinks>
    where
        X: Executor,
    {
        self.place.set(executor.runs());
        self.with_sinks()
    }

    /// Has the follower's worker run on a thread of its own, as
    /// [`QueueOptions::dedicated`](crate::queue::QueueOptions::dedicated).
    pub fn dedicated(mut self) -> FollowOptions<E> {
        self.place.set_dedicated();
        self.with_sinks()
    }

    fn with_sinks<T>(self) -> FollowOptions<E, T> {
        let Self { start, max_lag, spill, place, .. } = self;
        FollowOptions { start, max_lag, spill, place, sinks: PhantomData }
    }

    pub(super) fn bound(&self) -> Bound {
        bound(self.max_lag)
    }
}

/// Clones share the spill, which is closed with the first of the followers that is: give each its own, or hand it over
/// as [`keep_open`](crate::SinkExt::keep_open).
impl<E, R> Clone for FollowOptions<E, R> {
    fn clone(&self) -> Self {
        Self {
            start: self.start,
            max_lag: self.max_lag,
            spill: self.spill.clone(),
            place: self.place.clone(),
            sinks: PhantomData,
        }
    }
}

impl<E> Default for FollowOptions<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> From<Start> for FollowOptions<E> {
    fn from(start: Start) -> Self {
        Self::new().start(start)
    }
}

impl<E> From<Start> for FollowOptions<E, AsyncOnly> {
    fn from(start: Start) -> Self {
        FollowOptions::new().start(start).into()
    }
}

impl<E> From<FollowOptions<E>> for FollowOptions<E, AsyncOnly> {
    fn from(options: FollowOptions<E>) -> Self {
        options.with_sinks()
    }
}

/// Never applies: see [`BlocksFor`].
#[doc(hidden)]
impl<E> From<FollowOptions<E, AsyncOnly>> for FollowOptions<E>
where
    AsyncOnly: BlocksFor<E>,
{
    fn from(options: FollowOptions<E, AsyncOnly>) -> Self {
        options.with_sinks()
    }
}

impl<E, R> fmt::Debug for FollowOptions<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("FollowOptions");
        f.field("start", &self.start).field("max_lag", &self.max_lag).field("spills", &self.spill.is_some());
        self.place.fields(&mut f);
        f.finish()
    }
}
