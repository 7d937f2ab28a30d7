//! Builds what is planned: every sink with a probe on top.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use futures::StreamExt as _;
use futures::executor::block_on;
use outflow::buffer::{Buffer, Policy as BufferPolicy};
use outflow::channel::{ChannelSink, Events};
use outflow::log::{FollowOptions, Lag, LogOptions};
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::sink::ImmediateSink;
use outflow::{
    AsyncOnly, AsyncSinkExt, Broadcaster, Closing, Counter, DeadLetter, ExpireError, Flushing, Log, Meter,
    Queue, Rate, SharedAsyncSink, SharedSink, Sink, SinkExt, WorkerFuture, WriteError, channel,
};
use tokio::runtime::Handle;

use crate::asynchronous::{Awaited, ByTask, ProbedAsync, Quick, Runtime, probed_async};
use crate::event::{Event, PLANNED};
use crate::graph::{
    AsksStats, Entry, Graph, Handle as NodeHandle, Node, PATIENCE, SUBSCRIPTIONS, Sorted, Stats, Timed,
};
use crate::leaf::{Back, Failing, Leaf, Reliable, Waits};
use crate::one_by_one::OneByOne;
use crate::plan::{Lagging, Lanes, Make, Pace, Plan, Policy, Reading, Runs};
use crate::probe::{Edge, Fail, From, Probe, Promises, Unify};
use crate::reader::Source;

pub fn sure(sink: Sorted) -> SharedSink<Event> {
    match sink {
        Sorted::Sure(sink) => sink,
        Sorted::May(_) => unreachable!("planned as a sink that cannot fail"),
    }
}

fn may(sink: Sorted) -> SharedSink<Event, Fail> {
    match sink {
        Sorted::May(sink) => sink,
        Sorted::Sure(_) => unreachable!("planned as a sink that can fail"),
    }
}

fn spilled<P>(buffer: Buffer<Event, P>, spill: Option<SharedSink<Event>>) -> Buffer<Event, P> {
    match spill {
        Some(spill) => buffer.spill(spill),
        None => buffer,
    }
}

/// Calls a generic function with the buffer that a policy names.
macro_rules! buffered {
    ($policy:expr, $capacity:expr, $spill:expr, $buffer:ident => $call:expr, fails: $fails:expr) => {{
        let bounded = || Buffer::bounded($capacity.max(1));
        match $policy {
            Policy::Unbounded => {
                let $buffer = spilled(Buffer::unbounded(), $spill);
                $call
            }
            Policy::Block => {
                let $buffer = spilled(bounded(), $spill);
                $call
            }
            Policy::DropOldest => {
                let $buffer = spilled(bounded().drop_oldest(), $spill);
                $call
            }
            Policy::DropNewest => {
                let $buffer = spilled(bounded().drop_newest(), $spill);
                $call
            }
            other => $fails(other, bounded(), $spill),
        }
    }};
}

/// Whether writes are refused once it was closed.
fn refuses(plan: &Plan) -> bool {
    let mut below = plan.below.iter();
    match plan.make {
        // What panics before it looks whether it is closed has failed, and may be accepted above.
        Make::KeepOpen | Make::Back { .. } | Make::CatchPanic => false,
        Make::Tee | Make::Fallback => below.all(refuses),
        Make::Filter { .. } | Make::FilterMap { .. } | Make::Expire { .. } | Make::Timeout { .. } => {
            refuses(&plan.below[0])
        }
        Make::Map | Make::MapOwned => refuses(&plan.below[0]),
        Make::Inspect { .. } | Make::Metered | Make::DeadLetter | Make::Lossy => refuses(&plan.below[0]),
        _ => true,
    }
}

pub struct Builder<'a> {
    pub graph: &'a Graph,
    /// Whether the graph runs already.
    pub late: bool,
    pub promises: Promises,
}

