//! The events of a keyed queue that wait, by their keys. One lock of the lanes is around it, and it runs no code of a user.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::chain::{Chain, NONE};

/// The group of the events that have no key. Any number of them may be with lanes.
pub(super) const KEYLESS: u32 = 0;

/// The group of events that are not to be delivered: the queue ends.
pub(super) const HELD: u32 = 1;

/// The first group of a key.
pub(super) const KEYS: u32 = 2;

/// An event that waits.
struct Node<E> {
    event: E,
    /// Its place among all that came.
    seq: u64,
    /// What it weighs, if it holds a permit of the buffer.
    permit: Option<u64>,
    /// What it weighs in a batch.
    weight: u64,
    group: u32,
    /// The next of its group.
    next: u32,
}

/// The events with one key.
struct Group {
    first: u32,
    last: u32,
    /// How many wait.
    len: u32,
    /// Whether any is with a lane, and so holds up the others.
    busy: bool,
    turn: Turn,
    /// Whether it is in the list of the idle.
    listed: bool,
}

/// Where a group is.
#[derive(Clone, Copy)]
enum Turn {
    None,
    /// In the list of the ready, though it may have become empty there.
    Ready,
    /// At this place of those that wait for more.
    Filling(u32),
}

pub(super) struct Index<E> {
    /// How many events of a group a lane takes at once, and how long they wait for one another.
    size: usize,
    time: Duration,
    /// What they may weigh.
    max_weight: Option<u64>,
    /// From the oldest.
    nodes: Chain<Node<E>>,
    groups: Vec<Group>,
    /// What the events of each group weigh in batches, if that is limited. Not in the group, which is small: many of them are
    /// in a processor's cache.
    weights: Vec<u128>,
    /// Groups of which a lane may take events, in turn; and how many of them are not empty.
    turns: VecDeque<u32>,
    ready: usize,
    /// Groups that wait for more events, and until when. All wait for the same time: the first is the first to be ready.
    filling: Chain<(u32, Option<Instant>)>,
    /// The number of the first event that each lane has, or `u64::MAX`.
    with_lanes: Vec<u64>,
    /// Keys of which there was no event.
    idle: Vec<u32>,
    /// Nothing waits for more events.
    hurry: bool,
}

/// How many idle keys there may be before they are removed. They may be used again.
const MANY: usize = 1024;

/// The size of a table that is kept while it is empty.
const KEPT: usize = 1024;

impl Group {
    fn new(id: u32) -> Self {
        Self { first: NONE, last: NONE, len: 0, busy: id == HELD, turn: Turn::None, listed: false }
    }
}

impl<E> Index<E> {
    pub(super) fn new(batch: &Batch<E>) -> Self {
        Self {
            size: batch.size,
            time: batch.time,
            max_weight: batch.weighing.as_ref().map(|weighing| weighing.max),
            nodes: Chain::new(),
            groups: Vec::new(),
            weights: Vec::new(),
            turns: VecDeque::new(),
            ready: 0,
            filling: Chain::new(),
            with_lanes: Vec::new(),
            idle: Vec::new(),
            hurry: false,
        }
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        self.nodes.len()
    }

    /// How many groups are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    pub(super) fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// Whether events wait for one another.
    pub(super) fn fills(&self) -> bool {
        !self.time.is_zero()
    }

    /// The number by which a lane takes events.
    pub(super) fn add_lane(&mut self) -> usize {
        self.with_lanes.push(u64::MAX);
        self.with_lanes.len() - 1
    }

    /// The place in the order of all of the oldest that waits or is with a lane.
    pub(super) fn first_seq(&self) -> Option<u64> {
        let first = self.nodes.first().and_then(|place| self.nodes.get(place)).map(|node| node.seq);
        self.with_lanes.iter().copied().chain(first).min().filter(|first| *first < u64::MAX)
    }

