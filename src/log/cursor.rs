use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::options::Bound;
use super::reader::{Look, Place, Reader};
use super::segment::{Passed, Segment};
use super::shared::Shared;
use super::{Lagged, RecvError, Seq};
#[cfg(feature = "futures")]
use crate::sync::caught::run_caught;

/// Reads a log at its own pace, by reference, on whatever thread calls it. Made by
/// [`Log::subscribe`](super::Log::subscribe) and its like.
///
/// It costs 64 bytes (72 with the feature `futures`) and no thread, and a write does not visit it. Unless it
/// has a [`max_lag`](super::SubscribeOptions::max_lag), everything from its position on is kept for it. It
/// outlives the log: when that is closed, it reads what is left and then [ends](RecvError::Ended).
///
/// `recv`, `try_recv` and `recv_timeout` clone the event, `recv_with` and its like lend it to a closure, and
/// `next_batch` and its like lend all there is in one piece. If the closure, or `E::clone`, panics, the event
/// is still the next one; if an event's destructor does, it is not. The waits yield for some microseconds and
/// then sleep. With the feature `futures` a cursor is a `Stream`.
///
/// # Examples
///
/// ```
/// use outflow::log::Log;
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// log.append("push alpine")?;
/// log.append("pull alpine")?;
///
/// assert_eq!(cursor.recv()?, "push alpine");
/// assert_eq!((cursor.position(), cursor.lag()), (1, 1));
/// assert_eq!(cursor.recv_with(|event| event.len())?, 11);
/// assert_eq!(cursor.try_recv()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cursor<E> {
    pub(super) shared: Arc<Shared<E>>,
    pub(super) reader: Reader<E>,
    missed: u64,
    /// It fell behind, and that was its end.
    closed: bool,
    /// Once it was polled.
    #[cfg(feature = "futures")]
    pub(super) task: Option<Arc<super::stream::Task>>,
}

/// A segment, and where in it the next event is.
type Pinned<E> = (Arc<Segment<E>>, usize);

#[derive(Clone, Copy)]
enum Wait {
    No,
    /// `None` is for ever.
    Until(Option<Instant>),
}

impl Wait {
    fn at_most(timeout: Duration) -> Self {
        // Beyond what the clock can count is for ever.
        Self::Until(Instant::now().checked_add(timeout))
    }
}

