//! The handle of a follower.

use std::fmt;
use std::sync::Arc;

use super::follower_sink::FollowerSink;
use super::follower_state::FollowerState;
use super::seq::Seq;
use super::stats::FollowerStats;
use crate::contract::{SharedAsyncSink, SharedSink};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::SinkId;

/// A handle of a follower: of a worker that writes a log's events to a sink. Made by
/// [`Log::follow`](super::Log::follow).
///
/// Cheap to clone; clones are handles of the same follower. Dropping them ends nothing, as with a thread's
/// `JoinHandle`: the follower is the log's. It ends with the close of the log, when its sink closes or panics, or when
/// it is [closed](FollowerHandle::close) or [detached](FollowerHandle::detach) on its own; no other reader is disturbed
/// by that. A handle that is kept keeps no event alive.
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
pub struct FollowerHandle<E> {
    pub(super) state: Arc<FollowerState<E>>,
}

impl<E> FollowerHandle<E> {
    /// The name by which [`Log::ended`](super::Log::ended) and the errors of the log's close refer to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, Sink, sink};
    ///
    /// let log = Log::new();
    /// let sink = sink::collector();
    /// let follower = log.follow(sink.clone());
    /// sink.close().wait()?;
    /// log.append("refused")?;
    /// let error = log.close().wait().unwrap_err();
    /// assert_eq!(error.sinks().next().map(|(id, _)| id), Some(follower.id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> SinkId {
        self.state.label.id
    }

    /// The number of the event that it writes next. Those before are written, one in flight included.
    pub fn position(&self) -> Seq {
        self.state.position()
    }

    /// How many events it is behind the log, or behind where it ended.
    pub fn lag(&self) -> u64 {
        let end = self.state.end().min(self.state.shared.head());
        end.saturating_sub(self.state.position())
    }

    /// Where its events are. Does not hold up its worker.
    pub fn stats(&self) -> FollowerStats {
        self.state.stats()
    }

    /// Whether it has ended: its sink is closed or handed back, and everything is accounted for.
    pub fn has_ended(&self) -> bool {
        self.state.closing().is_done()
    }

    /// Stops it and hands the sink back, which is not closed; the spill, if there is one, is. Does not wait:
    /// a write that is under way may still reach the sink, and no other begins. [`position`](Self::position)
    /// is where another would go on. `None` if it has ended or is just ending, or if its sink is
    /// asynchronous: [`detach_async`](FollowerHandle::detach_async) is for that.
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
        match self.state.detach(false) {
            Some(FollowerSink::Sync(sink)) => Some(sink),
            Some(FollowerSink::Async(_)) | None => None,
        }
    }

    /// As [`detach`](FollowerHandle::detach), if its sink is asynchronous; `None` if it is not. A write under way is polled to
    /// its end.
    pub fn detach_async(&self) -> Option<SharedAsyncSink<E>> {
        match self.state.detach(true) {
            Some(FollowerSink::Async(sink)) => Some(sink),
            Some(FollowerSink::Sync(_)) | None => None,
        }
    }

    /// Begins to write what is in the log up to now, and to flush the sink. What it returns waits for that.
    pub fn flush(&self) -> Flushing {
        self.state.request_flush()
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
        self.state.close()
    }
}

impl<E> Clone for FollowerHandle<E> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<E> fmt::Debug for FollowerHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowerHandle")
            .field("id", &self.id())
            .field("position", &self.position())
            .field("lag", &self.lag())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
