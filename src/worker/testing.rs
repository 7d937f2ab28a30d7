//! What the tests of queues and followers drop workers with.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::Deliver;
use crate::lifecycle::Flushing;

/// An executor that is shut down after so many polls. It polls whether it was woken or not.
pub(crate) fn poll_and_drop(future: impl Future<Output = ()>, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        thread::yield_now();
    }
}

/// Awaits something, twice for every third event, before it delivers.
pub(crate) struct Awaits<D>(pub(crate) D);

impl<T, D> Deliver<T> for Awaits<D>
where
    T: Send,
    D: Deliver<T>,
{
    type Receipt = D::Receipt;

    async fn deliver(&self, item: T) -> Result<D::Receipt, T> {
        static DELIVERIES: AtomicUsize = AtomicUsize::new(0);
        let mut pending = if DELIVERIES.fetch_add(1, Ordering::Relaxed) % 3 == 0 { 2 } else { 0 };
        poll_fn(|_| {
            if pending == 0 {
                return Poll::Ready(());
            }
            pending -= 1;
            Poll::Pending
        })
        .await;
        self.0.deliver(item).await
    }

    fn wants(&self, item: &T) -> bool {
        self.0.wants(item)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}
