//! How much may wait, and what becomes of an event for which there is no room.
//!
//! Queues, channels and subscriptions all take a [`Buffer`]. The policy is a type, so that the error of a
//! write is known at compile time and a combination without sense cannot be written:
//!
//! | option | meaning | `Error` |
//! | --- | --- | --- |
//! | [`Buffer::unbounded()`] | a write never waits | `Infallible` |
//! | [`Buffer::bounded(n)`](Buffer::bounded) | a write waits for room | `Infallible` |
//! | [`.reject()`](Buffer::reject) | a write into a full buffer fails | [`Full`] |
//! | [`.block_for(d)`](Buffer::block_for) | waits at most `d`, then fails | [`Full`] |
//! | [`.drop_oldest()`](Buffer::drop_oldest) | makes room by evicting the oldest | `Infallible` |
//! | [`.drop_newest()`](Buffer::drop_newest) | sheds the new one | `Infallible` |
//! | [`.weighing(max, f)`](Buffer::weighing) | bounds what the events weigh, too: bytes, say | |
//! | [`.spill(sink)`](Buffer::spill) | where to send what the buffer sheds | |
//!
//! A buffer takes memory as it fills, so that a high bound costs nothing by itself. Writers that wait for room get it in
//! the order in which they came, and a write that need not wait does not overtake them.
//!
//! ```compile_fail,E0599
//! outflow::buffer::Buffer::<u32, _>::unbounded().drop_oldest(); // nothing is ever evicted
//! ```

mod policy;
pub(crate) mod shed;

pub use self::policy::Immediate;
pub(crate) use self::policy::WhenFull;
pub use self::policy::{Block, BlockFor, DropNewest, DropOldest, Full, Policy, Reject, Reliable, Unbounded};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Never, SharedSink, Sink, erase};

/// How much may wait, and what becomes of an event for which there is no room. See the [module](self).
///
/// # Examples
///
/// ```
/// use outflow::{Sink, buffer::Buffer, channel, sink};
///
/// let evicted = sink::collector();
/// let (sink, events) = channel::with(Buffer::bounded(2).drop_oldest().spill(evicted.clone()));
/// for event in 0..4 {
///     sink.write(event).unwrap();
/// }
/// sink.close().wait().unwrap();
/// assert_eq!(events.iter().collect::<Vec<_>>(), [2, 3]);
/// assert_eq!(evicted.events(), [0, 1]);
/// ```
#[must_use = "a buffer does nothing until a queue, a channel or a subscription takes it"]
pub struct Buffer<E, P = Unbounded> {
    /// `None` has no bound.
    pub(crate) capacity: Option<usize>,
    pub(crate) weighing: Option<Weighing<E>>,
    pub(crate) policy: P,
    pub(crate) spill: Option<SharedSink<E>>,
}

/// A bound by what events weigh: of a buffer, or of a batch.
pub(crate) struct Weighing<E> {
    pub(crate) max: u64,
    pub(crate) weigh: Arc<dyn Fn(&E) -> u64 + Send + Sync>,
}

impl<E> Buffer<E, Unbounded> {
    /// Holds any number of events; memory is the bound.
    pub fn unbounded() -> Self {
        Self { capacity: None, weighing: None, policy: Unbounded, spill: None }
    }
}

impl<E> Default for Buffer<E, Unbounded> {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl<E> Buffer<E, Block> {
    /// Holds at most `capacity` events; a write into a full buffer waits for room, on the caller's thread.
    ///
    /// It takes memory as it fills.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0: a channel without a buffer is [`channel::rendezvous`](crate::channel::rendezvous).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, buffer::Buffer, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(1024));
    /// assert_eq!(queue.capacity(), Some(1024));
    /// ```
    #[track_caller]
    pub fn bounded(capacity: usize) -> Self {
        assert!(
            capacity > 0,
            "a buffer of 0 events can hold none: give it a capacity of at least 1, \
             or use `channel::rendezvous()`"
        );
        Self { capacity: Some(capacity), weighing: None, policy: Block, spill: None }
    }

    /// Holds nothing: a write waits until a reader takes the event.
    pub(crate) fn rendezvous() -> Self {
        Self { capacity: Some(0), weighing: None, policy: Block, spill: None }
    }

