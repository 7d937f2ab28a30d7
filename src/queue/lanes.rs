//! Several workers of one queue, by keys or without: its *lanes*. Each is a [`Life`](crate::worker::Life) over a
//! [`Lane`](super::lane::Lane).
//!
//! A lane that looks for work moves events from the pipe's channel into the [`Index`], which knows what may be delivered: the
//! first events of each key of which none is with a lane. It takes some, delivers them, and *settles* them. Events that wait
//! in the index hold their permits still, and an eviction looks there first, since what is there is older than what is in
//! the channel.
//!
//! # Why the events of a key are delivered in order, one at a time
//!
//! One lane moves at a time (`moving`), so events come into the index in the order of the channel. What a lane's own write
//! found no room for is moved when its turn comes: see [`Reentrant`](super::reentrant::Reentrant). A key is *busy* from
//! when a lane takes its event until that is settled, and only the first event of a key that is not busy is ready.
//!
//! # Why no lock is held while a key is computed, compared or dropped
//!
//! That is a user's code, and may write to the queue. The lane that moves does it, before it locks the index. The keys are
//! its own meanwhile (`sorter`): no other lane waits for them, since it sees `moving`. The index has numbers for keys. A key
//! of which no event is left stays until a lane removes it that moves: before it sleeps, or when there are many.
//!
//! # Why no wake-up is lost
//!
//! A lane is *looking* (it will lock the index and look at the channel before it runs any code of the sink), *busy*, or *idle*.
//! What holds whenever the lock is free: **if something may be delivered and a lane could be found for it, then a lane is
//! looking, or a waker is with the pipe and what comes next calls it, or a lane is in the middle of a step that ends in one
//! of these.** The same holds for something that may be delivered at a time, if no idle lane (`keeper`) is woken then.
//!
//! - *A lane becomes busy.* If no other is looking, it wakes another for what it leaves (`find_lane`), or if it leaves
//!   nothing, registers the waker of all lanes with the pipe, and looks at the channel once more: the pair of fences of
//!   `ReaderWaker`.
//! - *A lane becomes idle.* It is in the list of the idle by then, registers that waker, and looks once more.
//! - *A writer calls the waker* after its event is in the channel. If a lane is looking, that will lock the index after
//!   the waker did, and finds the event. Otherwise the waker takes a lane out of the list of the idle, or starts one; that
//!   counts as looking at once.
//! - *A lane settles an event*, and its key is ready again. It looks itself.
//! - *A lane moves events, or removes keys.* Others that look meanwhile may sleep, or take what it has moved and sleep after
//!   that. So it looks at the channel after that, unless it finds something to take.
//! - *A lane ends.* It wakes all that are idle, each of which finds the end too.
//!
//! If no lane is idle and none can be started, no waker is with the pipe: whichever lane is free first looks.
//!
//! # Why a flush is a barrier
//!
//! Each event gets a number when it leaves the channel. The position is the lowest number of those that are not settled, so
//! everything below it is. Marks are made under the lock, under which events leave the channel, and count what is in it. A
//! flush that is not due yet is known to all lanes (`flush_at`), and whichever finds it due is asked to pass it on.
//!
//! What was lost or refused with a lane is settled when that lane retires, and what waits is shed by what stops the queue: both
//! after it was stopped. So a lane that finds a position beyond these finds the queue stopped (`share_flush`), and leaves the
//! flush to the end of the queue, which has counted them.
//!
//! # Why the sink is dropped before the close completes
//!
//! `holders` counts what holds the sink: each lane until it has dropped it, and each start of a lane until that is over. The
//! last one finishes the drain.

use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use crossbeam_channel::TryRecvError;
use parking_lot::{Mutex, MutexGuard};

use super::batch::Batch;
use super::chain::{MOST, NONE};
use super::index::{HELD, Index, KEYLESS, KEYS};
use super::keys::Keys;
use super::received::Received;
use super::state::QueuePipe;
use crate::buffer::Weighing;
use crate::sync::caught::{drop_caught, wake_caught};
use crate::sync::spin::spin_then_yield;
use crate::worker::{Drain, End, Next, count, finish};

/// How many events are moved into the index at a time.
const MOVED: usize = 32;

