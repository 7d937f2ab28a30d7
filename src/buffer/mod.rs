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
//! | [`.drop_newest()`](Buffer::drop_newest) | gives up the new one | `Infallible` |
//! | [`.spill(sink)`](Buffer::spill) | where to send what the buffer gives up | |
//!
//! ```compile_fail,E0599
//! outflow::buffer::Buffer::<u32, _>::unbounded().drop_oldest(); // nothing is ever evicted
//! ```

pub(crate) mod shed;

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, Instant};

use crate::contract::{Never, erase};
use crate::contract::{SharedSink, Sink, WriteError};
use crate::pipe::{Door, Pipe, Room};
use crate::sync::gate::Visit;

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
/// sink.close();
/// assert_eq!(events.iter().collect::<Vec<_>>(), [2, 3]);
/// assert_eq!(evicted.events(), [0, 1]);
/// ```
#[must_use = "a buffer does nothing until a queue, a channel or a subscription takes it"]
pub struct Buffer<E, P = Unbounded> {
    /// `None` has no bound.
    pub(crate) capacity: Option<usize>,
    pub(crate) policy: P,
    pub(crate) spill: Option<SharedSink<E>>,
}

impl<E> Buffer<E, Unbounded> {
    /// Holds any number of events; memory is the bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, buffer::Buffer, sink};
    ///
    /// let queue = sink::for_each(|_: u32| {}).queued_with(Buffer::unbounded());
    /// assert_eq!(queue.capacity(), None);
    /// ```
    pub fn unbounded() -> Self {
        Self { capacity: None, policy: Unbounded, spill: None }
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
    /// # Panics
    ///
    /// If `capacity` is 0. A channel without a buffer is [`channel::rendezvous`](crate::channel::rendezvous).
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
        Self { capacity: Some(capacity), policy: Block, spill: None }
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
        self.with_policy(BlockFor { timeout })
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

    /// A write into a full buffer gives up the event that was to be written.
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
    /// Sends what this buffer gives up to `sink`: what is evicted, and what is left over after an abort, a
    /// closed downstream or a panic. Without it that is dropped. Either way it is counted.
    ///
    /// `sink` is closed with what the buffer belongs to, after the last write to it. A write to it happens
    /// on the thread that evicts, or ends the drain, and that thread waits for it. What `sink` refuses or
    /// panics on is counted as dropped. An event that it sends back to this buffer, on the same thread and
    /// through however many other sinks, while there is no room, is counted as dropped, not spilled again.
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
        Buffer { capacity: self.capacity, policy, spill: self.spill }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for Buffer<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("capacity", &self.capacity)
            .field("policy", &self.policy)
            .field("spills", &self.spill.is_some())
            .finish()
    }
}

/// A write found no room.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, WriteError, buffer::Full, channel};
///
/// let (sink, _events) = channel::bounded(8);
/// for event in 0..8 {
///     sink.write(event).unwrap();
/// }
/// let refused = sink.try_write(8).unwrap_err();
/// assert_eq!(refused.error().unwrap().capacity(), 8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is full (capacity: {capacity})")]
pub struct Full {
    capacity: usize,
}

impl Full {
    /// How many events the buffer holds; 0 for a rendezvous, at which no reader was waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, channel};
    ///
    /// let (sink, _events) = channel::with(Buffer::bounded(1).reject());
    /// sink.write("first").unwrap();
    /// assert_eq!(sink.write("second").unwrap_err().error().unwrap().capacity(), 1);
    /// ```
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// What a full [`Buffer`] does: sealed, implemented by the types of this module.
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, Policy};
/// use outflow::{Queue, SinkExt, sink};
///
/// /// Whatever is to happen when it is full.
/// fn audit_log<P: Policy>(buffer: Buffer<String, P>) -> Queue<String, P> {
///     sink::for_each(|line| println!("{line}")).queued_with(buffer)
/// }
/// assert_eq!(audit_log(Buffer::bounded(16).drop_oldest()).capacity(), Some(16));
/// ```
pub trait Policy: sealed::Policy + Clone + fmt::Debug + Send + Sync + 'static {
    /// What a write to a full buffer fails with.
    type Error;
}

/// A [`Policy`] by which a write to an open buffer never fails: all but [`Reject`] and [`BlockFor`]. Sealed.
///
/// [`Broadcaster::subscribe`](crate::Broadcaster::subscribe) asks for it, since nothing can be put between a
/// broadcaster and a subscription that would take an event that fails.
#[diagnostic::on_unimplemented(
    message = "a write by the policy `{Self}` can fail, and a subscription has nowhere to put the event then",
    label = "needs a buffer to which a write never fails",
    note = "let writers wait for room: `Buffer::bounded(n)`",
    note = "or drop events, counted: `.drop_oldest()`, `.drop_newest()`",
    note = "or have no bound: `Buffer::unbounded()`",
    note = "or cut off a reader that is slow: `broadcaster.add(sink.close_on_failure())`, where \
            `channel::with(buffer)` makes the sink and the events"
)]
pub trait Reliable: Policy<Error = Infallible> {}

impl Reliable for Unbounded {}
impl Reliable for Block {}
impl Reliable for DropOldest {}
impl Reliable for DropNewest {}

