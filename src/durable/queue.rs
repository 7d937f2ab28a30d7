use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::vec;

use super::backlog::Backlog;
use super::confirm::Confirming;
use super::disk_log::{MAX_PAYLOAD, OpenError, Options, Recovered, Store, StoreError};
use super::encoding::Encoding;
use super::error::CommitError;
use super::options::DurableOptions;
use super::state::DurableState;
use super::stats::DurableStats;
use crate::contract::{AsyncSink, Never, Sink, WriteError, erase};
use crate::lifecycle::{Closing, Flushing};
use crate::worker::{AbortDrain, AsyncOnly, Awaited, Closes, ClosesAsync, Deliver, Direct, Drain, Life};

/// A queue on disk before a sink, and between them a worker: a task of a [pool](crate::docs::workers), or a
/// [thread of its own](crate::durable::DurableOptions::dedicated). Made by [`durable`](crate::SinkExt::durable) and
/// [`durable_with`](crate::SinkExt::durable_with). What it promises: [`durable`](crate::durable).
///
/// FIFO: events are delivered in the order of their numbers, which is the order of the commits. Cheap to clone; clones
/// share. A write blocks while the disk works, also on the queue's own worker, and waits for nothing else.
///
/// [`close`](Sink::close) refuses writes, delivers what is on disk, then closes the sink, the dead-letter sinks and the
/// store. Aborted, it leaves the rest on disk; that is no loss, so the outcome does not count it, and
/// [`left_on_disk`](Durable::left_on_disk) does. Should the sink panic or be closed by itself, the queue is closed, and
/// the event stays on disk with the rest. Once a close is done or aborted, the store can be opened again.
///
/// Dropping the last handle without a close ends the worker where it is and frees the store before it returns. A write of
/// the sink that is under way then may come to its end; its event stays on disk. After a close, dropping handles ends nothing.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, retry::Constant, sink};
/// use std::time::Duration;
///
/// # let path = std::env::temp_dir().join(format!("outflow-reopen-{}", std::process::id()));
/// let dead = sink::from_fn(|_: &String| Err("no route to host"));
/// let queue = dead.retry(Constant::new(Duration::from_secs(3600))).durable(&path)?;
/// queue.write("push alpine".to_string()).unwrap();
/// drop(queue);
///
/// let delivered = sink::collector::<String>();
/// let queue = delivered.clone().durable(&path)?;
/// assert_eq!(queue.recovered().pending, 1);
/// queue.close().wait()?;
/// assert_eq!(delivered.events(), ["push alpine"]);
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Durable<E> {
    pub(super) handle: Arc<Handle>,
    encoding: Arc<dyn Encoding<E>>,
    when_full: WhenFull,
    max_bytes: u64,
}

/// What a write does that finds no room.
#[derive(Clone, Copy, PartialEq)]
enum WhenFull {
    Refuse,
    /// The store does.
    DropOldest,
    Wait,
}