    /// Bounds the buffer by what its events weigh, too: it is full when one more would make them heavier than
    /// `max_weight`. In bytes, say.
    ///
    /// An event that is heavier than that by itself is let in when the buffer is empty, and nothing more until it is out.
    /// Each policy does what it does when the buffer is full; [`drop_oldest`](Buffer::drop_oldest) evicts as many events
    /// as it takes. A writer that waits with a heavy event has those behind it wait, too.
    ///
    /// `weigh` is called once for each event, on the writer's thread, before the event is written. If it panics, so does
    /// the write, which has written nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, channel};
    ///
    /// let bytes = |event: &String| event.len() as u64;
    /// let (sink, events) = channel::with(Buffer::bounded(1000).weighing(10, bytes));
    /// assert!(sink.try_write("6 byte".to_string()).is_ok());
    /// assert!(sink.try_write("5 byt".to_string()).is_err());
    /// assert!(sink.try_write("4 by".to_string()).is_ok());
    /// assert_eq!(events.weight(), Some(10));
    /// ```
    pub fn weighing<F>(mut self, max_weight: u64, weigh: F) -> Self
    where
        F: Fn(&E) -> u64 + Send + Sync + 'static,
    {
        self.weighing = Some(Weighing { max: max_weight, weigh: Arc::new(weigh) });
        self
    }

    /// A write into a full buffer fails with [`Full`] at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, buffer::Buffer, channel};
    ///
    /// let (sink, _events) = channel::with(Buffer::bounded(1).reject());
    /// sink.write("first").unwrap();
    /// let refused = sink.write("second").unwrap_err();
    /// assert_eq!(refused.to_string(), "the write failed: the buffer is full (capacity: 1)");
    /// ```
    pub fn reject(self) -> Buffer<E, Reject> {
        self.with_policy(Reject)
    }

    /// A write into a full buffer waits at most `timeout` for room and then fails with [`Full`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, buffer::Buffer, channel};
    ///
    /// let (sink, _events) = channel::with(Buffer::bounded(1).block_for(Duration::from_millis(1)));
    /// sink.write("first").unwrap();
    /// assert!(sink.write("second").is_err());
    /// ```
    pub fn block_for(self, timeout: Duration) -> Buffer<E, BlockFor> {
        self.with_policy(BlockFor::new(timeout))
    }

    /// A write into a full buffer makes room by evicting the event that has waited longest.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, buffer::Buffer, channel};
    ///
    /// let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest());
    /// sink.write("first").unwrap();
    /// sink.write("second").unwrap();
    /// assert_eq!(events.recv(), Ok("second"));
    /// assert_eq!(events.dropped(), 1);
    /// ```
    pub fn drop_oldest(self) -> Buffer<E, DropOldest> {
        self.with_policy(DropOldest)
    }

    /// A write into a full buffer sheds the event that was to be written.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, buffer::Buffer, channel};
    ///
    /// let (sink, events) = channel::with(Buffer::bounded(1).drop_newest());
    /// sink.write("first").unwrap();
    /// sink.write("second").unwrap();
    /// assert_eq!(events.recv(), Ok("first"));
    /// assert_eq!(events.dropped(), 1);
    /// ```
    pub fn drop_newest(self) -> Buffer<E, DropNewest> {
        self.with_policy(DropNewest)
    }
}

impl<E, P> Buffer<E, P> {
    /// Sends what this buffer sheds to `sink`: what is evicted, and what is left over after an abort, a
    /// closed downstream or a panic. Without it that is dropped. Either way it is counted.
    ///
    /// `sink` is closed with what the buffer belongs to, after the last write to it. A write to it happens
    /// on the thread that evicts, or ends the drain, and that thread waits for it. What `sink` refuses or
    /// panics on is counted as dropped. An event that it sends back to this buffer, on the same thread and
    /// by way of however many other sinks, while there is no room, is counted as dropped, not spilled again.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, channel, sink};
    ///
    /// let saved = sink::collector();
    /// let (sink, events) = channel::with(Buffer::bounded(8).spill(saved.clone()));
    /// sink.write_all(0..3).unwrap();
    /// assert_eq!(events.recv(), Ok(0));
    /// drop(events); // Nobody reads the others any more.
    /// assert_eq!(saved.events(), [1, 2]);
    /// ```
    pub fn spill<S>(mut self, sink: S) -> Self
    where
        S: Sink<E> + Send + Sync + 'static,
        S::Error: Never,
    {
        self.spill = Some(erase(sink));
        self
    }

    fn with_policy<Q>(self, policy: Q) -> Buffer<E, Q> {
        Buffer { capacity: self.capacity, weighing: self.weighing, policy, spill: self.spill }
    }
}

/// Clones share the spill, which is closed with the first of them that is: give each its own, or hand it over as
/// [`keep_open`](crate::SinkExt::keep_open).
impl<E, P: Clone> Clone for Buffer<E, P> {
    fn clone(&self) -> Self {
        Self {
            capacity: self.capacity,
            weighing: self.weighing.clone(),
            policy: self.policy.clone(),
            spill: self.spill.clone(),
        }
    }
}

impl<E> Clone for Weighing<E> {
    fn clone(&self) -> Self {
        Self { max: self.max, weigh: Arc::clone(&self.weigh) }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for Buffer<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("capacity", &self.capacity)
            .field("max_weight", &self.weighing.as_ref().map(|weighing| weighing.max))
            .field("policy", &self.policy)
            .field("spills", &self.spill.is_some())
            .finish()
    }
}
