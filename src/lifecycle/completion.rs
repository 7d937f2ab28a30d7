//! What `Closing` and `Flushing` are made of: an outcome that is told once and to everybody.
//!
//! Completions form a graph: a queue's close awaits its downstream's, a broadcaster's awaits those of all
//! its sinks. The graph says who has to be aborted, and whether a thread is about to wait for itself:
//! every completion names the scopes (see `Scope`) that must be left before it can be told, and a thread
//! inside one of them must not wait for it nor for anything that awaits it.
//!
//! # Why no wake-up is lost and no wait is endless
//!
//! - An outcome is set under the lock that a waiter holds when it looks, and `changed` is notified after.
//! - A waiter inside a scope walks the graph without its own lock, so that an edge may be added while it
//!   walks. `link` adds the edge first and then counts `nudges` up, at every completion that it may
//!   concern. The waiter reads `nudges` before it walks and sleeps only if it has not moved since.
//! - Edges never form a cycle: `link` refuses one that would, under one lock for all edges. Two queues that
//!   drain into each other are each through when the rest is.
//! - Callbacks run, and what the graph held is dropped, without any lock held. One callback tells the next
//!   completion, and so on upwards; where that goes deep, the rest waits until the stack is short again.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::thread::{self, ThreadId};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

#[cfg(feature = "futures")]
use super::task::{Sleepers, Task};
use crate::sync::caught::drop_caught;
use crate::sync::scope::Scope;

pub(crate) type Outcome<X> = Result<(), X>;

/// What the two lifecycle errors have in common.
pub(crate) trait LifecycleError: Clone + Send + Sync + 'static {
    #[cfg(feature = "futures")]
    fn would_deadlock() -> Self;
    /// It was aborted and does not know what was left.
    fn aborted() -> Self;
    /// Several errors as one; there is at least one.
    fn join(errors: Vec<Self>) -> Self;
}

/// What ends a drain before its time.
pub(crate) trait Abort: Send + Sync {
    /// Closes what is downstream, wakes what waits, spills what is left. Waits for nothing.
    fn begin(&self);

    /// Gives what is under way until `deadline` and then tells the outcome.
    fn settle(&self, deadline: Instant);

    /// Whether the outcome is told by a call that this thread is in the middle of.
    fn tells_itself(&self) -> bool {
        false
    }

    /// Adds what the drain still has to deliver.
    fn count_left(&self, _left: &mut Left) {}
}

/// What a drain still has to deliver, in all the queues that it goes through.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) pending: u64,
    pub(crate) in_flight: u64,
    /// How many queues have something left.
    pub(crate) queues: u64,
    /// The name of the one that has the most.
    pub(crate) longest: Option<String>,
    most: u64,
    seen: Vec<Arc<dyn Node>>,
}

