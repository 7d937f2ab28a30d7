//! One event to many sinks.
//!
//! # Why a write waits for nobody
//!
//! The list of sinks stands behind a gate and is never changed: an add or a remove swaps in another, under
//! a lock that no write takes. A write walks the list that it found. Every list holds the same `Pass`, so
//! the pass is dropped when the gate is shut and the last write on the last of the lists is through; that
//! is when the sinks' closes are begun.
//!
//! # Why a close tells of every event
//!
//! What the sinks refused is read when the last write has left, and not before: by then each refusal is
//! counted, and each sink that ended is in `ended`. An abort begins the sinks' closes earlier, to wake the
//! writes that wait in them, but it concludes by the same way. Only if a write does not come back in the
//! time that an abort gives it does the outcome say that it does not know what was left; what that write
//! still finds refused is then counted in `ended` alone.
//!
//! No user's code runs under a lock, and what a change takes out is dropped after it is let go.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::buffer::{Buffer, Policy, Reliable};
use crate::channel::{self, ChannelSink, Events};
use crate::contract::{Never, erase, refused};
use crate::contract::{SharedSink, Sink, WriteError};
use crate::lifecycle::completion::{Abort, Completion, Outcome};
use crate::lifecycle::ended::{EndedSinks, One, Record};
use crate::lifecycle::{Answer, CloseError, Ended, close_caught, flush_caught};
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::Pipe;
use crate::sync::SinkId;
use crate::sync::caught::{Payload, drop_caught};
use crate::sync::gate::Gate;
use crate::sync::scope::Scope;
use crate::trace;

use std::convert::Infallible;

/// Writes every event to each of its sinks, on the writer's thread.
///
/// Cheap to clone; clones share, and dropping the last one begins a close. The sinks must be reliable. A
/// write takes no lock; it clones the event for a sink that must own it, and gives the last one the event
/// itself. It never fails but by being closed.
///
/// - A sink that answers `Closed` is removed, and no other sink misses an event for it. It is told to
///   [`with_on_closed`](Broadcaster::with_on_closed), in [`ended`](Broadcaster::ended) and in the outcome of
///   the close.
/// - If a sink panics, the others still get the event; then the first panic goes on to the writer.
/// - Concurrent writers may reach two sinks in different orders. `broadcaster.queued()` has one order for
///   all sinks, and a write that does not wait for them.
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

struct Shared<E> {
    gate: Gate<List<E>>,
    /// Held while a list takes the place of another.
    changing: Mutex<()>,
    scope: Scope,
    completion: Arc<Completion<CloseError>>,
    /// Told when the last write has left, or when an abort no longer waits for it.
    left: Arc<Completion<CloseError>>,
    /// The sinks there were when the gate was shut, until that is told.
    last: Mutex<Vec<Entry<E>>>,
    /// Whether sinks may answer `Closed` because of an abort.
    aborted: AtomicBool,
    ended: Mutex<EndedSinks>,
    on_closed: Option<OnClosed<E>>,
    unheard: AtomicU64,
}

type OnClosed<E> = Box<dyn Fn(SinkId, &SharedSink<E>) + Send + Sync>;

struct List<E> {
    entries: Vec<Entry<E>>,
    pass: Arc<Pass<E>>,
}

/// Dropped when the gate is shut and the last write is through.
struct Pass<E> {
    shared: Arc<Shared<E>>,
}

struct Entry<E> {
    sink: SharedSink<E>,
    id: SinkId,
    record: Arc<Record>,
    subscription: Option<Arc<dyn Subscribed>>,
}

