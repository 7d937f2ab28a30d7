//! What must hold: of a flush, of closes, and of the accounts of every node when all is over.
//!
//! Every node has an equation over what its probe and those of the sinks below it counted. Programs in which clones,
//! destructors or closures panic are *inexact*: what such a panic does to a write is not in the accounts, so that for them only
//! the laws on single writes, the closes and what is left over are held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outflow::{CloseError, FlushError};

use crate::graph::{Graph, Node, Stats};
use crate::plan::{Lagging, Make, Policy, Program, Reading, Trait};
use crate::probe::{Edge, From, Traffic};
use crate::watchdog;

/// The programs in which every event is accounted for to the last one.
fn is_exact(program: &Program) -> bool {
    !program.traits.any(&[Trait::ClosurePanics, Trait::ClonePanics, Trait::DropPanics])
}

/// The programs in which events may be given up although nothing below answers `Closed` or panics: when a runtime is shut down,
/// too, what was in flight on it is lost.
fn aborts(program: &Program) -> bool {
    program.needs_abort() || program.traits.any(&[Trait::Aborts, Trait::ShutDowns])
}

/// Whether a reader lets go of its end before everything is read.
fn hangs_up(make: &Make) -> bool {
    matches!(
        make,
        Make::Channel { reading: Reading::First(_), .. } | Make::Subscribe { reading: Reading::First(_), .. }
    )
}

fn evicts(node: &Node) -> bool {
    match node.make {
        Make::Queue { policy, .. } => matches!(policy, Policy::DropOldest | Policy::DropNewest),
        Make::Follow { lag, .. } => matches!(lag, Lagging::Skip(_) | Lagging::Close(_)),
        _ => false,
    }
}

/// A flush that was answered `Ok` is a barrier: what a queue or a follower below had accepted of `owed` is settled.
pub fn flushed(
    graph: &Graph,
    program: &Program,
    node: usize,
    owed: &[u64],
    outcome: &Result<(), FlushError>,
) {
    use Trait::*;
    match outcome {
        Ok(()) => {
            let owed: HashSet<u64> = owed.iter().copied().collect();
            settled(graph, program, &graph.node(node), &owed, false);
        }
        Err(error) => {
            let troubled =
                [SinkPanics, ClosurePanics, ClonePanics, DropPanics, ClosePanics, InnerCloses, SelfCloses];
            if !aborts(program) && !program.traits.any(&troubled) && !program.plan.any(&hangs_up) {
                graph
                    .world
                    .broke("a flush fails only where something failed", format!("node {node}: {error}"));
            }
        }
    }
}

fn settled(graph: &Graph, program: &Program, node: &Node, owed: &HashSet<u64>, closed: bool) {
    // The flush of a closed sink ends when its close does, which does not reach what is kept open.
    let closed = closed || node.edge.is_shut();
    if node.detached.load(Ordering::SeqCst) || closed && matches!(node.make, Make::KeepOpen) {
        return;
    }
    if let Make::Queue { .. } = node.make {
        accounted(graph, program, node, &node.edge, owed);
    }
    let flushed_below = match node.make {
        // What they accepted is where it was to go.
        Make::Channel { .. } | Make::Forward => &[][..],
        Make::Queue { .. } => &node.below[..1],
        _ => &node.below[..],
    };
    for below in flushed_below.iter().map(|below| graph.node(*below)) {
        match below.make {
            Make::Follow { .. } => {
                if below.detached.load(Ordering::SeqCst) {
                    continue;
                }
                accounted(graph, program, &below, &node.edge, owed);
                settled(graph, program, &graph.node(below.below[0]), owed, closed);
            }
            Make::Subscribe { .. } | Make::Cursor { .. } => {}
            _ => settled(graph, program, &below, owed, closed),
        }
    }
}

