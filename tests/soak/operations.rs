//! What threads do to a graph, from without and from within its sinks.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use outflow::SinkId;

use crate::asynchronous;
use crate::event::{Bomb, Event, Nested, World, getting};
use crate::graph::{Entry, Graph, Handle, SUBSCRIPTIONS};
use crate::oracle;
use crate::plan::{Planner, Program, Trait, Traits};
use crate::watchdog;

/// One operation on the node of this number.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Write(usize),
    WriteRef(usize),
    WriteFor(usize),
    /// As a task, which may give up while it waits.
    WriteAsync(usize),
    Flush(usize),
    FlushWait(usize),
    Close(usize),
    CloseWait(usize),
    Abort(usize),
    Drop(usize),
    /// Changes of a broadcaster or a log; the second number is the seed of what is added.
    Add(usize, u64),
    Remove(usize),
    Replace(usize, u64),
    Attach(usize, u64),
    CloseFollower(usize),
    Detach(usize),
    Get(usize),
    Yield,
    /// Of the runtime that asynchronous sinks run on.
    ShutDown,
}

impl Op {
    pub fn random(rng: &mut Rng, traits: Traits, nodes: usize) -> Self {
        let node = if rng.bool() { 0 } else { rng.usize(..nodes) };
        let (inner, seed) = (rng.usize(..nodes), rng.u64(..));
        let op = Self::without_async(rng.u8(0..100), traits, (node, inner, seed));
        match op {
            Self::WriteFor(node) if traits.has(Trait::Async) && rng.bool() => Self::WriteAsync(node),
            Self::Write(node) if traits.has(Trait::Async) && rng.u8(0..8) == 0 => Self::WriteAsync(node),
            op => op,
        }
    }

    fn without_async(drawn: u8, traits: Traits, (node, inner, seed): (usize, usize, u64)) -> Self {
        match drawn {
            0..45 => Self::Write(node),
            45..54 => Self::WriteRef(node),
            54..60 => Self::WriteFor(inner),
            60..62 if traits.has(Trait::Flushes) => Self::Flush(inner),
            62..68 if traits.has(Trait::Flushes) => Self::FlushWait(node),
            68..74 if traits.has(Trait::InnerCloses) => Self::Close(inner),
            74..76 if traits.has(Trait::InnerCloses) => Self::CloseWait(inner),
            76..78 if traits.has(Trait::InnerCloses) => Self::CloseFollower(inner),
            78..79 if traits.has(Trait::Aborts) => Self::Abort(inner),
            79..82 if traits.has(Trait::Drops) => Self::Drop(inner),
            82..84 if traits.has(Trait::Changes) => Self::Add(inner, seed),
            84..86 if traits.has(Trait::Changes) => Self::Remove(inner),
            86..88 if traits.has(Trait::Changes) => Self::Replace(inner, seed),
            88..90 if traits.has(Trait::Changes) => Self::Attach(inner, seed),
            90 if traits.has(Trait::Changes) => Self::Detach(inner),
            91..94 => Self::Get(inner),
            94..97 if traits.has(Trait::Changes) && traits.has(Trait::Idle) => Self::Remove(inner),
            94..97 => Self::Yield,
            _ => Self::Write(inner),
        }
    }
}

/// What a thread of a program needs.
pub struct Operator<'a> {
    pub graph: &'a Arc<Graph>,
    pub program: &'a Program,
}

impl Operator<'_> {
    pub fn run(&self, ops: &[Op]) {
        for (at, op) in ops.iter().enumerate() {
            watchdog::says(|| format!("operation {at}: {op:?}"));
            // What panics in users' code reaches its caller.
            let _ = catch_unwind(AssertUnwindSafe(|| self.perform(op)));
        }
        watchdog::says(|| "has ended".into());
    }

    fn perform(&self, op: &Op) {
        let graph = self.graph;
        match *op {
            Op::WriteAsync(node) => {
                let handle = graph.handle(node);
                if let Some((entry, event)) = event(graph, &handle, self.program.bomb, self.program.bombs) {
                    let _nested = Nested::enter();
                    entry.write_as_task(event).unwrap_or_else(Event::discard);
                }
            }
            Op::ShutDown => graph.shut_down(),
            // What is stuck has to be aborted in the end, and the handles are kept for that.
            Op::Drop(_) if self.program.needs_abort() => {}
            Op::FlushWait(node) => {
                let node = node % graph.handles.len();
                let handle = graph.handle(node);
                if let Some(entry) = handle.entry {
                    let owed = entry.edge.accepted();
                    let flushing = entry.flush();
                    let outcome = flushing.wait();
                    oracle::flushed(graph, self.program, node, &owed, &outcome);
                } else if let Some(follower) = handle.follower {
                    let _ = follower.flush().wait();
                }
            }
            Op::CloseWait(node) => {
                if let Some(entry) = &graph.handle(node).entry {
                    let closing = entry.close();
                    graph.closings.lock().unwrap().push((entry.edge.node, closing.clone()));
                    let _ = closing.wait();
                }
            }
            _ => perform(graph, op, self.program.bomb, self.program.bombs),
        }
    }
}

