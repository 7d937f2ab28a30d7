//! What `Closing` and `Flushing` are made of: an outcome that is set once and that every waiter gets.
//!
//! Completions form a graph: a queue's close awaits its downstream's, a broadcaster's those of all its sinks. A
//! completion holds what it awaits; what it awaits knows it by a `Weak` and so keeps nothing alive that is looked at no more. The walks through the graph are in [`graph`](super::graph).
//!
//! # Why no wake-up is lost
//!
//! - An outcome is set under the lock under which a waiter looks for it, and `changed` is notified after.
//! - A completion that is made of others is [checked](Completion::check) after it has registered with all of them,
//!   and once more by each of them after that one's outcome is set. The last of these checks finds all of them done.
//! - How a waiter inside a scope learns of a new edge is in [`wait`](super::wait).
//!
//! # Locks
//!
//! A completion's lock may be taken while that of one that awaits it is held, never the other way round; edges never
//! form a ring (see [`link`](super::graph::link)). No user's code runs under a lock.

use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::deferred;
use super::error::CloseError;
#[cfg(feature = "futures")]
use super::task::Sleepers;
use crate::sync::caught::drop_caught;
use crate::sync::scope::Scope;

pub(crate) type Outcome = Result<(), CloseError>;

/// What ends a drain before its time.
pub(crate) trait Abort: Send + Sync {
    /// Closes what is downstream, wakes what waits, sheds what is left. Waits for nothing.
    fn begin(&self);

    /// Gives what is under way until `deadline`, and then completes.
    fn settle(&self, _deadline: Instant) {}

    /// Whether a call that this thread is in the middle of will complete.
    fn is_under_way_here(&self) -> bool {
        false
    }

    /// Adds what the drain still has to deliver.
    fn count_remaining(&self, _remaining: &mut Remaining) {}
}

/// An outcome that is known, or a completion that will have it: what is inside `Closing` and `Flushing`.
#[derive(Clone)]
pub(crate) enum MaybeDone {
    Done(Outcome),
    Pending(Arc<Completion>),
}

impl MaybeDone {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Done(outcome) => Some(outcome.clone()),
            Self::Pending(completion) => completion.outcome(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Done(_) => true,
            Self::Pending(completion) => completion.is_done(),
        }
    }
}

pub(crate) struct Completion {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    /// What every thread must have left before this can complete: see `Scope`.
    pub(super) scopes: [Option<Scope>; 3],
}

#[derive(Clone)]
pub(crate) struct Edge {
    pub(super) to: Arc<Completion>,
    /// Whether an abort goes along it. It does not reach into a spill.
    pub(super) aborts: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) outcome: Option<Outcome>,
    gather: Option<Box<Gather>>,
    then: Vec<Then>,
    pub(super) awaits: Vec<Edge>,
    dependents: Vec<Weak<Completion>>,
    /// How many dependents there may be before those that are gone are removed.
    prune_at: usize,
    pub(super) aborter: Option<Arc<dyn Abort>>,
    /// The threads that are in the aborter's `begin`.
    pub(super) aborting: Vec<ThreadId>,
    pub(super) notified: u64,
    #[cfg(feature = "futures")]
    pub(super) sleepers: Sleepers,
}

type Then = Box<dyn FnOnce(&Outcome) + Send>;

/// The parts whose outcomes together make this one's.
pub(super) struct Gather {
    pub(super) parts: Vec<MaybeDone>,
    /// Those before this one are done.
    pub(super) next: usize,
    /// Gets the outcomes in the order of the parts.
    pub(super) finish: Box<dyn FnOnce(Vec<Outcome>) -> Outcome + Send>,
}

/// What is left to do when an outcome is set: by a loop, so that a long chain does not recurse.
#[derive(Default)]
struct Consequences {
    ready: Vec<(Arc<Completion>, Outcome)>,
    #[cfg(feature = "futures")]
    sleepers: Vec<Sleepers>,
}

