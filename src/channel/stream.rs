//! The events of a channel as a `Stream`.

use std::pin::Pin;
use std::task::{Context, Poll};

use crossbeam_channel::TryRecvError;
use futures_core::{FusedStream, Stream};

use super::events::Events;
use crate::sync::caught::drop_caught;

/// Events are moved, never pinned.
impl<E> Unpin for Events<E> {}

impl<E> Events<E> {
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        match self.pipe.try_take() {
            Err(TryRecvError::Empty) => {}
            found => return self.found(found),
        }
        let end = &self.pipe.end;
        // A rendezvous holds nothing: an event is found with a writer that waits, or is offered by one that wakes.
        let rendezvous = self.pipe.capacity() == Some(0);
        if let Some(event) = rendezvous.then(|| end.offer.take()).flatten() {
            return Poll::Ready(Some(event));
        }
        end.waker.register(context.waker());
        loop {
            match self.pipe.try_take() {
                Err(TryRecvError::Empty) => {}
                found => {
                    // Dropped here, so that the next write has no task to wake.
                    drop_caught(end.waker.take());
                    return self.found(found);
                }
            }
            if !rendezvous || end.waker.waiting() == 0 {
                return Poll::Pending;
            }
            std::thread::yield_now();
        }
    }

    fn found(&mut self, found: Result<E, TryRecvError>) -> Poll<Option<E>> {
        self.ended = found.is_err();
        Poll::Ready(found.ok())
    }

    /// The reader is gone, and its task, if it has one, need not be kept for it.
    pub(super) fn forget_waker(&self) {
        drop_caught(self.pipe.end.waker.take());
    }
}

/// Yields the events, and ends when the sink is closed and everything accepted is read. With the feature
/// `futures`.
///
/// A task that finds nothing is woken by the next write, on the writer's thread. Nothing is lost when the
/// future of a `next` is dropped. `recv` and the iterators may be used in between, on the same events.
///
/// A poll does not wait, with one exception: at a [`rendezvous`](crate::channel::rendezvous), and there alone,
/// it waits for the thread of the writer that it meets to hand its event over.
/// [`try_write`](crate::channel::ChannelSink::try_write) finds no reader there in a task that sleeps.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::bounded(1);
/// let writer = std::thread::spawn(move || {
///     for event in 0..100 {
///         sink.write(event).unwrap();
///     }
/// });
/// let read: Vec<u32> = futures::executor::block_on(events.collect());
/// assert_eq!(read, (0..100).collect::<Vec<_>>());
/// # writer.join().unwrap();
/// ```
impl<E> Stream for Events<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().poll_event(context)
    }

    /// Nothing is promised until the end: what waits now may be taken by a clone of the receiver.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.ended.then_some(0))
    }
}

impl<E> FusedStream for Events<E> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
