//! What a seed stands for: a graph and the operations of each thread, as data.

use std::fmt::Write as _;
use std::time::Duration;

use fastrand::Rng;

use crate::event::Bomb;
use crate::leaf::{CloseBy, LeafPlan};
use crate::operations::Op;

/// What a program may do, each with a probability of its own. `OUTFLOW_SOAK_WITHOUT` leaves some out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Trait {
    Rings, Reentry, SinkPanics, ClosurePanics, ClonePanics, DropPanics, ClosePanics, Aborts, InnerCloses, SelfCloses,
    Stuck, Idle, Drops, Changes, Waits, Deep,
    Flushes, Limits, Async, ShutDowns,
}

use Trait::*;

/// Each with its name and how many programs in a hundred have it.
pub const TRAITS: [(Trait, &str, u8); 17] = [
    (Rings, "rings", 20),
    (Reentry, "reentry", 20),
    (SinkPanics, "sink-panics", 20),
    (ClosurePanics, "closure-panics", 8),
    (ClonePanics, "clone-panics", 8),
    (DropPanics, "drop-panics", 10),
    (ClosePanics, "close-panics", 10),
    (Aborts, "aborts", 20),
    (InnerCloses, "inner-closes", 25),
    (SelfCloses, "self-closes", 20),
    (Stuck, "stuck", 6),
    (Idle, "idle", 10),
    (Drops, "drops", 20),
    (Changes, "changes", 30),
    (Waits, "waits", 50),
    (Deep, "deep", 5),
    (Flushes, "flushes", 75),
];

/// What came later is drawn from the seed and the number behind it, apart from the others: a seed from before it was there
/// stands for the same program as then. None of those in `seeds.txt` that are older draws it with this number.
const APART: [((Trait, &str, u8), u64); 3] = [
    // Makes of some filters an expiry, and of some closeables a rate limit.
    ((Limits, "limits", 25), 14),
    // Asynchronous sinks, batches that are split and weighed, and writers that are tasks.
    ((Async, "async", 50), 19_425),
    // The runtime of asynchronous sinks is shut down in the middle. Nothing without them.
    ((ShutDowns, "shut-downs", 30), 19_426),
];

#[derive(Clone, Copy, Debug)]
pub struct Traits(u32);

impl Traits {
    fn of(seed: u64, rng: &mut Rng, without: &[String]) -> Self {
        let mut set = 0;
        let mut draw = |rng: &mut Rng, (one, name, percent): (Trait, &str, u8)| {
            if rng.u8(0..100) < percent && !without.iter().any(|left_out| left_out == name) {
                set |= 1 << one as u32;
            }
        };
        TRAITS.into_iter().for_each(|one| draw(rng, one));
        for (one, apart) in APART {
            draw(&mut Rng::with_seed(seed ^ apart), one);
        }
        Self(set)
    }

    pub fn none() -> Self {
        Self(0)
    }

    pub fn has(self, one: Trait) -> bool {
        self.0 & (1 << one as u32) != 0
    }

    pub fn any(self, some: &[Trait]) -> bool {
        some.iter().any(|one| self.has(*one))
    }

    fn names(self) -> Vec<&'static str> {
        let all = TRAITS.into_iter().chain(APART.map(|(one, _)| one));
        all.filter(|(one, ..)| self.has(*one)).map(|(_, name, _)| name).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Unbounded,
    Block,
    DropOldest,
    DropNewest,
    Reject,
    BlockFor,
}

/// How many events of a queue are delivered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    One,
    /// By the stream of an event, whose order is kept.
    Keyed(usize),
    Concurrent(usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    Constant,
    Exponential,
    Breaker,
    /// Waits for an hour.
    Stuck,
}

/// Where a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Over a synchronous sink.
    Sync,
    /// Over an asynchronous one, as all of these.
    Workers,
    Dedicated,
    Tokio,
    /// On the same runtime, by a closure.
    Closure,
}