impl Completion {
    pub(crate) fn new() -> Arc<Self> {
        Self::within([])
    }

    /// One that completes only after every thread has left `scopes`, of which there are three at most.
    pub(crate) fn within(scopes: impl IntoIterator<Item = Scope>) -> Arc<Self> {
        let mut scopes = scopes.into_iter();
        let within = std::array::from_fn(|_| scopes.next());
        debug_assert!(scopes.next().is_none(), "too many scopes");
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), scopes: within })
    }

    /// One that completes with what `gather` makes of its parts, of which at least one is pending.
    pub(super) fn gathering(gather: Gather, aborts: bool) -> Arc<Self> {
        let completion = Self::new();
        let pending = gather.parts.iter().filter_map(|part| match part {
            MaybeDone::Pending(to) => Some(Edge { to: Arc::clone(to), aborts }),
            MaybeDone::Done(_) => None,
        });
        // Nothing awaits it yet, so that no edge can close a ring.
        let awaits: Vec<Edge> = pending.collect();
        for edge in &awaits {
            edge.to.add_dependent(&completion);
        }
        {
            let mut state = completion.state.lock();
            state.awaits = awaits;
            state.gather = Some(Box::new(gather));
        }
        completion.check();
        completion
    }

    /// Completes with what `gather` makes of its parts; for one that has edges to those that are pending.
    pub(super) fn gather(&self, gather: Gather) {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.gather = Some(Box::new(gather));
            drop(state);
            self.check();
        }
    }

    pub(crate) fn set_aborter(&self, aborter: Arc<dyn Abort>) {
        let mut state = self.state.lock();
        let unused = match state.outcome {
            None => state.aborter.replace(aborter),
            Some(_) => Some(aborter),
        };
        drop(state);
        // It may be a user's hook, with whatever that holds.
        drop_caught(unused);
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.lock().outcome.clone()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// Sets the outcome, unless it is set.
    pub(crate) fn complete(&self, outcome: Outcome) {
        let mut consequences = Consequences::default();
        self.set(outcome, &mut consequences);
        while let Some((completion, outcome)) = consequences.ready.pop() {
            completion.set(outcome, &mut consequences);
        }
        // Last: nothing of the drain waits for an executor.
        #[cfg(feature = "futures")]
        consequences.sleepers.into_iter().for_each(Sleepers::wake);
    }

    fn set(&self, outcome: Outcome, consequences: &mut Consequences) {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            drop(state);
            return;
        }
        state.outcome = Some(outcome.clone());
        let done = State { outcome: state.outcome.clone(), ..State::default() };
        let before = std::mem::replace(&mut *state, done);
        drop(state);
        self.changed.notify_all();
        for dependent in before.dependents.iter().filter_map(Weak::upgrade) {
            if let Some(outcome) = dependent.gathered() {
                consequences.ready.push((dependent, outcome));
            }
        }
        for call in before.then {
            let outcome = outcome.clone();
            deferred::run(move || call(&outcome));
        }
        #[cfg(feature = "futures")]
        consequences.sleepers.push(before.sleepers);
        // An abort's hook may hold whatever its author likes.
        drop_caught((before.gather, before.awaits, before.aborter));
    }

    /// Completes if all its parts are done.
    fn check(&self) {
        if let Some(outcome) = self.gathered() {
            self.complete(outcome);
        }
    }

    fn gathered(&self) -> Option<Outcome> {
        let mut state = self.state.lock();
        let gather = state.gather.as_mut()?;
        while gather.parts.get(gather.next).is_some_and(MaybeDone::is_done) {
            gather.next += 1;
        }
        if gather.next < gather.parts.len() {
            return None;
        }
        let gather = state.gather.take()?;
        drop(state);
        Some((gather.finish)(gather.parts.iter().filter_map(MaybeDone::outcome).collect()))
    }

    /// Calls `f` with the outcome: now if it is set, else on the thread that sets it, after what it is doing then.
    pub(crate) fn then<F>(&self, f: F)
    where
        F: FnOnce(&Outcome) + Send + 'static,
    {
        let mut state = self.state.lock();
        match state.outcome.clone() {
            None => state.then.push(Box::new(f)),
            Some(outcome) => {
                drop(state);
                f(&outcome);
            }
        }
    }
}