impl Left {
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

/// A completion of either kind, as the graph sees it.
pub(crate) trait Node: Send + Sync {
    fn is_done(&self) -> bool;
    fn scopes(&self) -> &[Scope];
    fn awaited(&self) -> Vec<Edge>;
    fn dependents(&self) -> Vec<Weak<dyn Node>>;
    fn add_dependent(&self, dependent: Weak<dyn Node>);
    fn nudge(&self);
    /// Begins an abort of this one, and not of those that it awaits.
    fn begin_abort_here(&self);
    fn settle_abort(&self, deadline: Instant);
    fn count_left(&self, left: &mut Left);
}

#[derive(Clone)]
pub(crate) struct Edge {
    to: Arc<dyn Node>,
    /// Whether an abort goes along it. It does not reach into a spill.
    aborts: bool,
}

pub(crate) struct Completion<X> {
    state: Mutex<State<X>>,
    changed: Condvar,
    scopes: Vec<Scope>,
}

type Then<X> = Box<dyn FnOnce(&Outcome<X>) + Send>;

struct State<X> {
    outcome: Option<Outcome<X>>,
    then: Vec<Then<X>>,
    awaits: Vec<Edge>,
    dependents: Vec<Weak<dyn Node>>,
    aborter: Option<Arc<dyn Abort>>,
    /// Those that are about to begin an abort.
    aborting: Vec<ThreadId>,
    nudges: u64,
    #[cfg(feature = "futures")]
    sleepers: Sleepers,
}

pub(crate) enum Waited<X> {
    Done(Outcome<X>),
    TimedOut,
    WouldDeadlock,
}

impl<X> Completion<X>
where
    X: LifecycleError,
{
    pub(crate) fn new() -> Arc<Self> {
        Self::within(Vec::new())
    }

    /// One that is told only after every thread has left `scopes`.
    pub(crate) fn within(scopes: Vec<Scope>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                outcome: None,
                then: Vec::new(),
                awaits: Vec::new(),
                dependents: Vec::new(),
                aborter: None,
                aborting: Vec::new(),
                nudges: 0,
                #[cfg(feature = "futures")]
                sleepers: Sleepers::default(),
            }),
            changed: Condvar::new(),
            scopes,
        })
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

    pub(crate) fn outcome(&self) -> Option<Outcome<X>> {
        self.state.lock().outcome.clone()
    }

    /// Tells the outcome, unless one was told before.
    pub(crate) fn complete(&self, outcome: Outcome<X>) {
        let mut state = self.state.lock();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(outcome.clone());
        let then = std::mem::take(&mut state.then);
        let awaits = std::mem::take(&mut state.awaits);
        let dependents = std::mem::take(&mut state.dependents);
        let aborter = state.aborter.take();
        #[cfg(feature = "futures")]
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        self.changed.notify_all();
        for call in then {
            let outcome = outcome.clone();
            tell(move || call(&outcome));
        }
        // An abort's hook may hold whatever its author likes.
        drop_caught((awaits, dependents, aborter));
        // Last: nothing of the drain waits for an executor.
        #[cfg(feature = "futures")]
        sleepers.wake();
    }

    /// Calls `f` with the outcome: now, if it is told already, or on the thread that tells it.
    pub(crate) fn then<F>(&self, f: F)
    where
        F: FnOnce(&Outcome<X>) + Send + 'static,
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

    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Waited<X> {
        let inside = Scope::any_is_current();
        tell_rest();
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Waited::Done(outcome.clone());
            }
            if inside {
                let nudges = state.nudges;
                drop(state);
                if would_deadlock(self) {
                    return Waited::WouldDeadlock;
                }
                state = self.state.lock();
                if state.outcome.is_some() || state.nudges != nudges {
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
    pub(crate) fn poll(
        &self,
        task: &mut Task,
        context: &std::task::Context<'_>,
    ) -> std::task::Poll<Outcome<X>> {
        use std::task::Poll;

        if Scope::any_is_current() && would_deadlock(self) {
            return Poll::Ready(self.outcome().unwrap_or_else(|| Err(X::would_deadlock())));
        }
        // The waker is in its place before the outcome is looked at: who tells it after that finds it there.
        let first = task.sleep(context.waker());
        let mut state = self.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        if let Some(slot) = first {
            state.sleepers.add(slot);
        }
        Poll::Pending
    }
}

impl<X> Node for Completion<X>
where
    X: LifecycleError,
{
    fn is_done(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    fn awaited(&self) -> Vec<Edge> {
        self.state.lock().awaits.clone()
    }

    fn dependents(&self) -> Vec<Weak<dyn Node>> {
        self.state.lock().dependents.clone()
    }

    fn add_dependent(&self, dependent: Weak<dyn Node>) {
        let mut state = self.state.lock();
        state.dependents.retain(|dependent| dependent.strong_count() > 0);
        state.dependents.push(dependent);
    }

    fn nudge(&self) {
        self.state.lock().nudges += 1;
        self.changed.notify_all();
    }

    fn begin_abort_here(&self) {
        let thread = thread::current().id();
        let mut state = self.state.lock();
        // What it ends is a user's, and may abort the same again: a sink's close, an event's destructor.
        if state.outcome.is_some() || state.aborting.contains(&thread) {
            return;
        }
        state.aborting.push(thread);
        let aborter = state.aborter.clone();
        drop(state);
        if let Some(aborter) = aborter {
            aborter.begin();
        }
        self.state.lock().aborting.retain(|other| *other != thread);
    }

    fn count_left(&self, left: &mut Left) {
        let aborter = self.state.lock().aborter.clone();
        if let Some(aborter) = aborter {
            aborter.count_left(left);
        }
        for edge in self.awaited() {
            // Two may await the same.
            if !left.seen.iter().any(|seen| Arc::ptr_eq(seen, &edge.to)) {
                left.seen.push(Arc::clone(&edge.to));
                edge.to.count_left(left);
            }
        }
    }

    fn settle_abort(&self, deadline: Instant) {
        // An edge may be added meanwhile, by a close that another thread is in the middle of beginning.
        let mut settled = 0;
        loop {
            let nudges = self.state.lock().nudges;
            let edges = self.awaited();
            for edge in edges.iter().skip(settled).filter(|edge| edge.aborts) {
                begin_abort(&*edge.to);
                edge.to.settle_abort(deadline);
            }
            settled = edges.len();
            let aborter = self.state.lock().aborter.clone();
            if let Some(aborter) = aborter {
                aborter.settle(deadline);
                if aborter.tells_itself() {
                    return;
                }
            }
            tell_rest();
            if Scope::any_is_current() && would_deadlock(self) {
                // What it would have to wait for is this very call.
                self.complete(Err(X::aborted()));
                return;
            }
            let mut state = self.state.lock();
            while state.outcome.is_none() && state.nudges == nudges {
                if self.changed.wait_until(&mut state, deadline).timed_out() {
                    drop(state);
                    self.complete(Err(X::aborted()));
                    return;
                }
            }
            if state.outcome.is_some() {
                return;
            }
        }
    }
}

type Rest = RefCell<VecDeque<Box<dyn FnOnce() + Send>>>;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static REST: Rest = const { RefCell::new(VecDeque::new()) };
}

/// What this thread has put off, and must not wait for.
fn tell_rest() {
    while let Some(f) = REST.try_with(|rest| rest.borrow_mut().pop_front()).ok().flatten() {
        f();
    }
}

/// Calls `f`: now, or if this thread is deep in others, when it is out of them or is about to wait.
fn tell(f: impl FnOnce() + Send + 'static) {
    const DEEP: usize = 64;

    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    if depth == DEEP {
        let mut f: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(f));
        let later = REST.try_with(|rest| rest.borrow_mut().extend(f.take()));
        if later.is_err() {
            // The thread is being torn down.
            f.into_iter().for_each(|f| f());
        }
        return;
    }
    let _ = DEPTH.try_with(|deep| deep.set(depth + 1));
    f();
    if depth == 0 {
        tell_rest();
    }
    let _ = DEPTH.try_with(|deep| deep.set(depth));
}