/// A node under construction.
struct Parts {
    stats: Option<AsksStats>,
    counted: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    leaf: Option<Arc<Leaf>>,
    handle: NodeHandle,
    timed: Option<Arc<dyn Timed>>,
    reads: Option<Arc<Edge>>,
    read_all: Arc<Mutex<Option<u64>>>,
    below: Vec<usize>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            stats: None,
            counted: Box::new(|| None),
            leaf: None,
            handle: NodeHandle::default(),
            timed: None,
            reads: None,
            read_all: Arc::default(),
            below: Vec::new(),
        }
    }
}

impl Builder<'_> {
    fn reserve(&self) -> usize {
        let mut nodes = self.graph.nodes.lock().unwrap();
        nodes.push(None);
        nodes.len() - 1
    }

    fn edge(&self, id: usize, plan: &Plan) -> Arc<Edge> {
        Edge::new(id, self.promises, refuses(plan), &self.graph.world)
    }

    fn finish(&self, id: usize, plan: &Plan, edge: Arc<Edge>, parts: Parts) {
        let node = Node {
            id,
            make: plan.make.clone(),
            edge,
            below: parts.below,
            leaf: parts.leaf,
            stats: Mutex::new(parts.stats),
            counted: parts.counted,
            late: self.late,
            detached: AtomicBool::new(false),
            reads: parts.reads,
            read_all: parts.read_all,
        };
        if !self.late {
            *self.graph.handles[id].lock().unwrap() = parts.handle;
        }
        self.graph.nodes.lock().unwrap()[id] = Some(Arc::new(node));
    }

    pub fn sink(&mut self, plan: &Plan) -> (usize, Sorted) {
        let id = self.reserve();
        let mut parts = Parts::default();
        let edge = self.edge(id, plan);
        let Probed { above, aside } = self.make(id, plan, &edge, &mut parts);
        let timed = parts.timed.take();
        let entry = Entry { sink: aside, timed, awaited: false, edge: Arc::clone(&edge) };
        if let Some(target) = self.target(id) {
            let _ = target.set(entry.clone());
        }
        parts.handle.entry = Some(entry);
        self.finish(id, plan, edge, parts);
        (id, above)
    }

    fn child(&mut self, plan: &Plan, at: usize, parts: &mut Parts) -> Option<Sorted> {
        let (id, sink) = self.sink(plan.below.get(at)?);
        parts.below.push(id);
        Some(sink)
    }

    /// Events reach a spill in no order.
    fn spill(&mut self, plan: &Plan, at: usize, parts: &mut Parts) -> Option<SharedSink<Event>> {
        let before = std::mem::replace(&mut self.promises.ordered, false);
        let spill = self.child(plan, at, parts).map(sure);
        self.promises.ordered = before;
        spill
    }

    fn make(&mut self, id: usize, plan: &Plan, edge: &Arc<Edge>, parts: &mut Parts) -> Probed {
        let world = Arc::clone(&self.graph.world);
        let mut child = |this: &mut Self, at| this.child(plan, at, parts).expect("it was planned");
        match &plan.make {
            Make::Leaf(leaf) => {
                let leaf = Leaf::new(leaf.clone(), &world);
                parts.leaf = Some(Arc::clone(&leaf));
                if plan.fails { probed(Failing(leaf), edge) } else { probed(Reliable(leaf), edge) }
            }
            Make::Back { to, by_turns } => {
                let target = self.target(*to).expect("planned");
                probed(Back { target, world, by_turns: *by_turns }.sink(), edge)
            }
            Make::Tee => {
                let sides = (sure(child(self, 0)), sure(child(self, 1)));
                let tee = Arc::new(sides.0.tee(sides.1));
                let weak = Arc::downgrade(&tee);
                parts.counted = Box::new(move || weak.upgrade().map(|tee| tee.missed()));
                probed(tee, edge)
            }
            Make::Fallback => match (may(child(self, 0)), child(self, 1)) {
                (first, Sorted::Sure(other)) => probed(first.fallback(other), edge),
                (first, Sorted::May(other)) => probed(first.fallback(other), edge),
            },
            Make::DeadLetter => match (may(child(self, 0)), child(self, 1)) {
                (first, Sorted::Sure(other)) => probed(first.dead_letter(letters(other)), edge),
                (first, Sorted::May(other)) => probed(first.dead_letter(letters(other)), edge),
            },
            Make::Lossy => {
                let counter = Counter::new();
                let sink = may(child(self, 0)).lossy_counted(&counter);
                parts.counted = Box::new(move || Some(counter.get()));
                probed(sink, edge)
            }
            Make::CatchPanic => {
                let before = std::mem::replace(&mut self.promises, Promises { once: false, ordered: false });
                let sink = child(self, 0);
                self.promises = before;
                match sink {
                    Sorted::Sure(sink) => probed(sink.catch_panic(), edge),
                    Sorted::May(sink) => probed(sink.catch_panic(), edge),
                }
            }
            Make::Retry(pace) => retry(may(child(self, 0)), *pace, None, edge),
            Make::GiveUp(pace, attempts) => retry(may(child(self, 0)), *pace, Some(*attempts), edge),
            Make::Queue { policy, capacity, batch, weighs, splits, runs, lanes } => {
                let before = self.promises.ordered;
                self.promises.ordered &= !matches!(lanes, Lanes::Concurrent(_));
                let below = self.below_worker(plan, *runs, parts);
                self.promises.ordered = before;
                let batch = (*batch > 0).then(|| batch_of(*batch, *weighs));
                let given_up = splits.then(Arc::<AtomicU64>::default);
                if let Some(given_up) = given_up.clone() {
                    parts.counted = Box::new(move || Some(given_up.load(Ordering::SeqCst)));
                }
                let spill = self.spill(plan, 1, parts);
                let queue = NewQueue { batch, lanes: *lanes, below, given_up, edge };
                let fails = |other, buffer: Buffer<Event, _>, spill| match other {
                    Policy::Reject => queue.with(spilled(buffer.reject(), spill)),
                    _ => queue.with(spilled(buffer.block_for(PATIENCE), spill)),
                };
                let (sink, stats, timed) = buffered!(*policy, *capacity, spill,
                    buffer => queue.with(buffer), fails: fails);
                (parts.stats, parts.timed) = (Some(stats), Some(timed));
                sink
            }
            Make::Timeout { .. } => unreachable!("of asynchronous sinks alone"),
            Make::Channel { policy, capacity, reading, stream } => {
                let spill = self.spill(plan, 0, parts);
                let fails = |other, buffer: Buffer<Event, _>, spill| match other {
                    Policy::Reject => channel_of(channel::with(spilled(buffer.reject(), spill)), edge),
                    _ => channel_of(channel::with(spilled(buffer.block_for(PATIENCE), spill)), edge),
                };
                let (sink, timed, events) = match (*capacity, &spill) {
                    (0, None) => channel_of(channel::rendezvous(), edge),
                    (capacity, _) => buffered!(*policy, capacity, spill,
                        buffer => channel_of(channel::with(buffer), edge), fails: fails),
                };
                parts.timed = Some(timed);
                // Its own edge has what was written to it.
                let reads = Edge::new(id, self.promises, false, &world);
                self.reads(Source::Events(events), *reading, *stream, &reads, parts);
                sink
            }
            Make::Forward => {
                let sink = sure(child(self, 0)).queued().into_futures();
                let (entrance, events) = channel::unbounded();
                let edge_below = self.graph.node(parts.below[0]).edge.clone();
                let forwarding = thread::spawn(move || {
                    let forwarded = catch_unwind(AssertUnwindSafe(|| block_on(events.map(Ok).forward(sink))));
                    if let Ok(Err(error)) = forwarded {
                        let closed = error.is_closed();
                        error.into_event().into_iter().for_each(Event::discard);
                        if closed
                            && edge_below.look(From::Above, |traffic| traffic.closed + traffic.panicked) == 0
                        {
                            let detail = format!("into node {}", edge_below.node);
                            world.broke("a stream is forwarded into a sink that stays open", detail);
                        }
                    }
                });
                self.graph.readers.lock().unwrap().push(forwarding);
                probed(entrance, edge)
            }
            Make::Bus => {
                let bus = Broadcaster::new();
                self.early(id, &bus.clone(), edge);
                for below in &plan.below {
                    let node = match below.make {
                        Make::Subscribe { .. } => self.subscribe(&bus, below),
                        _ => {
                            let (node, sink) = self.sink(below);
                            let added = bus.add(sure(sink)).expect("it is open");
                            self.graph.entries.lock().unwrap().entry(id).or_default().push((added, node));
                            node
                        }
                    };
                    parts.below.push(node);
                }
                parts.handle.bus = Some(bus.clone());
                probed(bus, edge)
            }
            Make::Tower(height) => {
                let inner = Broadcaster::new();
                inner.add(sure(child(self, 0))).expect("it is open");
                let tower = (1..*height).fold(inner, |inner, _| {
                    let outer = Broadcaster::new();
                    outer.add(inner).expect("it is open");
                    outer
                });
                probed(tower, edge)
            }
            Make::Log { retain } => {
                let log = Log::with(LogOptions::new().retain(*retain));
                self.early(id, &log.clone(), edge);
                for below in &plan.below {
                    let node = match below.make {
                        Make::Follow { .. } => self.follow(&log, below),
                        _ => self.cursor(&log, below),
                    };
                    parts.below.push(node);
                }
                parts.handle.log = Some(log.clone());
                probed(log, edge)
            }
            Make::Follow { .. } | Make::Subscribe { .. } | Make::Cursor { .. } => {
                unreachable!("planned below a broadcaster or a log")
            }
            make => match child(self, 0) {
                Sorted::Sure(sink) => transparent(make, sink, edge, parts),
                Sorted::May(sink) => transparent(make, sink, edge, parts),
            },
        }
    }

    /// What a worker writes to.
    fn below_worker(&mut self, plan: &Plan, runs: Runs, parts: &mut Parts) -> Below {
        if runs == Runs::Sync {
            return Below::Sync(self.child(plan, 0, parts).expect("it was planned"));
        }
        let (id, sink) = self.awaited(&plan.below[0]);
        parts.below.push(id);
        Below::Async(sink, Place { runs, runtime: self.runtime(id) })
    }

    /// The runtime of this graph, which is made when the first sink asks for it.
    fn runtime(&self, id: usize) -> Handle {
        let mut runtime = self.graph.runtime.lock().unwrap();
        runtime.get_or_insert_with(|| Runtime::new(id % 3)).handle().clone()
    }

    /// The twin of [`sink`](Self::sink).
    fn awaited(&mut self, plan: &Plan) -> (usize, Awaited) {
        let id = self.reserve();
        let mut parts = Parts::default();
        let edge = self.edge(id, plan);
        let ProbedAsync { above, aside } = self.make_async(plan, &edge, &mut parts);
        parts.handle.entry = Some(Entry { sink: aside, timed: None, awaited: true, edge: Arc::clone(&edge) });
        self.finish(id, plan, edge, parts);
        (id, above)
    }

    fn make_async(&mut self, plan: &Plan, edge: &Arc<Edge>, parts: &mut Parts) -> ProbedAsync {
        let first = plan.below.first().map(|below| {
            let before = self.promises;
            if let Make::CatchPanic = plan.make {
                self.promises = Promises { once: false, ordered: false };
            }
            let (id, sink) = self.awaited(below);
            self.promises = before;
            parts.below.push(id);
            sink
        });
        let Some(first) = first else {
            let Make::Leaf(leaf) = &plan.make else { unreachable!("only a leaf has nothing below") };
            let leaf = Leaf::new(leaf.clone(), &self.graph.world);
            parts.leaf = Some(Arc::clone(&leaf));
            return match plan.fails {
                true => probed_async(Waits::new(Failing(Arc::clone(&leaf)), &leaf), edge),
                false => probed_async(Waits::new(Reliable(Arc::clone(&leaf)), &leaf), edge),
            };
        };
        let mut beside = || Quick(sure(self.child(plan, 1, parts).expect("it was planned")));
        match &plan.make {
            Make::Fallback => probed_async(first.may().fallback(beside()), edge),
            Make::DeadLetter => {
                let letters = beside().map_owned(
                    |letter: DeadLetter<Event, Fail>| letter.event,
                    |event| DeadLetter { event, error: Fail },
                );
                probed_async(first.may().dead_letter(letters), edge)
            }
            Make::Lossy => {
                let counter = Counter::new();
                let sink = first.may().lossy_counted(&counter);
                parts.counted = Box::new(move || Some(counter.get()));
                probed_async(sink, edge)
            }
            Make::CatchPanic => match first {
                Awaited::Sure(sink) => probed_async(sink.catch_panic(), edge),
                Awaited::May(sink) => probed_async(sink.catch_panic(), edge),
            },
            Make::Retry(pace) => retry_async(first.may(), *pace, None, edge),
            Make::GiveUp(pace, attempts) => retry_async(first.may(), *pace, Some(*attempts), edge),
            Make::Timeout { short } => {
                let time = if *short { Duration::from_micros(100) } else { Duration::from_secs(3600) };
                match first {
                    Awaited::Sure(sink) => probed_async(sink.timeout(time), edge),
                    Awaited::May(sink) => probed_async(sink.timeout(time), edge),
                }
            }
            make => match first {
                Awaited::Sure(sink) => transparent_async(make, sink, edge, parts),
                Awaited::May(sink) => transparent_async(make, sink, edge, parts),
            },
        }
    }

    /// What a ring leads back to must be there before the ring is, so that no event is missed.
    fn early<S>(&self, id: usize, sink: &S, edge: &Arc<Edge>)
    where
        S: Sink<Event, Error = Infallible> + Clone + Send + Sync + 'static,
    {
        let sink = probed(sink.clone(), edge).aside;
        let entry = Entry { sink, timed: None, awaited: false, edge: Arc::clone(edge) };
        if let Some(target) = self.target(id) {
            let _ = target.set(entry);
        }
    }

    fn target(&self, id: usize) -> Option<Arc<OnceLock<Entry>>> {
        self.graph.targets.lock().unwrap().get(&id).filter(|_| !self.late).cloned()
    }

    pub fn follow(&mut self, log: &Log<Event>, plan: &Plan) -> usize {
        let id = self.reserve();
        let Make::Follow { lag, runs } = plan.make else { unreachable!("a follower") };
        let mut parts = Parts::default();
        let below = self.below_worker(plan, runs, &mut parts);
        let options = match lag {
            Lagging::None => FollowOptions::new(),
            Lagging::Block(most) => FollowOptions::new().max_lag(most, Lag::Block),
            Lagging::Skip(most) => FollowOptions::new().max_lag(most, Lag::Skip),
            Lagging::Close(most) => FollowOptions::new().max_lag(most, Lag::Close),
        };
        let options = match self.spill(plan, 1, &mut parts) {
            Some(spill) => options.spill(spill),
            None => options,
        };
        let follower = match below {
            Below::Sync(sink) => log.follow_with(options, sure(sink)),
            Below::Async(sink, place) => log.follow_async_with(place.follow(options), sink.sure()),
        }
        .expect("one can always begin now");
        let counts = follower.clone();
        parts.stats = Some(Box::new(move || {
            let stats = counts.stats();
            Some(Stats {
                accepted: stats.accepted,
                delivered: stats.delivered,
                skipped: stats.skipped,
                dropped: stats.dropped,
                spilled: stats.spilled,
                lost: stats.lost,
                pending: stats.pending,
                in_flight: stats.in_flight,
            })
        }));
        parts.handle.follower = Some(follower);
        let edge = self.edge(id, plan);
        self.finish(id, plan, edge, parts);
        id
    }

    fn cursor(&mut self, log: &Log<Event>, plan: &Plan) -> usize {
        let id = self.reserve();
        let Make::Cursor { reading, stream } = plan.make else { unreachable!("a cursor") };
        let (edge, mut parts) = (self.edge(id, plan), Parts::default());
        self.reads(Source::Cursor(log.subscribe()), reading, stream, &edge, &mut parts);
        self.finish(id, plan, edge, parts);
        id
    }

    pub fn subscribe(&mut self, bus: &Broadcaster<Event>, plan: &Plan) -> usize {
        let id = self.reserve();
        let Make::Subscribe { policy, capacity, reading, stream } = plan.make else {
            unreachable!("a subscription")
        };
        let (edge, mut parts) = (self.edge(id, plan), Parts::default());
        let spill = self.spill(plan, 0, &mut parts);
        let fails = |_, _: Buffer<Event, _>, _| unreachable!("a subscription does not fail");
        let subscription = buffered!(policy, capacity, spill, buffer => bus.subscribe(buffer), fails: fails);
        let known = subscription.id();
        self.reads(Source::Subscription(subscription), reading, stream, &edge, &mut parts);
        self.finish(id, plan, edge, parts);
        self.graph.entries.lock().unwrap().entry(SUBSCRIPTIONS).or_default().push((known, id));
        id
    }

    fn reads(&self, source: Source, reading: Reading, stream: bool, edge: &Arc<Edge>, parts: &mut Parts) {
        parts.reads = Some(Arc::clone(edge));
        let most = match reading {
            Reading::All => u64::MAX,
            Reading::First(most) => most,
            Reading::Idle => return self.graph.idle.lock().unwrap().push(source),
        };
        let (edge, read_all) = (Arc::clone(edge), Arc::clone(&parts.read_all));
        let reader = thread::spawn(move || {
            // A clone or a destructor may panic.
            let _ = catch_unwind(AssertUnwindSafe(|| source.read(most, stream, &edge, &read_all)));
        });
        self.graph.readers.lock().unwrap().push(reader);
    }
}

