//! Cursors as `Stream`s.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use super::cursor::Cursor;
use super::iter::Numbered;
use super::seq::Seq;
use crate::contract::TryRecvError;

/// Yields clones of the events, and ends when the log is closed and everything is read, or when the cursor is
/// [closed](super::Lag::Close) or [cancelled](super::CursorHandle::cancel); [`end_reason`](Cursor::end_reason)
/// says which. With the feature `futures`.
///
/// A task that finds nothing is woken by the next write, on the writer's thread. A poll never waits. A cursor that
/// [skips](super::Lag::Skip) goes on behind what it missed, which [`missed`](Cursor::missed) counts. Nothing is lost
/// when the future of a `next` is dropped, and `recv` and its like may be used in between.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use outflow::{Log, Sink};
///
/// let log = Log::new();
/// let changes = log.subscribe();
/// let writer = std::thread::spawn(move || {
///     for event in 0..100 {
///         log.write(event).unwrap();
///     }
/// });
/// let read: Vec<u32> = futures::executor::block_on(changes.collect());
/// assert_eq!(read, (0..100).collect::<Vec<_>>());
/// # writer.join().unwrap();
/// ```
impl<E> Stream for Cursor<E>
where
    E: Clone,
{
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().poll_recv(context)
    }

    /// Promises nothing, but that one that has ended has no more.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.is_terminated().then_some(0))
    }
}

impl<E> FusedStream for Cursor<E>
where
    E: Clone,
{
    fn is_terminated(&self) -> bool {
        self.end_reason().is_some()
    }
}

impl<E> Cursor<E>
where
    E: Clone,
{
    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        loop {
            match self.try_recv() {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Lagged(_)) => continue,
                Err(_) => return Poll::Ready(None),
            }
            let remote = self.remote();
            remote.set_waker(context.waker());
            if self.shared.park_task(&remote, self.position(), || remote.is_cancelled()) {
                return Poll::Pending;
            }
        }
    }
}

/// As the [cursor's](Cursor), with the number of each event. With the feature `futures`.
impl<E> Stream for Numbered<E>
where
    E: Clone,
{
    type Item = (Seq, E);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<(Seq, E)>> {
        let cursor = &mut self.get_mut().cursor;
        // The position is that of the event behind.
        cursor.poll_recv(context).map(|event| event.map(|event| (cursor.position() - 1, event)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.cursor.size_hint()
    }
}

impl<E> FusedStream for Numbered<E>
where
    E: Clone,
{
    fn is_terminated(&self) -> bool {
        self.cursor.is_terminated()
    }
}
