use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::disk_log::{Options, Sync};
use super::encoding::{Encoding, MessagePack};
use crate::contract::{Never, SharedSink, Sink, erase};
use crate::worker::{AsyncOnly, Executor, MayBlock, Place};

/// An event on disk that cannot be decoded any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecodable {
    /// Its number in the store.
    pub number: u64,
    /// What [`Encoding::encode`] made of it.
    pub bytes: Vec<u8>,
    /// Why not.
    pub error: String,
}

/// Where a [`Durable`](super::Durable) queue keeps its events, and how, and where its worker is to run. `R` says which kinds
/// of sinks it may be for: both, unless it is [`AsyncOnly`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::durable::{DurableOptions, Sync};
/// use outflow::{Sink, SinkExt, sink};
///
/// # let directory = std::env::temp_dir().join(format!("outflow-options-{}", std::process::id()));
/// let delivered = sink::collector();
/// let options = DurableOptions::new(directory.join("pushes"))
///     .schema("push/1")
///     .sync(Sync::Every(Duration::from_millis(100)))
///     .max_bytes(1 << 30);
/// # std::fs::create_dir_all(&directory)?;
/// let queue = delivered.clone().durable_with(options)?;
/// queue.write("push alpine".to_string()).unwrap();
/// queue.close().wait()?;
/// assert_eq!(delivered.events(), ["push alpine"]);
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "options do nothing until a queue takes them"]
pub struct DurableOptions<E, R = MayBlock> {
    pub(super) path: PathBuf,
    pub(super) store: Options,
    pub(super) encoding: Arc<dyn Encoding<E>>,
    pub(super) delivery: Delivery<E>,
    pub(super) place: Place,
    pub(super) waits_for_room: bool,
    sinks: PhantomData<fn() -> R>,
}

/// What the worker has to know.
pub(super) struct Delivery<E> {
    pub(super) unconfirmed: u64,
    pub(super) max_attempts: u32,
    pub(super) acknowledges_shed: bool,
    pub(super) dead_letter: Option<SharedSink<E>>,
    pub(super) undecodable: Option<SharedSink<Undecodable>>,
}

impl<E> DurableOptions<E> {
    /// A store in this directory, which is made if it is not there, in one that is. Events as [`MessagePack`]; every write
    /// synced; everything else as the methods say.
    pub fn new<P>(path: P) -> Self
    where
        P: AsRef<Path>,
        E: Serialize + DeserializeOwned,
    {
        Self::with_encoding(path, MessagePack)
    }

    /// As [`new`](DurableOptions::new), with an encoding of your own. What is on disk has to be of the same: say so by the
    /// [`schema`](DurableOptions::schema).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use outflow::durable::{DurableOptions, Encoding};
    ///
    /// struct Text;
    ///
    /// impl Encoding<String> for Text {
    ///     fn encode(&self, event: &String, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
    ///         bytes.extend_from_slice(event.as_bytes());
    ///         Ok(())
    ///     }
    ///     fn decode(&self, bytes: &[u8]) -> Result<String, Box<dyn Error + Send + Sync>> {
    ///         Ok(std::str::from_utf8(bytes)?.to_owned())
    ///     }
    /// }
    ///
    /// let options = DurableOptions::with_encoding("pushes", Text).schema("text/1");
    /// ```
    pub fn with_encoding<P, C>(path: P, encoding: C) -> Self
    where
        P: AsRef<Path>,
        C: Encoding<E>,
    {
        Self {
            path: path.as_ref().to_owned(),
            store: Options::default(),
            encoding: Arc::new(encoding),
            delivery: Delivery {
                unconfirmed: 1024,
                max_attempts: u32::MAX,
                acknowledges_shed: false,
                dead_letter: None,
                undecodable: None,
            },
            place: Place::new(),
            waits_for_room: false,
            sinks: PhantomData,
        }
    }
}

impl<E, R> DurableOptions<E, R> {
    /// When what was written has to survive the machine. [`Sync::Always`] without this.
    pub fn sync(mut self, sync: Sync) -> Self {
        self.store.sync = sync;
        self
    }