impl<E> Cursor<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, reader: Reader<E>) -> Self {
        Self {
            shared,
            reader,
            missed: 0,
            closed: false,
            #[cfg(feature = "futures")]
            task: None,
        }
    }

    /// Whether there is nothing to read any more.
    #[cfg(feature = "futures")]
    pub(super) fn has_ended(&self) -> bool {
        // Closed first: `head` does not move after that.
        self.closed || (self.shared.is_closed() && self.shared.head() == self.reader.position)
    }

    /// The number of the event that it reads next, and that [`Start::At`](super::Start::At) takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.position(), 0);
    /// cursor.recv()?;
    /// assert_eq!(cursor.position(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Seq {
        self.reader.position
    }

    /// How many events it is behind the log.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.lag(), 1);
    /// cursor.recv()?;
    /// assert_eq!(cursor.lag(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lag(&self) -> u64 {
        self.shared.head().saturating_sub(self.reader.position)
    }

    /// How many events it has missed in all, because it was further behind than its `max_lag`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Lag, Log, SubscribeOptions};
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Skip))?;
    /// for event in 0..5 {
    ///     log.append(event)?;
    /// }
    /// assert_eq!(cursor.iter().next(), Some(4));
    /// assert_eq!(cursor.missed(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Waits for the next event and lends it to `f`.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.recv_with(|event| event.len())?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_with<F, T>(&mut self, f: F) -> Result<T, RecvError>
    where
        F: FnOnce(&E) -> T,
    {
        self.read(Wait::Until(None), f).transpose().unwrap_or(Err(RecvError::Ended))
    }

    /// Lends the next event to `f`, if there is one now.
    ///
    /// # Errors
    ///
    /// Why there is none, unless it is yet to come: that is `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.try_recv_with(|event| event.len())?, Some(6));
    /// assert_eq!(cursor.try_recv_with(|event| event.len())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_with<F, T>(&mut self, f: F) -> Result<Option<T>, RecvError>
    where
        F: FnOnce(&E) -> T,
    {
        self.read(Wait::No, f)
    }

    /// Waits for the next event, but at most `timeout`, and lends it to `f`. `None` when the time was up.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// let soon = Duration::from_millis(1);
    /// assert_eq!(cursor.recv_timeout_with(soon, |event| event.len())?, Some(6));
    /// assert_eq!(cursor.recv_timeout_with(soon, |event| event.len())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout_with<F, T>(&mut self, timeout: Duration, f: F) -> Result<Option<T>, RecvError>
    where
        F: FnOnce(&E) -> T,
    {
        self.read(Wait::at_most(timeout), f)
    }

    /// Waits for the next events and lends them, as many as stand next to each other: up to 1024.
    /// The cursor moves past them when the [`Batch`] is dropped.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// for event in 0..3 {
    ///     log.append(event)?;
    /// }
    /// assert_eq!(*cursor.next_batch()?, [0, 1, 2]);
    /// assert_eq!(cursor.position(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_batch(&mut self) -> Result<Batch<'_, E>, RecvError> {
        match self.pin(Wait::Until(None))? {
            Some((segment, at)) => Ok(Batch { cursor: self, segment, at }),
            None => Err(RecvError::Ended),
        }
    }

    /// Lends the next events, if there are any now.
    ///
    /// # Errors
    ///
    /// Why there are none, unless they are yet to come: that is `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// let batch = cursor.try_next_batch()?.expect("there is an event");
    /// assert_eq!(*batch, ["pushed"]);
    /// drop(batch);
    /// assert!(cursor.try_next_batch()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_next_batch(&mut self) -> Result<Option<Batch<'_, E>>, RecvError> {
        let pinned = self.pin(Wait::No)?;
        Ok(pinned.map(|(segment, at)| Batch { cursor: self, segment, at }))
    }

    /// Waits for the next events, but at most `timeout`, and lends them. `None` when the time was up.
    ///
    /// # Errors
    ///
    /// Why there are none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::log::Log;
    ///
    /// let log = Log::<u32>::new();
    /// let mut cursor = log.subscribe();
    /// assert!(cursor.next_batch_timeout(Duration::from_millis(1))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_batch_timeout(&mut self, timeout: Duration) -> Result<Option<Batch<'_, E>>, RecvError> {
        let pinned = self.pin(Wait::at_most(timeout))?;
        Ok(pinned.map(|(segment, at)| Batch { cursor: self, segment, at }))
    }

    fn read<F, T>(&mut self, wait: Wait, f: F) -> Result<Option<T>, RecvError>
    where
        F: FnOnce(&E) -> T,
    {
        if let Place::Held(node) = &self.reader.place {
            if let Some(sealed) = node.sealed() {
                let at = (self.reader.position - node.first) as usize;
                if let Some(event) = sealed.segment.events.get(at) {
                    let answer = f(event);
                    self.reader.move_to(self.reader.position + 1, &self.shared);
                    return Ok(Some(answer));
                }
            }
        }
        let Some((segment, at)) = self.pin(wait)? else {
            return Ok(None);
        };
        let answer = segment.events.get(at).map(f);
        self.reader.move_to(self.reader.position + 1, &self.shared);
        // Last: it may take events with it, whose destructors may panic.
        drop(segment);
        Ok(answer)
    }

    /// The next events, of which there is at least one; `None` if there was none in time.
    fn pin(&mut self, wait: Wait) -> Result<Option<Pinned<E>>, RecvError> {
        loop {
            if self.closed {
                return Err(RecvError::Closed(Lagged { missed: self.missed }));
            }
            let mut passed = Passed::default();
            let look = self.reader.look(&self.shared, &mut passed);
            drop(passed);
            match look {
                Look::Events(segment, at) => return Ok(Some((segment, at))),
                Look::Ended => return Err(RecvError::Ended),
                Look::Empty => match wait {
                    Wait::No => return Ok(None),
                    Wait::Until(deadline) => {
                        if !self.shared.rest(self.reader.position, deadline, || false) {
                            return Ok(None);
                        }
                    }
                },
                Look::Behind => {
                    let head = self.shared.exact_head();
                    match self.reader.bound {
                        Bound::Close(_) => {
                            self.closed = true;
                            self.missed = head - self.reader.position;
                        }
                        _ => {
                            let window = self.reader.bound.window().unwrap_or(0);
                            let missed = head.saturating_sub(window).saturating_sub(self.reader.position);
                            if missed > 0 {
                                self.missed += missed;
                                self.reader.position += missed;
                                return Err(RecvError::Lagged(Lagged { missed }));
                            }
                        }
                    }
                }
            }
        }
    }
}