/// What the walks through the graph do to one completion.
impl Completion {
    pub(super) fn awaited(&self) -> Vec<Edge> {
        self.state.lock().awaits.clone()
    }

    pub(super) fn dependents(&self) -> Vec<Arc<Completion>> {
        self.state.lock().dependents.iter().filter_map(Weak::upgrade).collect()
    }

    /// Has `dependent` checked when this one completes; nothing to do if it has.
    pub(super) fn add_dependent(&self, dependent: &Arc<Completion>) {
        const FEW: usize = 8;

        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return;
        }
        if state.dependents.len() >= state.prune_at.max(FEW) {
            state.dependents.retain(|dependent| dependent.strong_count() > 0);
            state.prune_at = 2 * state.dependents.len();
        }
        state.dependents.push(Arc::downgrade(dependent));
    }

    pub(super) fn add_edge(&self, edge: Edge) {
        let mut state = self.state.lock();
        let unused = match state.outcome {
            None => {
                state.awaits.push(edge);
                None
            }
            Some(_) => Some(edge),
        };
        drop(state);
        drop(unused);
        // An abort may be waiting for this one to complete, or to await more.
        self.changed.notify_all();
    }

    pub(super) fn notify(&self) {
        self.state.lock().notified += 1;
        self.changed.notify_all();
    }

    /// Begins an abort of this one, and not of those that it awaits.
    pub(super) fn begin_abort(&self) {
        let thread = thread::current().id();
        let mut state = self.state.lock();
        // What it ends is a user's, and may abort the same again: a sink's close, an event's destructor.
        if state.outcome.is_some() || state.aborting.contains(&thread) {
            return;
        }
        let Some(aborter) = state.aborter.clone() else {
            return;
        };
        state.aborting.push(thread);
        drop(state);
        aborter.begin();
        self.state.lock().aborting.retain(|other| *other != thread);
    }

    pub(super) fn count_remaining(&self, remaining: &mut Remaining) {
        let aborter = self.state.lock().aborter.clone();
        if let Some(aborter) = aborter {
            aborter.count_remaining(remaining);
        }
    }
}

impl State {
    /// Takes out the completions that this one keeps alive.
    fn take_kept(&mut self, kept: &mut Vec<Arc<Completion>>) {
        kept.extend(self.awaits.drain(..).map(|edge| edge.to));
        if let Some(gather) = &mut self.gather {
            kept.extend(gather.parts.drain(..).filter_map(|part| match part {
                MaybeDone::Pending(completion) => Some(completion),
                MaybeDone::Done(_) => None,
            }));
        }
    }
}

impl Drop for Completion {
    /// Releases a long chain of completions without recursion.
    fn drop(&mut self) {
        let mut kept = Vec::new();
        self.state.get_mut().take_kept(&mut kept);
        while let Some(completion) = kept.pop() {
            if let Some(mut completion) = Arc::into_inner(completion) {
                completion.state.get_mut().take_kept(&mut kept);
            }
        }
    }
}

/// What a drain still has to deliver, in all the queues on its way.
#[derive(Default)]
pub(crate) struct Remaining {
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    /// How many queues have something left.
    pub(crate) queues: u64,
    /// The name of the one that has the most.
    pub(crate) longest: Option<String>,
    most: u64,
}

impl Remaining {
    pub(crate) fn add(&mut self, queue: Option<&str>, pending: u64, in_flight: u64) {
        let left = pending + in_flight;
        if left == 0 {
            return;
        }
        self.pending += pending;
        self.in_flight += in_flight;
        self.queues += 1;
        if left > self.most {
            self.most = left;
            self.longest = queue.map(str::to_owned);
        }
    }
}
