//! The log itself: how events go in, how readers wait for them, and how it closes.
//!
//! # Why nothing is lost, read twice or read too late
//!
//! Events are appended under one lock, in the order of their numbers, to the open segment. Sealing, under the
//! same lock, moves that vector into the chain as a whole. A reader walks the chain and nothing else, so it sees
//! each event once and in order; it takes the lock only at the open end.
//!
//! `head`, the number of the next event, is stored under the lock and may be read without it: a reader that finds
//! itself at `head` has read everything that was appended before it looked. `closed` is set under the lock too. A
//! reader that finds it set, and after that finds itself at `head`, is at the end, since `head` moves no more. And
//! `close` takes the lock after every write that was accepted: when it has returned, every later write sees it.
//!
//! # Why no code of a user's runs under the lock
//!
//! What is released under the lock is dropped after it is released, and the closure of a snapshot runs without
//! it: while one runs, `limit` is 0 and writes wait on `room`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use std::vec;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::bound::{Bound, LagGate};
use super::error::StartError;
use super::options::Start;
use super::register::{Register, outcome_of_log};
use super::remote::Remote;
use super::segment::{Alive, DropLater, Events, Node, Segment};
use super::seq::Seq;
use super::state::State;
use super::stats::Held;
use super::wake::Wake;
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{Closing, MaybeDone};
use crate::sync::blocking::blocking;
use crate::sync::scope::Scope;

/// How often a reader that has nothing to read yields before it sleeps: see the page on fan-out for what
/// was measured.
const YIELDS: usize = 16;

/// How often it spins before each look. Every look takes the writers' cache line away from them.
const SPINS: usize = 16;

/// How often a reader that wants to seal tries for the lock before it waits for it.
const TRIES: usize = 16;

pub(super) struct Shared<E> {
    pub(super) state: Mutex<State<E>>,
    /// The number of the next event. Stored under the lock, with release, so that a thread that acquires it finds
    /// the event before.
    head: AtomicU64,
    closed: AtomicBool,
    /// How many writes wait on `room`, or are about to.
    waiting: AtomicUsize,
    /// Where writes wait for a reader to come closer, or for a snapshot to end.
    pub(super) room: Condvar,
    /// Where snapshots wait for the writes that others have held back.
    pub(super) turn: Condvar,
    wake: Wake,
    alive: Arc<Alive>,
    /// The length of the last segment that a reader sealed: the next is likely to be alike. Relaxed, a guess.
    last_len: AtomicUsize,
    /// Entered by a thread while it is in the closure of a snapshot.
    pub(super) snapshot: Scope,
    /// Entered by the workers of followers.
    pub(super) workers: Scope,
    pub(super) register: Register,
    pub(super) completion: Arc<Completion>,
}

impl<E> Shared<E> {
    pub(super) fn new(retain: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(retain)),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            room: Condvar::new(),
            turn: Condvar::new(),
            wake: Wake::default(),
            alive: Arc::default(),
            last_len: AtomicUsize::new(0),
            snapshot: Scope::new(),
            workers: Scope::new(),
            register: Register::default(),
            completion: Completion::new(),
        })
    }

    #[inline]
    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn held(&self) -> Held {
        let state = self.state.lock();
        let open = state.open.0.len() as u64;
        Held {
            events: self.alive.events.load(Ordering::Relaxed) + open,
            segments: self.alive.segments.load(Ordering::Relaxed) + u64::from(open > 0),
        }
    }

    pub(super) fn unheard(&self) -> u64 {
        self.state.lock().unheard
    }

    pub(super) fn oldest(&self) -> Seq {
        self.state.lock().oldest_held()
    }
}

/// Writing.
impl<E> Shared<E> {
    #[inline]
    pub(super) fn append(&self, event: E) -> Result<Seq, E> {
        let mut state = self.state.lock();
        if state.head >= state.limit && !self.wait_for_room(&mut state) {
            return Err(event);
        }
        let seq = state.head;
        state.head += 1;
        self.head.store(state.head, Ordering::Release);
        if state.open.0.len() >= state.capacity {
            return self.append_to_another(state, event, seq);
        }
        state.open.0.push(event);
        let ended = state.sleepers.end();
        drop(state);
        if let Some(ended) = ended {
            self.wake.publish(ended);
        }
        Ok(seq)
    }

