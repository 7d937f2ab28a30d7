use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;

use parking_lot::Mutex;
use tower_service::Service;

use crate::contract::{AsyncSink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::clock::Alarm;
use crate::sync::until::until;

/// An asynchronous sink that calls a `tower::Service` with each event. Made by [`from_service`].
pub struct FromService<E, S> {
    /// Locked for a clone only, never while a call waits. A mutex, since many services are `Send` and not `Sync`.
    service: Mutex<S>,
    /// Raised by the close.
    closed: Alarm,
    event: PhantomData<fn(E)>,
}

/// Makes an asynchronous sink of a `tower::Service`, so that tower's layers are at hand. Needs the feature `tower`.
///
/// Each write has a clone of the service: a call needs `&mut`, and one service behind a lock would make writers wait for
/// each other's answers. That is how tower means it: clones of a service share what is to be shared, such as a
/// connection or the permits of a concurrency limit. A service that is not `Clone` becomes one in a `tower::buffer`.
///
/// `poll_ready` is awaited, and then `call` gets a clone of the event; the event itself is handed back if either fails.
/// The response is dropped. An error of `poll_ready` is final for that clone, and the next write has another.
///
/// A close wakes a write that waits for the service to be ready, which hands its event back as `Closed`. A call that has
/// begun is awaited.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
/// use std::task::{Context, Poll};
/// use outflow::sink::{self, AsyncSink};
/// use tower_service::Service;
///
/// #[derive(Clone)]
/// struct Print;
///
/// impl Service<String> for Print {
///     type Response = ();
///     type Error = Infallible;
///     type Future = Ready<Result<(), Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, event: String) -> Self::Future {
///         println!("{event}");
///         ready(Ok(()))
///     }
/// }
///
/// let sink = sink::from_service(Print);
/// # let mut write = std::pin::pin!(sink.write("pushed".to_string()));
/// # let mut context = Context::from_waker(std::task::Waker::noop());
/// # assert!(write.as_mut().poll(&mut context).is_ready());
/// ```
pub fn from_service<E, S>(service: S) -> FromService<E, S>
where
    E: Clone + Send,
    S: Service<E> + Clone + Send,
    S::Future: Send,
{
    FromService { service: Mutex::new(service), closed: Alarm::default(), event: PhantomData }
}

impl<E, S> AsyncSink<E> for FromService<E, S>
where
    E: Clone + Send,
    S: Service<E> + Clone + Send,
    S::Future: Send,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.closed.is_raised() {
            return Err(WriteError::Closed(event));
        }
        let mut service = self.service.lock().clone();
        let called = {
            let ready = pin!(poll_fn(|context| service.poll_ready(context)));
            let ready = until(ready, pin!(self.closed.raised())).await;
            match ready {
                Some(Ok(())) => service.call(event.clone()),
                Some(Err(error)) => return Err(WriteError::failed(event, error)),
                None => return Err(WriteError::Closed(event)),
            }
        };
        match called.await {
            Ok(_) => Ok(()),
            Err(error) => Err(WriteError::failed(event, error)),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.raise();
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.is_raised()
    }
}

impl<E, S> fmt::Debug for FromService<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromService").field("closed", &self.closed.is_raised()).finish_non_exhaustive()
    }
}