impl<E> Cursor<E>
where
    E: Clone,
{
    /// Waits for the next event and answers a clone of it.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.recv()?, "pushed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&mut self) -> Result<E, RecvError> {
        self.recv_with(E::clone)
    }

    /// A clone of the next event, if there is one now.
    ///
    /// # Errors
    ///
    /// Why there is none, unless it is yet to come: that is `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// assert_eq!(cursor.try_recv()?, Some("pushed"));
    /// assert_eq!(cursor.try_recv()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&mut self) -> Result<Option<E>, RecvError> {
        self.try_recv_with(E::clone)
    }

    /// Waits for the next event, but at most `timeout`, and answers a clone of it. `None` when the time was
    /// up.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::log::Log;
    ///
    /// let log = Log::<u32>::new();
    /// let mut cursor = log.subscribe();
    /// assert_eq!(cursor.recv_timeout(Duration::from_millis(1)), Ok(None));
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<E>, RecvError> {
        self.recv_timeout_with(timeout, E::clone)
    }

    /// Iterates over clones of the events, waiting for each, until there are no more. A cursor that skips
    /// goes on behind what it missed: see [`missed`](Cursor::missed).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, log::Log};
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// for event in 0..3 {
    ///     log.append(event)?;
    /// }
    /// assert_eq!(cursor.iter().take(2).collect::<Vec<_>>(), [0, 1]);
    /// log.close().wait()?;
    /// assert_eq!(cursor.into_iter().collect::<Vec<_>>(), [2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> Iter<'_, E> {
        Iter { cursor: self }
    }

    fn next_event(&mut self) -> Option<E> {
        loop {
            match self.recv() {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Ended | RecvError::Closed(_)) => return None,
            }
        }
    }
}

impl<E> Drop for Cursor<E> {
    fn drop(&mut self) {
        #[cfg(feature = "futures")]
        if let Some(task) = self.task.take() {
            // The destructor of a waker is an executor's code, and must not keep the cursor on the register.
            run_caught(|| task.forget());
            self.shared.lock().sleepers.remove_task(task);
        }
        self.shared.leave(&self.reader.bound);
    }
}

impl<E> fmt::Debug for Cursor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("position", &self.position())
            .field("lag", &self.lag())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// Events that stand next to each other in a log, lent. Made by [`Cursor::next_batch`] and its like.
///
/// There is at least one. Dropping it moves the cursor past all of them.
///
/// # Examples
///
/// ```
/// use outflow::log::Log;
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// log.append("pushed")?;
/// log.append("pulled")?;
/// let batch = cursor.next_batch()?;
/// for (seq, event) in (batch.first()..).zip(batch.iter()) {
///     println!("{seq}: {event}");
/// }
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a batch moves the cursor past it"]
pub struct Batch<'a, E> {
    cursor: &'a mut Cursor<E>,
    segment: Arc<Segment<E>>,
    at: usize,
}

impl<E> Batch<'_, E> {
    /// The number of the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::Log;
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe();
    /// log.append("pushed")?;
    /// cursor.recv()?;
    /// log.append("pulled")?;
    /// assert_eq!(cursor.next_batch()?.first(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first(&self) -> Seq {
        self.cursor.position()
    }
}

impl<E> Deref for Batch<'_, E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        self.segment.events.get(self.at..).unwrap_or_default()
    }
}

impl<E> Drop for Batch<'_, E> {
    fn drop(&mut self) {
        let past = self.cursor.reader.position + self.len() as u64;
        self.cursor.reader.move_to(past, &self.cursor.shared);
    }
}

impl<E: fmt::Debug> fmt::Debug for Batch<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("first", &self.first()).field("events", &&**self).finish()
    }
}

/// Iterates over clones of a log's events, waiting for each. Made by [`Cursor::iter`].
///
/// # Examples
///
/// ```
/// use outflow::log::Log;
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// log.append("pushed")?;
/// assert_eq!(cursor.iter().next(), Some("pushed"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct Iter<'a, E> {
    cursor: &'a mut Cursor<E>,
}

impl<E: Clone> Iterator for Iter<'_, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.cursor.next_event()
    }
}

/// Iterates over clones of a log's events, waiting for each. Made by `Cursor::into_iter`.
///
/// # Examples
///
/// ```
/// use outflow::log::Log;
///
/// let log = Log::new();
/// let cursor = log.subscribe();
/// log.append("pushed")?;
/// drop(log); // The last of them: the log is closed.
/// assert_eq!(cursor.into_iter().collect::<Vec<_>>(), ["pushed"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct IntoIter<E> {
    cursor: Cursor<E>,
}

impl<E: Clone> Iterator for IntoIter<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.cursor.next_event()
    }
}

impl<'a, E: Clone> IntoIterator for &'a mut Cursor<E> {
    type Item = E;
    type IntoIter = Iter<'a, E>;

    fn into_iter(self) -> Iter<'a, E> {
        self.iter()
    }
}

impl<E: Clone> IntoIterator for Cursor<E> {
    type Item = E;
    type IntoIter = IntoIter<E>;

    fn into_iter(self) -> IntoIter<E> {
        IntoIter { cursor: self }
    }
}
