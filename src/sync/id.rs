use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a sink of a broadcaster, or a follower of a log; unique in the process.
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, sink};
///
/// let broadcaster = Broadcaster::<u32>::new();
/// let first = broadcaster.add(sink::discard())?;
/// let second = broadcaster.add(sink::discard())?;
/// assert_ne!(first, second);
/// assert!(first.to_string().starts_with("sink "));
/// # Ok::<(), outflow::AddError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkId(u64);

impl SinkId {
    pub(crate) const MIN: Self = Self(u64::MIN);
    pub(crate) const MAX: Self = Self(u64::MAX);

    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sink {}", self.0)
    }
}

/// What a sink is called in errors and logs: its name, if it was given one, else its id.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) id: SinkId,
    pub(crate) name: Option<Arc<str>>,
}

impl Label {
    pub(crate) fn new(name: Option<Arc<str>>) -> Self {
        Self { id: SinkId::new(), name }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => self.id.fmt(f),
        }
    }
}