/// A [`Policy`] by which a write never waits for room: all but [`Block`] and [`BlockFor`]. Sealed. With the
/// feature `futures`.
///
/// [`into_futures`](crate::SinkExt::into_futures) asks for it. A [`spill`](Buffer::spill) is the one thing
/// that a write by such a policy can still wait in.
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, Immediate};
/// use outflow::{Queue, SinkExt, sink};
///
/// /// A queue that an executor may write to.
/// fn for_async_writers<P: Immediate>(buffer: Buffer<String, P>) -> Queue<String, P> {
///     sink::for_each(|line| println!("{line}")).queued_with(buffer)
/// }
/// let _queue = for_async_writers(Buffer::bounded(16).drop_oldest());
/// ```
#[cfg(feature = "futures")]
#[diagnostic::on_unimplemented(
    message = "a write by the policy `{Self}` may wait for room, which blocks an executor",
    label = "needs a sink whose writes never wait",
    note = "wait for nothing: `Buffer::unbounded()`, or `.drop_oldest()` or `.drop_newest()` on a bounded one",
    note = "or say what becomes of an event that finds no room: `.reject()` on the buffer, and then \
            `.fallback(sink)`, `.dead_letter(sink)` or `.lossy()` on the queue"
)]
pub trait Immediate: Policy {}

#[cfg(feature = "futures")]
mod immediate {
    use super::{DropNewest, DropOldest, Immediate, Reject, Unbounded};

    impl Immediate for Unbounded {}
    impl Immediate for Reject {}
    impl Immediate for DropOldest {}
    impl Immediate for DropNewest {}
}

/// A write never waits. The policy of [`Buffer::unbounded`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, Unbounded};
///
/// let _: Buffer<u32, Unbounded> = Buffer::unbounded();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

/// A write waits for room. The policy of [`Buffer::bounded`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, Block};
///
/// let _: Buffer<u32, Block> = Buffer::bounded(8);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Block;

/// A write waits for room for some time. The policy of [`Buffer::block_for`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, BlockFor};
///
/// let _: Buffer<u32, BlockFor> = Buffer::bounded(8).block_for(std::time::Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BlockFor {
    timeout: Duration,
}

/// A write into a full buffer fails. The policy of [`Buffer::reject`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, Reject};
///
/// let _: Buffer<u32, Reject> = Buffer::bounded(8).reject();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reject;

/// The oldest event makes room. The policy of [`Buffer::drop_oldest`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, DropOldest};
///
/// let _: Buffer<u32, DropOldest> = Buffer::bounded(8).drop_oldest();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DropOldest;

/// The newest event is given up. The policy of [`Buffer::drop_newest`].
///
/// # Examples
///
/// ```
/// use outflow::buffer::{Buffer, DropNewest};
///
/// let _: Buffer<u32, DropNewest> = Buffer::bounded(8).drop_newest();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DropNewest;

impl Policy for Unbounded {
    type Error = Infallible;
}

impl Policy for Block {
    type Error = Infallible;
}

impl Policy for BlockFor {
    type Error = Full;
}

impl Policy for Reject {
    type Error = Full;
}

impl Policy for DropOldest {
    type Error = Infallible;
}

impl Policy for DropNewest {
    type Error = Infallible;
}

mod sealed {
    use super::{Door, Pipe, Visit, WriteError};

    pub trait Policy {
        /// Whether writers take events out of the buffer.
        #[doc(hidden)]
        const EVICTS: bool = false;

        /// What becomes of an event for which there was no room a moment ago.
        #[doc(hidden)]
        fn overflow<E>(
            &self,
            pipe: &Pipe<E>,
            visit: Visit<Door<E>>,
            event: E,
        ) -> Result<(), WriteError<E, <Self as super::Policy>::Error>>
        where
            Self: super::Policy;
    }
}

impl sealed::Policy for Unbounded {
    #[cold]
    fn overflow<E>(
        &self,
        _pipe: &Pipe<E>,
        _visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Infallible>> {
        // An unbounded channel is never full.
        Err(WriteError::Closed(event))
    }
}

impl sealed::Policy for Block {
    #[cold]
    fn overflow<E>(
        &self,
        pipe: &Pipe<E>,
        visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Infallible>> {
        match pipe.wait_for_room(visit, event, None) {
            Room::Found => Ok(()),
            Room::Closed(event) | Room::TimedOut(event) => Err(WriteError::Closed(event)),
        }
    }
}

impl sealed::Policy for BlockFor {
    #[cold]
    fn overflow<E>(
        &self,
        pipe: &Pipe<E>,
        visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Full>> {
        // A timeout beyond what the clock can count is none.
        match pipe.wait_for_room(visit, event, Instant::now().checked_add(self.timeout)) {
            Room::Found => Ok(()),
            Room::Closed(event) => Err(WriteError::Closed(event)),
            Room::TimedOut(event) => Err(WriteError::failed(event, full(pipe))),
        }
    }
}

impl sealed::Policy for Reject {
    #[cold]
    fn overflow<E>(
        &self,
        pipe: &Pipe<E>,
        _visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Full>> {
        Err(WriteError::failed(event, full(pipe)))
    }
}

impl sealed::Policy for DropOldest {
    const EVICTS: bool = true;

    #[cold]
    fn overflow<E>(
        &self,
        pipe: &Pipe<E>,
        visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Infallible>> {
        pipe.evict_for(visit, event).map_err(WriteError::Closed)
    }
}

impl sealed::Policy for DropNewest {
    const EVICTS: bool = true;

    #[cold]
    fn overflow<E>(
        &self,
        pipe: &Pipe<E>,
        visit: Visit<Door<E>>,
        event: E,
    ) -> Result<(), WriteError<E, Infallible>> {
        pipe.give_up_for(visit, event);
        Ok(())
    }
}

impl BlockFor {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

fn full<E>(pipe: &Pipe<E>) -> Full {
    Full { capacity: pipe.capacity().unwrap_or(usize::MAX) }
}