    /// What kind of events the store holds, such as `push/1`: at most 1,024 bytes. One that was made with another is not
    /// opened. Empty without this. A new version that reads the old events keeps the schema.
    pub fn schema<T>(mut self, schema: T) -> Self
    where
        T: Into<String>,
    {
        self.store.schema = schema.into();
        self
    }

    /// How many bytes the store may have, but for acknowledgements; a write beyond is
    /// [`MaxBytes`](super::CommitError::MaxBytes), unless there is a policy: [`drop_oldest`](DurableOptions::drop_oldest) or
    /// [`wait_for_room`](DurableOptions::wait_for_room). Space is given back by segments of 32 MiB, or an eighth of this if that is
    /// less, but at least 16 KiB, of which 4 KiB are overhead. No bound without this.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.store.max_bytes = bytes;
        self.store.segment_bytes = Options::default().segment_bytes.min((bytes / 8).max(16 << 10));
        self
    }

    /// When the store has as many bytes as it may, or the disk is full, the oldest events make room for new ones: all of a
    /// segment, but for those that are with the sink and not confirmed. How many were dropped so far is in
    /// [`DurableStats::dropped`](super::DurableStats::dropped), also after a restart. A write is an error, as without this, if
    /// there is no other event to drop. A run of [`write_all`](crate::SinkExt::write_all) is committed in parts of at most a
    /// quarter of [`max_bytes`](DurableOptions::max_bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::durable::{DurableOptions, Sync};
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    /// use std::time::Duration;
    ///
    /// # let path = std::env::temp_dir().join(format!("outflow-drop-oldest-{}", std::process::id()));
    /// let dead = sink::from_fn(|_: &String| Err("no route to host"));
    /// let options = DurableOptions::new(&path).sync(Sync::Os).max_bytes(64 << 10).drop_oldest();
    /// let queue = dead.retry(Constant::new(Duration::from_secs(3600))).durable_with(options)?;
    /// for n in 0..1000 {
    ///     queue.write(format!("{n:1000}"))?;
    /// }
    /// let stats = queue.stats();
    /// assert_eq!(stats.pending + stats.dropped, 1000);
    /// assert!(stats.bytes <= 64 << 10);
    /// # drop(queue);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drop_oldest(mut self) -> Self {
        (self.store.drops_oldest, self.waits_for_room) = (true, false);
        self
    }

    /// When the store has as many bytes as it may, or the disk is full, a write waits for room: until events have been delivered
    /// and their segment is given back, or the queue is closed, when it answers `Closed`. It is an error, as without this, if
    /// the event has more than half of [`max_bytes`](DurableOptions::max_bytes), and on the queue's own worker, which would
    /// wait for itself. A run of [`write_all`](crate::SinkExt::write_all) is committed in parts of at most a quarter of
    /// `max_bytes`. What is passed over gives no room.
    pub fn wait_for_room(mut self) -> Self {
        (self.store.drops_oldest, self.waits_for_room) = (false, true);
        self
    }

    /// How many events the sink may have accepted without a flush that came through since, at most; that is what comes
    /// twice after a crash. A flush is begun for each half of it, and when no event has come for 20 ms. While so many
    /// wait for a flush, no other is delivered. 1,024 without this.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn unconfirmed(mut self, events: u64) -> Self {
        assert!(
            events > 0,
            "with 0 events unconfirmed none could be delivered: give `unconfirmed` at least 1"
        );
        self.delivery.unconfirmed = events;
        self
    }

    /// After how many attempts an event is given up: one that was tried so often is written to the
    /// [`dead_letter`](DurableOptions::dead_letter) sink in the place of the next attempt. Attempts are counted on disk, across
    /// restarts. What counts is
    ///
    /// - a panic of the sink in the event's write;
    /// - the end of the process, other than by a close, an abort or a drop of the queue, while the event was delivered *alone*;
    /// - a flush that failed, or a buffer below that shed, while the event was delivered alone.
    ///
    /// An event is delivered alone if it is not known which of a group is to blame: after a start those that may have been with
    /// the sink before, at most `unconfirmed`; and after a flush that failed those that it was for. The next event comes when
    /// that one is acknowledged. So an event that ends the process does so once more often than this says, and no event
    /// pays for another. It pays for what is no fault of events: a kill while it is alone with the sink, as the oldest may
    /// be for long, and a sink whose flush fails whatever was written. Give enough attempts for those. No bound without this:
    /// then an event comes again until it is delivered, and after a start none is delivered alone.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        assert!(attempts > 0, "an event has to be tried once: give `max_attempts` at least 1");
        self.delivery.max_attempts = attempts;
        self
    }

    /// Acknowledges what a queue or a follower below drops, spills or skips, as its policy says. Without this it is not
    /// acknowledged, and comes again one by one, together with all that the same flush was for: to every sink below, also to
    /// those that had it. Ask for this where a viewer below may miss events and must not hold up the others.
    pub fn acknowledge_shed(mut self) -> Self {
        self.delivery.acknowledges_shed = true;
        self
    }

    /// Where events go that were tried as often as [`max_attempts`](DurableOptions::max_attempts) says; flushed before they
    /// are acknowledged, and closed with the queue. Without it, or if it is closed, they are passed over and stay on disk.
    pub fn dead_letter<S>(mut self, sink: S) -> Self
    where
        E: 'static,
        S: Sink<E> + Send + std::marker::Sync + 'static,
        S::Error: Never,
    {
        self.delivery.dead_letter = Some(erase(sink));
        self
    }

    /// Where what cannot be decoded goes, as bytes; flushed before it is acknowledged, and closed with the queue. Without
    /// it, or if it is closed, such events are passed over and stay on disk, for a program that can.
    pub fn undecodable<S>(mut self, sink: S) -> Self
    where
        S: Sink<Undecodable> + Send + std::marker::Sync + 'static,
        S::Error: Never,
    {
        self.delivery.undecodable = Some(erase(sink));
        self
    }

    /// Names the queue in logs, and the worker's thread if it is [dedicated](DurableOptions::dedicated).
    ///
    /// # Panics
    ///
    /// Opening the queue panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says.
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.place.name = Some(name.into());
        self
    }

    /// Has the worker run on this pool, and not on the [global](crate::Workers::global) one, or by another [`Executor`], which
    /// takes asynchronous sinks alone. The disk is read, and acknowledgements are written, within a poll of the worker: a pool
    /// of this crate has another thread take over meanwhile, and [the page](crate::docs::durable#on-an-async-runtime) says what
    /// that means to another executor.
    ///
    /// A [`Sink`] may block, and does not compile on an async runtime:
    ///
    /// ```compile_fail,E0308
    /// use outflow::{SinkExt, durable::DurableOptions, sink};
    ///
    /// let options = DurableOptions::new("pushes").on(|worker| spawn(worker));
    /// # fn spawn(_: outflow::WorkerFuture) {}
    /// sink::for_each(|_: u32| {}).durable_with(options);
    /// ```
    ///
    /// ```no_run
    /// # use std::convert::Infallible;
    /// use outflow::{AsyncSinkExt, durable::DurableOptions, sink};
    ///
    /// let options = DurableOptions::new("pushes").on(|worker| spawn(worker));
    /// # fn spawn(_: outflow::WorkerFuture) {}
    /// sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }).durable_with(options);
    /// ```
    pub fn on<X>(mut self, executor: X) -> DurableOptions<E, X::Sinks>
    where
        X: Executor,
    {
        self.place.set(executor.runs());
        self.with_sinks()
    }

    /// Has the worker run on a thread of its own. See [`docs::workers`](crate::docs::workers).
    pub fn dedicated(mut self) -> DurableOptions<E> {
        self.place.set_dedicated();
        self.with_sinks()
    }

    fn with_sinks<T>(self) -> DurableOptions<E, T> {
        let Self { path, store, encoding, delivery, place, waits_for_room, sinks: _ } = self;
        DurableOptions { path, store, encoding, delivery, place, waits_for_room, sinks: PhantomData }
    }
}

impl<E> From<DurableOptions<E>> for DurableOptions<E, AsyncOnly> {
    fn from(options: DurableOptions<E>) -> Self {
        options.with_sinks()
    }
}

impl<E, R> fmt::Debug for DurableOptions<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableOptions")
            .field("path", &self.path)
            .field("schema", &self.store.schema)
            .field("sync", &self.store.sync)
            .field("max_bytes", &self.store.max_bytes)
            .finish_non_exhaustive()
    }
}
