//! The log itself: the open segment, and what its writers and readers know of each other.
//!
//! # Why nothing is lost, read twice or read too late
//!
//! Events are appended under one lock, in the order of their numbers, to the open segment. Sealing, under
//! the same lock, moves that vector into the chain whole. A reader walks the chain and nothing else, so it
//! sees each event once, in order; it looks at the lock only when it stands at the open end.
//!
//! `head`, the number that the next event gets, is stored under the lock and may be read without: who finds
//! that it has reached `head` has read everything that was appended before it looked. `closed` is set under
//! the lock too. Who finds it set and then finds itself at `head` is at the end, for `head` moves no more.
//! And a close that has returned held the lock after every write that was accepted: the next one sees it.
//!
//! # Why no code of a user's runs under the lock
//!
//! Places that are let go of are dropped after the lock is, and the closure of a snapshot runs without it:
//! while one runs, `limit` is 0, and writes wait for it on `room`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::follower_state::Following;
use super::options::{Bound, Start};
use super::segment::{Alive, Node, Passed, Segment};
use super::wake::{Sleepers, Wake};
use super::{Held, Seq, StartError};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::ended::EndedSinks;
use crate::sync::scope::Scope;

/// How many events a segment has at most, and how many bytes, as far as they are in the vector itself.
const SEGMENT_EVENTS: usize = 1024;
const SEGMENT_BYTES: usize = 64 * 1024;

/// How many events a segment has at least before a writer seals it.
const SEGMENT_LEAST: usize = 64;

/// How often a reader that has nothing to read yields before it sleeps: see the page on fan-out for what
/// was measured.
const YIELDS: usize = 16;

/// How often it spins before each look. Every look takes the writers' cache line away from them.
const SPINS: usize = 16;

/// How often a reader that wants to seal tries for the lock before it waits for it.
const TRIES: usize = 16;

pub(super) struct Shared<E> {
    state: Mutex<State<E>>,
    /// The number of the next event. Stored under the lock; release, so that who acquires it finds the event.
    head: AtomicU64,
    closed: AtomicBool,
    /// Writers that wait for a reader to come closer.
    waiting: AtomicUsize,
    room: Condvar,
    wake: Wake,
    alive: Arc<Alive>,
    /// How large the last sealed segment was: the next is likely to be alike. Relaxed, a guess.
    last_len: AtomicUsize,
    /// A thread is in the closure of a snapshot.
    pub(super) snapshot: Scope,
    /// A thread is a follower's.
    pub(super) workers: Scope,
    pub(super) completion: Arc<Completion>,
}

pub(super) struct State<E> {
    open: Vec<E>,
    head: u64,
    /// A write whose number is below goes straight in. 0 when closed or while a snapshot is taken.
    limit: u64,
    /// How many events the open segment takes before it is sealed; 0 while nobody could ever read them.
    capacity: usize,
    pub(super) sleepers: Sleepers,
    /// The open end of the chain.
    tail: Arc<Node<E>>,
    /// Where the events begin that the log itself holds.
    oldest: Arc<Node<E>>,
    readers: usize,
    retain: u64,
    /// The windows of the readers that may be left behind, and how many want each.
    windows: BTreeMap<u64, usize>,
    /// Where the readers are that writers wait for.
    paces: Vec<Arc<Pace>>,
    snapshots: usize,
    pub(super) closed: bool,
    unheard: u64,
    pub(super) followers: Vec<Arc<Following<E>>>,
    pub(super) ended: EndedSinks,
}

/// Where a reader is that writers wait for.
pub(super) struct Pace {
    position: AtomicU64,
    max_lag: u64,
}

