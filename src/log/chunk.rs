//! Many events at once, lent by a cursor.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::cursor::{Cursor, Found, Wait};
use super::segment::Segment;
use super::seq::Seq;
use crate::contract::{RecvError, TryRecvError};

/// Consecutive events of a log, lent. Made by [`Cursor::next_chunk`] and its like.
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
/// let chunk = cursor.next_chunk()?;
/// for (seq, event) in (chunk.first_seq()..).zip(chunk.iter()) {
///     println!("{seq}: {event}");
/// }
/// assert_eq!(chunk.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a chunk moves the cursor past it"]
pub struct Chunk<'a, E> {
    cursor: &'a mut Cursor<E>,
    segment: Arc<Segment<E>>,
    at: usize,
}

impl<E> Cursor<E> {
    /// Waits for the next events and lends them, as many as stand next to each other: up to 1024.
    /// The cursor moves past them when the [`Chunk`] is dropped.
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
    /// assert_eq!(*cursor.next_chunk()?, [0, 1, 2]);
    /// assert_eq!(cursor.position(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_chunk(&mut self) -> Result<Chunk<'_, E>, RecvError> {
        match self.find(Wait::Until(None))? {
            Some(found) => Ok(self.lend(found)),
            None => Err(RecvError::Ended),
        }
    }

    /// Lends the next events, if there are any now.
    ///
    /// # Errors
    ///
    /// Why there are none: see [`TryRecvError`].
    pub fn try_next_chunk(&mut self) -> Result<Chunk<'_, E>, TryRecvError> {
        let found = self.find(Wait::No)?.ok_or(TryRecvError::Empty)?;
        Ok(self.lend(found))
    }

    /// Waits for the next events, but at most `timeout`, and lends them.
    ///
    /// # Errors
    ///
    /// Why there are none: see [`TryRecvError`]. [`Empty`](TryRecvError::Empty) when the time is up.
    pub fn next_chunk_timeout(&mut self, timeout: Duration) -> Result<Chunk<'_, E>, TryRecvError> {
        let found = self.find(Wait::at_most(timeout))?.ok_or(TryRecvError::Empty)?;
        Ok(self.lend(found))
    }

    fn lend(&mut self, (segment, at): Found<E>) -> Chunk<'_, E> {
        Chunk { cursor: self, segment, at }
    }
}

impl<E> Chunk<'_, E> {
    /// The number of the first event.
    pub fn first_seq(&self) -> Seq {
        self.cursor.position()
    }
}

impl<E> Deref for Chunk<'_, E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        self.segment.from(self.at)
    }
}

impl<E> Drop for Chunk<'_, E> {
    fn drop(&mut self) {
        let past = self.cursor.position() + self.len() as u64;
        self.cursor.reader.move_to(past, &self.cursor.shared);
    }
}

impl<E: fmt::Debug> fmt::Debug for Chunk<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("first_seq", &self.first_seq()).field("events", &&**self).finish()
    }
}