#[derive(Clone, Copy, Debug)]
pub enum Lagging {
    None,
    Block(u64),
    Skip(u64),
    Close(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Reading {
    All,
    /// Lets go of its end after so many.
    First(u64),
    /// Does not read while the program runs.
    Idle,
}

/// One sink. What it wraps comes first among `below`, then its spill.
#[derive(Clone, Debug)]
pub enum Make {
    Leaf(LeafPlan),
    Filter {
        every: u64,
    },
    FilterMap {
        every: u64,
    },
    /// Instead of a filter: the others are too old.
    Expire {
        every: u64,
    },
    /// Instead of a closeable.
    RateLimit,
    Map,
    MapOwned,
    Inspect {
        panics: u64,
    },
    Metered,
    Closeable,
    KeepOpen,
    Tee,
    Fallback,
    DeadLetter,
    Lossy,
    CatchPanic,
    Retry(Pace),
    GiveUp(Pace, u32),
    Queue {
        policy: Policy,
        capacity: usize,
        batch: usize,
        /// Batches end by weight, too.
        weighs: bool,
        /// What fails of a batch is given up, and counted.
        splits: bool,
        runs: Runs,
        lanes: Lanes,
    },
    /// Of asynchronous sinks alone.
    Timeout {
        short: bool,
    },
    Bus,
    /// A bus within a bus within a bus.
    Tower(usize),
    Log {
        retain: u64,
    },
    Follow {
        lag: Lagging,
        runs: Runs,
    },
    Subscribe {
        policy: Policy,
        capacity: usize,
        reading: Reading,
        stream: bool,
    },
    Cursor {
        reading: Reading,
        stream: bool,
    },
    Channel {
        policy: Policy,
        capacity: usize,
        reading: Reading,
        stream: bool,
    },
    /// A stream forwarded into a `futures` sink.
    Forward,
    Back {
        to: usize,
        by_turns: bool,
    },
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub make: Make,
    pub fails: bool,
    pub below: Vec<Plan>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close,
    Abort,
    Drop,
}

pub struct Program {
    pub traits: Traits,
    pub plan: Plan,
    pub threads: Vec<Vec<Op>>,
    pub bombs: u64,
    pub bomb: Bomb,
    pub end: End,
}

impl Program {
    pub fn of(seed: u64, without: &[String]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let traits = Traits::of(seed, &mut rng, without);
        let mut planner = Planner::new(&mut rng, traits);
        let plan = planner.reliable(1);
        let bomb = match () {
            () if traits.has(DropPanics) => Bomb::Drop,
            () if traits.has(ClonePanics) => Bomb::Clone,
            () => Bomb::None,
        };
        let nodes = plan.nodes();
        let longest = if rng.u8(..) < 40 { 40 } else { 12 };
        let mut threads: Vec<Vec<Op>> = (0..rng.usize(1..4))
            .map(|_| (0..rng.usize(1..longest)).map(|_| Op::random(&mut rng, traits, nodes)).collect())
            .collect();
        if traits.has(Async) && traits.has(ShutDowns) {
            let thread = rng.usize(..threads.len());
            let at = rng.usize(..=threads[thread].len());
            threads[thread].insert(at, Op::ShutDown);
        }
        let end = match rng.u8(0..10) {
            _ if traits.has(Stuck) => End::Abort,
            0..2 if traits.has(Aborts) => End::Abort,
            2..5 if traits.has(Drops) && !traits.any(&[Rings, Idle]) => End::Drop,
            _ => End::Close,
        };
        Self { traits, plan, threads, bombs: rng.u64(1..6), bomb, end }
    }

    /// Whether it may take an abort to end it: where nothing takes an event out, or an event is retried for ever because
    /// each attempt panics in its destructor or clone.
    pub fn needs_abort(&self) -> bool {
        let for_ever = self.traits.any(&[Trait::DropPanics, Trait::ClonePanics])
            && self.plan.any(&|make| matches!(make, Make::CatchPanic))
            && self.plan.any(&|make| matches!(make, Make::Retry(_)));
        for_ever || self.traits.any(&[Trait::Stuck, Trait::Idle])
    }

    /// The program, to be read by people.
    pub fn words(&self) -> String {
        let mut words = format!("  what it may do: {}\n", self.traits.names().join(", "));
        if self.bomb != Bomb::None {
            let _ = writeln!(words, "  every {}. event panics in its {:?}", self.bombs, self.bomb);
        }
        words.push_str("  the graph, by number of the node:\n");
        self.plan.describe(&mut 0, 2, &mut words);
        for (thread, ops) in self.threads.iter().enumerate() {
            let _ = writeln!(words, "  thread {thread}: {ops:?}");
        }
        let _ = writeln!(words, "  then: {:?}", self.end);
        words
    }
}

impl Plan {
    pub fn nodes(&self) -> usize {
        1 + self.below.iter().map(Plan::nodes).sum::<usize>()
    }

    pub fn any(&self, holds: &impl Fn(&Make) -> bool) -> bool {
        holds(&self.make) || self.below.iter().any(|below| below.any(holds))
    }

    /// Calls `f` with every node that a ring leads back to.
    pub fn ring_targets(&self, f: &mut impl FnMut(usize)) {
        if let Make::Back { to, .. } = self.make {
            f(to);
        }
        self.below.iter().for_each(|below| below.ring_targets(f));
    }

    fn describe(&self, node: &mut usize, depth: usize, words: &mut String) {
        let fails = if self.fails { " (can fail)" } else { "" };
        let _ = writeln!(words, "{:indent$}{node}: {:?}{fails}", "", self.make, indent = 2 * depth);
        *node += 1;
        for below in &self.below {
            below.describe(node, depth + 1, words);
        }
    }
}

const DEEPEST: u32 = 5;

/// Draws graphs. Nodes are numbered in the order in which they are drawn, from the top.
pub struct Planner<'a> {
    rng: &'a mut Rng,
    traits: Traits,
    node: usize,
    /// Those above that a ring may lead back to.
    targets: Vec<usize>,
    /// An abort does not reach into a spill.
    in_spill: bool,
    /// What is retried for ever must not wait for the thread that retries.
    retried: bool,
    /// Whether something already makes writers wait: in a ring, one may.
    waits: bool,
}

impl<'a> Planner<'a> {
    pub fn new(rng: &'a mut Rng, traits: Traits) -> Self {
        Self { rng, traits, node: 0, targets: Vec::new(), in_spill: false, retried: false, waits: false }
    }