/// Adds that `from` awaits `to`. Answers `false`, and adds nothing, if `to` awaits `from`.
pub(crate) fn link(from: &Arc<dyn Node>, to: Arc<dyn Node>, aborts: bool, add: impl FnOnce(Edge)) -> bool {
    static EDGES: Mutex<()> = Mutex::new(());

    let edges = EDGES.lock();
    if reaches(&to, from) {
        return false;
    }
    to.add_dependent(Arc::downgrade(from));
    add(Edge { to, aborts });
    drop(edges);
    nudge_upwards(&**from);
    true
}

impl<X> Completion<X>
where
    X: LifecycleError,
{
    /// Adds that `self`, which was just made and which nothing awaits, awaits `to`. That cannot close a ring, nor
    /// is there anybody to be told of the edge.
    pub(crate) fn await_first(self: &Arc<Self>, to: &Arc<dyn Node>) {
        let from: Arc<dyn Node> = self.clone();
        to.add_dependent(Arc::downgrade(&from));
        self.state.lock().awaits.push(Edge { to: Arc::clone(to), aborts: true });
    }

    /// Adds that `self` awaits `to`: see [`link`].
    pub(crate) fn await_on(self: &Arc<Self>, to: Arc<dyn Node>, aborts: bool) -> bool {
        let from: Arc<dyn Node> = self.clone();
        link(&from, to, aborts, |edge| {
            let mut state = self.state.lock();
            if state.outcome.is_none() {
                state.awaits.push(edge);
            }
        })
    }
}

/// Visits what `node` awaits, each once, as long as `visit` goes on, which says whether to look behind it.
fn visit_awaited(node: &dyn Node, mut visit: impl FnMut(&Edge) -> ControlFlow<(), bool>) -> ControlFlow<()> {
    let mut seen = HashSet::new();
    let mut rest = node.awaited();
    while let Some(edge) = rest.pop() {
        if seen.insert(Arc::as_ptr(&edge.to).cast::<()>()) && visit(&edge)? {
            rest.append(&mut edge.to.awaited());
        }
    }
    ControlFlow::Continue(())
}

fn reaches(from: &Arc<dyn Node>, to: &Arc<dyn Node>) -> bool {
    let is_it = |node: &Arc<dyn Node>| std::ptr::addr_eq(Arc::as_ptr(node), Arc::as_ptr(to));
    let look = |edge: &Edge| match is_it(&edge.to) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(true),
    };
    is_it(from) || visit_awaited(&**from, look).is_break()
}

fn would_deadlock(node: &dyn Node) -> bool {
    let is_inside = |node: &dyn Node| node.scopes().iter().any(|scope| scope.is_current());
    let look = |edge: &Edge| match (edge.to.is_done(), is_inside(&*edge.to)) {
        (false, true) => ControlFlow::Break(()),
        (is_done, _) => ControlFlow::Continue(!is_done),
    };
    !node.is_done() && (is_inside(node) || visit_awaited(node, look).is_break())
}

/// Begins an abort of `node` and of what it awaits, from above to below.
pub(crate) fn begin_abort(node: &dyn Node) {
    node.begin_abort_here();
    let mut seen = HashSet::new();
    let mut rest = node.awaited();
    while let Some(edge) = rest.pop() {
        if edge.aborts && seen.insert(Arc::as_ptr(&edge.to).cast::<()>()) {
            edge.to.begin_abort_here();
            // Looked up after that, which may add to it.
            rest.append(&mut edge.to.awaited());
        }
    }
}

fn nudge_upwards(node: &dyn Node) {
    node.nudge();
    let mut seen = HashSet::new();
    let mut rest = node.dependents();
    while let Some(dependent) = rest.pop() {
        if let Some(dependent) = dependent.upgrade() {
            if seen.insert(Arc::as_ptr(&dependent).cast::<()>()) {
                dependent.nudge();
                rest.append(&mut dependent.dependents());
            }
        }
    }
}
