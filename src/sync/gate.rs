use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

/// Open or shut; what is inside lives until the last visitor leaves.
///
/// # Why this is right
///
/// A visitor loads the content and holds on to it. `shut` swaps the content out with one atomic operation:
/// a visitor that loads after that finds nothing, and the content is dropped when those that loaded before
/// have let go of it. So the destructor of the content runs after the last visit and, if everything that
/// keeps a visitor is gone, before `shut` returns: a lock-free "wait until nobody is inside", in which
/// nobody waits. A load and a swap are sequentially consistent in `arc-swap` where it matters here: a
/// thread that has seen `shut` return, or learned of it from one that has, finds the gate shut.
///
/// A visit costs about 5 ns, with no contended counter: `arc-swap` notes it in a slot of the thread's own.
pub(crate) struct Gate<T> {
    content: ArcSwapOption<T>,
}

pub(crate) type Visit<T> = Guard<Option<Arc<T>>>;

impl<T> Gate<T> {
    /// A gate with nothing inside yet: shut.
    pub(crate) fn empty() -> Self {
        Self { content: ArcSwapOption::empty() }
    }

    /// Puts the first content in, or another in its place. Only for those who know that nobody shuts it at
    /// the same time.
    pub(crate) fn fill(&self, content: Arc<T>) -> Option<Arc<T>> {
        self.content.swap(Some(content))
    }

    #[inline]
    pub(crate) fn enter(&self) -> Visit<T> {
        self.content.load()
    }

    pub(crate) fn shut(&self) -> Option<Arc<T>> {
        self.content.swap(None)
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.content.load().is_none()
    }

    /// Replaces the content by what `f` makes of it, unless the gate is shut or was renewed meanwhile by
    /// somebody else; answers what was inside, which is dropped once those who are with it have left.
    pub(crate) fn renew(&self, f: impl Fn(&T) -> T) -> Option<Arc<T>> {
        loop {
            let visit = self.content.load();
            let old = visit.as_ref()?;
            let renewed = Some(Arc::new(f(old)));
            let before = self.content.compare_and_swap(&*visit, renewed);
            let replaced = match &*before {
                Some(before) => Arc::ptr_eq(before, old),
                None => return None,
            };
            if replaced {
                return Some(Arc::clone(old));
            }
        }
    }
}
