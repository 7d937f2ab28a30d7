//! One event to many sinks.

mod list;
mod shared;
#[cfg(feature = "futures")]
mod stream;
mod subscription;

pub use self::subscription::{Subscription, SubscriptionIntoIter};

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use self::list::{Entry, List};
use self::shared::{OnClosed, Shared, keep_first};
use crate::adapter::Filter;
use crate::buffer::{Buffer, Reliable};
use crate::channel::{self, ChannelSink};
use crate::contract::{Never, SharedSink, Sink, WriteError, erase, refused};
use crate::lifecycle::{Closing, Ended, Flushing};
use crate::sync::SinkId;
use crate::sync::caught::{Payload, drop_caught};

/// Writes every event to each of its sinks, on the writer's thread.
///
/// Cheap to clone; clones share, and dropping the last one begins a close. The sinks must be reliable. A
/// write takes no lock; it clones the event for a sink that must own it, and gives the last one the event
/// itself. It never fails but by being closed.
///
/// - A sink that answers `Closed` is removed, and no other sink misses an event for it. It is reported to
///   [`with_on_closed`](Broadcaster::with_on_closed) and in [`ended`](Broadcaster::ended).
/// - If a sink panics, the others still get the event; then the first panic goes on to the writer.
/// - Concurrent writers may reach two sinks in different orders, and a write from within a sink's write reaches the later
///   sinks before the event that it comes from. `broadcaster.queued()` has one order for all sinks, and a write that does
///   not wait for them.
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, Sink, SinkExt, sink};
///
/// let log = sink::collector();
/// let pushes = sink::collector();
///
/// let broadcaster = Broadcaster::new();
/// broadcaster.add(log.clone())?;
/// broadcaster.add(pushes.clone().queued().filter(|event: &&str| event.starts_with("push")))?;
/// broadcaster.write("push alpine").unwrap();
/// broadcaster.write("pull alpine").unwrap();
///
/// broadcaster.close().wait()?;
/// assert_eq!(log.events(), ["push alpine", "pull alpine"]);
/// assert_eq!(pushes.events(), ["push alpine"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broadcaster<E> {
    shared: Arc<Shared<E>>,
    handle: Arc<Handle<E>>,
}

struct Handle<E> {
    shared: Arc<Shared<E>>,
}

/// The broadcaster is closed; the sink that was to be added was closed with it.
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, Sink, sink};
///
/// let broadcaster = Broadcaster::new();
/// broadcaster.close().wait().unwrap();
/// let late = sink::collector::<u32>();
/// let error = broadcaster.add(late.clone()).unwrap_err();
/// error.closing().wait().unwrap();
/// assert!(late.is_closed());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("the broadcaster is closed; the sink was closed too")]
pub struct AddError {
    closing: Closing,
}

impl AddError {
    /// Waits for the close of the sink that came too late.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, SinkExt, sink};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// broadcaster.close().wait().unwrap();
    /// let refused = broadcaster.add(sink::discard().queued()).unwrap_err();
    /// refused.closing().wait()?;
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn closing(&self) -> &Closing {
        &self.closing
    }
}

