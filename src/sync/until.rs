use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Completes with `future`, or with `None` when `end` does and `future` is not ready.
pub(crate) async fn until<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
    mut end: Pin<&mut impl Future<Output = ()>>,
) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}
