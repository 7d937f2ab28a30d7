//! A channel whose sending end is a sink.
//!
//! [`bounded`], [`rendezvous`], [`unbounded`] and [`with`] make a pair: a [`ChannelSink`] to write to and
//! the [`Events`] to read. The channel itself is crossbeam's, and what the field knows of that holds here:
//! many writers, FIFO, [`Events::select_in`] for a `Select`.
//!
//! What is different is the end. A write after [`close`](crate::Sink::close) is refused whatever room there
//! is, and hands its event back. What was accepted before is still read. Dropping [`Events`] closes the
//! sink, and what it had not read is spilled or counted.
//!
//! # Examples
//!
//! ```
//! use outflow::{Sink, channel};
//!
//! let (sink, events) = channel::unbounded();
//! let reader = std::thread::spawn(move || events.iter().sum::<u32>());
//! for event in [1, 2, 3] {
//!     sink.write(event).unwrap();
//! }
//! sink.close().wait()?;
//! assert!(sink.write(4).is_err());
//! assert_eq!(reader.join().unwrap(), 6);
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! # Read from async code
//!
//! With the feature `futures` [`Events`] are a `Stream`, and so is a
//! [`Subscription`](crate::Subscription). The write wakes the task that reads, before it waits for room if it
//! has to; there is no thread in between, and any executor will do. Writers may block, so they belong on
//! threads of their own, or write to a sink that never makes them wait: that is what `into_futures` of
//! [`SinkExt`](crate::SinkExt) asks for.
//!
#![cfg_attr(feature = "futures", doc = "```")]
#![cfg_attr(not(feature = "futures"), doc = "```ignore")]
//! use futures::StreamExt;
//! use outflow::{Sink, channel};
//!
//! let (sink, mut events) = channel::rendezvous();
//! let writer = std::thread::spawn(move || {
//!     sink.write("push alpine").unwrap();
//!     sink.write("pull alpine").unwrap();
//! });
//! futures::executor::block_on(async {
//!     while let Some(event) = events.next().await {
//!         assert!(event.ends_with("alpine"));
//!     }
//! });
//! # writer.join().unwrap();
//! ```

mod events;
#[cfg(feature = "futures")]
mod offer;
#[cfg(feature = "futures")]
mod stream;

pub use self::events::{Events, IntoIter, Iter, TryIter};
pub use crate::contract::{RecvError, TryRecvError};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use self::events::EventsEnd;
use crate::buffer::{Block, BlockFor, Buffer, Full, Policy, Reject, Unbounded};
use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::{Pipe, Writer, pipe};

/// A channel of any length: a write never waits.
pub fn unbounded<E>() -> (ChannelSink<E, Unbounded>, Events<E>) {
    with(Buffer::unbounded())
}

/// A channel that holds at most `capacity` events: a write into a full one waits for room. A capacity of 0
/// makes a [`rendezvous`].
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::bounded(1);
/// sink.write(1).unwrap();
/// assert!(sink.try_write(2).is_err());
/// assert_eq!(events.recv(), Ok(1));
/// ```
pub fn bounded<E>(capacity: usize) -> (ChannelSink<E, Block>, Events<E>) {
    if capacity == 0 { rendezvous() } else { with(Buffer::bounded(capacity)) }
}

/// A channel that holds nothing: a write waits until a reader takes the event.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::rendezvous();
/// let writer = std::thread::spawn(move || sink.write("handed over").is_ok());
/// assert_eq!(events.recv(), Ok("handed over"));
/// assert!(writer.join().unwrap());
/// ```
pub fn rendezvous<E>() -> (ChannelSink<E, Block>, Events<E>) {
    with(Buffer::rendezvous())
}

/// A channel as `buffer` says.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, buffer::Buffer, channel};
///
/// let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest());
/// sink.write(1).unwrap();
/// sink.write(2).unwrap();
/// assert_eq!(events.recv(), Ok(2));
/// ```
pub fn with<E, P>(buffer: Buffer<E, P>) -> (ChannelSink<E, P>, Events<E>)
where
    P: Policy,
{
    let (writer, pipe) = pipe(buffer, EventsEnd::new());
    (ChannelSink { writer }, Events::new(pipe))
}

/// The writing end of a channel. Made by [`unbounded`], [`bounded`], [`rendezvous`] and [`with`].
///
/// Cheap to clone; clones write into the same channel. Dropping the last one begins a close, so that the
/// reader's iteration ends.
///
/// A close is done when the last write under way is; what is in the channel then is still to be read.
/// A flush is done at once: what is accepted is where it was to go. What blocks is a write, as the
/// buffer's policy says.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::bounded(8);
/// let other = sink.clone();
/// sink.write(1).unwrap();
/// other.write(2).unwrap();
/// drop((sink, other)); // The last of them: the events end.
/// assert_eq!(events.iter().collect::<Vec<_>>(), [1, 2]);
/// ```
pub struct ChannelSink<E, P = Unbounded> {
    writer: Writer<E, P, EventsEnd<E>>,
}

impl<E, P> ChannelSink<E, P>
where
    P: Policy,
{
    /// Writes without waiting and without evicting, whatever the buffer's policy is.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room, or, at a rendezvous, no reader is waiting. `Closed` if it is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::channel;
    ///
    /// let (sink, _events) = channel::bounded(1);
    /// assert!(sink.try_write(1).is_ok());
    /// assert_eq!(sink.try_write(2).unwrap_err().into_event(), 2);
    /// ```
    pub fn try_write(&self, event: E) -> Result<(), WriteError<E, Full>> {
        self.writer.write_by(&Reject, event)
    }

    /// Writes, waiting at most `timeout` for room, whatever the buffer's policy is.
    ///
    /// # Errors
    ///
    /// [`Full`] if there was no room in time. `Closed` if it is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::channel;
    ///
    /// let (sink, _events) = channel::bounded(1);
    /// assert!(sink.write_timeout(1, Duration::from_millis(1)).is_ok());
    /// assert!(sink.write_timeout(2, Duration::from_millis(1)).is_err());
    /// ```
    pub fn write_timeout(&self, event: E, timeout: Duration) -> Result<(), WriteError<E, Full>> {
        self.writer.write_by(&BlockFor::new(timeout), event)
    }

    /// How many events were evicted or left unread, and not spilled.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, channel};
    ///
    /// let (sink, _events) = channel::with(Buffer::bounded(2).drop_oldest());
    /// sink.write_all(0..5).unwrap();
    /// assert_eq!(sink.dropped(), 3);
    /// ```
    pub fn dropped(&self) -> u64 {
        self.writer.pipe.shed.counts().dropped
    }

    pub(crate) fn pipe(&self) -> &Arc<Pipe<E, EventsEnd<E>>> {
        &self.writer.pipe
    }
}

impl<E, P> Sink<E> for ChannelSink<E, P>
where
    P: Policy,
{
    type Error = P::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        self.writer.write(event)
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        self.writer.write_ref(event)
    }

    /// A close that comes meanwhile is not held up: the rest is refused.
    fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, Self::Error>> {
        self.writer.write_run(run)
    }

    fn longest_run(&self) -> usize {
        self.writer.longest_run()
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.writer.pipe.close()
    }

    fn is_closed(&self) -> bool {
        self.writer.pipe.is_shut()
    }
}

impl<E, P: Clone> Clone for ChannelSink<E, P> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone() }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for ChannelSink<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSink")
            .field("capacity", &self.writer.pipe.capacity())
            .field("policy", &self.writer.policy)
            .field("len", &self.writer.pipe.waiting())
            .field("closed", &self.writer.pipe.is_shut())
            .finish()
    }
}
