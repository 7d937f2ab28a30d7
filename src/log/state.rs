//! What of a log changes under its lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec;

use super::bound::{Bound, LagGate};
use super::segment::{Alive, DropLater, Events, Node, Segment};
use super::seq::Seq;
use super::wake::Sleepers;

/// How many events a segment has at most, and how many bytes, as far as they are in the vector itself.
const SEGMENT_EVENTS: usize = 1024;
const SEGMENT_BYTES: usize = 64 * 1024;

/// How many events a segment has at least before a writer seals it.
const SEGMENT_LEAST: usize = 64;

/// How many segments are released before the lock is released for writers that wait for it.
const STRIDE: usize = 1024;

pub(super) struct State<E> {
    /// The open segment: events that no reader has asked for yet.
    pub(super) open: Events<E>,
    /// The number of the next event.
    pub(super) head: u64,
    /// A write whose number is below this goes straight in. 0 when closed or while a snapshot is taken.
    pub(super) limit: u64,
    /// How many events the open segment takes before it is sealed; 0 while no reader could ever read them.
    pub(super) capacity: usize,
    pub(super) sleepers: Sleepers,
    /// The open end of the chain.
    tail: Arc<Node<E>>,
    /// Where the events begin that the log itself holds.
    pub(super) oldest: Arc<Node<E>>,
    readers: usize,
    pub(super) retain: u64,
    /// The windows of the readers that may be left behind, and how many readers have each.
    windows: BTreeMap<u64, usize>,
    /// The gates of the readers for which writers wait.
    gates: Vec<Arc<LagGate>>,
    /// How many snapshots are being taken.
    pub(super) snapshots: usize,
    /// How many writes wait for a snapshot to end, and have not gone on since.
    pub(super) held_back: usize,
    pub(super) closed: bool,
    /// How many events were appended while no reader could ever read them.
    pub(super) unheard: u64,
}

impl<E> State<E> {
    /// How many events a segment has at most, and a run of events that are appended at once.
    pub(super) const MAX_SEGMENT: usize = {
        let of_bytes = SEGMENT_BYTES / if size_of::<E>() == 0 { 1 } else { size_of::<E>() };
        match of_bytes {
            0..SEGMENT_LEAST => SEGMENT_LEAST,
            SEGMENT_LEAST..SEGMENT_EVENTS => of_bytes,
            SEGMENT_EVENTS.. => SEGMENT_EVENTS,
        }
    };

    pub(super) fn new(retain: u64) -> Self {
        let tail = Node::open(0);
        let mut state = Self {
            open: Events(Vec::new()),
            head: 0,
            limit: u64::MAX,
            capacity: 0,
            sleepers: Sleepers::default(),
            oldest: Arc::clone(&tail),
            tail,
            readers: 0,
            retain,
            windows: BTreeMap::new(),
            gates: Vec::new(),
            snapshots: 0,
            held_back: 0,
            closed: false,
            unheard: 0,
        };
        state.set_capacity();
        state
    }

    /// The number of events that the log itself holds for readers that may be left behind or are yet to come.
    fn window(&self) -> u64 {
        self.windows.last_key_value().map_or(0, |(window, _)| *window).max(self.retain)
    }

    pub(super) fn set_capacity(&mut self) {
        let most = Self::MAX_SEGMENT;
        self.capacity = match (self.window(), self.readers) {
            (0, 0) => 0,
            (0, _) => most,
            // So that the log holds at most twice what it was asked to, or a few more.
            (window, _) => usize::try_from(window).unwrap_or(usize::MAX).clamp(SEGMENT_LEAST, most),
        };
    }

    pub(super) fn set_limit(&mut self) {
        self.limit = if self.closed || self.snapshots > 0 {
            0
        } else {
            self.gates.iter().map(|gate| gate.limit()).min().unwrap_or(u64::MAX)
        };
    }

    pub(super) fn oldest_held(&self) -> Seq {
        if self.capacity == 0 { self.head } else { self.oldest.first }
    }

