use std::time::Duration;

/// When what was written has to survive the machine, and not only the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sync {
    /// Before a write returns. Concurrent writers share one sync.
    #[default]
    Always,
    /// At most this long after it.
    Every(Duration),
    /// When the operating system sees fit.
    Os,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) sync: Sync,
    /// At most 1,024 bytes.
    pub(crate) schema: String,
    /// What the files may have in all, but for acknowledgements.
    pub(crate) max_bytes: u64,
    /// Whether the oldest events make room for new ones.
    pub(crate) drops_oldest: bool,
    /// A segment that has so many bytes is not written to any more.
    pub(crate) segment_bytes: u64,
    /// At most so many acknowledged events are not synced, and come twice after a power failure.
    pub(crate) unsynced_acks: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::Always,
            schema: String::new(),
            max_bytes: u64::MAX,
            drops_oldest: false,
            segment_bytes: 32 << 20,
            unsynced_acks: 4096,
        }
    }
}
