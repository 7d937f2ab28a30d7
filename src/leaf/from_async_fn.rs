use std::fmt;
use std::marker::PhantomData;

use crate::contract::{AsyncSink, ClosedFlag, WriteError};

/// An asynchronous sink that calls a closure with each event and awaits what it returns. Made by [`from_async_fn`].
pub struct FromAsyncFn<E, F> {
    f: F,
    closed: ClosedFlag,
    event: PhantomData<fn(E)>,
}

/// Makes an asynchronous sink of a closure that returns a future, which may fail.
///
/// The closure gets a clone of each event, since its future may keep it; the event itself is handed back if the write
/// fails. A large event is cheap to clone in an `Arc`. Several writers have a future each. A panic of the closure or in
/// a poll goes on to the writer.
///
/// # Examples
///
/// The future may outlive the call, so it has a clone of what the closure holds: here of a client, whose clones share its
/// connections.
///
/// ```
/// use outflow::sink::{self, AsyncSink};
///
/// # #[derive(Clone)]
/// # struct Client;
/// # impl Client {
/// #     async fn publish(&self, topic: &str, _: u32) -> Result<(), &'static str> {
/// #         if topic.is_empty() { Err("no topic") } else { Ok(()) }
/// #     }
/// # }
/// # let client = Client;
/// let publish = sink::from_async_fn(move |event: u32| {
///     let client = client.clone();
///     async move { client.publish("pushes", event).await }
/// });
/// # let waker = std::task::Waker::noop();
/// # let mut write = std::pin::pin!(publish.write(1));
/// # assert!(write.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready());
/// ```
pub fn from_async_fn<E, X, F, W>(f: F) -> FromAsyncFn<E, F>
where
    E: Clone + Send,
    F: Fn(E) -> W + Send + Sync,
    W: Future<Output = Result<(), X>> + Send,
{
    FromAsyncFn { f, closed: ClosedFlag::default(), event: PhantomData }
}

impl<E, X, F, W> AsyncSink<E> for FromAsyncFn<E, F>
where
    E: Clone + Send,
    F: Fn(E) -> W + Send + Sync,
    W: Future<Output = Result<(), X>> + Send,
{
    type Error = X;

    async fn write(&self, event: E) -> Result<(), WriteError<E, X>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        (self.f)(event.clone()).await.map_err(|error| WriteError::failed(event, error))
    }

    closed_by_flag!(closed);
}

impl<E, F> fmt::Debug for FromAsyncFn<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromAsyncFn").field("closed", &self.closed).finish_non_exhaustive()
    }
}