pub(super) struct Handle(pub(super) Arc<DurableState>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<E> Durable<E>
where
    E: 'static,
{
    pub(crate) fn open<S>(options: DurableOptions<E>, sink: S) -> Result<Self, OpenError>
    where
        E: Send + 'static,
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        let sink = Arc::new(sink);
        let closes = Arc::new(erase(Arc::clone(&sink)));
        let flushed = Arc::clone(&sink);
        Self::start(options, Store::open, closes, Box::new(move || flushed.flush()), Direct(sink))
    }

    pub(crate) fn open_async<S>(options: DurableOptions<E, AsyncOnly>, sink: S) -> Result<Self, OpenError>
    where
        E: Send + 'static,
        S: AsyncSink<E> + 'static,
        S::Error: Never,
    {
        Self::open_async_on(options, Store::open, sink)
    }

    /// On the store that `open` opens.
    pub(super) fn open_async_on<S>(
        options: DurableOptions<E, AsyncOnly>,
        open: impl FnOnce(&Path, Options) -> Result<Store, OpenError>,
        sink: S,
    ) -> Result<Self, OpenError>
    where
        E: Send + 'static,
        S: AsyncSink<E> + 'static,
        S::Error: Never,
    {
        let sink = Arc::new(sink);
        let closes = Arc::new(ClosesAsync::new(Arc::clone(&sink)));
        let flushed = Arc::clone(&sink);
        Self::start(options, open, closes, Box::new(move || flushed.flush()), Awaited(sink))
    }

    fn start<R, D>(
        options: DurableOptions<E, R>,
        open: impl FnOnce(&Path, Options) -> Result<Store, OpenError>,
        closes: Arc<dyn Closes>,
        flush: Box<dyn Fn() -> Flushing + Send>,
        sink: D,
    ) -> Result<Self, OpenError>
    where
        E: Send + 'static,
        D: Deliver<E, Receipt = ()>,
    {
        let DurableOptions { path, store, encoding, delivery, place, waits_for_room, .. } = options;
        let max_bytes = store.max_bytes;
        let when_full = match (store.drops_oldest, waits_for_room) {
            (true, _) => WhenFull::DropOldest,
            (_, true) => WhenFull::Wait,
            _ => WhenFull::Refuse,
        };
        let store = open(&path, store)?;
        let letters = (delivery.dead_letter.iter().map(|sink| Arc::new(Arc::clone(sink)) as Arc<dyn Closes>))
            .chain(delivery.undecodable.iter().map(|sink| Arc::new(Arc::clone(sink)) as Arc<dyn Closes>));
        let state = DurableState::new(store, closes, letters.collect(), place.name.as_deref());
        state.completion().set_aborter(Arc::new(AbortDrain(Arc::downgrade(&state))));
        let backlog = Backlog::new(Arc::clone(&state), flush, Arc::clone(&encoding), delivery);
        let life = Life::new(backlog, Confirming { sink, state: Arc::clone(&state) });
        place.start(life).map_err(|error| OpenError::io(&path, "starting a thread for", error))?;
        Ok(Self { handle: Arc::new(Handle(state)), encoding, when_full, max_bytes })
    }

    /// Where the events are. Holds up neither the worker nor a writer for longer than a count takes.
    pub fn stats(&self) -> DurableStats {
        self.state().stats()
    }

    /// What was found when the store was opened.
    pub fn recovered(&self) -> &Recovered {
        self.state().store.recovered()
    }

    /// How many events are on disk and not acknowledged; after a close, those that it left there.
    pub fn left_on_disk(&self) -> u64 {
        self.state().store.stats().pending
    }

    /// Gives the stats later, with what was dropped since it was opened, and whether they are the last. Does not keep the queue
    /// open.
    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> impl Fn() -> (DurableStats, bool) + Send + Sync + use<E> {
        let state = Arc::clone(self.state());
        move || {
            // Looked at first: then nothing is counted after the stats are read.
            let last = state.completion().is_done();
            let mut stats = state.stats();
            stats.dropped -= state.dropped_before;
            (stats, last)
        }
    }

    fn state(&self) -> &Arc<DurableState> {
        &self.handle.0
    }

    fn encode(&self, event: &E) -> Result<Vec<u8>, CommitError> {
        let mut bytes = Vec::new();
        self.encoding.encode(event, &mut bytes).map_err(|error| CommitError::Encoding(error.into()))?;
        match bytes.len() {
            len if len > MAX_PAYLOAD => Err(CommitError::TooLarge { len, max: MAX_PAYLOAD }),
            _ => Ok(bytes),
        }
    }

    /// Commits what `encode` gives, if anything; `None` is closed.
    fn commit(&self, records: &[Vec<u8>]) -> Result<(), Option<CommitError>> {
        let state = self.state();
        loop {
            let room = if self.when_full == WhenFull::Wait { state.room() } else { 0 };
            let written = {
                let Some(mut writing) = state.begin_write() else { return Err(state.refusal()) };
                let written = state.store.write_all(records.iter().map(Vec::as_slice));
                writing.committed = written.as_ref().ok().map(|first| first + records.len() as u64);
                written
            };
            if self.when_full == WhenFull::DropOldest {
                state.log_dropped(std::any::type_name::<E>());
            }
            match written {
                Ok(_) => return Ok(()),
                // It is counted out while it waits, so that a close does not wait for it.
                Err(StoreError::DiskFull(_) | StoreError::MaxBytes { .. })
                    if self.may_wait(records) && state.wait_for_room(room) => {}
                Err(error) => return Err(CommitError::of(error)),
            }
        }
    }

    /// Whether there will be room for them once everything is delivered.
    fn may_wait(&self, records: &[Vec<u8>]) -> bool {
        let bytes: usize = records.iter().map(Vec::len).sum();
        self.when_full == WhenFull::Wait && bytes as u64 <= self.max_bytes / 2
    }

    /// How many of these to commit at once: what there may never be room for is none.
    fn longest_part(&self, records: &[Vec<u8>]) -> usize {
        if self.when_full == WhenFull::Refuse {
            return records.len();
        }
        let mut left = self.max_bytes / 4;
        let fits = |record: &&Vec<u8>| {
            let fits = record.len() as u64 <= left;
            left = left.saturating_sub(record.len() as u64);
            fits
        };
        records.iter().take_while(fits).count().max(1)
    }

    fn try_write(&self, event: &E) -> Result<(), Option<CommitError>> {
        if self.is_shut() {
            return Err(self.state().refusal());
        }
        self.commit(&[self.encode(event).map_err(Some)?])
    }

    fn is_shut(&self) -> bool {
        self.state().is_closed()
    }
}