/// A sink as the one above sees it, and as operations do.
struct Probed {
    above: Sorted,
    aside: Sorted,
}

fn probed<S>(sink: S, edge: &Arc<Edge>) -> Probed
where
    S: Sink<Event> + Send + Sync + 'static,
    S::Error: Unify,
{
    let sink = Arc::new(sink);
    let aside = <S::Error as Unify>::sorted(Arc::new(Probe::new(Arc::clone(&sink), edge, From::Aside)));
    let above = <S::Error as Unify>::sorted(Arc::new(Probe::new(sink, edge, From::Above)));
    Probed { above, aside }
}

fn letters<X>(sink: SharedSink<Event, X>) -> impl Sink<DeadLetter<Event, Fail>, Error = X> + Send + Sync
where
    X: 'static,
{
    sink.map_owned(|letter: DeadLetter<Event, Fail>| letter.event, |event| DeadLetter { event, error: Fail })
}

fn batch_of(size: usize, weighs: bool) -> Batch<Event> {
    let batch = match size {
        1 => Batch::of(3),
        size => Batch::of(size).within(Duration::from_millis(1)),
    };
    if weighs { batch.weighing(5, |event: &Event| event.seq % 8) } else { batch }
}

/// What is below a worker.
enum Below {
    Sync(Sorted),
    Async(Awaited, Place),
}

