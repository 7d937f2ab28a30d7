use std::time::Duration;

/// Where the events of a [`Durable`](super::Durable) queue are. What is on disk is right after a restart, too; what is
/// counted is counted from when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurableStats {
    /// On disk and not acknowledged.
    pub pending: u64,
    /// Of these, how many the sink has accepted, or is being written, without a flush that came through since.
    pub unconfirmed: u64,
    /// Of these, how many are passed over until it is opened again: they cannot be decoded or were tried too often, and no
    /// dead-letter sink took them.
    pub passed_over: u64,
    /// How long ago the oldest event was written that the sink has unconfirmed, or else the next; `None` if there is none.
    pub oldest: Option<Duration>,
    /// The number that the next event gets. Numbers begin with 0, and go on after a restart.
    pub next: u64,
    /// The bytes of the store.
    pub bytes: u64,
    /// Dropped to make room, since the store was made.
    pub dropped: u64,
    /// Accepted by the sink; again, if they were delivered again.
    pub delivered: u64,
    /// Acknowledged, and gone from the disk.
    pub acknowledged: u64,
    /// Written to a dead-letter sink: tried too often, or undecodable.
    pub dead_lettered: u64,
    /// Damaged after the store was opened, and given up. [`Recovered`](super::Recovered) has what was found then.
    pub damaged: u64,
    /// Flushes of the sink that failed, or by which a buffer below had shed events; after each the events come again.
    pub failed_flushes: u64,
    /// Reads of the disk that failed, each of which is tried again after a second.
    pub failed_reads: u64,
}