impl<E> Shared<E> {
    pub(super) fn new(retain: u64) -> Arc<Self> {
        let tail = Node::open(0);
        let mut state = State {
            open: Vec::new(),
            head: 0,
            limit: u64::MAX,
            capacity: 0,
            sleepers: Sleepers::default(),
            oldest: Arc::clone(&tail),
            tail,
            readers: 0,
            retain,
            windows: BTreeMap::new(),
            paces: Vec::new(),
            snapshots: 0,
            closed: false,
            unheard: 0,
            followers: Vec::new(),
            ended: EndedSinks::default(),
        };
        state.set_capacity();
        let snapshot = Scope::new();
        Arc::new(Self {
            state: Mutex::new(state),
            head: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            room: Condvar::new(),
            wake: Wake::default(),
            alive: Arc::default(),
            last_len: AtomicUsize::new(0),
            snapshot,
            workers: Scope::new(),
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock()
    }

    pub(super) fn held(&self) -> Held {
        let state = self.state.lock();
        let (open, segments) = (state.open.len() as u64, u64::from(!state.open.is_empty()));
        Held {
            events: self.alive.events.load(Ordering::Relaxed) + open,
            segments: self.alive.segments.load(Ordering::Relaxed) + segments,
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
        if state.open.len() >= state.capacity {
            return self.append_to_another(state, event, seq);
        }
        state.open.push(event);
        let over = state.sleepers.end();
        drop(state);
        if let Some(over) = over {
            self.wake.raise(over);
        }
        Ok(seq)
    }

    /// The open segment is full, or nobody is there to read it.
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
        state.open.push(event);
        let over = state.sleepers.end();
        drop(state);
        // Before what is let go of is dropped, whose destructors may panic: nobody else raises it.
        if let Some(over) = over {
            self.wake.raise(over);
        }
        drop(passed);
        Ok(seq)
    }

    /// Waits until a write may go in; `false` if the log is closed.
    #[cold]
    fn wait_for_room(&self, state: &mut MutexGuard<'_, State<E>>) -> bool {
        // Counted before the readers' positions are looked at, both sequentially consistent, as is a reader
        // that stores its position and then looks whether anybody waits: one of the two sees the other. The
        // reader takes the lock before it notifies, and so cannot do so before this one sleeps.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let admitted = loop {
            if state.closed {
                break false;
            }
            if state.snapshots == 0 {
                state.set_limit();
                // A follower's own writes do not wait: it would be waiting for itself.
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
            }
            self.room.wait(state);
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        admitted
    }

    /// A reader for whom writers wait has moved on.
    #[inline]
    pub(super) fn moved(&self, pace: &Pace, position: u64) {
        // It only grows: a write that comes back after the reader was stopped does not undo `Pace::GONE`.
        pace.position.fetch_max(position, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.let_in();
        }
    }

    #[cold]
    fn let_in(&self) {
        drop(self.state.lock());
        self.room.notify_all();
    }

    /// Refuses writes from now on; `false` if that was so before.
    pub(super) fn shut(&self, with: impl FnOnce(&mut State<E>)) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.closed = true;
        state.set_limit();
        self.closed.store(true, Ordering::Release);
        with(&mut state);
        let over = state.sleepers.end();
        drop(state);
        self.room.notify_all();
        if let Some(over) = over {
            self.wake.raise(over);
        }
        true
    }

    /// Runs `f` while no write can go in, and registers a reader that begins where it began.
    pub(super) fn with_snapshot<T>(&self, f: impl FnOnce() -> T) -> (T, Arc<Node<E>>, u64) {
        struct Ends<'a, E>(&'a Shared<E>);
        impl<E> Drop for Ends<'_, E> {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                state.snapshots -= 1;
                state.set_limit();
                drop(state);
                self.0.room.notify_all();
            }
        }

        struct Leaves<'a, E>(Option<&'a Shared<E>>);
        impl<E> Drop for Leaves<'_, E> {
            fn drop(&mut self) {
                if let Some(shared) = self.0 {
                    shared.leave(&Bound::None);
                }
            }
        }

        let mut state = self.state.lock();
        state.snapshots += 1;
        state.set_limit();
        let (node, position) = state.join_at_head();
        drop(state);
        let ends = Ends(self);
        let mut leaves = Leaves(Some(self));
        let inside = self.snapshot.enter();
        let answer = f();
        drop(inside);
        drop(ends);
        leaves.0 = None;
        (answer, node, position)
    }
}