/// Of what a queue or a follower was owed, what was neither delivered nor spilled is counted as dropped, skipped or lost.
fn accounted(graph: &Graph, program: &Program, node: &Node, into: &Edge, owed: &HashSet<u64>) {
    let accepted: Vec<u64> = into.accepted().into_iter().filter(|event| owed.contains(event)).collect();
    let stats = node.asks();
    let mut arrived = HashSet::new();
    for below in &node.below {
        arrived.extend(graph.node(*below).edge.accepted());
    }
    let missing: Vec<u64> = accepted.into_iter().filter(|event| !arrived.contains(event)).collect();
    let excused = match stats {
        // What a log accepted after a follower's end is none of the follower's.
        Some(stats) if matches!(node.make, Make::Follow { .. }) => {
            let after = (into.accepted().len() as u64).saturating_sub(stats.accepted);
            stats.dropped + stats.skipped + stats.lost + after
        }
        // A flush does not wait for an event that a writer is carrying into the spill.
        Some(stats) if evicts(node) => stats.dropped + stats.skipped + stats.lost + stats.in_flight,
        Some(stats) => stats.dropped + stats.skipped + stats.lost,
        // No handle is left to ask: only where nothing can be given up is it known that nothing was.
        None if aborts(program) || evicts(node) || !is_exact(program) => u64::MAX,
        None if program.traits.any(&[Trait::SinkPanics, Trait::SelfCloses, Trait::InnerCloses]) => u64::MAX,
        None => 0,
    };
    // What fails of a batch that is split.
    let excused = match node.make {
        Make::Queue { splits: true, .. } => excused.saturating_add((node.counted)().unwrap_or(0)),
        _ => excused,
    };
    if missing.len() as u64 > excused {
        let detail = format!("node {}: {missing:?} are unaccounted for, {stats:?}", node.id);
        graph.world.broke("a flush is a barrier", detail);
    }
}

/// Every `Closing` of one drain has the same outcome.
pub fn closed(graph: &Graph) -> HashMap<usize, Result<(), CloseError>> {
    let mut outcomes: HashMap<usize, Result<(), CloseError>> = HashMap::new();
    let closings = graph.closings.lock().unwrap().clone();
    for (node, closing) in closings {
        watchdog::says(|| format!("waits for a close of node {node}: {closing:?}"));
        let outcome = closing.wait();
        let drains = matches!(
            graph.node(node).make,
            Make::Queue { .. } | Make::Bus | Make::Log { .. } | Make::Follow { .. }
        );
        if let (Some(before), true) = (outcomes.get(&node), drains) {
            let (one, other) = (format!("{before:?}"), format!("{outcome:?}"));
            if one != other {
                let detail = format!("node {node}: {one} and {other}");
                graph.world.broke("law 3: every close of one drain has the same outcome", detail);
            }
        }
        outcomes.insert(node, outcome);
    }
    outcomes
}

/// The chain closes every sink that belongs to it.
pub fn all_are_closed(graph: &Graph) {
    let root = graph.node(0);
    let mut open = Vec::new();
    owned_leaves(graph, &root, &mut open);
    for node in open {
        watchdog::says(|| format!("waits for the close of node {}", node.id));
        let leaf = node.leaf.as_ref().expect("a leaf");
        if !watchdog::eventually(|| leaf.closes.load(Ordering::SeqCst) > 0) {
            graph.world.broke("law 5: a sink is closed with its chain", format!("node {} is open", node.id));
        }
    }
}

fn owned_leaves(graph: &Graph, node: &Arc<Node>, leaves: &mut Vec<Arc<Node>>) {
    match node.make {
        Make::Leaf(_) => leaves.push(Arc::clone(node)),
        // Closed by a thread that ends later.
        Make::KeepOpen | Make::Forward | Make::Channel { .. } | Make::Subscribe { .. } => {}
        _ => node.below.iter().for_each(|below| owned_leaves(graph, &graph.node(*below), leaves)),
    }
}

pub type Accounts = HashMap<usize, (Option<Stats>, Option<u64>)>;

/// Asks every queue and follower for its accounts, when all of them are at rest.
pub fn accounts(graph: &Graph, program: &Program) -> Accounts {
    let mut asked = Vec::new();
    below_no_stream(graph, &graph.node(0), &mut asked);
    let late: Vec<_> = graph.all_nodes().into_iter().filter(|node| node.late).collect();
    if !program.plan.any(&never_rests) && !late.iter().any(|node| never_rests(&node.make)) {
        asked.extend(late);
    }
    let ask = || -> Vec<_> { asked.iter().map(|node| (node.id, (node.asks(), (node.counted)()))).collect() };
    let rest = watchdog::eventually(|| {
        let accounts = ask();
        accounts.iter().all(|(_, (stats, _))| stats.is_none_or(|stats| stats.pending + stats.in_flight == 0))
            && accounts == ask()
    });
    if !rest {
        graph.world.broke("law 4: a queue comes to rest", format!("{:?}", ask()));
    }
    ask().into_iter().collect()
}