impl<E> Broadcaster<E>
where
    E: Clone + 'static,
{
    /// A broadcaster with no sinks.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A broadcaster with no sinks that calls `f` once for every sink that is removed because it answered
    /// `Closed`, on the thread of the write that found out, after the event is written to the other sinks.
    /// A panic of `f` goes on to that writer.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let ended = sink::collector();
    /// let seen = ended.clone();
    /// let broadcaster = Broadcaster::with_on_closed(move |id, _sink| seen.write(id).unwrap());
    ///
    /// let log = sink::collector();
    /// let id = broadcaster.add(log.clone())?;
    /// log.close().wait().unwrap();
    /// broadcaster.write("refused").unwrap();
    /// assert_eq!(ended.take(), [id]);
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn with_on_closed<F>(f: F) -> Self
    where
        F: Fn(SinkId, &SharedSink<E>) + Send + Sync + 'static,
    {
        Self::with(Some(Box::new(f)))
    }

    fn with(on_closed: Option<OnClosed<E>>) -> Self {
        let shared = Shared::new(on_closed);
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        Self { shared, handle }
    }

    /// Adds a sink, which sees no write that had begun. Copies the list of sinks: many at once go through
    /// [`extend`](Broadcaster::extend).
    ///
    /// # Errors
    ///
    /// The broadcaster is closed. The sink's close is begun then.
    ///
    /// # Examples
    ///
    /// A sink that can fail has to say first what happens to what fails:
    ///
    /// ```compile_fail,E0277
    /// use outflow::{Broadcaster, sink};
    ///
    /// Broadcaster::new().add(sink::from_fn(|_: &u32| Err("no route to host")));
    /// ```
    ///
    /// ```
    /// use outflow::{Broadcaster, SinkExt, sink};
    ///
    /// Broadcaster::new().add(sink::from_fn(|_: &u32| Err("no route to host")).lossy())?;
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn add<S>(&self, sink: S) -> Result<SinkId, AddError>
    where
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        self.add_entry(Entry::new(erase(sink), None))
    }

    /// Adds a sink under a name, by which errors and logs call it from then on: `webhooks: the close was aborted ...`.
    ///
    /// # Errors
    ///
    /// As [`add`](Broadcaster::add).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Closing, CloseError, Sink, SinkExt, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// broadcaster.add_named("audit", sink::for_each(|event: u32| assert_ne!(event, 0)).queued())?;
    /// broadcaster.write(0).unwrap();
    /// let error = broadcaster.close().wait().unwrap_err();
    /// assert!(error.to_string().starts_with("audit: a sink panicked"));
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn add_named<N, S>(&self, name: N, sink: S) -> Result<SinkId, AddError>
    where
        N: Into<Arc<str>>,
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        self.add_entry(Entry::new(erase(sink), Some(name.into())))
    }

    fn add_entry(&self, entry: Entry<E>) -> Result<SinkId, AddError> {
        let id = entry.id();
        self.shared.add(&[entry]).map_err(|closing| AddError { closing })?;
        Ok(id)
    }

    /// Adds many sinks at the cost of one.
    ///
    /// # Errors
    ///
    /// As [`add`](Broadcaster::add); all of the sinks are closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let collectors: Vec<_> = (0..3).map(|_| sink::collector()).collect();
    /// let broadcaster = Broadcaster::new();
    /// let ids = broadcaster.extend(collectors.iter().cloned())?;
    /// broadcaster.write(1).unwrap();
    /// assert_eq!(ids.len(), 3);
    /// assert!(collectors.iter().all(|collector| collector.events() == [1]));
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn extend<I>(&self, sinks: I) -> Result<Vec<SinkId>, AddError>
    where
        I: IntoIterator,
        I::Item: Sink<E> + Send + Sync + 'static,
        <I::Item as Sink<E>>::Error: Never,
    {
        let entries: Vec<_> = sinks.into_iter().map(|sink| Entry::new(erase(sink), None)).collect();
        let ids = entries.iter().map(Entry::id).collect();
        self.shared.add(&entries).map_err(|closing| AddError { closing })?;
        Ok(ids)
    }

    /// Removes a sink and hands it back; does not close it. A write that was already under way may still reach it, but
    /// waits no longer for room in it if it is a subscription: that one misses the event, and counts it as dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let log = sink::collector();
    /// let id = broadcaster.add(log.clone())?;
    /// assert!(broadcaster.remove(id).is_some());
    /// broadcaster.write(1).unwrap();
    /// assert!(log.is_empty() && !log.is_closed());
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn remove(&self, id: SinkId) -> Option<SharedSink<E>> {
        self.shared.remove(id).map(|entry| entry.sink)
    }

    /// Puts another sink in the place and under the id of one; hands back the old one, which is not closed.
    ///
    /// # Errors
    ///
    /// There is no such sink: hands back the new one.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let (old, new) = (sink::collector(), sink::collector());
    /// let id = broadcaster.add(old.clone())?;
    /// assert!(broadcaster.replace(id, new.clone()).is_ok());
    /// broadcaster.write(1).unwrap();
    /// assert_eq!((old.len(), new.len()), (0, 1));
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn replace<S>(&self, id: SinkId, sink: S) -> Result<SharedSink<E>, SharedSink<E>>
    where
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        self.shared.replace(id, erase(sink))
    }

    /// Adds a channel and returns its receiving end, which unsubscribes when dropped.
    ///
    /// A bounded buffer makes writers wait for a reader that is slow; `drop_oldest` and `drop_newest` do
    /// not. Of a closed broadcaster, the subscription has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, buffer::Buffer};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let subscription = broadcaster.subscribe(Buffer::bounded(16).drop_oldest());
    /// broadcaster.write("pushed").unwrap();
    /// broadcaster.close().wait()?;
    /// assert_eq!(subscription.iter().collect::<Vec<_>>(), ["pushed"]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn subscribe<P>(&self, buffer: Buffer<E, P>) -> Subscription<E>
    where
        E: Send,
        P: Reliable,
    {
        self.subscribe_by(buffer, erase)
    }

    /// As [`subscribe`](Broadcaster::subscribe), but only of the events for which `predicate` holds: the others take no
    /// room in the buffer, and are not cloned. It is called on the writer's thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Buffer, Sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let pushes = broadcaster.subscribe_where(Buffer::bounded(16).drop_oldest(), |event: &&str| event.starts_with("push"));
    /// broadcaster.write("push alpine").unwrap();
    /// broadcaster.write("pull alpine").unwrap();
    /// broadcaster.close().wait()?;
    /// assert_eq!(pushes.into_iter().collect::<Vec<_>>(), ["push alpine"]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn subscribe_where<P, F>(&self, buffer: Buffer<E, P>, predicate: F) -> Subscription<E>
    where
        E: Send,
        P: Reliable,
        F: Fn(&E) -> bool + Send + Sync + 'static,
    {
        self.subscribe_by(buffer, |sink| erase(Filter::new(sink, predicate)))
    }

    fn subscribe_by<P>(
        &self,
        buffer: Buffer<E, P>,
        erased: impl FnOnce(ChannelSink<E, P>) -> SharedSink<E>,
    ) -> Subscription<E>
    where
        E: Send,
        P: Reliable,
    {
        let (sink, events) = channel::with(buffer);
        let pipe = Arc::clone(sink.pipe());
        let entry = Entry { subscription: Some(Arc::clone(&pipe) as _), ..Entry::new(erased(sink), None) };
        pipe.shed.log.of_sink(&entry.label);
        let (id, refusals) = (entry.id(), Arc::clone(&entry.refusals));
        // Of a closed broadcaster: then `add` has closed the channel, and the events end.
        let _ = self.shared.add(&[entry]);
        Subscription::new(id, Arc::downgrade(&self.shared), refusals, events)
    }

    /// A handle that does not keep the broadcaster open.
    pub fn downgrade(&self) -> WeakBroadcaster<E> {
        WeakBroadcaster { handle: Arc::downgrade(&self.handle) }
    }

    /// Whether there is such a sink.
    pub fn contains(&self, id: SinkId) -> bool {
        self.shared.look(|list| list.contains(id)).unwrap_or_default()
    }

    /// The ids of the sinks, in the order in which they were added.
    pub fn ids(&self) -> Vec<SinkId> {
        self.shared.look(|list| list.iter().map(Entry::id).collect()).unwrap_or_default()
    }

    /// How many sinks there are; none once it is closed.
    pub fn len(&self) -> usize {
        self.shared.look(List::len).unwrap_or_default()
    }

    /// Whether there is no sink.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events were written while there was no sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// broadcaster.write("into the void").unwrap();
    /// assert_eq!(broadcaster.unheard(), 1);
    /// ```
    pub fn unheard(&self) -> u64 {
        self.shared.unheard.load(Ordering::Relaxed)
    }

    /// The sinks that were removed because they answered `Closed`: the last 64 with their errors, the others counted. An
    /// event that one refused then stands here alone; what it had accepted before and could not deliver is in the
    /// outcome of the broadcaster's close as well.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let log = sink::collector();
    /// let id = broadcaster.add(log.clone())?;
    /// log.close().wait().unwrap();
    /// broadcaster.write("refused").unwrap();
    ///
    /// let ended = broadcaster.ended();
    /// assert_eq!((ended.recent[0].id, ended.undelivered), (id, 1));
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn ended(&self) -> Ended {
        self.shared.ended.lock().list()
    }
}

