//! A wait that is announced, so that another thread takes over. This knows no pool: a thread says whom to tell.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// What is to know of the waits of a thread.
pub(crate) trait Waits {
    /// A thread is about to wait.
    fn begin_wait(&self);

    /// It has waited.
    fn end_wait(&self);
}

thread_local! {
    /// Whether a wait of this thread is to be announced: there is something to tell, and it is in no such wait.
    static ANNOUNCES: Cell<bool> = const { Cell::new(false) };
    static WAITS: RefCell<Option<Arc<dyn Waits>>> = const { RefCell::new(None) };
}

/// From now on the waits of this thread are announced to `waits`.
pub(crate) fn announce_waits_to(waits: Arc<dyn Waits>) {
    WAITS.set(Some(waits));
    ANNOUNCES.set(true);
}

/// Runs what may wait, such as a backoff or a wait for room. Every wait of this crate is in one of these.
///
/// On a thread of a pool another thread takes over if a task is runnable, or as soon as one is. On any other thread, and
/// within another of these, it costs a load.
pub(crate) fn blocking<T>(f: impl FnOnce() -> T) -> T {
    let _announced = if ANNOUNCES.get() { Announced::new() } else { None };
    f()
}

/// Until it is dropped, which a panic does too.
struct Announced(Arc<dyn Waits>);

impl Announced {
    #[cold]
    fn new() -> Option<Self> {
        // Not in a destructor of this thread's locals that comes after that one's.
        let waits = WAITS.try_with(|waits| waits.borrow().clone()).ok()??;
        ANNOUNCES.set(false);
        waits.begin_wait();
        Some(Self(waits))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.end_wait();
        ANNOUNCES.set(true);
    }
}