/// How many keys may be ready before no more events are moved: the index does not outgrow the caches of a processor when
/// many events of many keys wait.
const READY: usize = 64;

/// How many lanes may spin at a time.
const SPINNING: usize = 2;

/// Starts a lane.
pub(super) type Start<E> = Arc<dyn Fn(&Arc<QueuePipe<E>>) -> io::Result<()> + Send + Sync>;

/// The lanes of a queue; without the type of its keys.
pub(super) trait Lanes<E>: Send + Sync {
    /// What is next, which lies in the lane's `events` then.
    fn next(&self, lane: &mut Turn<E>) -> Next<()>;
    /// What the lane had is settled at its next look, or now.
    fn settle(&self, lane: &mut Turn<E>);
    /// The sink is closed: `rest` came back.
    fn refused(&self, lane: &mut Turn<E>, rest: Vec<E>);
    fn mark(&self, pipe: &QueuePipe<E>) -> u64;
    /// A flush is due at that position: returns that if the lane is to see to it.
    fn share_flush(&self, flush_at: u64, lane: &mut Turn<E>) -> u64;
    fn spin(&self, pipe: &QueuePipe<E>) -> bool;
    fn register(&self, lane: &mut Turn<E>, waker: &Waker);
    fn unregister(&self, lane: &mut Turn<E>);
    /// The lane ends. Whether it was the last, which leaves no other to start.
    fn retire(&self, lane: &mut Turn<E>, starts_none: bool) -> bool;
    /// Something has dropped its sink. Whether it was the last.
    fn let_go(&self) -> bool;
    /// Wakes a lane, or starts one, unless one is looking.
    fn wake(&self, pipe: &Arc<QueuePipe<E>>);
    fn set_start(&self, start: Start<E>);
}

/// What the lanes know of one of them.
pub(super) struct Turn<E> {
    pub(super) pipe: Arc<QueuePipe<E>>,
    pub(super) id: usize,
    mode: Mode,
    /// Its number in the index, once it has looked there.
    number: usize,
    /// The group of which the lane has something that is not settled.
    taken: u32,
    /// How many events of it are with the sink, and how many are delivered.
    pub(super) count: usize,
    delivered: usize,
    /// On their way to the sink.
    pub(super) events: Vec<E>,
    permits: Vec<u64>,
    /// At the last look.
    pub(super) position: u64,
    /// Wakes any of the lanes.
    shared_waker: Waker,
    pub(super) has_looked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Looking,
    Busy,
    /// In the list of the idle, or taken out of it and counted as looking since.
    Idle,
}

impl<E> Turn<E> {
    /// Of a lane that counts as looking.
    pub(super) fn new(pipe: Arc<QueuePipe<E>>, shared_waker: Waker) -> Self {
        // Relaxed: only uniqueness matters.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            pipe,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            mode: Mode::Looking,
            number: usize::MAX,
            taken: NONE,
            count: 0,
            delivered: 0,
            events: Vec::new(),
            permits: Vec::new(),
            position: 0,
            shared_waker,
            has_looked: false,
        }
    }

    fn release_permits(&mut self) {
        while let Some(weight) = self.permits.pop() {
            self.pipe.release(weight);
        }
    }

    pub(super) fn delivered(&mut self) {
        self.delivered = std::mem::take(&mut self.count);
    }
}

/// Lanes by the keys that `key` returns; an event without one is delivered beside any other.
pub(super) struct LanesBy<E, K, F> {
    key: F,
    most: usize,
    /// Of batches.
    weighing: Option<Weighing<E>>,
    state: Mutex<State<E>>,
    /// For the lane that moves.
    sorter: Mutex<Sorter<E, K>>,
    /// How many events wait that left the channel. Changed under the lock.
    waiting: AtomicUsize,
    spinning: AtomicUsize,
    start: Mutex<Option<Start<E>>>,
}

struct State<E> {
    index: Index<E>,
    /// The number of the next event that leaves the channel, or comes into the index although it found no room there.
    next_seq: u64,
    /// Whether a lane moves events.
    moving: bool,
    /// How many it has, and the number of the first.
    in_hand: usize,
    first_in_hand: u64,
    /// Nothing comes any more.
    disconnected: bool,
    /// The first mark of the flushes that wait, as far as it is known.
    flush_at: u64,
    looking: usize,
    /// Lanes that have not ended.
    lanes: usize,
    holders: usize,
    idle: Vec<(usize, Waker)>,
    /// The idle lane that is woken when something has waited long enough for more.
    keeper: Option<usize>,
    starts_none: bool,
}

