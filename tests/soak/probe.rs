//! A sink on every edge of a graph that records what went over it, and holds the promises that one write can break.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use outflow::buffer::Full;
use outflow::{
    AsyncSink, CatchPanicError, Closing, Flushing, SharedAsyncSink, SharedSink, Sink, TimeoutError,
    WriteError,
};

use crate::asynchronous::Awaited;
use crate::event::{Event, World};
use crate::graph::Sorted;

/// The one error of sinks that can fail.
#[derive(Clone, Debug)]
pub struct Fail;

/// Makes the errors of the library's sinks one of two.
pub trait Unify: Send + Sync + Sized + 'static {
    type Out: Send + Sync + 'static;
    fn unify(self) -> Self::Out;
    fn sorted(sink: SharedSink<Event, Self::Out>) -> Sorted;
    fn awaited(sink: SharedAsyncSink<Event, Self::Out>) -> Awaited;
}

impl Unify for Infallible {
    type Out = Infallible;
    fn unify(self) -> Infallible {
        self
    }
    fn sorted(sink: SharedSink<Event>) -> Sorted {
        Sorted::Sure(sink)
    }
    fn awaited(sink: SharedAsyncSink<Event>) -> Awaited {
        Awaited::Sure(sink)
    }
}

macro_rules! fails {
    ($($error:ty),*) => {$(
        impl Unify for $error {
            type Out = Fail;
            fn unify(self) -> Fail {
                Fail
            }
            fn sorted(sink: SharedSink<Event, Fail>) -> Sorted {
                Sorted::May(sink)
            }
            fn awaited(sink: SharedAsyncSink<Event, Fail>) -> Awaited {
                Awaited::May(sink)
            }
        }
    )*};
}

fails!(
    Fail,
    Full,
    CatchPanicError<Infallible>,
    CatchPanicError<Fail>,
    TimeoutError<Infallible>,
    TimeoutError<Fail>
);

/// What went over one edge.
#[derive(Debug, Default)]
pub struct Traffic {
    pub calls: u64,
    pub ok: u64,
    pub closed: u64,
    pub failed: u64,
    pub panicked: u64,
    /// Writes of asynchronous sinks that were dropped before they were done.
    pub cancelled: u64,
    /// Writes that began after a close had returned.
    pub late: u64,
    /// In the order in which the writes came back.
    pub accepted: Vec<u64>,
    seen: HashSet<u64>,
    last: HashMap<u64, u64>,
}

/// Whether a write comes from the sink above, or from an operation or around a ring.
#[derive(Clone, Copy)]
pub enum From {
    Above,
    Aside,
}

/// What holds of the events that reach a node.
#[derive(Clone, Copy)]
pub struct Promises {
    /// Each comes once: not where a panic half-way is caught and the write may be made again.
    pub once: bool,
    /// Those of one stream come in order: not below a spill.
    pub ordered: bool,
}

/// What leads into one node.
pub struct Edge {
    pub node: usize,
    pub promises: Promises,
    /// Whether the sink refuses writes once it was closed.
    refuses: bool,
    /// Set when a close has returned.
    shut: AtomicBool,
    /// How many probes there are, each of which owns what is below.
    pub sinks: AtomicU64,
    traffic: [Mutex<Traffic>; 2],
    world: Arc<World>,
}