/// Where the worker of an asynchronous sink runs.
#[derive(Clone)]
struct Place {
    runs: Runs,
    runtime: Handle,
}

impl Place {
    fn queue<P>(&self, options: QueueOptions<Event, P>) -> QueueOptions<Event, P, AsyncOnly> {
        let runtime = self.runtime.clone();
        match self.runs {
            Runs::Sync | Runs::Workers => options.into(),
            Runs::Dedicated => options.dedicated().into(),
            Runs::Tokio => options.on(runtime),
            Runs::Closure => options.on(move |worker: WorkerFuture| drop(runtime.spawn(worker))),
        }
    }

    fn follow(&self, options: FollowOptions<Event>) -> FollowOptions<Event, AsyncOnly> {
        let runtime = self.runtime.clone();
        match self.runs {
            Runs::Sync | Runs::Workers => options.into(),
            Runs::Dedicated => options.dedicated().into(),
            Runs::Tokio => options.on(runtime),
            Runs::Closure => options.on(move |worker: WorkerFuture| drop(runtime.spawn(worker))),
        }
    }
}

/// A queue but for its buffer.
struct NewQueue<'a> {
    batch: Option<Batch<Event>>,
    lanes: Lanes,
    below: Below,
    /// Counts what fails of a batch, if that is split.
    given_up: Option<Arc<AtomicU64>>,
    edge: &'a Arc<Edge>,
}

