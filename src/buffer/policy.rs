use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use crate::contract::WriteError;

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
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity }
    }

    /// How many events the buffer holds; 0 for a rendezvous, at which no reader was waiting.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// What a full [`Buffer`](super::Buffer) does: sealed, implemented by the types of this module.
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

/// A [`Policy`] by which a write never waits for room: all but [`Block`] and [`BlockFor`]. Sealed. With the
/// feature `futures`.
///
/// `into_futures` of every sink asks for it. A [`spill`](super::Buffer::spill) is the one thing
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
#[diagnostic::on_unimplemented(
    message = "a write by the policy `{Self}` may wait for room, which blocks an executor",
    label = "needs a sink whose writes never wait",
    note = "wait for nothing: `Buffer::unbounded()`, or `.drop_oldest()` or `.drop_newest()` on a bounded one",
    note = "or say what becomes of an event that finds no room: `.reject()` on the buffer, and then \
            `.fallback(sink)`, `.dead_letter(sink)` or `.lossy()` on the queue"
)]
pub trait Immediate: Policy {}

mod immediate {
    use super::{DropNewest, DropOldest, Immediate, Reject, Unbounded};

    impl Immediate for Unbounded {}
    impl Immediate for Reject {}
    impl Immediate for DropOldest {}
    impl Immediate for DropNewest {}
}

/// A write never waits. The policy of [`Buffer::unbounded`](super::Buffer::unbounded).
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

/// A write waits for room. The policy of [`Buffer::bounded`](super::Buffer::bounded).
#[derive(Clone, Copy, Debug)]
pub struct Block;

/// A write waits for room for some time. The policy of [`Buffer::block_for`](super::Buffer::block_for).
#[derive(Clone, Copy, Debug)]
pub struct BlockFor {
    timeout: Duration,
}

impl BlockFor {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

/// A write into a full buffer fails. The policy of [`Buffer::reject`](super::Buffer::reject).
#[derive(Clone, Copy, Debug)]
pub struct Reject;

/// The oldest event makes room. The policy of [`Buffer::drop_oldest`](super::Buffer::drop_oldest).
#[derive(Clone, Copy, Debug)]
pub struct DropOldest;

/// The newest event is shed. The policy of [`Buffer::drop_newest`](super::Buffer::drop_newest).
#[derive(Clone, Copy, Debug)]
pub struct DropNewest;

/// What a write does that finds no room.
#[derive(Clone, Copy, Debug)]
#[allow(unreachable_pub)] // Named in the sealed supertrait of `Policy`.
pub enum WhenFull {
    /// Waits for room, at most so long.
    Wait(Option<Duration>),
    Refuse,
    EvictOldest,
    ShedNewest,
}

mod sealed {
    use super::{Full, WhenFull, WriteError};

    pub trait Policy {
        #[doc(hidden)]
        fn when_full(&self) -> WhenFull;

        /// The error of a write that found no room; one that cannot fail is never asked for it.
        #[doc(hidden)]
        fn refused<E>(&self, event: E, full: Full) -> WriteError<E, <Self as super::Policy>::Error>
        where
            Self: super::Policy;
    }
}

macro_rules! reliable {
    ($($policy:ident => $when_full:expr;)*) => {$(
        impl Policy for $policy {
            type Error = Infallible;
        }

        impl Reliable for $policy {}

        impl sealed::Policy for $policy {
            fn when_full(&self) -> WhenFull {
                $when_full
            }

            fn refused<E>(&self, event: E, _full: Full) -> WriteError<E, Infallible> {
                WriteError::Closed(event)
            }
        }
    )*};
}

reliable! {
    Unbounded => WhenFull::Wait(None);
    Block => WhenFull::Wait(None);
    DropOldest => WhenFull::EvictOldest;
    DropNewest => WhenFull::ShedNewest;
}

macro_rules! fallible {
    ($($policy:ident, $self:ident => $when_full:expr;)*) => {$(
        impl Policy for $policy {
            type Error = Full;
        }

        impl sealed::Policy for $policy {
            fn when_full(&$self) -> WhenFull {
                $when_full
            }

            fn refused<E>(&self, event: E, full: Full) -> WriteError<E, Full> {
                WriteError::failed(event, full)
            }
        }
    )*};
}

fallible! {
    BlockFor, self => WhenFull::Wait(Some(self.timeout));
    Reject, self => WhenFull::Refuse;
}
