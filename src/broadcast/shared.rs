//! What the handles of a broadcaster share: its list of sinks, and its close.
//!
//! # Why a write waits for no other thread
//!
//! The list stands behind a gate and is never changed: an add or a remove swaps in another, under a lock that no write
//! takes. A write walks the list that it found. Every list holds the same [`QuiescedWhenDropped`], so that this is
//! dropped when the gate is shut and the last write on the last of the lists has left; then the sinks' closes begin.
//!
//! # Why a close accounts for every event
//!
//! What the sinks refused is read when the last write has left, and not before: by then each refusal is counted, and
//! each sink that ended is in `ended`. An abort begins the sinks' closes earlier, to wake the writes that wait in them,
//! but it concludes in the same way. Only if a write does not come back in the time that an abort gives it does the
//! outcome say that it does not know what was left; what that write still finds refused is then counted in `ended`
//! alone.
//!
//! No user's code runs under a lock, and what a change takes out is dropped after it is released. A getter looks under
//! the lock, so that it is never the last to hold a list.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::list::{Entry, List, QuiescedWhenDropped};
use crate::contract::SharedSink;
use crate::lifecycle::completion::{Abort, Completion, Outcome};
use crate::lifecycle::ended::{EndedEntry, EndedSinks, Refusals};
use crate::lifecycle::{CloseError, Closing, Flushing, MaybeDone, Trail, flush_caught, join};
use crate::sync::caught::{Payload, drop_caught};
use crate::sync::gate::{Gate, Guard};
use crate::sync::scope::Scope;
use crate::sync::{Label, SinkId};
use crate::trace;

pub(super) struct Shared<E> {
    gate: Gate<List<E>>,
    /// Held while a list takes the place of another, and while a getter looks at one.
    changing: Mutex<()>,
    /// A thread is in a write, or begins the sinks' closes or flushes.
    pub(super) scope: Scope,
    completion: Arc<Completion>,
    /// Completes when the last write has left, or when an abort no longer waits for it.
    quiesced: Arc<Completion>,
    /// The sinks there were when the gate was shut, until that.
    last: Mutex<Vec<Entry<E>>>,
    /// Whether sinks may answer `Closed` because of an abort.
    aborted: AtomicBool,
    pub(super) ended: Mutex<EndedSinks>,
    on_closed: Option<OnClosed<E>>,
    pub(super) unheard: AtomicU64,
}

pub(super) type OnClosed<E> = Box<dyn Fn(SinkId, &SharedSink<E>) + Send + Sync>;

impl<E: 'static> Shared<E> {
    pub(super) fn new(on_closed: Option<OnClosed<E>>) -> Arc<Self> {
        let scope = Scope::new();
        let shared = Arc::new(Self {
            gate: Gate::empty(),
            changing: Mutex::new(()),
            scope,
            completion: Completion::within([scope]),
            quiesced: Completion::within([scope]),
            last: Mutex::default(),
            aborted: AtomicBool::new(false),
            ended: Mutex::default(),
            on_closed,
            unheard: AtomicU64::new(0),
        });
        shared.completion.set_aborter(Arc::new(AbortBroadcaster { shared: Arc::downgrade(&shared) }));
        MaybeDone::Pending(Arc::clone(&shared.quiesced)).awaited_by(&shared.completion, true);
        // Two deliberate reference cycles, which `shut` breaks; the last handle calls it if nothing else does.
        let conclude = Arc::clone(&shared);
        shared.quiesced.then(move |outcome| conclude.conclude(outcome));
        let quiesced = Arc::new(QuiescedWhenDropped(Arc::clone(&shared.quiesced)));
        shared.gate.fill(Arc::new(List::new(quiesced)));
        shared
    }
}

/// The list.
impl<E> Shared<E> {
    /// What a write walks.
    #[inline]
    pub(super) fn enter(&self) -> Guard<List<E>> {
        self.gate.enter()
    }

    pub(super) fn is_shut(&self) -> bool {
        self.gate.is_shut()
    }

    /// Looks at the list; `None` if the gate is shut.
    pub(super) fn look<T>(&self, f: impl FnOnce(&List<E>) -> T) -> Option<T> {
        let _changing = self.changing.lock();
        self.gate.enter().as_deref().map(f)
    }