    /// Adds an event behind all others.
    pub(super) fn push(&mut self, event: E, seq: u64, permit: Option<u64>, weight: u64, id: u32) {
        let place = self.nodes.push(Node { event, seq, permit, weight, group: id, next: NONE });
        while self.groups.len() <= id as usize {
            self.groups.push(Group::new(self.groups.len() as u32));
            if self.max_weight.is_some() {
                self.weights.push(0);
            }
        }
        if let Some(group) = self.groups.get_mut(id as usize) {
            group.len += 1;
            match self.nodes.get_mut(std::mem::replace(&mut group.last, place)) {
                Some(last) => last.next = place,
                None => group.first = place,
            }
        }
        if let Some(of_group) = self.weights.get_mut(id as usize) {
            *of_group += u128::from(weight);
        }
        self.offer(id);
    }

    /// Gives a group its turn, or has it wait for more, if a lane may have what is in it.
    fn offer(&mut self, id: u32) {
        let Some(group) = self.groups.get_mut(id as usize).filter(|group| !group.busy && group.len > 0)
        else {
            return;
        };
        let time = self.time;
        let fills = !time.is_zero() && !self.hurry && (group.len as usize) < self.size && {
            let weight = self.weights.get(id as usize);
            weight.zip(self.max_weight).is_none_or(|(weight, max)| *weight < u128::from(max))
        };
        match group.turn {
            // It was empty.
            Turn::Ready if group.len == 1 => self.ready += 1,
            Turn::Ready => {}
            Turn::Filling(_) if fills => {}
            Turn::None if fills => {
                group.turn = Turn::Filling(self.filling.push((id, Instant::now().checked_add(time))));
            }
            Turn::None => self.make_ready(id),
            Turn::Filling(place) => {
                self.filling.remove(place);
                self.make_ready(id);
            }
        }
    }

    fn make_ready(&mut self, id: u32) {
        if let Some(group) = self.groups.get_mut(id as usize) {
            group.turn = Turn::Ready;
            self.turns.push_back(id);
            self.ready += 1;
        }
    }

    /// Gives those their turn that have waited long enough for more; all of them, from now on, if `hurry`.
    pub(super) fn end_waits(&mut self, hurry: bool) {
        self.hurry = hurry;
        while let Some((id, until)) = self.first_filling() {
            if !hurry && until.is_none_or(|until| Instant::now() < until) {
                return;
            }
            self.filling.pop();
            self.make_ready(id);
        }
    }

    fn first_filling(&self) -> Option<(u32, Option<Instant>)> {
        self.filling.get(self.filling.first()?).copied()
    }

    /// When the first of those that wait for more has waited long enough.
    pub(super) fn until(&self) -> Option<Instant> {
        self.first_filling()?.1
    }

    /// Hands the first events of the group whose turn it is to `f`, as many as are delivered at once, and returns the group, or
    /// `NONE`. They are to be [settled](Self::settle).
    pub(super) fn take(&mut self, lane: usize, mut f: impl FnMut(E, Option<u64>)) -> u32 {
        let (id, group) = loop {
            let next = if self.ready > 0 { self.turns.pop_front() } else { None };
            let Some(id) = next else {
                return NONE;
            };
            if let Some(group) = self.groups.get_mut(id as usize) {
                group.turn = Turn::None;
                if group.len > 0 {
                    break (id, group);
                }
            }
        };
        self.ready -= 1;
        group.busy = id >= KEYS;
        let (mut taken, mut weight, mut first_seq) = (0, 0_u64, u64::MAX);
        while taken < self.size && group.len > 0 {
            if let (Some(max), Some(of_group)) = (self.max_weight, self.weights.get_mut(id as usize)) {
                let next = self.nodes.get(group.first).map_or(0, |node| node.weight);
                // One that is too heavy is alone.
                if taken > 0 && (weight >= max || next > max - weight) {
                    break;
                }
                weight = weight.saturating_add(next);
                *of_group -= u128::from(next);
            }
            let Some(node) = self.nodes.remove(group.first) else {
                break;
            };
            taken += 1;
            group.first = node.next;
            group.len -= 1;
            first_seq = first_seq.min(node.seq);
            f(node.event, node.permit);
        }
        if let Some(with_lane) = self.with_lanes.get_mut(lane) {
            *with_lane = first_seq.min(*with_lane);
        }
        if group.len == 0 {
            group.last = NONE;
        } else if !group.busy {
            self.offer(id);
        }
        id
    }