    fn plan(&mut self, make: Make, below: impl FnOnce(&mut Self) -> Vec<Plan>) -> Plan {
        self.node += 1;
        Plan { make, fails: false, below: below(self) }
    }

    fn one(&mut self, percent: u8) -> bool {
        self.rng.u8(0..100) < percent
    }

    fn may_wait(&mut self) -> bool {
        let may = self.traits.has(Waits) && !(self.waits && self.traits.any(&[Rings, Reentry]));
        self.waits |= may;
        may
    }

    /// A sink that cannot fail.
    pub fn reliable(&mut self, depth: u32) -> Plan {
        let leaf = depth >= DEEPEST || (depth > 2 && self.one(25));
        if leaf {
            return self.end(false);
        }
        let next = depth + 1;
        match self.rng.u8(0..100) {
            0..12 => self.transparent(next, Self::reliable),
            12..17 => self.plan(Make::Tee, |p| vec![p.reliable(next), p.reliable(next)]),
            17..21 => self.plan(Make::Fallback, |p| vec![p.failing(next), p.reliable(next)]),
            21..25 => self.plan(Make::DeadLetter, |p| vec![p.failing(next), p.reliable(next)]),
            25..28 => self.plan(Make::Lossy, |p| vec![p.failing(next)]),
            28..34 => {
                let pace = self.pace();
                let before = std::mem::replace(&mut self.retried, self.traits.any(&[Rings, Reentry]));
                let plan = self.plan(Make::Retry(pace), |p| vec![p.failing(next)]);
                self.retried = before;
                plan
            }
            34..58 => self.queue(next, false),
            58..76 => self.bus(next),
            76..90 => self.log(next),
            90..94 => self.channel(next, false),
            94..97 => self.plan(Make::Forward, |p| vec![p.reliable(next)]),
            97.. if self.traits.has(Deep) => {
                let height = self.rng.usize(2..70);
                self.plan(Make::Tower(height), |p| vec![p.reliable(next)])
            }
            _ => self.end(false),
        }
    }

