/// Where a queue's events are: `accepted = delivered + dropped + spilled + lost + pending + in_flight`.
///
/// Exact while nothing moves, as when every write has returned and the queue is empty, stuck or closed. While it runs
/// this is a snapshot: the first four terms only grow from one to the next, the last two are what was found, and an
/// event that moves meanwhile may be in neither of them. `accepted` is the sum.
///
/// # Examples
///
/// ```
/// use outflow::{Buffer, Sink, SinkExt, sink};
///
/// let saved = sink::collector();
/// let queue = sink::for_each(|event: u32| assert_ne!(event, 0))
///     .queued_with(Buffer::unbounded().spill(saved.clone()));
/// queue.write(0).unwrap();
/// assert!(queue.close().wait().is_err());
/// let stats = queue.stats();
/// assert_eq!((stats.accepted, stats.lost), (1, 1), "the sink panicked on it");
/// assert_eq!(stats.accepted, stats.delivered + stats.dropped + stats.spilled + stats.lost);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Events that a write returned `Ok` for.
    pub accepted: u64,
    /// Events that the sink accepted.
    pub delivered: u64,
    /// Events that were evicted or left over, and not spilled.
    pub dropped: u64,
    /// Events that the spill accepted.
    pub spilled: u64,
    /// Events on which the sink panicked.
    pub lost: u64,
    /// Events that wait in the queue.
    pub pending: u64,
    /// Events on their way: in a write to the sink, in a batch under assembly, or into the spill.
    pub in_flight: u64,
}