    /// What a lane had of that group is delivered, or came back.
    pub(super) fn settle(&mut self, lane: usize, id: u32) {
        if let Some(with_lane) = self.with_lanes.get_mut(lane) {
            *with_lane = u64::MAX;
        }
        // Those without a key were offered when some were taken.
        let Some(group) = self.groups.get_mut(id as usize).filter(|_| id >= KEYS) else {
            return;
        };
        group.busy = false;
        match group.len {
            0 => Self::list_as_idle(&mut self.idle, group, id),
            _ => self.offer(id),
        }
    }

    /// Of a group of which no event waits or is with a lane.
    fn list_as_idle(idle: &mut Vec<u32>, group: &mut Group, id: u32) {
        if !std::mem::replace(&mut group.listed, true) {
            idle.push(id);
        }
    }

    /// Whether keys are idle that should be removed: all, or if there are many.
    pub(super) fn has_idle(&self, all: bool) -> bool {
        self.idle.len() > if all { 0 } else { MANY }
    }

    /// The keys that are idle, which are removed.
    pub(super) fn take_idle(&mut self) -> Vec<u32> {
        let mut idle = std::mem::take(&mut self.idle);
        idle.retain(|id| match self.groups.get_mut(*id as usize) {
            Some(group) => {
                group.listed = false;
                group.len == 0 && !group.busy
            }
            None => false,
        });
        let all_idle = self.nodes.is_empty() && self.with_lanes.iter().all(|first| *first == u64::MAX);
        if all_idle && self.groups.capacity().max(self.turns.capacity()) > KEPT {
            (self.groups, self.weights, self.turns) = (Vec::new(), Vec::new(), VecDeque::new());
        }
        idle
    }

    /// Takes the oldest out that waits, of those that hold a permit if it is to make room.
    pub(super) fn take_oldest(&mut self, with_permit: bool) -> Option<(E, Option<u64>)> {
        let mut place = self.nodes.first()?;
        // Those that hold none are few.
        while with_permit && self.nodes.get(place)?.permit.is_none() {
            place = self.nodes.after(place)?;
        }
        let node = self.nodes.remove(place)?;
        self.leave_group(&node, place);
        Some((node.event, node.permit))
    }

    fn leave_group(&mut self, node: &Node<E>, place: u32) {
        let (id, next) = (node.group, node.next);
        let Some(group) = self.groups.get_mut(id as usize) else {
            return;
        };
        let mut before = NONE;
        if group.first == place {
            group.first = next;
        } else {
            // Behind events that hold no permit.
            before = group.first;
            while let Some(node) = self.nodes.get_mut(before).filter(|node| node.next != place) {
                before = node.next;
            }
            if let Some(node) = self.nodes.get_mut(before) {
                node.next = next;
            }
        }
        if group.last == place {
            group.last = before;
        }
        group.len -= 1;
        if let Some(weight) = self.weights.get_mut(id as usize) {
            *weight -= u128::from(node.weight);
        }
        if group.len == 0 {
            match group.turn {
                Turn::None => {}
                Turn::Ready => self.ready -= 1,
                Turn::Filling(place) => {
                    self.filling.remove(place);
                    group.turn = Turn::None;
                }
            }
            if id >= KEYS && !group.busy {
                Self::list_as_idle(&mut self.idle, group, id);
            }
        }
    }