/// The next event for the sink of this handle, if it has one that this thread may write to.
fn event(graph: &Graph, handle: &Handle, bomb: Bomb, bombs: u64) -> Option<(Entry, Event)> {
    // From within a sink that may be an asynchronous one, a thread of its runtime would wait for the runtime.
    let entry = handle.entry.clone().filter(|entry| !(entry.awaited && CALLING.get()))?;
    let mut event = Event::next(&graph.world, entry.edge.node, 0, Bomb::None);
    if event.id % bombs == 0 {
        event.bomb = bomb;
    }
    Some((entry, event))
}

/// The operations that do not wait for others, so that they may be done from anywhere.
fn perform(graph: &Arc<Graph>, op: &Op, bomb: Bomb, bombs: u64) {
    let event = |handle: &Handle| event(graph, handle, bomb, bombs);
    match *op {
        Op::Write(node) | Op::WriteFor(node) | Op::WriteAsync(node) => {
            if let Some((entry, event)) = event(&graph.handle(node)) {
                let _nested = Nested::enter();
                let timed = matches!(op, Op::WriteFor(_));
                let written = if timed { entry.write_for(event) } else { entry.write(event) };
                written.unwrap_or_else(Event::discard);
            }
        }
        Op::WriteRef(node) => {
            if let Some((entry, event)) = event(&graph.handle(node)) {
                let _nested = Nested::enter();
                let written = catch_unwind(AssertUnwindSafe(|| entry.write_ref(&event)));
                event.discard();
                let _ = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        }
        Op::Flush(node) | Op::FlushWait(node) => {
            if let Some(entry) = graph.handle(node).entry {
                let _ = entry.flush().within(Duration::ZERO);
            }
        }
        Op::Close(node) | Op::CloseWait(node) => {
            if let Some(entry) = graph.handle(node).entry {
                let closing = entry.close();
                graph.closings.lock().unwrap().push((entry.edge.node, closing));
            }
        }
        Op::Abort(node) => {
            if let Some(entry) = graph.handle(node).entry {
                let closing = entry.close();
                graph.closings.lock().unwrap().push((entry.edge.node, closing.clone()));
                let _ = closing.abort();
            }
        }
        // Not the root, which the end of the program closes.
        Op::Drop(node) => {
            let node = node % graph.handles.len();
            if node > 0 {
                let dropped = std::mem::take(&mut *graph.handles[node].lock().unwrap());
                drop(dropped);
            }
        }
        Op::Add(node, seed) => {
            if let Some((at, handle)) = find(graph, node, |handle| handle.bus.is_some()) {
                let (added, sink) = graph.build_late(at, &late(seed).reliable(4));
                match handle.bus.expect("it has one").add(sink) {
                    Ok(id) => graph.entries.lock().unwrap().entry(at).or_default().push((id, added)),
                    Err(error) => graph.closings.lock().unwrap().push((added, error.closing().clone())),
                }
            }
        }
        Op::Remove(node) => {
            if let Some((at, handle)) = find(graph, node, |handle| handle.bus.is_some()) {
                let bus = handle.bus.expect("it has one");
                if let Some(id) = detach_one(graph, at, &bus.ids(), node) {
                    graph.orphans.lock().unwrap().extend(bus.remove(id));
                }
            }
        }
        Op::Replace(node, seed) => {
            if let Some((at, handle)) = find(graph, node, |handle| handle.bus.is_some()) {
                let bus = handle.bus.expect("it has one");
                if let Some(id) = detach_one(graph, at, &bus.ids(), node) {
                    let (added, sink) = graph.build_late(at, &late(seed).reliable(4));
                    let orphan = match bus.replace(id, sink) {
                        Ok(old) => {
                            graph.entries.lock().unwrap().entry(at).or_default().push((id, added));
                            old
                        }
                        Err(new) => new,
                    };
                    graph.orphans.lock().unwrap().push(orphan);
                }
            }
        }
        Op::Attach(node, seed) => {
            match find(graph, node, |handle| handle.bus.is_some() || handle.log.is_some()) {
                Some((at, Handle { bus: Some(bus), .. })) => {
                    graph.subscribe(at, &bus, &late(seed).subscription(5))
                }
                Some((at, Handle { log: Some(log), .. })) => graph.follow(at, &log, &late(seed).follower(5)),
                _ => {}
            }
        }
        Op::CloseFollower(node) | Op::Detach(node) => {
            if let Some((at, handle)) = find(graph, node, |handle| handle.follower.is_some()) {
                let follower = handle.follower.expect("it has one");
                if let Op::Detach(_) = op {
                    graph.node(at).detached.store(true, Ordering::SeqCst);
                    let awaited = || follower.detach_async().map(asynchronous::blocking);
                    let orphan = follower.detach().or_else(awaited);
                    graph.orphans.lock().unwrap().extend(orphan);
                } else {
                    let closing = follower.close();
                    graph.closings.lock().unwrap().push((at, closing));
                }
            }
        }
        Op::Get(node) => {
            let handle = graph.handle(node);
            getting(|| {
                let _ = handle.entry.as_ref().map(|entry| entry.is_closed());
                let _ = handle.bus.as_ref().map(|bus| (bus.len(), bus.ids(), bus.ended().count));
                let _ = handle.log.as_ref().map(|log| (log.held(), log.followers(), log.ended().count));
                let _ = handle.follower.as_ref().map(|follower| (follower.stats(), follower.has_ended()));
            });
        }
        Op::Yield | Op::ShutDown => thread::yield_now(),
    }
}

/// Draws what is added to a running graph: well-behaved sinks that make nobody wait.
fn late(seed: u64) -> LatePlanner {
    LatePlanner(Rng::with_seed(seed))
}

struct LatePlanner(Rng);

impl LatePlanner {
    fn reliable(&mut self, depth: u32) -> crate::plan::Plan {
        Planner::new(&mut self.0, Traits::none()).reliable(depth)
    }

    fn follower(&mut self, depth: u32) -> crate::plan::Plan {
        Planner::new(&mut self.0, Traits::none()).follower(depth)
    }

    fn subscription(&mut self, depth: u32) -> crate::plan::Plan {
        Planner::new(&mut self.0, Traits::none()).subscription(depth)
    }
}

/// The first node from this one on, around the end, of which this holds.
fn find(graph: &Graph, node: usize, holds: impl Fn(&Handle) -> bool) -> Option<(usize, Handle)> {
    let nodes = graph.handles.len();
    (node..node + nodes).map(|node| (node % nodes, graph.handle(node))).find(|(_, handle)| holds(handle))
}

/// Picks one sink of a broadcaster and says that it owes nothing from now on.
fn detach_one(graph: &Graph, bus: usize, ids: &[SinkId], pick: usize) -> Option<SinkId> {
    let id = *ids.get(pick % ids.len().max(1))?;
    let entries = graph.entries.lock().unwrap();
    let known = [entries.get(&bus), entries.get(&SUBSCRIPTIONS)];
    let nodes: Vec<_> =
        known.into_iter().flatten().flatten().filter(|(of, _)| *of == id).map(|(_, node)| *node).collect();
    drop(entries);
    nodes.into_iter().for_each(|node| graph.node(node).detached.store(true, Ordering::SeqCst));
    Some(id)
}

thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
}

/// An operation from within a sink, which does not go deeper.
pub fn call_back(world: &World, op: &Op) {
    let Some(graph) = world.graph.get().and_then(Weak::upgrade) else { return };
    if !CALLING.replace(true) {
        let done = catch_unwind(AssertUnwindSafe(|| perform(&graph, op, Bomb::None, 1)));
        CALLING.set(false);
        drop(graph);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
