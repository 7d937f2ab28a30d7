//! A graph that is built: its nodes as the oracle knows them, and the handles that operations go through.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use outflow::buffer::Policy;
use outflow::channel::ChannelSink;
use outflow::log::FollowerHandle;
use outflow::{Broadcaster, Closing, Flushing, Log, Queue, SharedSink, Sink, SinkId, WriteError};

use crate::asynchronous::{ByTask, Runtime};
use crate::build::{Builder, sure};
use crate::event::{Event, World};
use crate::leaf::Leaf;
use crate::plan::{Make, Plan};
use crate::probe::{Edge, Fail, From, Promises, Unify};
use crate::reader::Source;

/// How long a write waits that has a timeout.
pub const PATIENCE: Duration = Duration::from_micros(200);

/// A sink that can fail, or one that cannot.
#[derive(Clone)]
pub enum Sorted {
    Sure(SharedSink<Event>),
    May(SharedSink<Event, Fail>),
}

/// Writes that have a timeout, of a queue or a channel.
pub trait Timed: Send + Sync {
    fn write_for(&self, event: Event, timeout: Option<Duration>) -> Result<(), WriteError<Event, Fail>>;
    /// As a task, recorded there.
    fn write_as_task(&self, event: Event, edge: &Edge) -> Result<(), Event>;
}

macro_rules! timed {
    ($($sink:ident: $policy:ident, $by_task:expr);*) => {$(
        impl<P: $policy> Timed for $sink<Event, P> {
            fn write_for(&self, event: Event, timeout: Option<Duration>) -> Result<(), WriteError<Event, Fail>> {
                match timeout {
                    Some(timeout) => self.write_timeout(event, timeout),
                    None => self.try_write(event),
                }
                .map_err(|refused| refused.map_error(Unify::unify))
            }

            fn write_as_task(&self, event: Event, edge: &Edge) -> Result<(), Event> {
                $by_task(self, event, edge)
            }
        }
    )*};
}

timed!(Queue: ByTask, P::write; ChannelSink: Policy, |sink: &Self, event: Event, edge: &Edge| {
    let key = (event.id, event.stream, event.seq);
    edge.observed(From::Aside, key, || sink.write(event)).map_err(WriteError::into_event)
});

/// Where operations enter a node.
#[derive(Clone)]
pub struct Entry {
    pub sink: Sorted,
    pub timed: Option<Arc<dyn Timed>>,
    /// Whether the sink is an asynchronous one.
    pub awaited: bool,
    pub edge: Arc<Edge>,
}

macro_rules! either {
    ($self:ident, $sink:ident => $call:expr) => {
        match &$self.sink {
            Sorted::Sure($sink) => $call,
            Sorted::May($sink) => $call,
        }
    };
}

impl Entry {
    pub fn write(&self, event: Event) -> Result<(), Event> {
        either!(self, sink => sink.write(event).map_err(WriteError::into_event))
    }

    pub fn write_ref(&self, event: &Event) -> Result<(), ()> {
        either!(self, sink => sink.write_ref(event).map_err(WriteError::into_event))
    }

    /// Writes with a timeout where the sink can, and without waiting by turns.
    pub fn write_for(&self, event: Event) -> Result<(), Event> {
        match &self.timed {
            Some(timed) => {
                let timeout = (event.seq % 4 < 2).then_some(PATIENCE);
                let (id, stream, seq) = (event.id, event.stream, event.seq);
                let written =
                    self.edge.observed(From::Aside, (id, stream, seq), || timed.write_for(event, timeout));
                written.map_err(WriteError::into_event)
            }
            None => self.write(event),
        }
    }

    /// Writes as a task where the sink has that.
    pub fn write_as_task(&self, event: Event) -> Result<(), Event> {
        match &self.timed {
            Some(timed) => timed.write_as_task(event, &self.edge),
            None => self.write(event),
        }
    }

    pub fn flush(&self) -> Flushing {
        either!(self, sink => sink.flush())
    }

    pub fn close(&self) -> Closing {
        either!(self, sink => sink.close())
    }

    pub fn is_closed(&self) -> bool {
        either!(self, sink => sink.is_closed())
    }
}

/// What operations can be made on one node.
#[derive(Clone, Default)]
pub struct Handle {
    pub entry: Option<Entry>,
    pub bus: Option<Broadcaster<Event>>,
    pub log: Option<Log<Event>>,
    pub follower: Option<FollowerHandle<Event>>,
}

/// The terms of the accounts of a queue, and of a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub accepted: u64,
    pub delivered: u64,
    pub skipped: u64,
    pub dropped: u64,
    pub spilled: u64,
    pub lost: u64,
    pub pending: u64,
    pub in_flight: u64,
}