    /// The open segment is full, or there is no reader that could read it.
    #[cold]
    fn append_to_another(&self, mut state: MutexGuard<'_, State<E>>, event: E, seq: Seq) -> Result<Seq, E> {
        if state.capacity == 0 {
            state.unheard += 1;
            drop(state);
            drop(event);
            return Ok(seq);
        }
        let spare = Vec::with_capacity(state.capacity);
        let passed = state.seal(spare, seq, &self.alive);
        state.open.0.push(event);
        let ended = state.sleepers.end();
        drop(state);
        if let Some(ended) = ended {
            self.wake.publish(ended);
        }
        drop(passed);
        Ok(seq)
    }

    /// Appends the events of `run` and returns the numbers from the first to behind the last. They are in a row, but
    /// where it waits for room and where there are more than a segment has.
    pub(super) fn append_run(&self, run: &mut vec::IntoIter<E>) -> Result<Range<Seq>, E> {
        let mut numbers = None;
        while run.len() > 0 {
            let Some(some) = self.append_some(run) else {
                return run.next().map_or_else(|| unreachable!("it is not empty"), Err);
            };
            numbers = Some(numbers.map_or(some.start, |numbers: Range<Seq>| numbers.start)..some.end);
        }
        Ok(numbers.unwrap_or_else(|| self.head()..self.head()))
    }

    /// Appends as many as there is room for, of a run that is not empty; `None` if the log is closed. As `append`, it
    /// wakes the readers before it returns, so that none sleeps while the next call waits for it to come closer.
    fn append_some(&self, run: &mut vec::IntoIter<E>) -> Option<Range<Seq>> {
        let mut state = self.state.lock();
        if state.head >= state.limit && !self.wait_for_room(&mut state) {
            return None;
        }
        let most = run.len().min(State::<E>::MAX_SEGMENT);
        let count = match state.limit.saturating_sub(state.head) {
            // A follower's own write, for which there is no limit.
            0 => most,
            room => usize::try_from(room).map_or(most, |room| room.min(most)),
        };
        let numbers = state.head..state.head + count as u64;
        state.head = numbers.end;
        // Before a segment is sealed, where a reader could find its events. A reader that finds the number first takes
        // the lock for the events.
        self.head.store(state.head, Ordering::Release);
        let mut later = DropLater::default();
        if state.capacity == 0 {
            state.unheard += count as u64;
            drop(state);
            drop(Events(run.by_ref().take(count).collect()));
            return Some(numbers);
        }
        state.push_run(run, count, &self.alive, &mut later);
        let ended = state.sleepers.end();
        drop(state);
        if let Some(ended) = ended {
            self.wake.publish(ended);
        }
        Some(numbers)
    }

    /// Waits until a write may go in; `false` if the log is closed.
    #[cold]
    fn wait_for_room(&self, state: &mut MutexGuard<'_, State<E>>) -> bool {
        // A reader stores its position and then looks whether a write waits; a write counts itself and then looks
        // at the positions; all of it sequentially consistent. So one of the two sees the other. The reader takes
        // the lock before it notifies, and so cannot notify before this thread sleeps.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut held_back = false;
        let admitted = loop {
            if state.closed {
                break false;
            }
            if state.snapshots == 0 {
                if std::mem::take(&mut held_back) {
                    self.go_on(state);
                }
                state.set_limit();
                // A follower's own writes do not wait for a reader: it could be the follower itself.
                if state.head < state.limit || self.workers.is_current() {
                    break true;
                }
            } else if self.snapshot.is_current() {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                // Unlocks, and leaves the log as it was.
                panic!(
                    "a write to a log from within a snapshot of it, which holds writes back: \
                     write before `subscribe_with_snapshot` or after it"
                );
            } else if !held_back {
                held_back = true;
                state.held_back += 1;
            }
            blocking(|| self.room.wait(state));
        };
        if held_back {
            self.go_on(state);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        admitted
    }

    /// A write that a snapshot has held back goes on. The next snapshots wait for the last of them.
    fn go_on(&self, state: &mut State<E>) {
        state.held_back -= 1;
        if state.held_back == 0 {
            self.turn.notify_all();
        }
    }

    /// A reader for which writers wait has come to `position`.
    #[inline]
    pub(super) fn moved(&self, gate: &LagGate, position: u64) {
        gate.move_to(position);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify_writers();
        }
    }

