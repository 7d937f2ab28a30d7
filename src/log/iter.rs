//! Cursors as iterators.

use super::cursor::Cursor;
use super::seq::Seq;
use crate::contract::RecvError;

/// Iterates over clones of a log's events, waiting for each. Made by [`Cursor::iter`].
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct Iter<'a, E> {
    cursor: &'a mut Cursor<E>,
}

/// Iterates over clones of a log's events, waiting for each. Made by `Cursor::into_iter`.
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct IntoIter<E> {
    cursor: Cursor<E>,
}

/// Yields clones of a log's events, each with its number. Made by [`Cursor::numbered`].
///
/// An iterator, which waits for each event, and, with the feature `futures`, a `Stream`.
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct Numbered<E> {
    pub(super) cursor: Cursor<E>,
}

impl<E> Cursor<E>
where
    E: Clone,
{
    /// Iterates over clones of the events, waiting for each, until there are no more:
    /// [`end_reason`](Cursor::end_reason) says why. A cursor that skips goes on behind what it missed: see
    /// [`missed`](Cursor::missed).
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
                Err(RecvError::Ended | RecvError::Closed(_) | RecvError::Cancelled) => return None,
            }
        }
    }
}

impl<E> Cursor<E> {
    /// The events with their numbers, as an iterator or a stream. Where a cursor [skips](super::Lag::Skip), the numbers
    /// show it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Lag, Log, RecvError, SubscribeOptions};
    ///
    /// let log = Log::new();
    /// let options = SubscribeOptions::new().max_lag(2, Lag::Skip);
    /// let mut changes = log.subscribe_with(options)?.numbered();
    /// for event in ["a", "b", "c", "d"] {
    ///     log.append(event)?;
    /// }
    /// drop(log); // The last of them: the log is closed.
    /// assert_eq!(changes.by_ref().collect::<Vec<_>>(), [(2, "c"), (3, "d")]);
    /// assert_eq!(changes.get_ref().end_reason(), Some(RecvError::Ended));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn numbered(self) -> Numbered<E> {
        Numbered { cursor: self }
    }
}

impl<E> Numbered<E> {
    /// The cursor, to ask for its position, what it missed and why it ended.
    pub fn get_ref(&self) -> &Cursor<E> {
        &self.cursor
    }

    /// The cursor again.
    pub fn into_inner(self) -> Cursor<E> {
        self.cursor
    }
}

impl<E: Clone> Iterator for Iter<'_, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.cursor.next_event()
    }
}

impl<E: Clone> Iterator for IntoIter<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.cursor.next_event()
    }
}

impl<E: Clone> Iterator for Numbered<E> {
    type Item = (Seq, E);

    fn next(&mut self) -> Option<(Seq, E)> {
        let event = self.cursor.next_event()?;
        // The position is that of the event behind.
        Some((self.cursor.position() - 1, event))
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