    /// Puts the list that `f` makes of this one in its place, if it makes one; `None` if not, or if the gate is shut.
    fn change<T>(&self, f: impl FnOnce(&List<E>) -> Option<(List<E>, T)>) -> Option<T> {
        let changing = self.changing.lock();
        let entered = self.gate.enter();
        let (list, changed) = f(entered.as_deref()?)?;
        let old = self.gate.fill(Arc::new(list));
        drop(changing);
        // Last, since a sink may go with them, and its destructor is a user's.
        drop((old, entered));
        Some(changed)
    }

    /// Adds sinks, or closes them if the gate is shut.
    pub(super) fn add(&self, added: &[Entry<E>]) -> Result<(), Closing> {
        self.change(|list| Some((list.with(added), ())))
            .ok_or_else(|| Closing::all(added.iter().map(|entry| entry.close().closing)))
    }

    pub(super) fn remove(&self, id: SinkId) -> Option<Entry<E>> {
        self.remove_if(id, |_| true)
    }

    /// Removes the sink that these are the refusals of, and not another that has taken its place under the same id.
    pub(super) fn remove_refusing(&self, id: SinkId, refusals: &Arc<Refusals>) {
        drop(self.remove_if(id, |entry| Arc::ptr_eq(&entry.refusals, refusals)));
    }

    fn remove_if(&self, id: SinkId, is_it: impl Fn(&Entry<E>) -> bool) -> Option<Entry<E>> {
        let removed = self.change(|list| list.without(id, is_it))?;
        removed.release_writers();
        Some(removed)
    }

    /// Puts a sink in the place and under the id of another; hands it back if there is none.
    pub(super) fn replace(&self, id: SinkId, sink: SharedSink<E>) -> Result<SharedSink<E>, SharedSink<E>> {
        let replaced = self.change(|list| {
            list.replacing(id, |old| Entry {
                label: old.label.clone(),
                ..Entry::new(Arc::clone(&sink), None)
            })
        });
        let old = replaced.ok_or(sink)?;
        old.release_writers();
        Ok(old.sink)
    }
}

impl<E> Entry<E> {
    /// It is off the list: writes that wait in it, if it is a subscription, wait no longer.
    fn release_writers(&self) {
        if let Some(subscription) = &self.subscription {
            subscription.stop_waiting();
        }
    }
}

/// The close.
impl<E> Shared<E> {
    pub(super) fn shut(&self) {
        let changing = self.changing.lock();
        let entered = self.gate.enter();
        if let Some(list) = &*entered {
            *self.last.lock() = list.iter().cloned().collect();
        }
        let list = self.gate.shut();
        drop(changing);
        if let Some(list) = &list {
            list.iter().for_each(Entry::release_writers);
        }
        drop((list, entered));
    }