    /// Registers a reader of what is appended from now on.
    pub(super) fn join_at_head(&mut self) -> (Arc<Node<E>>, u64) {
        if self.capacity == 0 {
            // What was appended while there was no reader is in no segment.
            self.tail = Node::open(self.head);
            self.oldest = Arc::clone(&self.tail);
        }
        self.readers += 1;
        self.set_capacity();
        (Arc::clone(&self.tail), self.head)
    }

    /// Registers a reader at `position`, which the log holds. Returns the node to look for it from.
    pub(super) fn join_at(&mut self, position: u64, bound: &Bound) -> Arc<Node<E>> {
        let (tail, _) = self.join_at_head();
        match bound {
            Bound::None => {}
            Bound::Block(gate) => {
                gate.move_to(position);
                self.gates.push(Arc::clone(gate));
                self.set_limit();
            }
            Bound::Skip(window) | Bound::Close(window) => {
                *self.windows.entry(*window).or_default() += 1;
                self.set_capacity();
            }
        }
        if position >= tail.first { tail } else { Arc::clone(&self.oldest) }
    }

    /// Unregisters a reader.
    pub(super) fn leave(&mut self, bound: &Bound) {
        self.readers -= 1;
        match bound {
            Bound::None => {}
            Bound::Block(gate) => {
                self.gates.retain(|other| !Arc::ptr_eq(other, gate));
                self.set_limit();
            }
            Bound::Skip(window) | Bound::Close(window) => {
                if let Some(count) = self.windows.get_mut(window) {
                    *count -= 1;
                    if *count == 0 {
                        self.windows.remove(window);
                    }
                }
            }
        }
        self.set_capacity();
    }

    /// Moves the open segment, which ends before `end`, into the chain. What this returns is released, and is
    /// to be dropped without the lock.
    pub(super) fn seal(
        &mut self,
        spare: Vec<E>,
        end: u64,
        alive: &Arc<Alive>,
    ) -> (Arc<Node<E>>, Arc<Node<E>>) {
        let mut events = std::mem::replace(&mut self.open, Events(spare));
        if events.0.len() < events.0.capacity() / 4 {
            events.0.shrink_to_fit();
        }
        let next = Node::open(end);
        let node = std::mem::replace(&mut self.tail, Arc::clone(&next));
        node.seal(Segment::new(events, alive), next);
        (node, self.let_go().0)
    }

    /// Pushes the first `count` events of `run`, of which the last is the one before `head`. What `later` gets is to be
    /// dropped without the lock.
    pub(super) fn push_run(
        &mut self,
        run: &mut vec::IntoIter<E>,
        mut count: usize,
        alive: &Arc<Alive>,
        later: &mut DropLater<E>,
    ) {
        while count > 0 {
            let room = self.capacity.saturating_sub(self.open.0.len());
            // A run that makes a segment of its own is not copied.
            let whole = count == run.len() && count <= self.capacity;
            if room == 0 || (whole && room < count && count > self.capacity / 2) {
                let (sealed, passed) = self.seal(Vec::new(), self.head - count as u64, alive);
                later.push(sealed);
                later.push(passed);
            } else if whole && self.open.0.is_empty() && count >= self.open.0.capacity() {
                self.open = Events(std::mem::take(run).collect());
                return;
            } else {
                let some = count.min(room);
                self.open.0.extend(run.by_ref().take(some));
                count -= some;
            }
        }
    }

    /// Releases segments that the log need not hold. What this returns first holds all of them, and is to be
    /// dropped without the lock. Then, whether there may be more.
    pub(super) fn let_go(&mut self) -> (Arc<Node<E>>, bool) {
        let window = self.window();
        let mut steps = 0;
        let mut oldest = &self.oldest;
        if window == 0 {
            oldest = &self.tail;
        }
        while let Some(sealed) = oldest.sealed() {
            if self.head - sealed.next.first < window || steps == STRIDE {
                break;
            }
            oldest = &sealed.next;
            steps += 1;
        }
        let oldest = Arc::clone(oldest);
        (std::mem::replace(&mut self.oldest, oldest), steps == STRIDE)
    }
}