pub type AsksStats = Box<dyn Fn() -> Option<Stats> + Send + Sync>;

/// What the oracle knows of one sink.
pub struct Node {
    pub id: usize,
    pub make: Make,
    pub edge: Arc<Edge>,
    pub below: Vec<usize>,
    pub leaf: Option<Arc<Leaf>>,
    /// Answers `None` once no handle is left.
    pub stats: Mutex<Option<AsksStats>>,
    /// What a filter, a lossy sink or a tee counts.
    pub counted: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Added while the program ran.
    pub late: bool,
    /// Was taken out of what it was added to, or has begun to end there.
    pub detached: AtomicBool,
    /// Of what is read: what a reader took.
    pub reads: Option<Arc<Edge>>,
    /// What was dropped in all, once everything was read.
    pub read_all: Arc<Mutex<Option<u64>>>,
}

impl Node {
    /// `None` of what has no accounts, or no handle that could be asked.
    pub fn asks(&self) -> Option<Stats> {
        self.stats.lock().unwrap().as_ref().and_then(|stats| stats())
    }
}

/// The key of all subscriptions among the entries.
pub const SUBSCRIPTIONS: usize = usize::MAX;

pub struct Graph {
    pub world: Arc<World>,
    pub nodes: Mutex<Vec<Option<Arc<Node>>>>,
    /// Of the nodes that were planned.
    pub handles: Vec<Mutex<Handle>>,
    /// The sinks of each broadcaster.
    pub entries: Mutex<BTreeMap<usize, Vec<(SinkId, usize)>>>,
    pub readers: Mutex<Vec<JoinHandle<()>>>,
    pub idle: Mutex<Vec<Source>>,
    /// What was taken out, and is nobody's now.
    pub orphans: Mutex<Vec<SharedSink<Event>>>,
    pub closings: Mutex<Vec<(usize, Closing)>>,
    /// Until it is shut down.
    pub runtime: Mutex<Option<Runtime>>,
    /// What rings lead back to. A hash map would leak the others when the destructor of one panics.
    pub targets: Mutex<BTreeMap<usize, Arc<OnceLock<Entry>>>>,
}

impl Graph {
    pub fn build(plan: &Plan, world: &Arc<World>) -> Arc<Self> {
        let mut targets = BTreeMap::new();
        plan.ring_targets(&mut |to| drop(targets.insert(to, Arc::default())));
        let graph = Arc::new(Self {
            world: Arc::clone(world),
            nodes: Mutex::default(),
            handles: (0..plan.nodes()).map(|_| Mutex::default()).collect(),
            entries: Mutex::default(),
            readers: Mutex::default(),
            idle: Mutex::default(),
            orphans: Mutex::default(),
            closings: Mutex::default(),
            runtime: Mutex::default(),
            targets: Mutex::new(targets),
        });
        Builder { graph: &graph, late: false, promises: Promises { once: true, ordered: true } }.sink(plan);
        let _ = world.graph.set(Arc::downgrade(&graph));
        graph
    }

    fn late(&self, at: usize) -> Builder<'_> {
        Builder { graph: self, late: true, promises: self.node(at).edge.promises }
    }

    /// Builds what is to be added to a node of a running graph.
    pub fn build_late(&self, at: usize, plan: &Plan) -> (usize, SharedSink<Event>) {
        let (id, sink) = self.late(at).sink(plan);
        (id, sure(sink))
    }

    pub fn node(&self, id: usize) -> Arc<Node> {
        Arc::clone(self.nodes.lock().unwrap()[id].as_ref().expect("the node is built"))
    }

    /// Drops the runtime, with whatever its tasks are doing. Not from within one of them.
    pub fn shut_down(&self) {
        let runtime = self.runtime.lock().unwrap().take();
        drop(runtime);
    }

    /// All nodes; none of those that another thread is building.
    pub fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap().iter().flatten().cloned().collect()
    }

    pub fn handle(&self, id: usize) -> Handle {
        self.handles[id % self.handles.len()].lock().unwrap().clone()
    }

    /// The handles of what rings lead back to.
    pub fn ring_targets(&self) -> Vec<Entry> {
        self.targets.lock().unwrap().values().filter_map(|slot| slot.get().cloned()).collect()
    }

    pub fn subscribe(&self, at: usize, bus: &Broadcaster<Event>, plan: &Plan) {
        self.late(at).subscribe(bus, plan);
    }

    pub fn follow(&self, at: usize, log: &Log<Event>, plan: &Plan) {
        self.late(at).follow(log, plan);
    }
}