impl NewQueue<'_> {
    fn with<P>(&self, buffer: Buffer<Event, P>) -> (Probed, AsksStats, Arc<dyn Timed>)
    where
        P: ByTask,
        P::Error: Unify,
    {
        let options = match self.lanes {
            Lanes::One => QueueOptions::new(buffer),
            // Some streams have one key.
            Lanes::Keyed(keys) => QueueOptions::new(buffer).keyed(keys, |event: &Event| event.stream % 5),
            Lanes::Concurrent(writes) => QueueOptions::new(buffer).concurrent(writes),
        };
        let queue = self.queue(options);
        let weak = queue.downgrade();
        let stats = move || {
            let stats = weak.upgrade()?.stats();
            Some(Stats {
                accepted: stats.accepted,
                delivered: stats.delivered,
                skipped: 0,
                dropped: stats.dropped,
                spilled: stats.spilled,
                lost: stats.lost,
                pending: stats.pending,
                in_flight: stats.in_flight,
            })
        };
        (probed(queue.clone(), self.edge), Box::new(stats), Arc::new(queue))
    }

    fn queue<P: ByTask>(&self, options: QueueOptions<Event, P>) -> Queue<Event, P> {
        match (&self.below, &self.batch, &self.given_up) {
            (Below::Sync(sink), None, _) => sure(sink.clone()).queued_with(options),
            (Below::Sync(sink), Some(batch), None) => {
                SinkExt::<Vec<Event>>::batched_with(OneByOne(sure(sink.clone())), batch.clone(), options)
            }
            (Below::Sync(sink), Some(batch), Some(given_up)) => {
                let split = SinkExt::<Vec<Event>>::split_on(OneByOne(may(sink.clone())), |_| true);
                split.dead_letter(Counted(Arc::clone(given_up))).batched_with(batch.clone(), options)
            }
            (Below::Async(sink, place), None, _) => sink.clone().sure().queued_with(place.queue(options)),
            (Below::Async(sink, place), Some(batch), None) => AsyncSinkExt::<Vec<Event>>::batched_with(
                OneByOne(sink.clone().sure()),
                batch.clone(),
                place.queue(options),
            ),
            (Below::Async(sink, place), Some(batch), Some(given_up)) => {
                let split = AsyncSinkExt::<Vec<Event>>::split_on(OneByOne(sink.clone().may()), |_| true);
                split
                    .dead_letter(Counted(Arc::clone(given_up)))
                    .batched_with(batch.clone(), place.queue(options))
            }
        }
    }
}