    /// Writers wait no longer for the reader that has this bound.
    pub(super) fn open_gate(&self, bound: &Bound) {
        if let Bound::Block(gate) = bound {
            gate.open();
            self.notify_writers();
        }
    }

    #[cold]
    fn notify_writers(&self) {
        drop(self.state.lock());
        self.room.notify_all();
    }
}

/// Reading.
impl<E> Shared<E> {
    /// Registers a reader and returns where it begins.
    pub(super) fn join(&self, start: Start, bound: &Bound) -> Result<(Arc<Node<E>>, u64), StartError> {
        let mut state = self.state.lock();
        let oldest = state.oldest_held();
        let position = match start {
            Start::Now => state.head,
            Start::Oldest => oldest,
            Start::At(seq) if seq < oldest => return Err(StartError::NotHeld { seq, oldest }),
            Start::At(seq) if seq > state.head => return Err(StartError::Ahead { seq, next: state.head }),
            Start::At(seq) => seq,
        };
        let from = state.join_at(position, bound);
        drop(state);
        let node = from.find(position).unwrap_or(from);
        Ok((node, position))
    }

    /// Unregisters a reader. When the last one goes, the events that it alone kept go too.
    pub(super) fn leave(&self, bound: &Bound) {
        let mut state = self.state.lock();
        state.leave(bound);
        if let Bound::Block(_) = bound {
            self.room.notify_all();
        }
        self.trim(state);
    }

    /// Of a closed log that has no handle any more: keeps nothing for readers that are yet to come, since there are none.
    pub(super) fn retain_nothing(&self) {
        let mut state = self.state.lock();
        state.retain = 0;
        state.set_capacity();
        // So that the readers that are left release it when they have read it.
        let head = state.head;
        let passed = (!state.open.0.is_empty()).then(|| state.seal(Vec::new(), head, &self.alive));
        self.trim(state);
        drop(passed);
    }

