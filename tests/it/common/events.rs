//! Events that are counted, and that panic when they are cloned or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::{planned_panic, wait_until};

const NONE: u64 = u64::MAX;
const ALL: u64 = u64::MAX - 1;

/// How many events there are, how often one was cloned or dropped, and which of them panic.
#[derive(Debug)]
pub struct Census {
    pub live: AtomicI64,
    pub clones: AtomicU64,
    drops: AtomicU64,
    panics_on_clone: AtomicU64,
    panics_on_drop: AtomicU64,
}

/// An event that is counted as long as it lives.
#[derive(Debug)]
pub struct Event {
    pub id: u64,
    census: Arc<Census>,
}

impl Event {
    pub fn new(id: u64, census: &Arc<Census>) -> Self {
        census.live.fetch_add(1, Ordering::SeqCst);
        Self { id, census: Arc::clone(census) }
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        if takes(&self.census.panics_on_clone, self.id) {
            planned_panic();
        }
        self.census.clones.fetch_add(1, Ordering::SeqCst);
        Self::new(self.id, &self.census)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.census.drops.fetch_add(1, Ordering::SeqCst);
        self.census.live.fetch_sub(1, Ordering::SeqCst);
        if takes(&self.census.panics_on_drop, self.id) {
            planned_panic();
        }
    }
}

/// Whether it is the turn of this event, which uses the turn up, or that of all of them.
fn takes(whose: &AtomicU64, id: u64) -> bool {
    match whose.load(Ordering::SeqCst) {
        NONE => false,
        ALL => true,
        armed => armed == id && whose.compare_exchange(id, NONE, Ordering::SeqCst, Ordering::SeqCst).is_ok(),
    }
}

impl Census {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            live: AtomicI64::new(0),
            clones: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            panics_on_clone: AtomicU64::new(NONE),
            panics_on_drop: AtomicU64::new(NONE),
        })
    }

    /// Each of its events panics whenever it is dropped.
    pub fn panicking_on_drop() -> Arc<Self> {
        let census = Self::new();
        census.panics_on_drop.store(ALL, Ordering::SeqCst);
        census
    }

    pub fn live(&self) -> i64 {
        self.live.load(Ordering::SeqCst)
    }

    pub fn clones(&self) -> u64 {
        self.clones.load(Ordering::SeqCst)
    }

    pub fn drops(&self) -> u64 {
        self.drops.load(Ordering::SeqCst)
    }

    /// The next clone of this event panics.
    pub fn panic_on_clone_of(&self, id: u64) {
        self.panics_on_clone.store(id, Ordering::SeqCst);
    }

    /// The next drop of this event panics.
    pub fn panic_on_drop_of(&self, id: u64) {
        self.panics_on_drop.store(id, Ordering::SeqCst);
    }

    /// Whether the drop that was to panic did.
    pub fn has_panicked(&self) -> bool {
        self.panics_on_drop.load(Ordering::SeqCst) == NONE
    }

    /// Waits until no event is left, which a thread that is about to end may hold.
    #[track_caller]
    pub fn assert_none_left(&self) {
        wait_until("every event is dropped", || self.live() == 0);
    }
}