struct Sorter<E, K> {
    keys: Keys<K>,
    /// Events that are being moved.
    hand: Vec<Held<E>>,
    unused: Vec<K>,
}

struct Held<E> {
    event: E,
    permit: Option<u64>,
    /// In a batch.
    weight: u64,
    group: u32,
}

/// A lane that was found for what waits.
enum Found {
    Idle(Waker),
    New,
}

impl<E> State<E> {
    fn position(&self) -> u64 {
        let in_hand = (self.in_hand > 0).then_some(self.first_in_hand);
        self.index.first_seq().or(in_hand).unwrap_or(self.next_seq)
    }

    /// Whether no lane is looking, and one could be found to do so.
    fn may_find(&self, most: usize) -> bool {
        self.looking == 0 && (!self.idle.is_empty() || (self.lanes < most && !self.starts_none))
    }

    fn find_lane(&mut self, most: usize) -> Option<Found> {
        if !self.may_find(most) {
            return None;
        }
        let found = match self.idle.pop() {
            Some((_, waker)) => Found::Idle(waker),
            None => {
                self.lanes += 1;
                // The lane, and its start.
                self.holders += 2;
                Found::New
            }
        };
        self.looking += 1;
        Some(found)
    }

    fn settle(&mut self, lane: &mut Turn<E>) {
        if lane.taken != NONE {
            count(&lane.pipe.end.worker.counts.delivered, std::mem::take(&mut lane.delivered) as u64);
            self.index.settle(lane.number, std::mem::replace(&mut lane.taken, NONE));
        }
    }

    /// Takes a lane out of the list of the idle, if it is there.
    fn leave_idle(&mut self, lane: &Turn<E>) -> Option<Waker> {
        if lane.mode != Mode::Idle {
            return None;
        }
        let place = self.idle.iter().rposition(|(idle, _)| *idle == lane.id)?;
        Some(self.idle.swap_remove(place).1)
    }
}

impl<E, K, F> LanesBy<E, K, F> {
    /// To be called under the lock, when what waits has changed.
    fn store_waiting(&self, state: &State<E>) {
        self.waiting.store(state.index.waiting() + state.in_hand, Ordering::Release);
    }
}