impl<E> Default for Broadcaster<E>
where
    E: Clone + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a sink that refused an event wanted it.
#[cold]
fn wants<E>(entry: &Entry<E>, event: &E) -> bool {
    catch_unwind(AssertUnwindSafe(|| entry.sink.wants(event))).map_err(drop_caught).unwrap_or(true)
}

/// Offers the event to each sink in `chunks` and in `rest` by reference, and calls `last` when they have had it.
///
/// A panic ends neither: the walk goes on behind the sink that panicked. Returns the first one. Those that answer
/// `Closed` go to `closed`, beside each whether it wanted the event.
#[inline]
fn offer<'a, E, T>(
    event: &mut T,
    look: impl Fn(&T) -> Option<&E>,
    chunks: impl Iterator<Item = &'a [Entry<E>]>,
    rest: &'a [Entry<E>],
    closed: &mut Vec<(&'a Entry<E>, bool)>,
    last: impl FnMut(&mut T, &mut Vec<(&'a Entry<E>, bool)>),
) -> Option<Payload>
where
    E: Clone,
{
    let mut panic = None;
    for chunk in chunks {
        if let Some(another) = offer_chunk(event, &look, chunk, closed, |_, _| {}) {
            keep_first(&mut panic, another);
        }
    }
    if let Some(another) = offer_chunk(event, &look, rest, closed, last) {
        keep_first(&mut panic, another);
    }
    panic
}

#[inline]
fn offer_chunk<'a, E, T>(
    event: &mut T,
    look: impl Fn(&T) -> Option<&E>,
    chunk: &'a [Entry<E>],
    closed: &mut Vec<(&'a Entry<E>, bool)>,
    mut last: impl FnMut(&mut T, &mut Vec<(&'a Entry<E>, bool)>),
) -> Option<Payload>
where
    E: Clone,
{
    let mut panic = None;
    let at = Cell::new(0);
    loop {
        let walk = catch_unwind(AssertUnwindSafe(|| {
            if let Some(event) = look(event) {
                // Counted in a register, and only stored for the case of a panic.
                for (i, entry) in chunk.iter().enumerate().skip(at.get()) {
                    at.set(i + 1);
                    if entry.sink.write_ref(event).is_err() {
                        closed.push((entry, wants(entry, event)));
                    }
                }
            }
            last(event, closed);
        }));
        match walk {
            Ok(()) => return panic,
            Err(another) => keep_first(&mut panic, another),
        }
    }
}

#[cold]
fn finish<E>(
    shared: &Shared<E>,
    closed: &[(&Entry<E>, bool)],
    mut panic: Option<Payload>,
) -> Result<(), WriteError<E, Infallible>> {
    if let Some(another) = shared.end(closed) {
        keep_first(&mut panic, another);
    }
    match panic {
        Some(panic) => resume_unwind(panic),
        None => Ok(()),
    }
}

impl<E> Sink<E> for Broadcaster<E>
where
    E: Clone + 'static,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let entered = self.shared.enter();
        let Some(list) = &*entered else {
            return Err(WriteError::Closed(event));
        };
        let mut chunks = list.chunks();
        let Some((last, rest)) = chunks.next_back().and_then(<[_]>::split_last) else {
            self.shared.unheard.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let _inside = self.shared.scope.enter();
        let mut closed = Vec::new();
        let panic = offer(&mut Some(event), Option::as_ref, chunks, rest, &mut closed, |event, closed| {
            if let Some(event) = event.take() {
                if let Err(error) = last.sink.write(event) {
                    // Counted before it is dropped, which may panic.
                    let event = refused(error);
                    closed.push((last, wants(last, &event)));
                }
            }
        });
        if closed.is_empty() && panic.is_none() {
            return Ok(());
        }
        finish(&self.shared, &closed, panic)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>> {
        let entered = self.shared.enter();
        let Some(list) = &*entered else {
            return Err(WriteError::Closed(()));
        };
        if list.len() == 0 {
            self.shared.unheard.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let _inside = self.shared.scope.enter();
        let mut closed = Vec::new();
        let panic = offer(&mut &*event, |event| Some(*event), list.chunks(), &[], &mut closed, |_, _| {});
        if closed.is_empty() && panic.is_none() {
            return Ok(());
        }
        finish(&self.shared, &closed, panic).map_err(|refused| refused.map_event(drop))
    }

    /// Begins to flush every sink, and waits for those that have ended and still drain. In a ring it ends when what was
    /// accepted before it is delivered.
    fn flush(&self) -> Flushing {
        self.shared.flush()
    }

    /// Refuses writes and wakes those that wait in a subscription of this broadcaster; when the last write
    /// under way has returned, begins every sink's close. A write that waits in another sink (in the backoff
    /// of a retry that is not queued, say) is waited for; an abort closes the sinks at once and wakes it.
    /// The outcome names each sink that could not deliver what it had accepted.
    ///
    /// An abort gives the writes under way 100 ms to come back. If one does not, the outcome has
    /// [`CloseError::Aborted`](crate::CloseError::Aborted) in it, since the broadcaster does not know how many there are; what its sinks
    /// refuse later is counted in [`ended`](Broadcaster::ended).
    fn close(&self) -> Closing {
        self.shared.shut();
        self.shared.closing()
    }

    fn is_closed(&self) -> bool {
        self.shared.is_shut()
    }
}

impl<E> Drop for Handle<E> {
    fn drop(&mut self) {
        self.shared.shut();
    }
}

impl<E> Clone for Broadcaster<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), handle: Arc::clone(&self.handle) }
    }
}

impl<E> fmt::Debug for Broadcaster<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster")
            .field("sinks", &self.shared.look(List::len).unwrap_or_default())
            .field("unheard", &self.shared.unheard.load(Ordering::Relaxed))
            .field("closed", &self.handle.shared.is_shut())
            .finish()
    }
}

/// A handle of a [`Broadcaster`] that does not keep it open, for a sink that writes to its own broadcaster. Made by
/// [`Broadcaster::downgrade`].
///
/// # Examples
///
/// ```
/// use outflow::Broadcaster;
///
/// let broadcaster = Broadcaster::<u32>::new();
/// let weak = broadcaster.downgrade();
/// assert!(weak.upgrade().is_some());
/// drop(broadcaster);
/// assert!(weak.upgrade().is_none());
/// ```
pub struct WeakBroadcaster<E> {
    handle: Weak<Handle<E>>,
}

impl<E> WeakBroadcaster<E> {
    /// The broadcaster, unless its last handle was dropped.
    pub fn upgrade(&self) -> Option<Broadcaster<E>> {
        let handle = self.handle.upgrade()?;
        Some(Broadcaster { shared: Arc::clone(&handle.shared), handle })
    }
}

impl<E> Clone for WeakBroadcaster<E> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

impl<E> fmt::Debug for WeakBroadcaster<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakBroadcaster").finish_non_exhaustive()
    }
}