/// Reading.
impl<E> Shared<E> {
    /// Registers a reader; answers where it begins.
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
        let (tail, _) = state.join_at_head();
        let node = if position == state.head { tail } else { state.find(position).unwrap_or(tail) };
        match bound {
            Bound::None => {}
            Bound::Block(pace) => {
                pace.position.store(position, Ordering::SeqCst);
                state.paces.push(Arc::clone(pace));
                state.set_limit();
            }
            Bound::Skip(window) | Bound::Close(window) => {
                *state.windows.entry(*window).or_default() += 1;
                state.set_capacity();
            }
        }
        Ok((node, position))
    }

    /// Takes a reader off the register. When the last one goes, the events that it alone kept go too.
    pub(super) fn leave(&self, bound: &Bound) {
        let mut state = self.state.lock();
        state.readers -= 1;
        match bound {
            Bound::None => {}
            Bound::Block(pace) => {
                state.paces.retain(|other| !Arc::ptr_eq(other, pace));
                state.set_limit();
            }
            Bound::Skip(window) | Bound::Close(window) => {
                if let Some(count) = state.windows.get_mut(window) {
                    *count -= 1;
                    if *count == 0 {
                        state.windows.remove(window);
                    }
                }
            }
        }
        state.set_capacity();
        let passed = state.let_go();
        let unread = if state.capacity == 0 { std::mem::take(&mut state.open) } else { Vec::new() };
        drop(state);
        if let Bound::Block(_) = bound {
            self.room.notify_all();
        }
        drop((passed, unread));
    }

    /// Seals `node`, at which a reader stands that knows of an event behind it, unless somebody else has.
    pub(super) fn seal(&self, node: &Node<E>, passed: &mut Passed<E>) {
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
            // Whoever has it is a writer, or a reader that is about to seal. To sleep for that is not worth it.
            match self.state.try_lock() {
                Some(state) => break state,
                None => spin(SPINS),
            }
        };
        if node.sealed().is_none() && !state.open.is_empty() {
            let head = state.head;
            self.last_len.store(state.open.len(), Ordering::Relaxed);
            let old = state.seal(spare, head, &self.alive);
            drop(state);
            passed.push(old.0);
            passed.push(old.1);
        }
    }

    /// The place at which `position` stands, if the log itself holds it.
    pub(super) fn find(&self, position: u64) -> Option<Arc<Node<E>>> {
        self.state.lock().find(position)
    }

    /// The number of the next event, exactly.
    pub(super) fn exact_head(&self) -> u64 {
        self.state.lock().head
    }

    /// Waits until there is something behind `position`, the log is closed or `interrupted` says so; `false`
    /// if `deadline` was before. May come back early.
    pub(super) fn rest(
        &self,
        position: u64,
        deadline: Option<Instant>,
        interrupted: impl Fn() -> bool,
    ) -> bool {
        let idle = || self.head() == position && !self.is_closed() && !interrupted();
        for _ in 0..YIELDS {
            spin(SPINS);
            std::thread::yield_now();
            if !idle() {
                return true;
            }
        }
        let mut state = self.state.lock();
        // Whoever interrupts does so before it takes the lock to wake, or under it: see `interrupt`.
        if !idle() {
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

    /// Has `task`, which has left its waker, woken when there is something behind `position` or the log is closed;
    /// `false` if that is so already.
    #[cfg(feature = "futures")]
    pub(super) fn sleep_as(&self, task: &Arc<super::stream::Task>, position: u64) -> bool {
        let mut state = self.state.lock();
        if state.head != position || state.closed {
            return false;
        }
        state.sleepers.add_task(task);
        true
    }

    /// Wakes all readers, for one of which there is news: what `f` sets, which knows the number of the next
    /// event and that none is appended meanwhile.
    pub(super) fn interrupt(&self, f: impl FnOnce(u64)) {
        let mut state = self.state.lock();
        f(state.head);
        let over = state.sleepers.end();
        drop(state);
        if let Some(over) = over {
            self.wake.raise(over);
        }
    }
}

impl<E> State<E> {
    fn window(&self) -> u64 {
        self.windows.last_key_value().map_or(0, |(window, _)| *window).max(self.retain)
    }

    fn set_capacity(&mut self) {
        let most = (SEGMENT_BYTES / size_of::<E>().max(1)).clamp(SEGMENT_LEAST, SEGMENT_EVENTS);
        self.capacity = match (self.window(), self.readers) {
            (0, 0) => 0,
            (0, _) => most,
            // So that the log holds at most twice what it was asked to, or a few more.
            (window, _) => usize::try_from(window).unwrap_or(usize::MAX).clamp(SEGMENT_LEAST, most),
        };
    }

    fn set_limit(&mut self) {
        self.limit = if self.closed || self.snapshots > 0 {
            0
        } else {
            let limits = self.paces.iter().map(|pace| pace.limit());
            limits.min().unwrap_or(u64::MAX)
        };
    }

    fn oldest_held(&self) -> Seq {
        if self.capacity == 0 { self.head } else { self.oldest.first }
    }

    /// Registers a reader of what comes from now on.
    fn join_at_head(&mut self) -> (Arc<Node<E>>, u64) {
        if self.capacity == 0 {
            // What was appended while nobody was there is in no segment.
            self.tail = Node::open(self.head);
            self.oldest = Arc::clone(&self.tail);
        }
        self.readers += 1;
        self.set_capacity();
        (Arc::clone(&self.tail), self.head)
    }

    fn find(&self, position: u64) -> Option<Arc<Node<E>>> {
        let mut node = &self.oldest;
        if position < node.first {
            return None;
        }
        while let Some(sealed) = node.sealed() {
            if position < sealed.next.first {
                break;
            }
            node = &sealed.next;
        }
        Some(Arc::clone(node))
    }

    /// Moves the open segment, which ends before `end`, into the chain. What is let go of is to be dropped
    /// without the lock.
    fn seal(&mut self, spare: Vec<E>, end: u64, alive: &Arc<Alive>) -> (Arc<Node<E>>, Arc<Node<E>>) {
        let mut events = std::mem::replace(&mut self.open, spare);
        if events.len() < events.capacity() / 4 {
            events.shrink_to_fit();
        }
        let next = Node::open(end);
        let node = std::mem::replace(&mut self.tail, Arc::clone(&next));
        node.seal(Segment::new(events, alive), next);
        (node, self.let_go())
    }

    /// Lets go of what the log need not hold. The answer holds all of it.
    fn let_go(&mut self) -> Arc<Node<E>> {
        let window = self.window();
        let mut oldest = Arc::clone(&self.oldest);
        while let Some(sealed) = oldest.sealed() {
            if self.head - sealed.next.first < window {
                break;
            }
            let next = Arc::clone(&sealed.next);
            oldest = next;
        }
        std::mem::replace(&mut self.oldest, oldest)
    }
}

impl Pace {
    pub(super) fn new(max_lag: u64) -> Arc<Self> {
        Arc::new(Self { position: AtomicU64::new(0), max_lag })
    }

    /// The position of one that nobody waits for any more.
    pub(super) const GONE: u64 = u64::MAX;

    fn limit(&self) -> u64 {
        self.position.load(Ordering::SeqCst).saturating_add(self.max_lag)
    }
}

fn spin(times: usize) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}
