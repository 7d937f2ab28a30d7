//! What `Closing` and `Flushing` are made of: an outcome that is set once and that every waiter gets.
//!
//! Completions form a graph: a queue's close awaits its downstream's, a broadcaster's those of all its sinks. A
//! completion holds what it awaits; what it awaits knows it by a `Weak` and so keeps nothing alive that nobody looks
//! at any more. The walks through the graph are in [`graph`](super::graph).
//!
//! # Why no wake-up is lost
//!
//! - An outcome is set under the lock under which a waiter looks for it, and `changed` is notified after.
//! - A completion that is made of others is [checked](Completion::check) after it has registered with all of them,
//!   and once more by each of them after that one's outcome is set. The last of these checks finds all of them done.
//! - A waiter inside a scope walks the graph without its own lock, so that an edge may be added meanwhile. It counts
//!   itself in `SCOPED_WAITERS` before it walks and reads `notified` before that; whoever adds an edge does that first,
//!   then looks at `SCOPED_WAITERS`, and if there is one counts `notified` up wherever the edge may matter. Locks order
//!   the four: either the walk sees the edge, or the waiter's own count is seen and it walks again.
//!
//! # Locks
//!
//! A completion's lock may be taken while that of one that awaits it is held, never the other way round; edges never
//! form a ring (see [`link`](super::graph::link)). No user's code runs under a lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::deferred;
use super::error::CloseError;
use super::graph::{self, Remaining};
use super::maybe_done::MaybeDone;
#[cfg(feature = "futures")]
use super::task::{Sleepers, Task};
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

pub(crate) struct Completion {
    state: Mutex<State>,
    changed: Condvar,
    /// What every thread must have left before this can complete: see `Scope`.
    pub(super) scopes: Vec<Scope>,
}

#[derive(Clone)]
pub(crate) struct Edge {
    pub(super) to: Arc<Completion>,
    /// Whether an abort goes along it. It does not reach into a spill.
    pub(super) aborts: bool,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    gather: Option<Gather>,
    then: Vec<Then>,
    awaits: Vec<Edge>,
    dependents: Vec<Weak<Completion>>,
    /// How many dependents there may be before those that are gone are removed.
    prune_at: usize,
    aborter: Option<Arc<dyn Abort>>,
    /// The threads that are in the aborter's `begin`.
    aborting: Vec<ThreadId>,
    notified: u64,
    #[cfg(feature = "futures")]
    sleepers: Sleepers,
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

pub(crate) enum Waited {
    Done(Outcome),
    TimedOut,
    WouldDeadlock,
}

/// How many threads wait for a completion from within a scope.
static SCOPED_WAITERS: AtomicUsize = AtomicUsize::new(0);

/// What is left to do when an outcome is set: by a loop, so that a long chain does not recurse.
#[derive(Default)]
struct Consequences {
    ready: Vec<(Arc<Completion>, Outcome)>,
    #[cfg(feature = "futures")]
    sleepers: Vec<Sleepers>,
}

impl Completion {
    pub(crate) fn new() -> Arc<Self> {
        Self::within(Vec::new())
    }

    /// One that completes only after every thread has left `scopes`.
    pub(crate) fn within(scopes: Vec<Scope>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), scopes })
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
            state.gather = Some(gather);
        }
        completion.check();
        completion
    }

    /// Completes with what `gather` makes of its parts; for one that has edges to those that are pending.
    pub(super) fn gather(&self, gather: Gather) {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.gather = Some(gather);
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

    pub(crate) fn wait(self: &Arc<Self>, deadline: Option<Instant>) -> Waited {
        deferred::run_all();
        let scoped = Scope::any_is_current().then(ScopedWaiter::new);
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Waited::Done(outcome.clone());
            }
            if scoped.is_some() {
                let notified = state.notified;
                drop(state);
                if graph::would_deadlock(self) {
                    return Waited::WouldDeadlock;
                }
                state = self.state.lock();
                if state.outcome.is_some() || state.notified != notified {
                    continue;
                }
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    let timed_out = self.changed.wait_until(&mut state, deadline).timed_out();
                    if timed_out && state.outcome.is_none() {
                        return Waited::TimedOut;
                    }
                }
            }
        }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn poll(&self, task: &mut Task, context: &std::task::Context<'_>) -> std::task::Poll<Outcome> {
        use std::task::Poll;

        deferred::run_all();
        if let Some(outcome) = self.outcome() {
            task.forget();
            return Poll::Ready(outcome);
        }
        // The waker is in its place before the outcome is looked at again: a thread that sets it after that finds it.
        let first = task.sleep(context.waker());
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome.clone() {
            drop(state);
            task.forget();
            return Poll::Ready(outcome);
        }
        if let Some(slot) = first {
            state.sleepers.add(slot);
        }
        Poll::Pending
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

    /// Whether a new edge has to be made known to waiters.
    pub(super) fn has_scoped_waiters() -> bool {
        SCOPED_WAITERS.load(Ordering::SeqCst) > 0
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

    /// Waits until `deadline` for an outcome, and then sets one. `false` if it awaits more than `known` meanwhile.
    pub(super) fn settle_abort(self: &Arc<Self>, known: usize, deadline: Instant) -> bool {
        let state = self.state.lock();
        // In the aborter, further up this thread's stack, which will complete.
        let is_under_way_here = state.aborting.contains(&thread::current().id());
        let aborter = state.aborter.clone();
        drop(state);
        if is_under_way_here {
            return true;
        }
        if let Some(aborter) = aborter {
            aborter.settle(deadline);
            if aborter.is_under_way_here() {
                return true;
            }
        }
        deferred::run_all();
        if Scope::any_is_current() && graph::would_deadlock(self) {
            // What it would have to wait for is this very call.
            self.complete(Err(CloseError::Aborted));
            return true;
        }
        let mut state = self.state.lock();
        loop {
            if state.outcome.is_some() {
                return true;
            }
            if state.awaits.len() > known {
                return false;
            }
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                drop(state);
                self.complete(Err(CloseError::Aborted));
                return true;
            }
        }
    }

    pub(super) fn count_remaining(&self, remaining: &mut Remaining) {
        let aborter = self.state.lock().aborter.clone();
        if let Some(aborter) = aborter {
            aborter.count_remaining(remaining);
        }
    }
}

impl Drop for Completion {
    /// Lets go of a long chain of completions without recursion.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let mut rest = std::mem::take(&mut state.awaits);
        let parts = state.gather.take().map(|gather| gather.parts);
        while let Some(edge) = rest.pop() {
            if let Some(mut completion) = Arc::into_inner(edge.to) {
                rest.append(&mut completion.state.get_mut().awaits);
            }
        }
        drop(parts);
    }
}

struct ScopedWaiter;

impl ScopedWaiter {
    fn new() -> Self {
        SCOPED_WAITERS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for ScopedWaiter {
    fn drop(&mut self) {
        SCOPED_WAITERS.fetch_sub(1, Ordering::SeqCst);
    }
}
