use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Select};

#[cfg(feature = "futures")]
use super::offer::Offer;
use crate::contract::{RecvError, TryRecvError};
use crate::lifecycle::{Closing, MaybeDone, join};
use crate::pipe::{Pipe, ReadEnd};
use crate::sync::blocking::blocking;
use crate::sync::scope::Scope;
use crate::sync::spin::spin_then_yield;
#[cfg(feature = "futures")]
use crate::sync::waker::ReaderWaker;

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
    pub(super) pipe: Arc<Pipe<E, EventsEnd<E>>>,
    /// Whether a task has read the end.
    #[cfg(feature = "futures")]
    pub(super) ended: bool,
}

/// What the writers of a channel know of its reader.
pub(crate) struct EventsEnd<E> {
    #[cfg(feature = "futures")]
    pub(super) waker: ReaderWaker,
    #[cfg(feature = "futures")]
    pub(super) offer: Offer<E>,
    #[cfg(not(feature = "futures"))]
    event: std::marker::PhantomData<fn(E)>,
}

impl<E> EventsEnd<E> {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "futures")]
            waker: ReaderWaker::new(),
            #[cfg(feature = "futures")]
            offer: Offer::default(),
            #[cfg(not(feature = "futures"))]
            event: std::marker::PhantomData,
        }
    }
}

impl<E> ReadEnd<E> for EventsEnd<E> {
    fn is_reentrant(&self) -> bool {
        false
    }

    fn is_reader_here(&self) -> bool {
        false
    }

    fn keep(&self, _pipe: &Pipe<E, Self>, event: E) -> Result<(), E> {
        Err(event)
    }

    fn take_kept(&self) -> Option<E> {
        None
    }

    fn scope(&self) -> Option<Scope> {
        None
    }

    #[cfg(feature = "futures")]
    fn announce(&self, pipe: &Pipe<E, Self>, event: E) -> Option<(E, impl Sized)> {
        if pipe.capacity() != Some(0) {
            self.waker.wake();
            return Some((event, None));
        }
        let announced = self.waker.announce();
        let mut event = event;
        // As often as the task sleeps again without having had the event.
        while announced.finds_task() {
            match self.offer.put(event) {
                Ok(offered) => {
                    announced.wake();
                    event = self.offer.take_back(offered)?;
                }
                // The writer whose event is there wakes the task.
                Err(own) => return Some((own, Some(announced))),
            }
        }
        Some((event, Some(announced)))
    }

    #[cfg(not(feature = "futures"))]
    fn announce(&self, _pipe: &Pipe<E, Self>, event: E) -> Option<(E, impl Sized)> {
        Some((event, ()))
    }

    #[inline]
    fn notify(&self) {
        #[cfg(feature = "futures")]
        self.waker.wake();
    }

    fn shut(&self) {}

    /// A channel's close is done when its last write is, though what it holds is still to be read.
    fn writers_finished(&self, pipe: &Pipe<E, Self>) {
        if !pipe.leave() {
            pipe.completion.complete(Ok(()));
        }
    }

    fn conclude(&self, pipe: &Pipe<E, Self>, spill: Closing) {
        MaybeDone::gather(&pipe.completion, [(spill.0, false)], join);
    }
}

impl<E> Events<E> {
    pub(super) fn new(pipe: Arc<Pipe<E, EventsEnd<E>>>) -> Self {
        Self {
            pipe,
            #[cfg(feature = "futures")]
            ended: false,
        }
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> impl Fn() -> (u64, u64, u64, bool) + Send + Sync + use<E>
    where
        E: Send + 'static,
    {
        let pipe = Arc::clone(&self.pipe);
        move || {
            // Looked at first: then nothing is counted after the counts are read.
            let last = pipe.is_left();
            let counts = pipe.shed.counts();
            (pipe.waiting() as u64, counts.dropped, counts.spilled, last)
        }
    }

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
    /// sink.close().wait().unwrap();
    /// assert_eq!(events.recv(), Ok(1));
    /// assert!(events.recv().is_err());
    /// ```
    pub fn recv(&self) -> Result<E, RecvError> {
        match self.pipe.try_take() {
            Ok(event) => Ok(event),
            Err(crossbeam_channel::TryRecvError::Disconnected) => Err(RecvError::Ended),
            Err(crossbeam_channel::TryRecvError::Empty) => {
                // At a rendezvous a writer finds only a reader that waits.
                if self.pipe.capacity() != Some(0) {
                    spin_then_yield(|| !self.is_empty());
                }
                blocking(|| self.pipe.take()).map_err(|_| RecvError::Ended)
            }
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
    /// sink.close().wait().unwrap();
    /// assert_eq!(events.try_recv(), Ok(1));
    /// assert_eq!(events.try_recv(), Err(TryRecvError::Ended));
    /// ```
    pub fn try_recv(&self) -> Result<E, TryRecvError> {
        self.pipe.try_take().map_err(|error| match error {
            crossbeam_channel::TryRecvError::Empty => TryRecvError::Empty,
            crossbeam_channel::TryRecvError::Disconnected => TryRecvError::Ended,
        })
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
    /// use outflow::channel::{self, TryRecvError};
    ///
    /// let (_sink, events) = channel::unbounded::<u32>();
    /// assert_eq!(events.recv_timeout(Duration::from_millis(1)), Err(TryRecvError::Empty));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<E, TryRecvError> {
        blocking(|| self.pipe.take_timeout(timeout)).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Ended,
        })
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
    /// sink.close().wait().unwrap();
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
    pub fn len(&self) -> usize {
        self.pipe.waiting()
    }

    /// Whether no event is waiting to be read.
    pub fn is_empty(&self) -> bool {
        self.pipe.receiver.is_empty()
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
        self.pipe.shed.counts().dropped
    }

    /// What the events weigh that wait to be read, those included that a writer is about to send; `None` if the buffer
    /// does not [weigh](crate::Buffer::weighing) them.
    pub fn weight(&self) -> Option<u64> {
        self.pipe.weight()
    }

    /// Has a crossbeam [`Select`] wait for these events, beside others and beside channels, and returns their index
    /// there. Once it says that they are [ready](Select::ready), [`try_recv`](Events::try_recv) takes an event or finds the
    /// end, unless another thread was faster.
    ///
    /// # Examples
    ///
    /// ```
    /// use crossbeam_channel::Select;
    /// use outflow::{Sink, channel};
    ///
    /// let (_pushes, pushed) = channel::bounded::<u32>(8);
    /// let (pulls, pulled) = channel::bounded(8);
    /// pulls.write(1).unwrap();
    ///
    /// let mut select = Select::new();
    /// let _push = pushed.select_in(&mut select);
    /// let pull = pulled.select_in(&mut select);
    /// assert_eq!(select.ready(), pull);
    /// assert_eq!(pulled.try_recv(), Ok(1));
    /// ```
    pub fn select_in<'a>(&'a self, select: &mut Select<'a>) -> usize {
        // Never the receiver itself: what is taken out has to make room for another.
        select.recv(&self.pipe.receiver)
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
/// sink.close().wait().unwrap();
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