    /// Drops what the log need not hold, without the lock, and takes that for a moment at a time.
    fn trim<'a>(&'a self, mut state: MutexGuard<'a, State<E>>) {
        let unread = (state.capacity == 0 && !state.open.0.is_empty())
            .then(|| Segment::new(std::mem::replace(&mut state.open, Events(Vec::new())), &self.alive));
        loop {
            let (passed, more) = state.let_go();
            drop(state);
            drop(passed);
            if !more {
                break;
            }
            state = self.state.lock();
        }
        drop(unread);
    }

    /// Seals `node`, at which a reader stands that knows of an event behind it, unless another has.
    pub(super) fn seal(&self, node: &Node<E>, later: &mut DropLater<E>) {
        // Made without the lock.
        let spare = Vec::with_capacity(self.last_len.load(Ordering::Relaxed));
        let mut tries = 0;
        let mut state = loop {
            if node.sealed().is_some() {
                return;
            }
            tries += 1;
            if tries > TRIES {
                break self.state.lock();
            }
            // A writer has it, or a reader that is about to seal. To sleep for that is not worth it.
            match self.state.try_lock() {
                Some(state) => break state,
                None => spin(SPINS),
            }
        };
        if node.sealed().is_none() && !state.open.0.is_empty() {
            let head = state.head;
            self.last_len.store(state.open.0.len(), Ordering::Relaxed);
            let old = state.seal(spare, head, &self.alive);
            drop(state);
            later.push(old.0);
            later.push(old.1);
        }
    }

    /// The node in which `position` is, if the log itself holds it.
    pub(super) fn find(&self, position: u64, later: &mut DropLater<E>) -> Option<Arc<Node<E>>> {
        let oldest = Arc::clone(&self.state.lock().oldest);
        let found = oldest.find(position);
        later.push(oldest);
        found
    }

    /// The number of the next event, exactly.
    pub(super) fn exact_head(&self) -> u64 {
        self.state.lock().head
    }

    /// Whether a reader that has read everything before `position` has nothing to do.
    fn is_idle(&self, position: u64, interrupted: impl Fn() -> bool) -> bool {
        self.head() == position && !self.is_closed() && !interrupted()
    }

    /// Gives writers a moment. Whether there is something to do by then.
    pub(super) fn spin(&self, position: u64, interrupted: impl Fn() -> bool) -> bool {
        (0..YIELDS).any(|_| {
            spin(SPINS);
            std::thread::yield_now();
            !self.is_idle(position, &interrupted)
        })
    }

    /// Waits until there is something behind `position`, the log is closed or `interrupted` returns `true`; `false`
    /// if `deadline` came first. May return early.
    pub(super) fn park(
        &self,
        position: u64,
        deadline: Option<Instant>,
        interrupted: impl Fn() -> bool,
    ) -> bool {
        if self.spin(position, &interrupted) {
            return true;
        }
        let mut state = self.state.lock();
        // What interrupts has done so before it takes the lock to wake, or does so under it: see `interrupt`.
        if !self.is_idle(position, &interrupted) {
            return true;
        }
        let generation = state.sleepers.add();
        drop(state);
        if self.wake.sleep(generation, deadline) {
            return true;
        }
        self.state.lock().sleepers.remove(generation);
        false
    }

    /// Has a task, which has left its waker there, woken when there is something behind `position`, the log is closed
    /// or `interrupted` returns `true`; `false` if that is so already.
    pub(super) fn park_task(
        &self,
        task: &Arc<Remote>,
        position: u64,
        interrupted: impl Fn() -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        let idle = self.is_idle(position, interrupted);
        if idle {
            state.sleepers.add_task(task);
        }
        idle
    }

    /// Has a task woken no more, whose reader is gone.
    pub(super) fn forget_task(&self, task: Arc<Remote>) {
        task.clear_waker();
        self.state.lock().sleepers.remove_task(task);
    }

    /// Wakes all readers, for one of which there is news: what `f` sets, which gets the number of the next event and
    /// runs while none is appended.
    pub(super) fn interrupt(&self, f: impl FnOnce(u64)) {
        let mut state = self.state.lock();
        f(state.head);
        let ended = state.sleepers.end();
        drop(state);
        if let Some(ended) = ended {
            self.wake.publish(ended);
        }
    }
}

/// Closing.
impl<E> Shared<E> {
    pub(super) fn closing(&self) -> Closing {
        Closing::pending_on(&self.completion)
    }

    /// Refuses writes, wakes everything that waits, and completes when every follower has ended.
    pub(super) fn close(&self) -> Closing {
        let mut state = self.state.lock();
        if state.closed {
            return self.closing();
        }
        state.closed = true;
        state.set_limit();
        self.closed.store(true, Ordering::Release);
        let ended = state.sleepers.end();
        drop(state);
        self.room.notify_all();
        self.turn.notify_all();
        if let Some(ended) = ended {
            self.wake.publish(ended);
        }
        // The followers have all begun to close: they see that the log is closed.
        let (followers, older) = self.register.close();
        let (labels, parts): (Vec<_>, Vec<_>) =
            followers.into_iter().map(|(label, closing)| (label, (closing.0, true))).unzip();
        MaybeDone::gather(&self.completion, parts, move |outcomes| outcome_of_log(outcomes, &labels, older));
        self.closing()
    }
}

fn spin(times: usize) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}
