//! A channel whose sending end is a sink.
//!
//! [`bounded`], [`rendezvous`], [`unbounded`] and [`with`] make a pair: a [`ChannelSink`] to write to and
//! the [`Events`] to read. The channel itself is crossbeam's, and what the field knows of that holds here:
//! many writers, FIFO, [`Events::as_crossbeam`] for `select!`.
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

#[cfg(feature = "futures")]
pub(crate) mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
pub use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

use crate::buffer::{Block, BlockFor, Buffer, Full, Policy, Reject, Unbounded};
use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::pipe::{Pipe, Writer, linger};

/// A channel of any length: a write never waits.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::unbounded();
/// sink.write("pushed").unwrap();
/// assert_eq!(events.recv(), Ok("pushed"));
/// ```
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
    with(Buffer { capacity: Some(capacity), policy: Block, spill: None })
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
    bounded(0)
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
    let (writer, pipe) = Pipe::new(buffer, None);
    let receiver = pipe.receiver.clone();
    let events = Events {
        pipe,
        receiver,
        #[cfg(feature = "futures")]
        watched: false,
        #[cfg(feature = "futures")]
        ended: false,
    };
    (ChannelSink { writer }, events)
}

/// The writing end of a channel. Made by [`unbounded`], [`bounded`], [`rendezvous`] and [`with`].
///
/// Cheap to clone; clones write into the same channel. Dropping the last one begins a close, so that the
/// reader's iteration ends.
///
/// A close is through when the last write under way is; what is in the channel then is still to be read.
/// A flush is through at once: what is accepted is where it was to go. What blocks is a write, as the
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
    writer: Writer<E, P>,
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
        self.writer.pipe.outlet.counts().dropped
    }

    pub(crate) fn pipe(&self) -> &Arc<Pipe<E>> {
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
            .field("len", &self.writer.pipe.receiver.len())
            .field("closed", &self.writer.pipe.is_shut())
            .finish()
    }
}

/// The reading end of a channel: iterates until the sink is closed and everything accepted is read.
///
/// Dropping it closes the sink and wakes writers that wait; what was not read is spilled on this thread, or
/// dropped and counted.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::bounded(4);
/// sink.write(1).unwrap();
/// sink.write(2).unwrap();
/// assert_eq!(events.recv(), Ok(1));
/// drop(events);
/// assert!(sink.is_closed());
/// assert_eq!(sink.dropped(), 1);
/// ```
pub struct Events<E> {
    pub(crate) pipe: Arc<Pipe<E>>,
    pub(crate) receiver: Receiver<E>,
    /// Whether writes know that a task may sleep.
    #[cfg(feature = "futures")]
    pub(crate) watched: bool,
    /// Whether a task was told that there is no more.
    #[cfg(feature = "futures")]
    pub(crate) ended: bool,
}

impl<E> Events<E> {
    /// Waits for the next event. Yields for some microseconds before it sleeps, so that a writer that is busy need
    /// not wake it.
    ///
    /// # Errors
    ///
    /// [`RecvError`] when the sink is closed and everything is read.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// sink.close();
    /// assert_eq!(events.recv(), Ok(1));
    /// assert!(events.recv().is_err());
    /// ```
    pub fn recv(&self) -> Result<E, RecvError> {
        match self.receiver.try_recv() {
            Ok(event) => Ok(event),
            Err(TryRecvError::Disconnected) => Err(RecvError),
            Err(TryRecvError::Empty) => {
                self.linger();
                self.receiver.recv()
            }
        }
    }

    /// Not at a rendezvous, at which a writer finds only a reader that waits.
    fn linger(&self) {
        if self.pipe.capacity() != Some(0) {
            linger(|| !self.receiver.is_empty());
        }
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    ///
    /// Whether there is none yet or there will be none any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel::{self, TryRecvError}};
    ///
    /// let (sink, events) = channel::unbounded();
    /// assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    /// sink.write(1).unwrap();
    /// sink.close();
    /// assert_eq!(events.try_recv(), Ok(1));
    /// assert_eq!(events.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<E, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Waits for the next event, but at most `timeout`.
    ///
    /// # Errors
    ///
    /// Whether the time was up or there will be no event any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::channel::{self, RecvTimeoutError};
    ///
    /// let (_sink, events) = channel::unbounded::<u32>();
    /// assert_eq!(events.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<E, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Iterates over the events, waiting for each.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// sink.close();
    /// assert_eq!(events.iter().sum::<u32>(), 1);
    /// ```
    pub fn iter(&self) -> Iter<'_, E> {
        Iter { events: self }
    }

    /// Iterates over the events that are there now, without waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// assert_eq!(events.try_iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, E> {
        TryIter { events: self }
    }

    /// How many events are waiting to be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// assert_eq!(events.len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether no event is waiting to be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// assert!(!events.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// How many events were evicted or left unread, and not spilled.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, channel};
    ///
    /// let (sink, events) = channel::with(Buffer::bounded(2).drop_newest());
    /// sink.write_all(0..5).unwrap();
    /// assert_eq!(events.dropped(), 3);
    /// ```
    pub fn dropped(&self) -> u64 {
        self.pipe.outlet.counts().dropped
    }

    /// The crossbeam receiver, for `select!`. A clone of it outlives `Events`; what it takes is its own to
    /// account for.
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::{after, select};
    /// use outflow::{Sink, channel};
    ///
    /// let (sink, events) = channel::unbounded();
    /// sink.write(1).unwrap();
    /// select! {
    ///     recv(events.as_crossbeam()) -> event => assert_eq!(event, Ok(1)),
    ///     recv(after(std::time::Duration::from_secs(5))) -> _ => panic!("no event"),
    /// }
    /// ```
    pub fn as_crossbeam(&self) -> &Receiver<E> {
        &self.receiver
    }
}

impl<E> Drop for Events<E> {
    fn drop(&mut self) {
        #[cfg(feature = "futures")]
        self.forget_waker();
        self.pipe.reader_is_gone();
        self.pipe.leave();
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Iterates over [`Events`], waiting for each. Made by [`Events::iter`].
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::unbounded();
/// sink.write(1).unwrap();
/// sink.close();
/// for event in &events {
///     assert_eq!(event, 1);
/// }
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct Iter<'a, E> {
    events: &'a Events<E>,
}

impl<E> Iterator for Iter<'_, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.events.recv().ok()
    }
}

/// Iterates over the [`Events`] that are there now. Made by [`Events::try_iter`].
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::unbounded();
/// sink.write(1).unwrap();
/// assert_eq!(events.try_iter().next(), Some(1));
/// assert_eq!(events.try_iter().next(), None);
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct TryIter<'a, E> {
    events: &'a Events<E>,
}

impl<E> Iterator for TryIter<'_, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.events.try_recv().ok()
    }
}

/// Iterates over [`Events`] and drops them at the end.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::unbounded();
/// sink.write(1).unwrap();
/// drop(sink);
/// assert_eq!(events.into_iter().collect::<Vec<_>>(), [1]);
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct IntoIter<E> {
    events: Events<E>,
}

impl<E> Iterator for IntoIter<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.events.recv().ok()
    }
}

impl<'a, E> IntoIterator for &'a Events<E> {
    type Item = E;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}

impl<E> IntoIterator for Events<E> {
    type Item = E;
    type IntoIter = IntoIter<E>;

    fn into_iter(self) -> IntoIter<E> {
        IntoIter { events: self }
    }
}
