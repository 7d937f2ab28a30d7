//! What a log and its followers count.

/// What of a log is in memory: appended, and either retained or not yet read by every reader that can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// How many events. They are freed by the segment, up to 1024 at once.
    pub events: u64,
    /// In how many segments.
    pub segments: u64,
}

/// Where a follower's events are:
/// `accepted = delivered + skipped + dropped + spilled + lost + pending + in_flight`.
///
/// At rest, and after the follower has ended, this is exact. While it runs it is a snapshot: `delivered`,
/// `skipped`, `dropped`, `spilled` and `lost` never go back from one call to the next, `pending` and `in_flight`
/// go up and down, and `accepted` is the sum of them all. What moves on while the snapshot is taken is counted as
/// in flight.
///
/// # Examples
///
/// ```
/// use outflow::{Log, Sink, sink};
///
/// let log = Log::new();
/// let follower = log.follow(sink::discard());
/// log.append("pushed")?;
/// follower.flush().wait()?;
/// let stats = follower.stats();
/// assert_eq!((stats.accepted, stats.delivered, stats.pending), (1, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerStats {
    /// Events appended since it began, and until it ended.
    pub accepted: u64,
    /// Events that the sink accepted.
    pub delivered: u64,
    /// Events that it skipped because it was further behind than its `max_lag`.
    pub skipped: u64,
    /// Events that were left over, and not spilled.
    pub dropped: u64,
    /// Events that the spill accepted.
    pub spilled: u64,
    /// Events on which the sink panicked.
    pub lost: u64,
    /// Events that it has not come to yet.
    pub pending: u64,
    /// Events on their way: in a write to the sink, or into the spill.
    pub in_flight: u64,
}
