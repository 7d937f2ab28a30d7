use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stretch of code that a drain cannot get past while it runs: a queue's worker, a broadcaster's write, a
/// spill. Each thread knows which ones it is in, so that one that would wait for itself can be kept from it.
///
/// A broadcaster enters its scope on every write, so the innermost one is a cell of its own: the first on a
/// thread costs one load and two stores. Those around it are an array of cells without a destructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope(NonZeroU64);

const SHALLOW: usize = 16;

struct Inside {
    /// 0 is none.
    innermost: Cell<u64>,
    /// How many there are around it.
    depth: Cell<usize>,
    around: [Cell<u64>; SHALLOW],
}

thread_local! {
    static INSIDE: Inside = const {
        Inside { innermost: Cell::new(0), depth: Cell::new(0), around: [const { Cell::new(0) }; SHALLOW] }
    };
    /// What is nested deeper than `SHALLOW`.
    static DEEP: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Scope {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters. 2^64 of them are not made.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(id).unwrap_or(NonZeroU64::MAX))
    }

    /// Marks this thread as inside until the guard is dropped, which must be in reverse order of entering:
    /// keep it in a local variable.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        INSIDE.with(|inside| {
            let around = inside.innermost.replace(self.0.get());
            if around != 0 {
                inside.push(around);
            }
            Entered { nested: around != 0, thread: PhantomData }
        })
    }

    /// Whether this thread is inside.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        let id = self.0.get();
        INSIDE.with(|inside| inside.innermost.get() == id || inside.is_around(id))
    }

    /// Whether this thread is inside any scope at all.
    pub(crate) fn any_is_current() -> bool {
        INSIDE.with(|inside| inside.innermost.get() != 0)
    }
}

impl Inside {
    fn push(&self, id: u64) {
        let depth = self.depth.get();
        match self.around.get(depth) {
            Some(slot) => slot.set(id),
            None => _ = DEEP.try_with(|deep| deep.borrow_mut().push(id)),
        }
        self.depth.set(depth + 1);
    }

    fn pop(&self) -> u64 {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        match self.around.get(depth) {
            Some(slot) => slot.get(),
            None => DEEP.try_with(|deep| deep.borrow_mut().pop()).ok().flatten().unwrap_or(0),
        }
    }

    fn is_around(&self, id: u64) -> bool {
        let depth = self.depth.get();
        self.around.iter().take(depth).any(|slot| slot.get() == id)
            || (depth > SHALLOW && DEEP.try_with(|deep| deep.borrow().contains(&id)).unwrap_or(false))
    }
}

/// Leaves the scope when dropped. Not `Send`: it must be dropped on the thread that entered.
#[must_use]
pub(crate) struct Entered {
    nested: bool,
    thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.innermost.set(if self.nested { inside.pop() } else { 0 }));
    }
}

/// Whether this thread is delivering: within a write of a broadcaster or of an
#[cfg_attr(feature = "http", doc = "[`HttpSink`](crate::http::HttpSink),")]
#[cfg_attr(not(feature = "http"), doc = "`HttpSink`,")]
/// on the worker of a queue or of a log's follower, or in a spill.
///
/// It is for whatever hears of a delivery and would cause one: a logger or a subscriber that writes to a sink, where
/// that sink, or the client that it uses, logs each event that it delivers. One line would become lines without end.
/// What is logged while this is true belongs somewhere else, such as to standard error. It costs a load, and says
/// nothing of threads that a sink of your own started. See [`docs::observability`](crate::docs::observability).
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// use outflow::{Sink, SinkExt, is_delivering, sink};
///
/// let seen = Arc::new(AtomicBool::new(false));
/// let inside = Arc::clone(&seen);
/// let queue = sink::for_each(move |_: u32| inside.store(is_delivering(), Ordering::SeqCst)).queued();
/// queue.write(1).unwrap();
/// queue.close().wait()?;
/// assert!(seen.load(Ordering::SeqCst) && !is_delivering());
/// # Ok::<(), outflow::CloseError>(())
/// ```
pub fn is_delivering() -> bool {
    Scope::any_is_current()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_what_it_entered_at_any_depth() {
        let scopes: Vec<Scope> = (0..SHALLOW + 8).map(|_| Scope::new()).collect();
        let mut entered = Vec::new();
        for (i, scope) in scopes.iter().enumerate() {
            assert!(!scope.is_current());
            entered.push(scope.enter());
            assert!(scopes[..=i].iter().all(|scope| scope.is_current()));
        }
        while let Some(last) = entered.pop() {
            drop(last);
            let (inside, outside) = scopes.split_at(entered.len());
            assert!(inside.iter().all(|scope| scope.is_current()));
            assert!(!outside.iter().any(|scope| scope.is_current()));
        }
        assert!(!Scope::any_is_current());
    }
}