    fn failing(&mut self, depth: u32) -> Plan {
        let next = depth + 1;
        let mut plan = match self.rng.u8(0..100) {
            _ if depth >= DEEPEST => self.end(true),
            0..30 => self.end(true),
            30..45 => self.transparent(next, Self::failing),
            45..66 if self.retried => self.end(true),
            45..60 => self.queue(next, true),
            60..66 => self.channel(next, true),
            66..78 => {
                let (pace, attempts) = (self.pace(), self.rng.u32(1..4));
                self.plan(Make::GiveUp(pace, attempts), |p| vec![p.failing(next)])
            }
            78..90 => {
                let fails = self.one(50);
                self.plan(Make::CatchPanic, |p| vec![if fails { p.failing(next) } else { p.reliable(next) }])
            }
            90..95 => self.plan(Make::Fallback, |p| vec![p.failing(next), p.failing(next)]),
            _ => self.plan(Make::DeadLetter, |p| vec![p.failing(next), p.failing(next)]),
        };
        plan.fails = true;
        plan
    }

    fn end(&mut self, fails: bool) -> Plan {
        if !fails && self.traits.has(Rings) && !self.targets.is_empty() && self.one(60) {
            let to = self.targets[self.rng.usize(..self.targets.len())];
            let by_turns = self.one(30);
            return self.plan(Make::Back { to, by_turns }, |_| Vec::new());
        }
        let leaf = self.leaf(fails);
        let mut plan = self.plan(Make::Leaf(leaf), |_| Vec::new());
        plan.fails = fails;
        plan
    }

    fn leaf(&mut self, fails: bool) -> LeafPlan {
        let traits = self.traits;
        let every = |p: &mut Self, has: Trait, percent| match traits.has(has) && p.one(percent) {
            true => p.rng.u64(1..12),
            false => 0,
        };
        LeafPlan {
            stalls: if self.one(40) { self.rng.u64(1..6) } else { 0 },
            stall: Duration::from_micros(self.rng.u64(20..400)),
            // Not every time, so that a retry ends.
            panics: if traits.has(SinkPanics) && self.one(40) { self.rng.u64(2..12) } else { 0 },
            fails: if fails { self.rng.u64(2..5) } else { 0 },
            closes: every(self, SelfCloses, 40),
            close: match self.rng.u8(0..10) {
                0..5 if traits.has(ClosePanics) => CloseBy::Panics,
                8 => CloseBy::Fails,
                9 => CloseBy::Later,
                _ => CloseBy::Done,
            },
            flush_panics: traits.has(ClosePanics) && self.one(20),
            clones: self.one(50),
            // An abort waits for the spills of what it sheds, so that these must not wait for what it is to wake.
            calls_back: match every(self, Reentry, 60) {
                _ if self.in_spill && traits.has(Stuck) => 0,
                calls => calls,
            },
            call: Op::random(self.rng, traits, 8),
        }
    }

    fn pace(&mut self) -> Pace {
        match self.rng.u8(0..3) {
            _ if self.traits.has(Stuck) && !self.in_spill && self.one(70) => Pace::Stuck,
            0 => Pace::Constant,
            1 => Pace::Exponential,
            _ => Pace::Breaker,
        }
    }

    fn transparent(&mut self, next: u32, below: fn(&mut Self, u32) -> Plan) -> Plan {
        let make = match self.rng.u8(0..9) {
            0 => Make::Filter { every: self.rng.u64(2..5) },
            1 => Make::FilterMap { every: self.rng.u64(2..5) },
            2 => Make::Map,
            3 => Make::MapOwned,
            4 | 5 => {
                let panics = if self.traits.has(ClosurePanics) { self.rng.u64(3..12) } else { 0 };
                Make::Inspect { panics }
            }
            6 => Make::Metered,
            7 => Make::Closeable,
            _ => Make::KeepOpen,
        };
        let make = match make {
            Make::Filter { every } if self.traits.has(Limits) => Make::Expire { every },
            Make::Closeable if self.traits.has(Limits) => Make::RateLimit,
            make => make,
        };
        self.plan(make, |p| vec![below(p, next)])
    }

    fn policy(&mut self, fails: bool) -> Policy {
        match (fails, self.rng.u8(0..4)) {
            (true, 0) => Policy::BlockFor,
            (true, _) => Policy::Reject,
            (false, 0) => Policy::DropOldest,
            (false, 1) => Policy::DropNewest,
            (false, 2) if self.may_wait() => Policy::Block,
            _ => Policy::Unbounded,
        }
    }