impl<E> Clone for Entry<E> {
    fn clone(&self) -> Self {
        Self {
            sink: Arc::clone(&self.sink),
            id: self.id,
            record: Arc::clone(&self.record),
            subscription: self.subscription.clone(),
        }
    }
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
    /// broadcaster.close();
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
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Broadcaster;
    ///
    /// assert!(Broadcaster::<u32>::new().is_empty());
    /// ```
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
    /// log.close();
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
        let scope = Scope::new();
        let shared = Arc::new(Shared {
            gate: Gate::empty(),
            changing: Mutex::new(()),
            scope,
            completion: Completion::within(vec![scope]),
            left: Completion::within(vec![scope]),
            last: Mutex::default(),
            aborted: AtomicBool::new(false),
            ended: Mutex::new(EndedSinks::default()),
            on_closed,
            unheard: AtomicU64::new(0),
        });
        let abort: Weak<Shared<E>> = Arc::downgrade(&shared);
        let conclude = Weak::clone(&abort);
        shared.completion.set_aborter(Arc::new(AbortBroadcaster { shared: abort }));
        Answer::Pending(Arc::clone(&shared.left)).awaited_by(&shared.completion, true);
        shared.left.then(move |outcome| {
            // Whoever tells it holds on to a pass, which holds on to this.
            if let Some(shared) = conclude.upgrade() {
                shared.conclude(outcome);
            }
        });
        // The pass keeps what keeps the pass, until the gate is shut: by the last handle if by nobody else.
        let pass = Arc::new(Pass { shared: Arc::clone(&shared) });
        shared.gate.fill(Arc::new(List { entries: Vec::new(), pass }));
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
        let entry = Entry::new(erase(sink), None);
        let id = entry.id;
        self.shared.add(vec![entry])?;
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
        let ids = entries.iter().map(|entry| entry.id).collect();
        self.shared.add(entries)?;
        Ok(ids)
    }

    /// Removes a sink and hands it back; does not close it. A write that was already under way may still
    /// reach it.
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
        let sink: SharedSink<E> = erase(sink);
        let replaced = self.shared.change(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.id == id)?;
            let new = Entry { id, ..Entry::new(Arc::clone(&sink), None) };
            Some(std::mem::replace(entry, new))
        });
        match replaced.flatten() {
            Some(old) => Ok(old.sink),
            None => Err(sink),
        }
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
        let (sink, events) = channel::with(buffer);
        let pipe: Arc<Pipe<E>> = Arc::clone(sink.pipe());
        let entry = Entry::new(Arc::new(SubscriptionSink { sink }), Some(Arc::clone(&pipe) as _));
        let id = entry.id;
        pipe.outlet.told.of_sink(id);
        let record = Arc::clone(&entry.record);
        // Closed: then `add` has closed the channel, and the events end.
        let _ = self.shared.add(vec![entry]);
        let shared = Arc::downgrade(&self.shared);
        Subscription { id, unsubscribe: Arc::new(Unsubscribe { shared, record }), events }
    }

    /// Whether there is such a sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, sink};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// let ids = broadcaster.extend([sink::discard(), sink::discard()])?;
    /// assert!(broadcaster.contains(ids[0]));
    /// broadcaster.remove(ids[0]);
    /// assert!(!broadcaster.contains(ids[0]));
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn contains(&self, id: SinkId) -> bool {
        self.shared.look(|entries| entries.iter().any(|entry| entry.id == id))
    }

    /// The ids of the sinks, in the order in which they were added.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, sink};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// let ids = broadcaster.extend([sink::discard(), sink::discard()])?;
    /// assert_eq!(broadcaster.ids(), ids);
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn ids(&self) -> Vec<SinkId> {
        self.shared.look(|entries| entries.iter().map(|entry| entry.id).collect())
    }

    /// How many sinks there are; none once it is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, sink};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// let ids = broadcaster.extend([sink::discard(), sink::discard()])?;
    /// assert_eq!(broadcaster.len(), ids.len());
    /// # Ok::<(), outflow::AddError>(())
    /// ```
    pub fn len(&self) -> usize {
        self.shared.look(<[_]>::len)
    }

    /// Whether there is no sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, sink};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// assert!(broadcaster.is_empty());
    /// broadcaster.add(sink::discard())?;
    /// assert!(!broadcaster.is_empty());
    /// # Ok::<(), outflow::AddError>(())
    /// ```
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

    /// The sinks that were removed because they answered `Closed`: the last 64 with their errors, the
    /// others counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// let log = sink::collector();
    /// let id = broadcaster.add(log.clone())?;
    /// log.close();
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

impl<E> Entry<E> {
    fn new(sink: SharedSink<E>, subscription: Option<Arc<dyn Subscribed>>) -> Self {
        Self { sink, id: SinkId::new(), record: Arc::default(), subscription }
    }

    fn close(&self) -> One {
        let closing = close_caught(|| self.sink.close());
        One { id: self.id, record: Arc::clone(&self.record), closing }
    }
}

impl<E> Shared<E> {
    fn look<T>(&self, f: impl FnOnce(&[Entry<E>]) -> T) -> T {
        match &*self.gate.enter() {
            Some(list) => f(&list.entries),
            None => f(&[]),
        }
    }

