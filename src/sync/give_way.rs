use std::future::poll_fn;
use std::task::Poll;

/// Is pending once, and woken at once: other tasks of the same thread run meanwhile.
pub(crate) async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