impl<E, K, F> LanesBy<E, K, F>
where
    E: Send + 'static,
    K: Hash + Eq + Send + 'static,
    F: Fn(&E) -> Option<K> + Send + Sync + 'static,
{
    pub(super) fn new(most: usize, batch: Batch<E>, key: F) -> Self {
        let state = State {
            index: Index::new(&batch),
            next_seq: 0,
            moving: false,
            in_hand: 0,
            first_in_hand: 0,
            disconnected: false,
            flush_at: u64::MAX,
            looking: 1,
            lanes: 1,
            holders: 1,
            idle: Vec::new(),
            keeper: None,
            starts_none: false,
        };
        let sorter = Sorter { keys: Keys::new(), hand: Vec::new(), unused: Vec::new() };
        Self {
            key,
            most,
            weighing: batch.weighing,
            state: Mutex::new(state),
            sorter: Mutex::new(sorter),
            waiting: AtomicUsize::new(0),
            spinning: AtomicUsize::new(0),
            start: Mutex::new(None),
        }
    }

    /// Whether the channel, or what lanes wrote, may have something to move.
    fn has_news(pipe: &QueuePipe<E>) -> bool {
        !pipe.receiver.is_empty() || !pipe.end.reentrant.is_empty()
    }

    /// Moves events into the index: those that have waited longest. The caller has set `moving`. Whether there were any.
    fn fill(&self, pipe: &QueuePipe<E>) -> bool {
        let mut sorter = self.sorter.lock();
        let Sorter { keys, hand, unused } = &mut *sorter;
        pipe.receiving(|receive| self.receive(pipe, hand, receive));
        let moved = !hand.is_empty();
        // If this panics, the event stays held, and those behind it, to be shed.
        let sorted = catch_unwind(AssertUnwindSafe(|| {
            for held in &mut *hand {
                held.weight = self.weighing.as_ref().map_or(0, |weighing| (weighing.weigh)(&held.event));
                held.group = match (self.key)(&held.event) {
                    None => KEYLESS,
                    Some(key) => {
                        let (number, same) = keys.find_or_add(key);
                        unused.extend(same);
                        KEYS + number
                    }
                };
            }
        }));
        if moved {
            let mut state = self.state.lock();
            let first = state.first_in_hand;
            for (held, seq) in hand.drain(..).zip(first..) {
                state.index.push(held.event, seq, held.permit, held.weight, held.group);
            }
            state.in_hand = 0;
            state.moving = false;
            self.store_waiting(&state);
        }
        if !unused.is_empty() {
            let mut unused = std::mem::take(unused);
            drop(sorter);
            unused.drain(..).for_each(drop_caught);
            // For its room. Another lane that moves is not waited for.
            if let Some(mut sorter) = self.sorter.try_lock() {
                sorter.unused = unused;
            }
        }
        if let Err(panic) = sorted {
            resume_unwind(panic);
        }
        moved
    }

    /// Takes events in hand. If there are none, the lane no longer moves.
    fn receive(
        &self,
        pipe: &QueuePipe<E>,
        hand: &mut Vec<Held<E>>,
        receive: &mut dyn FnMut() -> Result<(E, u64), TryRecvError>,
    ) {
        let reentrant = &pipe.end.reentrant;
        let mut state = self.state.lock();
        state.first_in_hand = state.next_seq;
        while hand.len() < MOVED {
            let due = if reentrant.is_empty() { None } else { reentrant.take_due(state.next_seq) };
            let (event, permit) = match due {
                Some(event) => (event, None),
                None => match receive() {
                    Ok((event, weight)) => (event, Some(weight)),
                    // They wait for what was in front of them, unless that was taken by another thread.
                    Err(empty) => match reentrant.take() {
                        Some(event) => (event, None),
                        None => {
                            state.disconnected = empty == TryRecvError::Disconnected;
                            break;
                        }
                    },
                },
            };
            // What a lane wrote counts, too: the turns of those behind it do.
            state.next_seq += 1;
            hand.push(Held { event, permit, weight: 0, group: HELD });
        }
        state.in_hand = hand.len();
        state.moving = !hand.is_empty();
        self.store_waiting(&state);
    }

    /// Removes keys that are idle. The caller has set `moving`.
    fn remove_idle(&self) {
        let idle = self.state.lock().index.take_idle();
        let mut sorter = self.sorter.lock();
        let unused: Vec<K> = idle.into_iter().filter_map(|id| sorter.keys.remove(id - KEYS)).collect();
        drop(sorter);
        self.state.lock().moving = false;
        unused.into_iter().for_each(drop_caught);
    }

    /// The lane leaves the index, to run code of the sink's: sees to it that another looks for what it leaves.
    fn become_busy(&self, mut state: MutexGuard<'_, State<E>>, lane: &mut Turn<E>) {
        let pipe = &lane.pipe;
        let idle = state.leave_idle(lane);
        if idle.is_none() {
            state.looking -= 1;
        }
        lane.mode = Mode::Busy;
        let (mut found, mut watches) = (None, false);
        if state.may_find(self.most) {
            let untimed = state.keeper.is_none() && state.index.until().is_some();
            if state.index.has_ready() || untimed || (!state.moving && Self::has_news(pipe)) {
                found = state.find_lane(self.most);
            } else {
                watches = !pipe.end.waker.is_registered();
            }
        }
        drop(state);
        drop_caught(idle);
        lane.release_permits();
        let pipe = &lane.pipe;
        if found.is_some() {
            self.wake_found(pipe, found);
        }
        if watches {
            pipe.end.waker.register(&lane.shared_waker);
            if Self::has_news(pipe) || pipe.end.asked.load(Ordering::Acquire) {
                self.wake(pipe);
            }
        }
    }

    fn wake_found(&self, pipe: &Arc<QueuePipe<E>>, found: Option<Found>) {
        match found {
            None => {}
            Some(Found::Idle(waker)) => wake_caught(waker),
            Some(Found::New) => {
                let start = self.start.lock().clone();
                if let Some(start) = start {
                    // If the system has no thread, the lane ends by being dropped, and what it was for waits for the others.
                    drop(start(pipe));
                    drop_caught(start);
                }
                if self.let_go() {
                    let _inside = pipe.enter();
                    finish(&**pipe);
                }
            }
        }
    }
}

