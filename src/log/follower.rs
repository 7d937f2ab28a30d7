use std::fmt;
use std::sync::Arc;

use super::Seq;
use super::follower_state::Following;
use crate::contract::SharedSink;
use crate::lifecycle::{Closing, Flushing};
use crate::sync::SinkId;

/// A thread that writes a log's events to a sink. Made by [`Log::follow`](super::Log::follow).
///
/// Cheap to clone; clones share. Dropped, it goes on: the log has it until it ends. It ends with the close of
/// the log, when its sink closes or panics, or when it is [closed](Follower::close) or
/// [detached](Follower::detach) on its own; no other reader is disturbed by that.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, log::Log, sink};
///
/// let log = Log::new();
/// let delivered = sink::collector();
/// let follower = log.follow(delivered.clone());
/// log.append("push alpine")?;
/// log.flush().wait()?;
///
/// assert_eq!(delivered.events(), ["push alpine"]);
/// assert_eq!((follower.position(), follower.lag(), follower.stats().delivered), (1, 0, 1));
/// # log.close().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower<E> {
    pub(super) following: Arc<Following<E>>,
}

/// Where a follower's events are: one answer adds up to
/// `accepted = delivered + skipped + dropped + spilled + lost + pending + in_flight`.
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

impl<E> Follower<E> {
    /// The name under which the close of the log tells what was not delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, Sink, sink};
    ///
    /// let log = Log::new();
    /// let sink = sink::collector();
    /// let follower = log.follow(sink.clone());
    /// sink.close();
    /// log.append("refused")?;
    /// let error = log.close().wait().unwrap_err();
    /// assert_eq!(error.sinks().next().map(|(id, _)| id), Some(follower.id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> SinkId {
        self.following.id
    }

    /// The number of the event that it writes next. Those before are written, one in flight included.
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
    /// assert_eq!(follower.position(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Seq {
        self.following.position()
    }

    /// How many events it is behind the log, or behind where it ended.
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
    /// assert_eq!(follower.lag(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lag(&self) -> u64 {
        let end = self.following.end().min(self.following.shared.head());
        end.saturating_sub(self.following.position())
    }

    /// Where its events are. Does not hold up the thread.
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
    /// assert_eq!(follower.stats().delivered, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> FollowerStats {
        self.following.stats()
    }

    /// Whether it has ended: its sink is closed or handed back, and everything is accounted for.
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
    /// assert!(!follower.has_ended());
    /// follower.close().wait()?;
    /// assert!(follower.has_ended());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn has_ended(&self) -> bool {
        self.following.closing().is_done()
    }

    /// Stops it and hands the sink back, which is not closed; the spill, if there is one, is. Does not wait:
    /// a write that is under way may still reach the sink, and no other begins. [`position`](Self::position)
    /// is where another would go on. `None` if it has ended or is just ending.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, log::Log, sink};
    ///
    /// let log = Log::new();
    /// let delivered = sink::collector();
    /// let follower = log.follow(delivered.clone());
    /// log.append(1)?;
    /// log.flush().wait()?;
    /// let sink = follower.detach().expect("it has not ended");
    /// log.append(2)?;
    /// log.close().wait()?;
    /// assert!(!sink.is_closed());
    /// assert_eq!(delivered.events(), [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach(&self) -> Option<SharedSink<E>> {
        self.following.detach()
    }

    /// Begins to write what is in the log up to now; the answer waits for it.
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
    /// assert_eq!(follower.stats().pending, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Flushing {
        self.following.request_flush()
    }

    /// Has it write what is in the log up to now, then close its sink and its spill. The log goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, log::Log, sink};
    ///
    /// let log = Log::new();
    /// let delivered = sink::collector();
    /// let follower = log.follow(delivered.clone());
    /// log.append(1)?;
    /// follower.close().wait()?;
    /// log.append(2)?;
    /// assert_eq!(delivered.events(), [1]);
    /// assert!(delivered.is_closed() && !log.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Closing {
        self.following.close()
    }
}

impl<E> Clone for Follower<E> {
    fn clone(&self) -> Self {
        Self { following: Arc::clone(&self.following) }
    }
}

impl<E> fmt::Debug for Follower<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("id", &self.id())
            .field("position", &self.position())
            .field("lag", &self.lag())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
