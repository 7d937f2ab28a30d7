//! A subscription as a `Stream`.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use super::subscription::Subscription;

/// As [`Events`](crate::channel::Events): ends when the broadcaster is closed or the subscription removed, and everything is read.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use outflow::{Broadcaster, Buffer, Sink};
///
/// let broadcaster = Broadcaster::new();
/// let mut watcher = broadcaster.subscribe(Buffer::unbounded());
/// broadcaster.write("pushed").unwrap();
/// assert_eq!(futures::executor::block_on(watcher.next()), Some("pushed"));
///
/// broadcaster.close().wait().unwrap();
/// assert_eq!(futures::executor::block_on(watcher.next()), None);
/// ```
impl<E> Stream for Subscription<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().events.poll_event(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        Stream::size_hint(&self.events)
    }
}

impl<E> FusedStream for Subscription<E> {
    fn is_terminated(&self) -> bool {
        self.events.is_terminated()
    }
}