fn refusal<E>(event: E, why: Option<CommitError>) -> WriteError<E, CommitError> {
    match why {
        Some(error) => WriteError::Failed { event, error },
        None => WriteError::Closed(event),
    }
}

impl<E> Sink<E> for Durable<E>
where
    E: 'static,
{
    type Error = CommitError;

    /// Returns when the event is on disk, as [`Sync`](crate::durable::Sync) says.
    fn write(&self, event: E) -> Result<(), WriteError<E, CommitError>> {
        self.try_write(&event).map_err(|why| refusal(event, why))
    }

    /// Clones nothing.
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), CommitError>>
    where
        E: Clone,
    {
        self.try_write(event).map_err(|why| refusal((), why))
    }

    /// Commits all of them at once: if that fails, none of them is written. If one cannot be encoded, those before it are
    /// written first. If there is a policy for a full store, they are committed in parts of at most a quarter of `max_bytes`.
    fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, CommitError>> {
        let mut records = Vec::with_capacity(run.len());
        let mut unfit = None;
        for event in run.as_slice() {
            match self.encode(event) {
                Ok(record) => records.push(record),
                Err(error) => {
                    unfit = Some(error);
                    break;
                }
            }
        }
        let (mut written, mut refused) = (0, None);
        while written < records.len() && refused.is_none() {
            let rest = &records[written..];
            let part = &rest[..self.longest_part(rest)];
            match self.commit(part) {
                Ok(()) => written += part.len(),
                Err(why) => refused = Some(why),
            }
        }
        run.by_ref().take(written).for_each(drop);
        match (refused, unfit) {
            (Some(why), _) => run.next().map_or(Ok(()), |event| Err(refusal(event, why))),
            (None, Some(error)) => run.next().map_or(Ok(()), |event| Err(refusal(event, Some(error)))),
            (None, None) => Ok(()),
        }
    }

    fn longest_run(&self) -> usize {
        1024
    }

    /// Begins to deliver everything committed so far, and to flush the sink. An error if the queue ended before that, with
    /// events on disk.
    fn flush(&self) -> Flushing {
        self.state().request_flush()
    }

    fn close(&self) -> Closing {
        self.state().close()
    }

    fn is_closed(&self) -> bool {
        self.is_shut()
    }
}

/// A panic that unwinds through a write leaves it as any other write does.
impl<E> UnwindSafe for Durable<E> {}
impl<E> RefUnwindSafe for Durable<E> {}

impl<E> Clone for Durable<E> {
    fn clone(&self) -> Self {
        let (handle, encoding) = (Arc::clone(&self.handle), Arc::clone(&self.encoding));
        Self { handle, encoding, ..*self }
    }
}

impl<E> fmt::Debug for Durable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable")
            .field("stats", &self.handle.0.stats())
            .field("closed", &self.handle.0.is_closed())
            .finish()
    }
}
