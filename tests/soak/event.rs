//! The events of a program, and what all of its parts share: what is alive, and which promises were broken.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::panic_any;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{self, ThreadId};

use crate::graph::Graph;

/// A panic with this message is planned, and not printed.
pub const PLANNED: &str = "planned panic";

/// What a marked event does in users' code that no sink calls on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bomb {
    None,
    Clone,
    Drop,
}

/// Shared by everything in a program.
#[derive(Default)]
pub struct World {
    /// How many events there are.
    pub live: AtomicI64,
    ids: AtomicU64,
    instances: AtomicU64,
    broken: Mutex<Vec<(&'static str, String)>>,
    /// The events whose clone has panicked.
    cloned: Mutex<HashSet<u64>>,
    streams: Mutex<HashMap<Source, Stream>>,
    /// For what is called back from within a sink.
    pub graph: OnceLock<Weak<Graph>>,
}

/// Where a stream comes from: the sink written to, the thread, and how many writes that is inside.
type Source = (usize, ThreadId, u32);

/// The number of a stream, and how many events it has.
type Stream = (u64, u64);

impl World {
    pub fn broke(&self, promise: &'static str, detail: String) {
        self.broken.lock().unwrap().push((promise, detail));
    }

    pub fn broken(&self) -> Vec<(&'static str, String)> {
        self.broken.lock().unwrap().clone()
    }
}

thread_local! {
    static NESTED: Cell<u32> = const { Cell::new(0) };
    static GETTING: Cell<bool> = const { Cell::new(false) };
}

/// Counts how many writes this thread is inside, since a write from within one may overtake it.
pub struct Nested;

impl Nested {
    pub fn enter() -> Self {
        NESTED.set(NESTED.get() + 1);
        Self
    }

    pub fn depth() -> u32 {
        NESTED.get()
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}

/// Runs a getter, within which no user's code may run.
pub fn getting<T>(get: impl FnOnce() -> T) -> T {
    let before = GETTING.replace(true);
    let answer = get();
    GETTING.set(before);
    answer
}

pub fn is_getting() -> bool {
    GETTING.get()
}

/// An event of one stream: what one thread writes to one sink, no two of them at the same time.
pub struct Event {
    pub id: u64,
    pub stream: u64,
    pub seq: u64,
    /// How often it went around a ring.
    pub hops: u8,
    /// Tells copies apart.
    pub instance: u64,
    pub bomb: Bomb,
    live: Live,
}

/// Counted as long as it lives.
struct Live(Arc<World>);

impl Live {
    fn new(world: &Arc<World>) -> Self {
        world.live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(world))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Event {
    /// The next event that this thread writes to the sink `target`.
    pub fn next(world: &Arc<World>, target: usize, hops: u8, bomb: Bomb) -> Self {
        let key = (target, thread::current().id(), Nested::depth());
        let mut streams = world.streams.lock().unwrap();
        let streams_before = streams.len() as u64;
        let (stream, next) = streams.entry(key).or_insert((streams_before, 0));
        *next += 1;
        let (stream, seq) = (*stream, *next);
        drop(streams);
        let id = world.ids.fetch_add(1, Ordering::Relaxed);
        let instance = world.instances.fetch_add(1, Ordering::Relaxed);
        Self { id, stream, seq, hops, instance, bomb, live: Live::new(world) }
    }

    /// Drops it without its planned panic.
    pub fn discard(mut self) {
        self.bomb = Bomb::None;
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        let world = &self.live.0;
        // Once for each event, so that a retry ends.
        if self.bomb == Bomb::Clone && !thread::panicking() && world.cloned.lock().unwrap().insert(self.id) {
            panic_any(PLANNED);
        }
        let instance = world.instances.fetch_add(1, Ordering::Relaxed);
        let Self { id, stream, seq, hops, bomb, .. } = *self;
        Self { id, stream, seq, hops, instance, bomb, live: Live::new(world) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.bomb == Bomb::Drop && !thread::panicking() {
            panic_any(PLANNED);
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} ({}th of stream {})", self.id, self.seq, self.stream)
    }
}
