//! Builds what is planned: every sink with a probe on top.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use futures::StreamExt as _;
use futures::executor::block_on;
use outflow::buffer::{Buffer, Policy as BufferPolicy};
use outflow::channel::{self, ChannelSink, Events};
use outflow::log::{FollowOptions, Lag, LogOptions};
use outflow::queue::Batch;
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::{
    Broadcaster, Counter, DeadLetter, ExpireError, Log, Meter, Queue, Rate, SharedSink, Sink, SinkExt, sink,
};

use crate::event::{Event, PLANNED};
use crate::graph::{AsksStats, Entry, Graph, Handle, Node, PATIENCE, SUBSCRIPTIONS, Sorted, Stats, Timed};
use crate::leaf::{Back, Failing, Leaf, Reliable, Unbatched};
use crate::plan::{Lagging, Make, Pace, Plan, Policy, Reading};
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
        Make::Filter { .. } | Make::FilterMap { .. } | Make::Expire { .. } => refuses(&plan.below[0]),
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
    handle: Handle,
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
            handle: Handle::default(),
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
        let entry = Entry { sink: aside, timed, edge: Arc::clone(&edge) };
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
            Make::Queue { policy, capacity, batch } => {
                let sink = sure(child(self, 0));
                let spill = self.spill(plan, 1, parts);
                let fails = |other, buffer: Buffer<Event, _>, spill| match other {
                    Policy::Reject => queue(spilled(buffer.reject(), spill), *batch, &sink, edge),
                    _ => queue(spilled(buffer.block_for(PATIENCE), spill), *batch, &sink, edge),
                };
                let (sink, stats, timed) = buffered!(*policy, *capacity, spill,
                    buffer => queue(buffer, *batch, &sink, edge), fails: fails);
                (parts.stats, parts.timed) = (Some(stats), Some(timed));
                sink
            }
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

    /// What a ring leads back to must be there before the ring is, so that no event is missed.
    fn early<S>(&self, id: usize, sink: &S, edge: &Arc<Edge>)
    where
        S: Sink<Event, Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    {
        let entry = Entry { sink: probed(sink.clone(), edge).aside, timed: None, edge: Arc::clone(edge) };
        if let Some(target) = self.target(id) {
            let _ = target.set(entry);
        }
    }

    fn target(&self, id: usize) -> Option<Arc<OnceLock<Entry>>> {
        self.graph.targets.lock().unwrap().get(&id).filter(|_| !self.late).cloned()
    }

    pub fn follow(&mut self, log: &Log<Event>, plan: &Plan) -> usize {
        let id = self.reserve();
        let Make::Follow { lag } = plan.make else { unreachable!("a follower") };
        let mut parts = Parts::default();
        let sink = sure(self.child(plan, 0, &mut parts).expect("it was planned"));
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
        let follower = log.follow_with(options, sink).expect("one can always begin now");
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

fn retry(sink: SharedSink<Event, Fail>, pace: Pace, attempts: Option<u32>, edge: &Arc<Edge>) -> Probed {
    macro_rules! by {
        ($strategy:expr) => {
            match attempts {
                None => probed(sink.retry($strategy), edge),
                Some(attempts) => probed(sink.retry($strategy).max_attempts(attempts), edge),
            }
        };
    }
    let short = Duration::from_micros(50);
    match pace {
        Pace::Constant => by!(Constant::new(short)),
        Pace::Exponential => by!(ExponentialBackoff::default().base(short).factor(short).max(4 * short)),
        Pace::Breaker => by!(Breaker::new(2, 2 * short)),
        Pace::Stuck => by!(Constant::new(Duration::from_secs(3600))),
    }
}

fn queue<P>(
    buffer: Buffer<Event, P>,
    batch: usize,
    sink: &SharedSink<Event>,
    edge: &Arc<Edge>,
) -> (Probed, AsksStats, Arc<dyn Timed>)
where
    P: BufferPolicy,
    P::Error: Unify,
{
    let sink = Arc::clone(sink);
    let queue = match batch {
        0 => sink.queued_with(buffer),
        1 => batched(sink, Batch::of(3), buffer),
        size => batched(sink, Batch::of(size).within(Duration::from_millis(1)), buffer),
    };
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
    (probed(queue.clone(), edge), Box::new(stats), Arc::new(queue))
}

fn batched<P: BufferPolicy>(
    sink: SharedSink<Event>,
    batch: Batch<Event>,
    buffer: Buffer<Event, P>,
) -> Queue<Event, P> {
    SinkExt::<Vec<Event>>::batched_with(Unbatched(sink), batch, buffer)
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

fn transparent<X>(make: &Make, sink: SharedSink<Event, X>, edge: &Arc<Edge>, parts: &mut Parts) -> Probed
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
            probed(sink.filter(holds), edge)
        }
        Make::FilterMap { every } => {
            parts.counted = Box::new(move || Some(counted.load(Ordering::SeqCst)));
            let map = move |event: &Event| {
                let holds = event.seq % every != 0;
                rejected.fetch_add(u64::from(!holds), Ordering::SeqCst);
                holds.then(|| event.clone())
            };
            probed(sink.filter_map(map), edge)
        }
        Make::Expire { every } => {
            parts.counted = Box::new(move || Some(counted.load(Ordering::SeqCst)));
            let age = move |event: &Event| {
                let expired = event.seq % every == 0;
                rejected.fetch_add(u64::from(expired), Ordering::SeqCst);
                Duration::from_secs(expired.into())
            };
            // What is expired is dropped, and a failure stays one.
            let letters =
                sink::from_fn(|letter: &DeadLetter<Event, ExpireError<X>>| match letter.error.clone() {
                    ExpireError::Expired { .. } => Ok(()),
                    ExpireError::Sink(error) => Err(error),
                });
            probed(sink.expire_after(Duration::ZERO, age).dead_letter(letters.keep_open()), edge)
        }
        Make::RateLimit => probed(sink.rate_limit(Rate::every(Duration::from_micros(5)).burst(4)), edge),
        Make::Map => probed(sink.map(|event: &Event| event.clone()), edge),
        Make::MapOwned => probed(sink.map_owned(|event: Event| event, |event| event), edge),
        Make::Inspect { panics } => {
            let inspect = move |_: &Event| {
                let seen = counted.fetch_add(1, Ordering::SeqCst) + 1;
                if panics > 0 && seen % panics == 0 {
                    std::panic::panic_any(PLANNED);
                }
            };
            probed(sink.inspect(inspect), edge)
        }
        Make::Metered => probed(sink.metered(&Meter::new()), edge),
        Make::Closeable => probed(sink.closeable(), edge),
        Make::KeepOpen => probed(sink.keep_open(), edge),
        _ => unreachable!("not transparent"),
    }
}