    pub(super) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    /// Closes the sinks while there may be writes under way, which wakes those that wait in them.
    fn abort(&self) {
        if self.aborted.swap(true, Ordering::SeqCst) {
            return;
        }
        self.shut();
        let _inside = self.scope.enter();
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

    /// No write is under way, or none that is waited for: begins to close the sinks, all of them before any is waited
    /// for, unless an abort has; and completes when they have, and those that ended before.
    fn conclude(&self, quiesced: &Outcome) {
        let _inside = self.scope.enter();
        // Kept until the closes are awaited: an abort that comes before that finds the sinks here.
        let last = self.last.lock().clone();
        let (ended, older) = self.ended.lock().all();
        let refusals: HashSet<_> = last.iter().map(|sink| Arc::as_ptr(&sink.refusals)).collect();
        let is_last = |entry: &EndedEntry| refusals.contains(&Arc::as_ptr(&entry.refusals));
        // What a sink refused because of an abort is part of the outcome. An event that one refused because it had ended
        // by itself is not: it is in `ended`.
        let aborted = self.aborted.load(Ordering::SeqCst);
        let ended = ended.into_iter().filter(|entry| !is_last(entry)).map(|entry| (entry, false));
        let sinks: Vec<_> = last.iter().map(|entry| (entry.close(), aborted)).chain(ended).collect();
        for (entry, _) in &sinks {
            entry.closing.0.awaited_by(&self.completion, true);
        }
        // Dropped before the close completes: a closure has no other moment to write out what it holds. They are a
        // user's, and so are their destructors.
        let kept = std::mem::take(&mut *self.last.lock());
        last.into_iter().chain(kept).for_each(drop_caught);

        let (entries, parts): (Vec<_>, Vec<_>) = sinks
            .into_iter()
            .map(|(entry, refused)| {
                ((entry.label, refused.then_some(entry.refusals)), (entry.closing.0, true))
            })
            .unzip();
        let quiesced = quiesced.clone();
        MaybeDone::gather(&self.completion, parts, move |outcomes| {
            let named = outcomes.into_iter().zip(entries).map(|(outcome, (label, refusals))| {
                let outcome = refusals.iter().fold(outcome, |outcome, refusals| refusals.join(outcome));
                outcome.map_err(|error| error.of_sink(&label))
            });
            let older = match older {
                0 => Ok(()),
                events => Err(CloseError::DownstreamClosed { events }),
            };
            join(named.chain([older, quiesced]))
        });
    }

    /// Begins to flush every sink, and awaits the closes of those that have ended and still drain.
    pub(super) fn flush(&self) -> Flushing {
        let Some(trail) = Trail::at(self.scope) else {
            // It comes back to where it has been.
            return Flushing::done();
        };
        let entered = self.gate.enter();
        let Some(list) = &*entered else {
            return Flushing::of_close(&self.closing());
        };
        let draining = self.ended.lock().draining();
        let inside = self.scope.enter();
        let flush = |entry: &Entry<E>| (entry.label.clone(), flush_caught(|| entry.sink.flush()).0);
        let flushes: Vec<(Label, MaybeDone)> = trail.pass_on(|| list.iter().map(flush).collect());
        drop(inside);
        let draining = draining.into_iter().map(|entry| (entry.label, entry.closing.0));
        let (labels, parts): (Vec<_>, Vec<_>) = flushes.into_iter().chain(draining).unzip();
        Flushing::of(MaybeDone::gathered(parts, move |outcomes| {
            let named = outcomes.into_iter().zip(labels);
            join(named.map(|(outcome, label)| outcome.map_err(|error| error.of_sink(&label))))
        }))
    }

    /// Removes the sinks that answered `Closed`, beside each whether it wanted the event, and publishes that. Returns
    /// the first panic of `on_closed`.
    #[cold]
    pub(super) fn end(&self, closed: &[(&Entry<E>, bool)]) -> Option<Payload> {
        // All are counted before any is published.
        let ended: Vec<_> = closed.iter().filter(|(entry, wanted)| self.end_one(entry, *wanted)).collect();
        if self.aborted.load(Ordering::SeqCst) {
            // They did not close by themselves, or that cannot be known any more. The close has it.
            return None;
        }
        let mut panic = None;
        for (entry, _) in ended {
            trace::sink_ended(&entry.label);
            if let Some(on_closed) = &self.on_closed {
                let called = catch_unwind(AssertUnwindSafe(|| on_closed(entry.id(), &entry.sink)));
                if let Err(another) = called {
                    keep_first(&mut panic, another);
                }
            }
        }
        panic
    }

    /// Whether this is to be published.
    fn end_one(&self, entry: &Entry<E>, wanted: bool) -> bool {
        if let Some(subscription) = &entry.subscription {
            if wanted {
                subscription.missed();
            }
            self.remove_refusing(entry.id(), &entry.refusals);
            return false;
        }
        if !entry.refusals.add(wanted) {
            return false;
        }
        let ended = entry.close();
        let forgotten = self.ended.lock().push(ended);
        // After that: a flush finds it in one of the two.
        self.remove_refusing(entry.id(), &entry.refusals);
        forgotten.into_iter().for_each(drop_caught);
        true
    }
}

/// Keeps the first of several panics, which is the one that goes on.
pub(super) fn keep_first(first: &mut Option<Payload>, panic: Payload) {
    match first {
        Some(_) => drop_caught(panic),
        None => *first = Some(panic),
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
}