    /// Puts a changed copy in the place of the list; `None` if the gate is shut.
    fn change<T>(&self, f: impl FnOnce(&mut Vec<Entry<E>>) -> T) -> Option<T> {
        let changing = self.changing.lock();
        let visit = self.gate.enter();
        let list = visit.as_ref()?;
        let mut entries = list.entries.clone();
        let answer = f(&mut entries);
        let old = self.gate.fill(Arc::new(List { entries, pass: Arc::clone(&list.pass) }));
        drop(changing);
        // Last, since a sink may go with them, and its destructor is a user's.
        drop((old, visit));
        Some(answer)
    }

    fn add(&self, added: Vec<Entry<E>>) -> Result<(), AddError> {
        match self.change(|entries| entries.extend(added.iter().cloned())) {
            Some(()) => Ok(()),
            None => {
                Err(AddError { closing: Closing::all(added.iter().map(|entry| entry.close().closing())) })
            }
        }
    }

    fn remove(&self, id: SinkId) -> Option<Entry<E>> {
        self.remove_where(|entry| entry.id == id)
    }

    /// Removes the sink of this record, and not another that has taken its place under the same id.
    fn remove_record(&self, record: &Arc<Record>) {
        drop(self.remove_where(|entry| Arc::ptr_eq(&entry.record, record)));
    }

    /// Copies no list that it is not in.
    fn remove_where(&self, is_it: impl Fn(&Entry<E>) -> bool) -> Option<Entry<E>> {
        self.look(|entries| entries.iter().any(&is_it)).then_some(())?;
        self.change(|entries| {
            let at = entries.iter().position(&is_it)?;
            Some(entries.remove(at))
        })?
    }

    fn shut(&self) {
        let changing = self.changing.lock();
        let visit = self.gate.enter();
        if let Some(list) = &*visit {
            *self.last.lock() = list.entries.clone();
        }
        let list = self.gate.shut();
        drop(changing);
        if let Some(list) = &list {
            let subscriptions = list.entries.iter().filter_map(|entry| entry.subscription.as_ref());
            subscriptions.for_each(|pipe| pipe.stop_waiting());
        }
        drop((list, visit));
    }

    /// Closes the sinks while there may be writes under way, which wakes those that wait in them.
    fn abort(&self) {
        if self.aborted.swap(true, Ordering::SeqCst) {
            return;
        }
        self.shut();
        let entries = self.last.lock().clone();
        for entry in entries {
            // No write waits in a subscription any more; those under way still find it open.
            if entry.subscription.is_none() {
                // A sink in a ring is reached from the ring's other side.
                entry.close().closing.0.awaited_by(&self.completion, true);
            }
            drop_caught(entry);
        }
    }

    /// No write is under way, or none that is waited for: begins to close the sinks, all of them before any
    /// is waited for, unless an abort has; and has the close tell of them and of those that ended before.
    fn conclude(&self, left: &Outcome<CloseError>) {
        // Kept until the closes are awaited: an abort that comes before that finds the sinks here.
        let last = self.last.lock().clone();
        let (ended, older) = self.ended.lock().all();
        let is_last = |one: &One| last.iter().any(|entry| Arc::ptr_eq(&entry.record, &one.record));
        let ended = ended.into_iter().filter(|one| !is_last(one));
        let sinks: Vec<One> = last.iter().map(Entry::close).chain(ended).collect();
        let mut closings: Vec<Closing> = sinks
            .into_iter()
            .map(|mut one| {
                if !one.closing.0.awaited_by(&self.completion, true) {
                    // It awaits this close: it is in a ring, and what it refused is all that it has to tell.
                    one.closing = Closing::done();
                }
                one.closing()
            })
            .collect();
        if older > 0 {
            closings.push(Closing::failed(CloseError::DownstreamClosed { events: older }));
        }
        closings.push(Closing::of(Answer::Told(left.clone())));
        let answers = closings.into_iter().map(|closing| (closing.0, true));
        Answer::resolve_all(&self.completion, answers, |outcome| outcome);
        // The sinks are a user's, and so are their destructors.
        let kept = std::mem::take(&mut *self.last.lock());
        last.into_iter().chain(kept).for_each(drop_caught);
    }

    fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    /// Removes the sinks that answered `Closed` and tells of them. Answers the first panic of `on_closed`.
    #[cold]
    fn end(&self, closed: &[&Entry<E>]) -> Option<Payload> {
        // All are counted before anybody is told.
        let ended: Vec<_> = closed.iter().filter(|entry| self.end_one(entry)).collect();
        if self.aborted.load(Ordering::SeqCst) {
            // They did not close by themselves, or nobody can tell any more. The close has it.
            return None;
        }
        let mut panic = None;
        for entry in ended {
            trace::sink_ended(entry.id);
            if let Some(on_closed) = &self.on_closed {
                if let Err(another) = catch_unwind(AssertUnwindSafe(|| on_closed(entry.id, &entry.sink))) {
                    keep_first(&mut panic, another);
                }
            }
        }
        panic
    }

    /// Whether this is to be told.
    fn end_one(&self, entry: &Entry<E>) -> bool {
        if let Some(subscription) = &entry.subscription {
            subscription.missed();
            self.remove_record(&entry.record);
            return false;
        }
        if !entry.record.refuse() {
            return false;
        }
        self.remove_record(&entry.record);
        let one = entry.close();
        let forgotten = self.ended.lock().push(one);
        forgotten.into_iter().for_each(drop_caught);
        true
    }
}

/// Keeps the first of several panics, which is the one that goes on.
fn keep_first(first: &mut Option<Payload>, panic: Payload) {
    match first {
        Some(_) => drop_caught(panic),
        None => *first = Some(panic),
    }
}

