use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stretch of code that a drain cannot get past while it runs: a queue's worker, a broadcaster's write, a
/// spill. Each thread knows which ones it is in, so that one that would wait for itself is told so.
///
/// A broadcaster enters its scope on every write, which is why this is an array of cells without a
/// destructor and no vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope(NonZeroU64);

const SHALLOW: usize = 16;

struct Inside {
    depth: Cell<usize>,
    scopes: [Cell<u64>; SHALLOW],
}

thread_local! {
    static INSIDE: Inside = const {
        Inside { depth: Cell::new(0), scopes: [const { Cell::new(0) }; SHALLOW] }
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

    /// Marks this thread as inside until the answer is dropped, which must be in reverse order of entering:
    /// keep it in a local variable.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        INSIDE.with(|inside| {
            let depth = inside.depth.get();
            match inside.scopes.get(depth) {
                Some(slot) => slot.set(self.0.get()),
                None => push_deep(self.0.get()),
            }
            inside.depth.set(depth + 1);
        });
        Entered(PhantomData)
    }

    /// Whether this thread is inside.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        INSIDE.with(|inside| {
            let depth = inside.depth.get();
            inside.scopes.iter().take(depth).any(|slot| slot.get() == self.0.get())
                || (depth > SHALLOW && is_deep(self.0.get()))
        })
    }

    /// Whether this thread is inside any scope at all.
    pub(crate) fn any_is_current() -> bool {
        INSIDE.with(|inside| inside.depth.get() > 0)
    }
}

#[cold]
fn push_deep(id: u64) {
    let _ = DEEP.try_with(|deep| deep.borrow_mut().push(id));
}

#[cold]
fn pop_deep() {
    let _ = DEEP.try_with(|deep| deep.borrow_mut().pop());
}

#[cold]
fn is_deep(id: u64) -> bool {
    DEEP.try_with(|deep| deep.borrow().contains(&id)).unwrap_or(false)
}

/// Leaves the scope when dropped. Not `Send`: it must be dropped on the thread that entered.
#[must_use]
pub(crate) struct Entered(PhantomData<*const ()>);

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        INSIDE.with(|inside| {
            let depth = inside.depth.get();
            if depth > SHALLOW {
                pop_deep();
            }
            inside.depth.set(depth - 1);
        });
    }
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