fn channel_of<P>(
    (sink, events): (ChannelSink<Event, P>, Events<Event>),
    edge: &Arc<Edge>,
) -> (Probed, Arc<dyn Timed>, Events<Event>)
where
    P: BufferPolicy,
    P::Error: Unify,
{
    (probed(sink.clone(), edge), Arc::new(sink), events)
}

macro_rules! by {
    ($probe:ident: $sink:ident, $strategy:expr, $attempts:ident, $edge:ident) => {
        match $attempts {
            None => $probe($sink.retry($strategy), $edge),
            Some(attempts) => $probe($sink.retry($strategy).max_attempts(attempts), $edge),
        }
    };
}

/// Counts the events of batches that fail, and is never closed.
struct Counted(Arc<AtomicU64>);

impl Sink<DeadLetter<Vec<Event>, Fail>> for Counted {
    type Error = Infallible;

    fn write(
        &self,
        letter: DeadLetter<Vec<Event>, Fail>,
    ) -> Result<(), WriteError<DeadLetter<Vec<Event>, Fail>, Infallible>> {
        self.0.fetch_add(letter.event.len() as u64, Ordering::SeqCst);
        letter.event.into_iter().for_each(Event::discard);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

impl ImmediateSink<DeadLetter<Vec<Event>, Fail>> for Counted {}

/// What is expired is dropped, and a failure stays one.
struct Expired;

impl<X: Clone> Sink<DeadLetter<Event, ExpireError<X>>> for Expired {
    type Error = X;

    fn write(
        &self,
        letter: DeadLetter<Event, ExpireError<X>>,
    ) -> Result<(), WriteError<DeadLetter<Event, ExpireError<X>>, X>> {
        match letter.error.clone() {
            ExpireError::Expired { .. } => Ok(()),
            ExpireError::Sink(error) => Err(WriteError::failed(letter, error)),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

impl<X: Clone> ImmediateSink<DeadLetter<Event, ExpireError<X>>> for Expired {}

/// The combinators that synchronous and asynchronous sinks have under the same names.
macro_rules! combinators {
    ($retry:ident, $transparent:ident: $shared:ident => $probe:ident, $probed:ident) => {
fn $retry(sink: $shared<Event, Fail>, pace: Pace, attempts: Option<u32>, edge: &Arc<Edge>) -> $probed {
    let short = Duration::from_micros(50);
    match pace {
        Pace::Constant => by!($probe: sink, Constant::new(short), attempts, edge),
        Pace::Exponential => {
            let backoff = ExponentialBackoff::default().base(short).factor(short).max(4 * short);
            by!($probe: sink, backoff, attempts, edge)
        }
        Pace::Breaker => by!($probe: sink, Breaker::new(2, 2 * short), attempts, edge),
        Pace::Stuck => by!($probe: sink, Constant::new(Duration::from_secs(3600)), attempts, edge),
    }
}


fn $transparent<X>(make: &Make, sink: $shared<Event, X>, edge: &Arc<Edge>, parts: &mut Parts) -> $probed
where
    X: Unify + Clone,
{
    let rejected = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rejected);
    match *make {
        Make::Filter { every } => {
            parts.counted = Box::new(move || Some(counted.load(Ordering::SeqCst)));
            let holds = move |event: &Event| {
                let holds = event.seq % every != 0;
                rejected.fetch_add(u64::from(!holds), Ordering::SeqCst);
                holds
            };
            $probe(sink.filter(holds), edge)
        }
        Make::FilterMap { every } => {
            parts.counted = Box::new(move || Some(counted.load(Ordering::SeqCst)));
            let map = move |event: &Event| {
                let holds = event.seq % every != 0;
                rejected.fetch_add(u64::from(!holds), Ordering::SeqCst);
                holds.then(|| event.clone())
            };
            $probe(sink.filter_map(map), edge)
        }
        Make::Expire { every } => {
            parts.counted = Box::new(move || Some(counted.load(Ordering::SeqCst)));
            let age = move |event: &Event| {
                let expired = event.seq % every == 0;
                rejected.fetch_add(u64::from(expired), Ordering::SeqCst);
                Duration::from_secs(expired.into())
            };
            // What is expired is dropped, and a failure stays one.
            $probe(sink.expire_after(Duration::ZERO, age).dead_letter(Expired), edge)
        }
        Make::RateLimit => $probe(sink.rate_limit(Rate::every(Duration::from_micros(5)).burst(4)), edge),
        Make::Map => $probe(sink.map(|event: &Event| event.clone()), edge),
        Make::MapOwned => $probe(sink.map_owned(|event: Event| event, |event| event), edge),
        Make::Inspect { panics } => {
            let inspect = move |_: &Event| {
                let seen = counted.fetch_add(1, Ordering::SeqCst) + 1;
                if panics > 0 && seen % panics == 0 {
                    std::panic::panic_any(PLANNED);
                }
            };
            $probe(sink.inspect(inspect), edge)
        }
        Make::Metered => $probe(sink.metered(&Meter::new()), edge),
        Make::Closeable => $probe(sink.closeable(), edge),
        Make::KeepOpen => $probe(sink.keep_open(), edge),
        _ => unreachable!("not transparent"),
    }
}
    };
}

combinators!(retry, transparent: SharedSink => probed, Probed);
combinators!(retry_async, transparent_async: SharedAsyncSink => probed_async, ProbedAsync);