impl<E, K, F> Lanes<E> for LanesBy<E, K, F>
where
    E: Send + 'static,
    K: Hash + Eq + Send + 'static,
    F: Fn(&E) -> Option<K> + Send + Sync + 'static,
{
    fn next(&self, lane: &mut Turn<E>) -> Next<()> {
        lane.has_looked = true;
        // It moves once at each look, so that no key waits behind all events of another; and until there is something ready, or
        // nothing in the channel: others may take what it has moved, and sleep while it does.
        let (mut has_moved, mut is_empty) = (false, false);
        loop {
            let mut state = self.state.lock();
            match lane.mode {
                Mode::Looking => {}
                Mode::Busy => {
                    state.settle(lane);
                    state.looking += 1;
                    lane.mode = Mode::Looking;
                }
                // Taken out of the list, it counts as looking.
                Mode::Idle if state.idle.iter().rev().all(|(id, _)| *id != lane.id) => {
                    lane.mode = Mode::Looking;
                }
                Mode::Idle => {}
            }
            if state.keeper == Some(lane.id) {
                state.keeper = None;
            }
            let pipe = &lane.pipe;
            if Drain::is_stopped(&**pipe) {
                return Next::End(End::Stopped);
            }
            // Acquire: pairs with the release of the thread that asks.
            let asked =
                pipe.end.asked.load(Ordering::Acquire) && pipe.end.asked.swap(false, Ordering::AcqRel);
            let due = state.flush_at < u64::MAX && state.flush_at <= state.position();
            if due {
                state.flush_at = u64::MAX;
            }
            if state.index.fills() {
                let hurry = state.flush_at < u64::MAX || pipe.is_shut();
                state.index.end_waits(hurry);
            }
            if asked || due {
                self.become_busy(state, lane);
                return Next::Asked;
            }
            let room = state.index.ready() < READY && state.index.waiting() < MOST / 2;
            let sleeps = !state.index.has_ready();
            let moves = (sleeps || !has_moved) && !is_empty && room && !state.moving;
            if moves && (Self::has_news(pipe) || (!state.disconnected && pipe.is_shut())) {
                state.moving = true;
                drop(state);
                (has_moved, is_empty) = (true, !self.fill(pipe));
                continue;
            }
            if !state.moving && state.index.has_idle(sleeps) {
                state.moving = true;
                drop(state);
                self.remove_idle();
                is_empty = false;
                continue;
            }
            if lane.number == usize::MAX {
                lane.number = state.index.add_lane();
            }
            let Turn { events, permits, .. } = lane;
            lane.taken = state.index.take(lane.number, |event, permit| {
                events.push(event);
                if let Some(weight) = permit {
                    permits.push(weight);
                }
            });
            if lane.taken != NONE {
                lane.count = lane.events.len();
                // In this order, so that stats that see the second see the first.
                self.store_waiting(&state);
                count(&lane.pipe.end.worker.counts.taken, lane.count as u64);
                if state.looking > 1 && lane.mode == Mode::Looking {
                    // Another looks for what is left.
                    state.looking -= 1;
                    lane.mode = Mode::Busy;
                    drop(state);
                    lane.release_permits();
                } else {
                    self.become_busy(state, lane);
                }
                return Next::Event(());
            }
            let waits = state.index.waiting() + state.in_hand > 0 || state.moving;
            if state.disconnected && !waits {
                return Next::End(End::Drained);
            }
            let until = state.index.until().filter(|_| state.keeper.is_none());
            if until.is_some() {
                state.keeper = Some(lane.id);
            }
            return Next::Empty(until);
        }
    }

    fn settle(&self, lane: &mut Turn<E>) {
        if lane.taken != NONE {
            self.state.lock().settle(lane);
        }
    }

    fn refused(&self, lane: &mut Turn<E>, rest: Vec<E>) {
        lane.count -= rest.len();
        for event in rest {
            lane.pipe.shed_left_over(|| {
                let _state = self.state.lock();
                count(&lane.pipe.end.worker.counts.returned, 1);
                Some(event)
            });
        }
        lane.delivered();
    }

    fn mark(&self, pipe: &QueuePipe<E>) -> u64 {
        let state = self.state.lock();
        state.next_seq + (pipe.waiting() + pipe.end.reentrant.len()) as u64
    }

    fn share_flush(&self, flush_at: u64, lane: &mut Turn<E>) -> u64 {
        let mut state = self.state.lock();
        lane.position = state.position();
        if flush_at <= lane.position {
            // Looked at after the position.
            return if Drain::is_stopped(&*lane.pipe) { u64::MAX } else { flush_at };
        }
        // Only lowered: a lane that knew of fewer flushes may come later.
        state.flush_at = state.flush_at.min(flush_at);
        u64::MAX
    }

    fn spin(&self, pipe: &QueuePipe<E>) -> bool {
        let spins = self.spinning.fetch_add(1, Ordering::Relaxed) < SPINNING;
        let asked = || pipe.end.asked.load(Ordering::Acquire);
        let moves = spins && spin_then_yield(|| Self::has_news(pipe) || asked());
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        moves
    }

    fn register(&self, lane: &mut Turn<E>, waker: &Waker) {
        let waker = waker.clone();
        let mut state = self.state.lock();
        let before = state.leave_idle(lane);
        if before.is_none() {
            state.looking -= 1;
        }
        state.idle.push((lane.id, waker));
        lane.mode = Mode::Idle;
        drop(state);
        drop_caught(before);
        lane.pipe.end.waker.register(&lane.shared_waker);
    }

    fn unregister(&self, lane: &mut Turn<E>) {
        let mut state = self.state.lock();
        let idle = state.leave_idle(lane);
        if idle.is_none() && lane.mode != Mode::Busy {
            state.looking -= 1;
        }
        lane.mode = Mode::Busy;
        drop(state);
        drop_caught(idle);
    }

    fn retire(&self, lane: &mut Turn<E>, starts_none: bool) -> bool {
        let mut state = self.state.lock();
        state.settle(lane);
        state.starts_none |= starts_none;
        state.lanes -= 1;
        let last = state.lanes == 0;
        let idle = if starts_none { std::mem::take(&mut state.idle) } else { Vec::new() };
        state.looking += idle.len();
        drop(state);
        idle.into_iter().for_each(|(_, waker)| wake_caught(waker));
        if last {
            // It holds the sink. Each is dropped without its lock.
            let start = self.start.lock().take();
            let keys = std::mem::replace(&mut self.sorter.lock().keys, Keys::new());
            drop_caught(start);
            drop_caught(lane.pipe.end.waker.take());
            keys.into_iter().for_each(drop_caught);
        }
        last
    }

    fn let_go(&self) -> bool {
        let mut state = self.state.lock();
        state.holders -= 1;
        state.holders == 0
    }

    fn wake(&self, pipe: &Arc<QueuePipe<E>>) {
        let found = self.state.lock().find_lane(self.most);
        self.wake_found(pipe, found);
    }

    fn set_start(&self, start: Start<E>) {
        *self.start.lock() = Some(start);
    }
}

impl<E, K, F> Received<E> for LanesBy<E, K, F>
where
    E: Send,
    K: Send,
    F: Send + Sync,
{
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    fn evict(&self, receive: &mut dyn FnMut() -> Option<E>) -> Option<(E, Option<u64>)> {
        let mut state = self.state.lock();
        let oldest = state.index.take_oldest(true);
        if oldest.is_some() {
            self.store_waiting(&state);
            return oldest;
        }
        let event = receive()?;
        state.next_seq += 1;
        Some((event, None))
    }

    fn take_oldest(&self) -> Option<(E, Option<u64>)> {
        let mut state = self.state.lock();
        let oldest = state.index.take_oldest(false);
        self.store_waiting(&state);
        oldest
    }

    fn keep(&self, keep: &mut dyn FnMut(u64)) {
        keep(self.state.lock().next_seq);
    }
}