impl<E> Shared<E>
where
    E: Clone,
{
    /// Offers the event to each of `rest` by reference, and calls `last` when they have had it.
    ///
    /// A panic ends neither: the walk goes on behind the sink that panicked. Answers the first one.
    #[inline]
    fn offer<'a, T>(
        event: &mut T,
        look: impl Fn(&T) -> Option<&E>,
        rest: &'a [Entry<E>],
        closed: &mut Vec<&'a Entry<E>>,
        mut last: impl FnMut(&mut T, &mut Vec<&'a Entry<E>>),
    ) -> Option<Payload> {
        let mut panic = None;
        let at = Cell::new(0);
        loop {
            let walk = catch_unwind(AssertUnwindSafe(|| {
                if let Some(event) = look(event) {
                    // Counted in a register, and only stored for the case of a panic.
                    for (i, entry) in rest.iter().enumerate().skip(at.get()) {
                        at.set(i + 1);
                        if entry.sink.write_ref(event).is_err() {
                            closed.push(entry);
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
    fn finish(
        &self,
        closed: &[&Entry<E>],
        mut panic: Option<Payload>,
    ) -> Result<(), WriteError<E, Infallible>> {
        if let Some(another) = self.end(closed) {
            keep_first(&mut panic, another);
        }
        match panic {
            Some(panic) => resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl<E> Sink<E> for Broadcaster<E>
where
    E: Clone + 'static,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let visit = self.shared.gate.enter();
        let Some(list) = &*visit else {
            return Err(WriteError::Closed(event));
        };
        let Some((last, rest)) = list.entries.split_last() else {
            self.shared.unheard.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let _inside = self.shared.scope.enter();
        let mut closed = Vec::new();
        let panic = Shared::offer(&mut Some(event), Option::as_ref, rest, &mut closed, |event, closed| {
            if let Some(event) = event.take() {
                if last.sink.write(event).is_err() {
                    closed.push(last);
                }
            }
        });
        if closed.is_empty() && panic.is_none() {
            return Ok(());
        }
        self.shared.finish(&closed, panic)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>> {
        let visit = self.shared.gate.enter();
        let Some(list) = &*visit else {
            return Err(WriteError::Closed(()));
        };
        if list.entries.is_empty() {
            self.shared.unheard.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let _inside = self.shared.scope.enter();
        let mut closed = Vec::new();
        let panic = Shared::offer(&mut &*event, |event| Some(*event), &list.entries, &mut closed, |_, _| {});
        if closed.is_empty() && panic.is_none() {
            return Ok(());
        }
        self.shared.finish(&closed, panic).map_err(|refused| refused.map_event(drop))
    }

    /// Begins to flush every sink.
    fn flush(&self) -> Flushing {
        match &*self.shared.gate.enter() {
            Some(list) => Flushing::all(list.entries.iter().map(|entry| {
                let id = entry.id;
                flush_caught(|| entry.sink.flush())
                    .map(move |outcome| outcome.map_err(|error| error.of_sink(id)))
            })),
            None => Flushing::of_close(&self.shared.closing()),
        }
    }

    /// Refuses writes and wakes those that wait in a subscription of this broadcaster; when the last write
    /// under way is through, begins every sink's close. A write that waits in another sink (in the backoff
    /// of a retry that is not queued, say) is waited for; an abort closes the sinks at once and wakes it.
    /// The outcome names each sink with what it refused.
    ///
    /// An abort gives the writes under way 100 ms to come back. If one does not, the outcome has
    /// [`CloseError::Aborted`] in it, since the broadcaster does not know how many there are; what its sinks
    /// refuse later is counted in [`ended`](Broadcaster::ended).
    fn close(&self) -> Closing {
        self.shared.shut();
        self.shared.closing()
    }

    fn is_closed(&self) -> bool {
        self.shared.gate.is_shut()
    }
}

impl<E> Drop for Handle<E> {
    fn drop(&mut self) {
        self.shared.shut();
    }
}

impl<E> Drop for Pass<E> {
    fn drop(&mut self) {
        self.shared.left.complete(Ok(()));
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
            .field("sinks", &self.shared.look(<[_]>::len))
            .field("unheard", &self.shared.unheard.load(Ordering::Relaxed))
            .field("closed", &self.handle.shared.gate.is_shut())
            .finish()
    }
}

struct AbortBroadcaster<E> {
    shared: Weak<Shared<E>>,
}

impl<E> Abort for AbortBroadcaster<E> {
    fn begin(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.abort();
        }
    }

    /// The close awaits `left`, which is told at the deadline if not before.
    fn settle(&self, _deadline: std::time::Instant) {}
}

/// The pipe of a subscription, without its type.
trait Subscribed: Send + Sync {
    /// Wakes the writes that wait in it.
    fn stop_waiting(&self);

    /// It was closed and missed an event, which is counted unless nobody reads it any more.
    fn missed(&self);
}

impl<E> Subscribed for Pipe<E>
where
    E: Send,
{
    fn stop_waiting(&self) {
        Pipe::stop_waiting(self);
    }

    fn missed(&self) {
        if self.is_read() {
            self.outlet.drop_unseen(1);
        }
    }
}

/// The sink of a subscription.
struct SubscriptionSink<E, P> {
    sink: ChannelSink<E, P>,
}

impl<E, P> Sink<E> for SubscriptionSink<E, P>
where
    P: Policy,
    P::Error: Never,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        match self.sink.write(event).map_err(refused) {
            Ok(()) => Ok(()),
            Err(event) if self.sink.is_closed() => Err(WriteError::Closed(event)),
            // It waited for room when the broadcaster closed: this subscription misses it.
            Err(event) => {
                self.sink.pipe().outlet.give_up(event);
                Ok(())
            }
        }
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

/// The receiving end of a subscription: [`Events`] that unsubscribe when dropped. Made by
/// [`Broadcaster::subscribe`].
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, Buffer, Sink};
///
/// let broadcaster = Broadcaster::new();
/// let watcher = broadcaster.subscribe(Buffer::unbounded());
/// broadcaster.write("pushed").unwrap();
/// assert_eq!(watcher.recv(), Ok("pushed"));
/// drop(watcher);
/// assert!(broadcaster.is_empty());
/// ```
pub struct Subscription<E> {
    id: SinkId,
    unsubscribe: Arc<dyn RemoveSink>,
    pub(crate) events: Events<E>,
}

trait RemoveSink: Send + Sync {
    fn remove(&self);
}

/// By its record, and not by its id, under which another sink may have taken its place.
struct Unsubscribe<E> {
    shared: Weak<Shared<E>>,
    record: Arc<Record>,
}

impl<E> RemoveSink for Unsubscribe<E>
where
    E: Send,
{
    fn remove(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.remove_record(&self.record);
        }
    }
}

impl<E> Subscription<E> {
    /// The id under which the broadcaster has it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Buffer};
    ///
    /// let broadcaster = Broadcaster::<u32>::new();
    /// let watcher = broadcaster.subscribe(Buffer::unbounded());
    /// assert_eq!(broadcaster.ids(), [watcher.id()]);
    /// ```
    pub fn id(&self) -> SinkId {
        self.id
    }
}

impl<E> Deref for Subscription<E> {
    type Target = Events<E>;

    fn deref(&self) -> &Events<E> {
        &self.events
    }
}

impl<E> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.unsubscribe.remove();
    }
}

impl<'a, E> IntoIterator for &'a Subscription<E> {
    type Item = E;
    type IntoIter = channel::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.iter()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("events", &self.events).finish()
    }
}
