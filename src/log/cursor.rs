//! A reader on whatever thread calls it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bound::Bound;
use super::reader::{Anchor, ReadResult, Reader};
use super::remote::Remote;
use super::segment::{DropLater, Segment};
use super::seq::Seq;
use super::shared::Shared;
use crate::contract::{Lagged, RecvError, TryRecvError};

/// Reads a log at its own pace, by reference, on whatever thread calls it. Made by
/// [`Log::subscribe`](super::Log::subscribe) and its like.
///
/// It costs 64 bytes and no thread, and a write does not visit it. Unless it has a
/// [`max_lag`](super::SubscribeOptions::max_lag), everything from its position on is kept for it. It outlives the
/// log: when that is closed, it reads what is left and then [ends](RecvError::Ended). Another thread can end it
/// through its [handle](Cursor::handle).
///
/// `recv`, `try_recv` and `recv_timeout` clone the event, `recv_with` and its like lend it to a closure, and
/// `next_chunk` and its like lend all there is in one piece. If the closure, or `E::clone`, panics, the event is
/// still the next one. The waits yield for some microseconds and then sleep. With the feature `futures` a cursor is
/// a `Stream`.
///
/// # Examples
///
/// ```
/// use outflow::log::{Log, TryRecvError};
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// log.append("push alpine")?;
/// log.append("pull alpine")?;
///
/// assert_eq!(cursor.recv()?, "push alpine");
/// assert_eq!((cursor.position(), cursor.lag()), (1, 1));
/// assert_eq!(cursor.recv_with(|event| event.len())?, 11);
/// assert_eq!(cursor.try_recv(), Err(TryRecvError::Empty));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cursor<E> {
    pub(super) shared: Arc<Shared<E>>,
    pub(super) reader: Reader<E>,
    missed: u64,
    /// Once it has a handle, or was polled.
    remote: Option<Arc<Remote>>,
}

/// A segment, and where in it the next event is.
pub(super) type Found<E> = (Arc<Segment<E>>, usize);

#[derive(Clone, Copy)]
pub(super) enum Wait {
    No,
    /// `None` is for ever.
    Until(Option<Instant>),
}

impl Wait {
    pub(super) fn at_most(timeout: Duration) -> Self {
        // Beyond what the clock can count is for ever.
        Self::Until(Instant::now().checked_add(timeout))
    }
}

impl<E> Cursor<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, reader: Reader<E>) -> Self {
        Self { shared, reader, missed: 0, remote: None }
    }

    pub(super) fn remote(&mut self) -> Arc<Remote> {
        Arc::clone(self.remote.get_or_insert_with(Arc::default))
    }

    /// The number of the event that it reads next, and that [`Start::At`](super::Start::At) takes.
    pub fn position(&self) -> Seq {
        self.reader.position
    }

    /// How many events it is behind the log.
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

    /// Why it has ended, for one that is read as an iterator or a stream; `None` as long as it has not.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Lag, Log, RecvError, SubscribeOptions};
    ///
    /// let log = Log::new();
    /// let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Close))?;
    /// for event in 0..5 {
    ///     log.append(event)?;
    /// }
    /// assert_eq!(cursor.iter().count(), 0);
    /// assert!(matches!(cursor.end_reason(), Some(RecvError::Closed(lagged)) if lagged.missed == 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_reason(&self) -> Option<RecvError> {
        if self.is_cancelled() {
            Some(RecvError::Cancelled)
        } else if self.has_lagged_out() {
            Some(RecvError::Closed(Lagged { missed: self.missed }))
        } else if self.shared.is_closed() && self.shared.head() == self.reader.position {
            // Closed first: `head` does not move after that.
            Some(RecvError::Ended)
        } else {
            None
        }
    }

    /// Waits for the next event and lends it to `f`.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
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
    /// Why there is none: see [`TryRecvError`].
    pub fn try_recv_with<F, T>(&mut self, f: F) -> Result<T, TryRecvError>
    where
        F: FnOnce(&E) -> T,
    {
        self.read(Wait::No, f)?.ok_or(TryRecvError::Empty)
    }

    /// Waits for the next event, but at most `timeout`, and lends it to `f`.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`TryRecvError`]. [`Empty`](TryRecvError::Empty) when the time is up.
    pub fn recv_timeout_with<F, T>(&mut self, timeout: Duration, f: F) -> Result<T, TryRecvError>
    where
        F: FnOnce(&E) -> T,
    {
        self.read(Wait::at_most(timeout), f)?.ok_or(TryRecvError::Empty)
    }

    /// `None` if there was no event in time.
    fn read<F, T>(&mut self, wait: Wait, f: F) -> Result<Option<T>, RecvError>
    where
        F: FnOnce(&E) -> T,
    {
        if let Anchor::Held(node) = &self.reader.anchor {
            if let Some(sealed) = node.sealed() {
                let at = (self.reader.position - node.first) as usize;
                if let Some(event) = sealed.segment.from(at).first().filter(|_| !self.is_cancelled()) {
                    let value = f(event);
                    self.reader.move_to(self.reader.position + 1, &self.shared);
                    return Ok(Some(value));
                }
            }
        }
        let Some((segment, at)) = self.find(wait)? else {
            return Ok(None);
        };
        let value = segment.from(at).first().map(f);
        self.reader.move_to(self.reader.position + 1, &self.shared);
        Ok(value)
    }

    /// The next events, of which there is at least one; `None` if there was none in time.
    pub(super) fn find(&mut self, wait: Wait) -> Result<Option<Found<E>>, RecvError> {
        loop {
            if self.is_cancelled() {
                self.reader.let_go();
                return Err(RecvError::Cancelled);
            }
            if self.has_lagged_out() {
                return Err(RecvError::Closed(Lagged { missed: self.missed }));
            }
            let mut later = DropLater::default();
            let result = self.reader.read(&self.shared, &mut later);
            drop(later);
            match result {
                ReadResult::Events(segment, at) => return Ok(Some((segment, at))),
                ReadResult::Ended => return Err(RecvError::Ended),
                ReadResult::Empty => match wait {
                    Wait::No => return Ok(None),
                    Wait::Until(deadline) => {
                        if !self.shared.park(self.reader.position, deadline, || self.is_cancelled()) {
                            return Ok(None);
                        }
                    }
                },
                ReadResult::Behind => {
                    let head = self.shared.exact_head();
                    match self.reader.bound {
                        Bound::Close(_) => self.missed = head - self.reader.position,
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

    /// It fell behind, and that was its end: one that does not skip misses nothing before.
    fn has_lagged_out(&self) -> bool {
        self.missed > 0 && matches!(self.reader.bound, Bound::Close(_))
    }

    #[inline]
    fn is_cancelled(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.is_cancelled())
    }
}

impl<E> Cursor<E>
where
    E: Clone,
{
    /// Waits for the next event and returns a clone of it.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`RecvError`].
    pub fn recv(&mut self) -> Result<E, RecvError> {
        self.recv_with(E::clone)
    }

    /// A clone of the next event, if there is one now.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<E, TryRecvError> {
        self.try_recv_with(E::clone)
    }

    /// Waits for the next event, but at most `timeout`, and returns a clone of it.
    ///
    /// # Errors
    ///
    /// Why there is none: see [`TryRecvError`]. [`Empty`](TryRecvError::Empty) when the time is up.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<E, TryRecvError> {
        self.recv_timeout_with(timeout, E::clone)
    }
}

impl<E> Drop for Cursor<E> {
    fn drop(&mut self) {
        if let Some(remote) = self.remote.take() {
            self.shared.forget_task(remote);
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
