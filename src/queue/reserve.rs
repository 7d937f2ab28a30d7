use std::convert::Infallible;
use std::fmt;

use super::Queue;
use super::state::QueueState;
use crate::buffer::Block;
use crate::contract::WriteError;
use crate::pipe::{Reserved, Writer};

impl<E> Queue<E, Block> {
    /// Writes, and waits for room without a thread: the twin of [`write`](crate::Sink::write) for an `async` function, where
    /// that would block the executor.
    ///
    /// Tasks and threads that wait get room in the order in which they came. From within the queue's own sink it does not
    /// wait, as a write does not.
    ///
    /// # Cancellation
    ///
    /// The future holds the event. Dropped before it is ready, it drops the event, which was not written, and gives up its
    /// place. Where an event must outlive that, in a `select!` say, [`reserve`](Queue::reserve) first: it holds none.
    /// Do not keep the future without polling it: the room that it was given is nobody else's.
    ///
    /// # Errors
    ///
    /// `Closed` if the queue is closed, before or while it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, Sink, SinkExt, sink};
    ///
    /// # let block_on = |mut future: std::pin::Pin<&mut dyn Future<Output = ()>>| {
    /// #     while future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending() {}
    /// # };
    /// # let future = std::pin::pin!(async {
    /// let queue = sink::discard().queued_with(Buffer::bounded(8));
    /// for event in 0..100 {
    ///     queue.write_async(event).await.unwrap();
    /// }
    /// # queue.close().wait().unwrap();
    /// # assert_eq!(queue.stats().delivered, 100);
    /// # });
    /// # block_on(future);
    /// ```
    pub async fn write_async(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.writer.write_async(event).await
    }

    /// Waits for room for one event, without a thread, and returns a permit to send that event. In line with
    /// [`write_async`](Queue::write_async) and with threads.
    ///
    /// Dropped, the future or the permit gives its place back.
    ///
    /// # Errors
    ///
    /// `Closed` if the queue is closed, before or while it waits.
    ///
    /// # Panics
    ///
    /// If the buffer [weighs](crate::Buffer::weighing) its events: room depends on the event then. Use
    /// [`write_async`](Queue::write_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Buffer, SinkExt, sink};
    ///
    /// # let block_on = |mut future: std::pin::Pin<&mut dyn Future<Output = ()>>| {
    /// #     while future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending() {}
    /// # };
    /// # let future = std::pin::pin!(async {
    /// let queue = sink::discard().queued_with(Buffer::bounded(8));
    /// let permit = queue.reserve().await.unwrap();
    /// permit.send("made only once there is room").unwrap(); // Does not wait.
    /// # });
    /// # block_on(future);
    /// ```
    pub async fn reserve(&self) -> Result<Permit<'_, E>, WriteError<(), Infallible>> {
        assert!(
            self.weight().is_none(),
            "a buffer that weighs its events reserves no room: use `write_async`"
        );
        let closed = Err(WriteError::Closed(()));
        if self.writer.pipe.is_shut() {
            return closed;
        }
        let reserved = self.writer.reserve(0).await;
        let permit = Permit { writer: &self.writer, reserved };
        if self.writer.pipe.is_shut() { closed } else { Ok(permit) }
    }
}

/// Room for one event in a [`Queue`]. Made by [`Queue::reserve`]. Dropped, it gives the room back.
#[must_use = "a permit that is dropped gives its room back, and sends nothing"]
pub struct Permit<'a, E> {
    writer: &'a Writer<E, Block, QueueState<E>>,
    /// Nothing once it was used.
    reserved: Reserved,
}

impl<E> Permit<'_, E> {
    /// Writes an event, without waiting.
    ///
    /// The queue's own sink gets a permit even if there is no room, and has to use it in the same write: used elsewhere, it
    /// waits as a write does.
    ///
    /// # Errors
    ///
    /// `Closed` if the queue was closed since it was reserved.
    pub fn send(mut self, event: E) -> Result<(), WriteError<E, Infallible>> {
        let reserved = std::mem::replace(&mut self.reserved, Reserved::Nothing);
        self.writer.send_reserved(reserved, event)
    }
}

impl<E> Drop for Permit<'_, E> {
    fn drop(&mut self) {
        self.writer.give_back(self.reserved);
    }
}

impl<E> fmt::Debug for Permit<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(..)")
    }
}