    fn spill(&mut self, next: u32) -> Option<Plan> {
        let outside = std::mem::replace(&mut self.in_spill, true);
        let spill = self.one(40).then(|| self.reliable(next.max(DEEPEST - 1)));
        self.in_spill = outside;
        spill
    }

    fn queue(&mut self, next: u32, fails: bool) -> Plan {
        let policy = self.policy(fails);
        let capacity = self.rng.usize(1..5);
        let batch = if self.one(25) { self.rng.usize(1..5) } else { 0 };
        let node = self.node;
        let has_async = self.traits.has(Async);
        let batch = if has_async && batch == 0 && self.one(30) { self.rng.usize(1..5) } else { batch };
        let weighs = has_async && batch > 0 && self.one(40);
        let splits = has_async && batch > 0 && self.one(30);
        let runs = self.runs();
        // Apart, so that the rest of a program is what it was when its seed was kept.
        let mut apart = Rng::with_seed(self.rng.get_seed() ^ 0x006b_6579_6564);
        let lanes = match apart.u8(0..100) {
            0..25 => Lanes::Keyed(apart.usize(1..5)),
            25..35 => Lanes::Concurrent(apart.usize(1..5)),
            _ => Lanes::One,
        };
        self.plan(Make::Queue { policy, capacity, batch, weighs, splits, runs, lanes }, |p| {
            p.targets.push(node);
            let below = match (runs, splits) {
                (Runs::Sync, false) => p.reliable(next),
                (Runs::Sync, true) => p.failing(next),
                (_, false) => p.awaited(next),
                (_, true) => p.awaited_failing(next),
            };
            p.targets.pop();
            std::iter::once(below).chain(p.spill_of(runs, next)).collect()
        })
    }

    pub fn reading(&mut self) -> Reading {
        match self.rng.u8(0..10) {
            0..2 => Reading::First(self.rng.u64(0..6)),
            2..8 if self.traits.has(Idle) => Reading::Idle,
            _ => Reading::All,
        }
    }

    pub fn subscription(&mut self, next: u32) -> Plan {
        let reading = self.reading();
        // Writers wait for a reader that does not read.
        let waits = self.traits.has(Idle) && self.one(60) && self.may_wait();
        let (policy, stream) = (if waits { Policy::Block } else { self.policy(false) }, self.one(40));
        let capacity = self.rng.usize(1..5);
        let make = Make::Subscribe { policy, capacity, reading, stream };
        self.plan(make, |p| p.spill(next).into_iter().collect())
    }

    fn channel(&mut self, next: u32, fails: bool) -> Plan {
        let policy = self.policy(fails);
        let lowest = usize::from(policy != Policy::Block);
        let capacity = self.rng.usize(lowest..4);
        let (reading, stream) = (self.reading(), self.one(40));
        let make = Make::Channel { policy, capacity, reading, stream };
        self.plan(make, |p| p.spill(next).into_iter().collect())
    }

    fn bus(&mut self, next: u32) -> Plan {
        let node = self.node;
        let often = if self.traits.has(Idle) { 80 } else { 35 };
        let (sinks, subscriptions) = (self.rng.usize(1..4), usize::from(self.one(often)));
        self.plan(Make::Bus, |p| {
            p.targets.push(node);
            let mut below: Vec<_> = (0..sinks).map(|_| p.reliable(next)).collect();
            p.targets.pop();
            below.extend((0..subscriptions).map(|_| p.subscription(next)));
            below
        })
    }

    fn log(&mut self, next: u32) -> Plan {
        let node = self.node;
        let (followers, cursors) = (self.rng.usize(1..3), usize::from(self.one(35)));
        let retain = if self.one(30) { 8 } else { 0 };
        self.plan(Make::Log { retain }, |p| {
            p.targets.push(node);
            let mut below: Vec<_> = (0..followers).map(|_| p.follower(next)).collect();
            p.targets.pop();
            for _ in 0..cursors {
                let (reading, stream) = (p.reading(), p.one(40));
                below.push(p.plan(Make::Cursor { reading, stream }, |_| Vec::new()));
            }
            below
        })
    }