/// A stream is forwarded, and a channel read and its rest spilled, by a thread that ends later: below it nothing is at
/// rest. Nor is what is kept open: while a queue runs, an event on the move may be in none of its counts.
fn never_rests(make: &Make) -> bool {
    matches!(make, Make::Forward | Make::Channel { .. } | Make::Subscribe { .. } | Make::KeepOpen)
}

fn below_no_stream(graph: &Graph, node: &Arc<Node>, nodes: &mut Vec<Arc<Node>>) {
    nodes.push(Arc::clone(node));
    if !never_rests(&node.make) {
        node.below.iter().for_each(|below| below_no_stream(graph, &graph.node(*below), nodes));
    }
}

/// The equations of every node.
pub struct Books<'a> {
    pub program: &'a Program,
    pub nodes: &'a [Arc<Node>],
    pub accounts: &'a Accounts,
}

impl Books<'_> {
    pub fn check(&self, broke: &mut dyn FnMut(&'static str, String)) {
        self.closed_last(broke);
        for node in self.nodes.iter().filter(|_| is_exact(self.program)) {
            for (holds, equation) in self.equations(node) {
                if !holds {
                    let below: Vec<_> = node.below.iter().map(|below| self.counts(*below)).collect();
                    let detail = format!(
                        "node {} ({:?}): not so: {equation}; itself {:?}, below {below:?}, {:?}",
                        node.id,
                        node.make,
                        self.all_counts(node.id),
                        self.accounts.get(&node.id)
                    );
                    broke("law 4: every event is accounted for", detail);
                }
            }
        }
    }

    /// In a program in which nothing ends early, a sink is closed after the last write to it.
    fn closed_last(&self, broke: &mut dyn FnMut(&'static str, String)) {
        use Trait::*;
        let early = [
            SinkPanics,
            ClosurePanics,
            ClonePanics,
            DropPanics,
            Aborts,
            Stuck,
            Idle,
            InnerCloses,
            SelfCloses,
            Changes,
            Rings,
            Reentry,
            ShutDowns,
        ];
        if self.program.traits.any(&early) {
            return;
        }
        // A forward ends at the first flush that fails.
        let plan = &self.program.plan;
        let flush_fails = |make: &Make| matches!(make, Make::Leaf(leaf) if leaf.flush_panics);
        if plan.any(&|make| matches!(make, Make::Forward)) && plan.any(&flush_fails) {
            return;
        }
        let hung_up = plan.any(&hangs_up);
        let is_spill = |leaf: usize| {
            let mut reads = self.nodes.iter().filter(|node| node.reads.is_some());
            reads.any(|node| node.below.first() == Some(&leaf))
        };
        for node in self.nodes.iter().filter(|node| node.leaf.is_some() && (!hung_up || is_spill(node.id))) {
            let late = node.edge.look(From::Above, |traffic| traffic.late);
            if late > 0 {
                broke(
                    "law 5: a sink is closed after the last write to it",
                    format!("node {}: {late} late", node.id),
                );
            }
        }
    }

    fn node(&self, id: usize) -> &Node {
        self.nodes.iter().find(|node| node.id == id).expect("it is known")
    }

    /// What came from the sink above.
    fn counts(&self, id: usize) -> Counts {
        self.node(id).edge.look(From::Above, Counts::of)
    }

    /// What came from anywhere.
    fn all_counts(&self, id: usize) -> Counts {
        let (above, aside) = (self.counts(id), self.node(id).edge.look(From::Aside, Counts::of));
        Counts {
            calls: above.calls + aside.calls,
            ok: above.ok + aside.ok,
            closed: above.closed + aside.closed,
            failed: above.failed + aside.failed,
            panicked: above.panicked + aside.panicked,
            cancelled: above.cancelled + aside.cancelled,
        }
    }

    fn equations(&self, node: &Node) -> Vec<(bool, &'static str)> {
        let own = self.all_counts(node.id);
        let below: Vec<Counts> = node.below.iter().map(|below| self.counts(*below)).collect();
        let (stats, counted) = self.accounts.get(&node.id).copied().unwrap_or_default();
        let first = below.first().copied().unwrap_or_default();
        let second = below.get(1).copied().unwrap_or_default();
        match node.make {
            Make::Map | Make::Inspect { .. } | Make::Metered | Make::KeepOpen => {
                vec![(own == first, "what goes in comes out")]
            }
            // They refuse without asking when they see that it is closed below.
            Make::Closeable | Make::RateLimit | Make::MapOwned => vec![
                (own.ok == first.ok && own.failed == first.failed, "what is accepted was accepted below"),
                (own.calls >= first.calls, "no write is made up"),
            ],
            Make::Filter { .. } | Make::FilterMap { .. } | Make::Expire { .. } => {
                // Not from the accounts: where a stream ends later, an event may come since.
                let rejected = (node.counted)().unwrap_or_else(|| own.calls.saturating_sub(first.calls));
                vec![
                    (own.calls == first.calls + rejected, "an event is written or rejected"),
                    (
                        own.ok >= first.ok && own.ok <= first.ok + rejected,
                        "what is accepted was accepted or rejected",
                    ),
                    (own.failed == first.failed && own.panicked == first.panicked, "what fails failed below"),
                ]
            }
            Make::Tee => {
                let missed = counted.filter(|_| own.panicked == 0);
                vec![
                    (own.calls == first.calls && own.calls == second.calls, "both sides are tried"),
                    (
                        missed.is_none_or(|missed| 2 * own.ok == first.ok + second.ok + missed),
                        "what a side misses is counted",
                    ),
                ]
            }
            Make::Fallback => vec![
                (own.calls == first.calls, "the first is tried"),
                (second.calls == first.closed + first.failed, "the other gets what the first refuses"),
                (own.ok == first.ok + second.ok, "one of the two accepted"),
            ],
            Make::DeadLetter => vec![
                (own.calls == first.calls, "the first is tried"),
                (second.calls == first.failed, "the dead letter gets what fails"),
                (own.ok == first.ok + second.ok, "one of the two accepted"),
            ],
            Make::Lossy => vec![
                (own.ok == first.ok + first.failed, "what fails is accepted"),
                // Asked anew: what was kept open below may have written since.
                ((node.counted)().is_none_or(|dropped| dropped == first.failed), "what fails is counted"),
            ],
            Make::CatchPanic => vec![
                (own.ok == first.ok && own.calls == first.calls, "what is accepted was accepted below"),
                (own.failed == first.failed + first.panicked && own.panicked == 0, "a panic is a failure"),
            ],
            Make::Retry(_) | Make::GiveUp(..) => vec![
                (own.ok == first.ok && own.panicked == first.panicked, "what is accepted was accepted below"),
                (own.failed <= first.failed, "what fails failed below"),
            ],
            Make::Timeout { .. } => vec![
                (own.calls == first.calls, "what goes in comes out"),
                (own.ok == first.ok && own.panicked == first.panicked, "what is accepted was accepted below"),
                (
                    own.failed + own.cancelled == first.failed + first.cancelled,
                    "what takes too long is dropped, and fails",
                ),
            ],
            Make::Bus | Make::Tower(_) => self.of_broadcaster(node, own),
            Make::Queue { batch, .. } => self.of_worker(node, stats, own.ok, batch > 0, counted.unwrap_or(0)),
            Make::Log { .. } => {
                let followers = node.below.iter().map(|below| self.node(*below)).filter(|below| !below.late);
                let mut equations = Vec::new();
                for below in followers {
                    let (stats, _) = self.accounts.get(&below.id).copied().unwrap_or_default();
                    match below.make {
                        Make::Follow { .. } => {
                            equations.extend(self.of_worker(below, stats, own.ok, false, 0));
                        }
                        Make::Cursor { reading: Reading::All, .. } => {
                            let read = self.counts(below.id).ok;
                            equations.push((read == own.ok, "a cursor reads what is appended"));
                        }
                        _ => {}
                    }
                }
                equations
            }
            Make::Channel { policy, .. } => {
                let read =
                    node.reads.as_ref().map(|edge| edge.look(From::Above, |traffic| traffic.ok)).unwrap_or(0);
                let all = node.read_all.lock().unwrap().filter(|_| !aborts(self.program));
                let drops = matches!(policy, Policy::DropOldest | Policy::DropNewest);
                vec![
                    (read + first.ok <= own.ok, "what is read was written"),
                    (
                        all.is_none_or(|dropped| {
                            own.ok == read + first.ok + dropped && (drops || dropped == 0)
                        }),
                        "what is written is read, spilled or counted",
                    ),
                ]
            }
            _ => Vec::new(),
        }
    }

    fn of_broadcaster(&self, node: &Node, own: Counts) -> Vec<(bool, &'static str)> {
        let mut equations = Vec::new();
        for below in node.below.iter().map(|below| self.node(*below)) {
            let one = self.counts(below.id);
            let left = below.detached.load(Ordering::SeqCst) || aborts(self.program);
            match below.make {
                Make::Subscribe { policy: Policy::Unbounded, reading: Reading::All, .. } => {
                    equations
                        .push((left || one.ok == own.ok + own.panicked, "a subscription reads every event"));
                }
                Make::Subscribe { .. } => {}
                _ => {
                    let some = one.calls <= own.calls;
                    equations.push((some, "a sink gets no event that was not written"));
                    let every = one.calls == own.ok + own.panicked;
                    equations.push((left || one.closed > 0 || every, "a sink gets every event"));
                }
            }
        }
        equations
    }

    /// Of a queue or a follower, into which so many events went, and that gave up so many that failed.
    fn of_worker(
        &self,
        node: &Node,
        stats: Option<Stats>,
        into: u64,
        batched: bool,
        failed: u64,
    ) -> Vec<(bool, &'static str)> {
        let sink = self.counts(node.below[0]);
        let spill = node.below.get(1).map(|spill| self.counts(*spill)).unwrap_or_default();
        let Some(stats) = stats else {
            let lost = sink.panicked + sink.cancelled;
            let known = sink.ok + failed + spill.ok + if batched { 0 } else { lost };
            return vec![(known <= into, "no event is made up")];
        };
        let terms = [stats.delivered, stats.skipped, stats.dropped, stats.spilled, stats.lost];
        let sum = terms.iter().sum::<u64>() + stats.pending + stats.in_flight;
        let is_queue = matches!(node.make, Make::Queue { .. });
        // Of a batch on which a sink panics, or which is dropped with its runtime, some may have been written.
        let lost = sink.panicked + sink.cancelled;
        let partly = batched && lost > 0;
        let accepted = sink.ok + failed;
        let leaves = aborts(self.program) || node.detached.load(Ordering::SeqCst);
        let ended = self.program.traits.has(Trait::InnerCloses) || sink.closed + sink.panicked > 0 || leaves;
        let gives_up = evicts(node) || sink.closed + sink.panicked > 0 || leaves;
        vec![
            (
                stats.accepted == sum,
                "accepted = delivered + skipped + dropped + spilled + lost + pending + in flight",
            ),
            (
                if is_queue || !(ended || evicts(node)) {
                    stats.accepted == into
                } else {
                    stats.accepted <= into
                },
                "what is accepted was written",
            ),
            (
                if partly { stats.delivered <= accepted } else { stats.delivered == accepted },
                "delivered: the sink accepted it",
            ),
            (
                if partly { stats.lost > 0 } else { stats.lost == lost },
                "lost: the sink panicked on it, or was dropped with it",
            ),
            (stats.spilled == spill.ok, "spilled: the spill accepted it"),
            (
                gives_up || stats.dropped + stats.spilled + stats.skipped == 0,
                "nothing is given up without a reason",
            ),
        ]
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u64,
    ok: u64,
    closed: u64,
    failed: u64,
    panicked: u64,
    cancelled: u64,
}

impl Counts {
    fn of(traffic: &Traffic) -> Self {
        let Traffic { calls, ok, closed, failed, panicked, cancelled, .. } = *traffic;
        Self { calls, ok, closed, failed, panicked, cancelled }
    }
}

/// A close that is `Ok` has lost nothing, in no queue of the chain.
pub fn is_told(graph: &Graph, program: &Program, accounts: &Accounts) {
    if !is_exact(program) || program.traits.any(&[Trait::Changes, Trait::Rings, Trait::Reentry]) {
        return;
    }
    let mut below = vec![graph.node(0)];
    while let Some(node) = below.pop() {
        if let Some((Some(stats), _)) = accounts.get(&node.id) {
            let given_up = if evicts(&node) { 0 } else { stats.dropped + stats.spilled };
            if given_up + stats.lost > 0 {
                let detail = format!("node {}: {stats:?}", node.id);
                graph.world.broke("law 7: a close tells what was not delivered", detail);
            }
        }
        match node.make {
            Make::KeepOpen | Make::Forward | Make::Channel { .. } => {}
            // A spill is another chain.
            Make::Queue { .. } | Make::Follow { .. } => below.push(graph.node(node.below[0])),
            Make::Subscribe { .. } | Make::Cursor { .. } => {}
            _ => below.extend(node.below.iter().map(|below| graph.node(*below))),
        }
    }
}
