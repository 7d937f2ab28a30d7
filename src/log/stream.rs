//! A cursor as a `Stream`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::{FusedStream, Stream};
use parking_lot::Mutex;

use super::{Cursor, RecvError};
use crate::sync::caught::wake_caught;

/// Where a cursor that is polled leaves its waker: see `wake` for why none is missed.
#[derive(Default)]
pub(super) struct Task(Mutex<Sleep>);

#[derive(Default)]
struct Sleep {
    waker: Option<Waker>,
    /// The generation of sleepers that it last registered in.
    generation: Option<u64>,
}

impl Task {
    /// Leaves the waker, in the place of the one before.
    fn leave(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.0.lock().waker.replace(waker);
        // Without the lock: it may be the last that keeps a task.
        drop(before);
    }

    /// Whether it is new in this generation.
    pub(super) fn enter(&self, generation: u64) -> bool {
        self.0.lock().generation.replace(generation) != Some(generation)
    }

    /// Whether it registered in this one.
    pub(super) fn is_in(&self, generation: u64) -> bool {
        self.0.lock().generation == Some(generation)
    }

    pub(super) fn wake(&self) {
        let waker = self.0.lock().waker.take();
        if let Some(waker) = waker {
            wake_caught(waker);
        }
    }

    /// Nobody is to be woken any more.
    pub(super) fn forget(&self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}

/// Yields clones of the events, and ends when the log is closed and everything is read, or when the cursor is
/// [closed](super::Lag::Close). With the feature `futures`.
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
        let cursor = self.get_mut();
        loop {
            match cursor.try_recv() {
                Ok(Some(event)) => return Poll::Ready(Some(event)),
                Ok(None) => {}
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Ended | RecvError::Closed(_)) => return Poll::Ready(None),
            }
            let task = cursor.task.get_or_insert_with(Arc::default);
            task.leave(context.waker());
            if cursor.shared.sleep_as(task, cursor.reader.position) {
                return Poll::Pending;
            }
        }
    }

    /// Nothing is promised but what is there, and of that nothing to a cursor that may skip it.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.is_terminated().then_some(0))
    }
}

impl<E> FusedStream for Cursor<E>
where
    E: Clone,
{
    fn is_terminated(&self) -> bool {
        self.has_ended()
    }
}