    pub fn follower(&mut self, next: u32) -> Plan {
        let most = self.rng.u64(1..8);
        let lag = match self.rng.u8(0..10) {
            0 => Lagging::Skip(most),
            1 if self.traits.has(SelfCloses) => Lagging::Close(most),
            2..4 if self.may_wait() => Lagging::Block(most),
            _ => Lagging::None,
        };
        let runs = self.runs();
        self.plan(Make::Follow { lag, runs }, |p| {
            let below = if runs == Runs::Sync { p.reliable(next) } else { p.awaited(next) };
            std::iter::once(below).chain(p.spill_of(runs, next)).collect()
        })
    }

    /// On a runtime a spill must not wait, since the runtime does.
    fn spill_of(&mut self, runs: Runs, next: u32) -> Option<Plan> {
        match runs {
            Runs::Tokio | Runs::Closure => self.one(40).then(|| self.beside(next.max(DEEPEST - 1))),
            Runs::Sync | Runs::Workers | Runs::Dedicated => self.spill(next),
        }
    }

    fn runs(&mut self) -> Runs {
        if !self.traits.has(Async) || !self.one(60) {
            return Runs::Sync;
        }
        match self.rng.u8(0..5) {
            // What waits for room in a spill may be a worker of the runtime, and the only one that could make some.
            _ if self.in_spill => Runs::Workers,
            0 => Runs::Workers,
            1 => Runs::Dedicated,
            2 | 3 => Runs::Tokio,
            _ => Runs::Closure,
        }
    }

    /// An asynchronous sink that cannot fail. Beside it are only sinks whose writes do not wait.
    fn awaited(&mut self, depth: u32) -> Plan {
        let next = depth + 1;
        match self.rng.u8(0..100) {
            _ if depth > DEEPEST => self.awaited_leaf(false),
            0..25 => self.awaited_leaf(false),
            25..50 => self.transparent(next, Self::awaited),
            50..70 => {
                let pace = self.pace();
                self.plan(Make::Retry(pace), |p| vec![p.awaited_failing(next)])
            }
            70..80 => self.plan(Make::Lossy, |p| vec![p.awaited_failing(next)]),
            80..90 => self.plan(Make::DeadLetter, |p| vec![p.awaited_failing(next), p.beside(next)]),
            _ => self.plan(Make::Fallback, |p| vec![p.awaited_failing(next), p.beside(next)]),
        }
    }

    fn awaited_failing(&mut self, depth: u32) -> Plan {
        let next = depth + 1;
        let either = |p: &mut Self| if p.one(50) { p.awaited_failing(next) } else { p.awaited(next) };
        let mut plan = match self.rng.u8(0..100) {
            _ if depth > DEEPEST => self.awaited_leaf(true),
            0..30 => self.awaited_leaf(true),
            30..50 => self.transparent(next, Self::awaited_failing),
            50..65 => {
                let (pace, attempts) = (self.pace(), self.rng.u32(1..4));
                self.plan(Make::GiveUp(pace, attempts), |p| vec![p.awaited_failing(next)])
            }
            65..75 => self.plan(Make::CatchPanic, |p| vec![either(p)]),
            _ => {
                let short = self.one(70);
                self.plan(Make::Timeout { short }, |p| vec![either(p)])
            }
        };
        plan.fails = true;
        plan
    }

    fn awaited_leaf(&mut self, fails: bool) -> Plan {
        let mut leaf = self.leaf(fails);
        // Not every write takes longer than a timeout, so that a retry ends.
        leaf.stalls += u64::from(leaf.stalls == 1);
        // On a runtime it would wait for a thread that it holds up.
        if self.traits.has(Waits) {
            leaf.calls_back = 0;
        }
        let mut plan = self.plan(Make::Leaf(leaf), |_| Vec::new());
        plan.fails = fails;
        plan
    }

    /// A sink whose writes do not wait.
    fn beside(&mut self, next: u32) -> Plan {
        let (policy, capacity, batch) = (Policy::Unbounded, 1, 0);
        let make = Make::Queue {
            policy,
            capacity,
            batch,
            weighs: false,
            splits: false,
            runs: Runs::Sync,
            lanes: Lanes::One,
        };
        self.plan(make, |p| vec![p.reliable(next)])
    }
}