    /// How many keys and events there is room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.nodes.room().max(self.groups.capacity()).max(self.turns.capacity()).max(self.idle.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_a_list_does_that_is_searched_from_the_front() {
        for (size, seed) in [(1, 1), (1, 2), (3, 3), (100, 4)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut index = Index::new(&Batch::of(size));
            let lanes: Vec<usize> = (0..4).map(|_| index.add_lane()).collect();
            // Number, group, and whether it holds a permit.
            let mut model: Vec<(u64, u32, bool)> = Vec::new();
            let mut taken: Vec<Option<(u32, u64)>> = vec![None; lanes.len()];
            for seq in 0..30_000_u64 {
                let busy = |id, taken: &[Option<(u32, u64)>]| {
                    id >= KEYS && taken.iter().flatten().any(|(other, _)| *other == id)
                };
                let may_go = |model: &[(u64, u32, bool)], taken: &[Option<(u32, u64)>]| {
                    let mut groups: Vec<u32> = model.iter().map(|event| event.1).collect();
                    groups.sort_unstable();
                    groups.dedup();
                    groups.retain(|id| *id != HELD && !busy(*id, taken));
                    groups
                };
                match random.u8(0..10) {
                    0..4 => {
                        let (id, permit) = (random.u32(0..8), random.u8(0..10) > 0);
                        index.push(seq, seq, permit.then_some(7), 0, id);
                        model.push((seq, id, permit));
                    }
                    4..8 => {
                        let lane = random.usize(0..lanes.len());
                        if let Some((id, _)) = taken[lane].take() {
                            index.settle(lane, id);
                        }
                        let groups = may_go(&model, &taken);
                        let mut events = Vec::new();
                        let id = index.take(lane, |event, _| events.push(event));
                        if id == NONE {
                            assert!(groups.is_empty() && events.is_empty());
                        } else {
                            assert!(groups.contains(&id));
                            let of_group = model.iter().filter(|event| event.1 == id).map(|event| event.0);
                            assert_eq!(events, of_group.take(size).collect::<Vec<_>>());
                            model.retain(|event| !events.contains(&event.0));
                            taken[lane] = Some((id, events[0]));
                        }
                    }
                    8 => {
                        let with_permit = random.bool();
                        let oldest = model.iter().position(|event| event.2 || !with_permit);
                        let expected = oldest.map(|at| model.remove(at));
                        assert_eq!(
                            index.take_oldest(with_permit),
                            expected.map(|(seq, _, permit)| (seq, permit.then_some(7)))
                        );
                    }
                    _ => {
                        let idle = index.take_idle();
                        assert!(idle.iter().all(|id| *id >= KEYS && !busy(*id, &taken)));
                        assert!(idle.iter().all(|id| model.iter().all(|event| event.1 != *id)));
                    }
                }
                assert_eq!((index.waiting(), index.ready()), (model.len(), may_go(&model, &taken).len()));
                let with_lanes = taken.iter().flatten().map(|(_, first)| *first);
                let first = model.first().map(|event| event.0).into_iter().chain(with_lanes).min();
                assert_eq!(index.first_seq(), first);
            }
        }
    }

    #[test]
    fn groups_take_turns() {
        let mut index = Index::new(&Batch::of(1));
        let lane = index.add_lane();
        (0..300).for_each(|seq| index.push(seq, seq, None, 0, KEYS + (seq % 100 / 50) as u32));
        index.push(300, 300, None, 0, KEYS + 2);
        let mut order = Vec::new();
        for _ in 0..9 {
            let id = index.take(lane, |_, _| ());
            index.settle(lane, id);
            order.push(id - KEYS);
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_group_waits_for_its_batch_and_no_longer_than_it_is_to() {
        let hour = std::time::Duration::from_secs(3600);
        let mut index = Index::new(&Batch::of(2).within(hour));
        let lane = index.add_lane();
        index.push(0, 0, None, 0, KEYS);
        index.push(1, 1, None, 0, KEYS + 1);
        assert!(!index.has_ready() && index.until().is_some_and(|until| until > Instant::now()));
        index.push(2, 2, None, 0, KEYS + 1);
        assert_eq!((index.ready(), index.take(lane, |_, _| ())), (1, KEYS + 1));
        index.push(3, 3, None, 0, KEYS + 1);
        // Not while it is with a lane.
        index.end_waits(true);
        assert_eq!(index.ready(), 1);
        index.end_waits(false);
        index.settle(lane, KEYS + 1);
        assert_eq!(index.ready(), 1);
        assert!(index.until().is_some());
        index.end_waits(true);
        assert_eq!((index.ready(), index.until()), (2, None));
        assert_eq!(index.take_oldest(false), Some((0, None)));
        assert_eq!(index.ready(), 1);
    }

    #[test]
    fn many_groups_once_each_leave_no_room_behind() {
        let mut index = Index::new(&Batch::of(1));
        let lane = index.add_lane();
        (0..100_000).for_each(|seq| index.push(seq, seq, None, 0, KEYS + seq as u32));
        while index.has_ready() {
            let id = index.take(lane, |_, _| ());
            index.settle(lane, id);
        }
        assert_eq!(index.take_idle().len(), 100_000);
        assert!(index.room() <= KEPT, "{}", index.room());
    }
}