impl Edge {
    pub fn new(node: usize, promises: Promises, refuses: bool, world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            node,
            promises,
            refuses,
            shut: AtomicBool::new(false),
            sinks: AtomicU64::new(0),
            traffic: Default::default(),
            world: Arc::clone(world),
        })
    }

    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    fn traffic(&self, from: From) -> MutexGuard<'_, Traffic> {
        self.traffic[from as usize].lock().unwrap()
    }

    pub fn look<T>(&self, from: From, f: impl FnOnce(&Traffic) -> T) -> T {
        f(&self.traffic(from))
    }

    /// What was accepted from anywhere.
    pub fn accepted(&self) -> Vec<u64> {
        let mut accepted = self.traffic(From::Above).accepted.clone();
        accepted.extend_from_slice(&self.traffic(From::Aside).accepted);
        accepted
    }

    /// Runs one write of `event` and records what became of it.
    pub fn observe<T, X>(
        &self,
        from: From,
        event: &Event,
        write: impl FnOnce() -> Result<(), WriteError<T, X>>,
    ) -> Result<(), WriteError<T, X>> {
        let (id, stream, seq) = (event.id, event.stream, event.seq);
        self.observed(from, (id, stream, seq), write)
    }

    pub fn observed<T, X>(
        &self,
        from: From,
        (id, stream, seq): (u64, u64, u64),
        write: impl FnOnce() -> Result<(), WriteError<T, X>>,
    ) -> Result<(), WriteError<T, X>> {
        let begun = self.begins(from, (id, stream, seq));
        let written = write();
        begun.came_back(&written);
        written
    }

    /// A write begins.
    fn begins(&self, from: From, event: (u64, u64, u64)) -> Begun<'_> {
        Begun { edge: self, from, event, shut: self.is_shut(), fate: Fate::Panicked }
    }

    fn came_back<T, X>(
        &self,
        from: From,
        (id, stream, seq): (u64, u64, u64),
        shut: bool,
        written: &Result<(), WriteError<T, X>>,
    ) {
        let mut traffic = self.traffic(from);
        traffic.calls += 1;
        traffic.late += u64::from(shut);
        match written {
            Ok(()) => {
                traffic.ok += 1;
                traffic.accepted.push(id);
                let first_time = traffic.seen.insert(id);
                let before = traffic.last.insert(stream, seq).unwrap_or(0);
                drop(traffic);
                if shut && self.refuses {
                    self.broke("law 2: a write after the close was accepted", id);
                }
                if self.promises.once && !first_time {
                    self.broke("law 4: an event was accepted twice", id);
                }
                if self.promises.ordered && before >= seq {
                    let detail = format!(
                        "event {id}, {seq} of stream {stream}, after {before}, at node {}",
                        self.node
                    );
                    self.world.broke("law 6: the events of one writer came out of order", detail);
                }
            }
            Err(WriteError::Closed(_)) => traffic.closed += 1,
            Err(WriteError::Failed { .. }) => traffic.failed += 1,
        }
    }

    /// As [`observed`](Self::observed), of a write that is polled.
    pub async fn awaited<T, X>(
        &self,
        from: From,
        event: (u64, u64, u64),
        write: impl Future<Output = Result<(), WriteError<T, X>>>,
    ) -> Result<(), WriteError<T, X>> {
        let mut begun = self.begins(from, event);
        let mut write = pin!(write);
        let written = poll_fn(|context| {
            begun.fate = Fate::Panicked;
            let polled = write.as_mut().poll(context);
            begun.fate = Fate::Cancelled;
            polled
        })
        .await;
        begun.came_back(&written);
        written
    }

    /// An event that a reader took.
    pub fn took(&self, event: Event) {
        let _: Result<(), WriteError<(), Infallible>> = self.observe(From::Above, &event, || Ok(()));
        event.discard();
    }

    fn broke(&self, promise: &'static str, event: u64) {
        self.world.broke(promise, format!("event {event} at node {}", self.node));
    }
}

/// A write that has begun.
struct Begun<'a> {
    edge: &'a Edge,
    from: From,
    event: (u64, u64, u64),
    shut: bool,
    /// If it does not come back.
    fate: Fate,
}

enum Fate {
    CameBack,
    Panicked,
    Cancelled,
}

impl Begun<'_> {
    fn came_back<T, X>(mut self, written: &Result<(), WriteError<T, X>>) {
        self.fate = Fate::CameBack;
        self.edge.came_back(self.from, self.event, self.shut, written);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let (panicked, cancelled) = match self.fate {
            Fate::CameBack => return,
            Fate::Panicked => (1, 0),
            Fate::Cancelled => (0, 1),
        };
        let mut traffic = self.edge.traffic(self.from);
        traffic.calls += 1;
        traffic.panicked += panicked;
        traffic.cancelled += cancelled;
    }
}

pub struct Probe<S> {
    sink: S,
    edge: Arc<Edge>,
    from: From,
}

impl<S> Probe<S> {
    pub fn new(sink: S, edge: &Arc<Edge>, from: From) -> Self {
        edge.sinks.fetch_add(1, Ordering::SeqCst);
        Self { sink, edge: Arc::clone(edge), from }
    }
}

impl<S> Drop for Probe<S> {
    fn drop(&mut self) {
        self.edge.sinks.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<S> Sink<Event> for Probe<S>
where
    S: Sink<Event>,
    S::Error: Unify,
{
    type Error = <S::Error as Unify>::Out;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Self::Error>> {
        let (id, stream, seq, instance) = (event.id, event.stream, event.seq, event.instance);
        let written = self.edge.observed(self.from, (id, stream, seq), || self.sink.write(event));
        written.map_err(|refused| {
            if refused.event().instance != instance {
                self.edge.broke("law 1: another event was handed back", id);
            }
            refused.map_error(Unify::unify)
        })
    }

    fn write_ref(&self, event: &Event) -> Result<(), WriteError<(), Self::Error>> {
        let written = self.edge.observe(self.from, event, || self.sink.write_ref(event));
        written.map_err(|refused| refused.map_error(Unify::unify))
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        let closing = self.sink.close();
        self.edge.shut.store(true, Ordering::SeqCst);
        closing
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

impl<S> AsyncSink<Event> for Probe<S>
where
    S: AsyncSink<Event>,
    S::Error: Unify,
{
    type Error = <S::Error as Unify>::Out;

    async fn write(&self, event: Event) -> Result<(), WriteError<Event, Self::Error>> {
        let (id, stream, seq, instance) = (event.id, event.stream, event.seq, event.instance);
        let written = self.edge.awaited(self.from, (id, stream, seq), self.sink.write(event)).await;
        written.map_err(|refused| {
            if refused.event().instance != instance {
                self.edge.broke("law 1: another event was handed back", id);
            }
            refused.map_error(Unify::unify)
        })
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        let closing = self.sink.close();
        self.edge.shut.store(true, Ordering::SeqCst);
        closing
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}
