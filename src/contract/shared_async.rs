use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::{AsyncSink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// An asynchronous sink whose type is erased. Clones are cheap, and share the sink. Made by
/// [`shared`](crate::AsyncSinkExt::shared). Each write allocates its future.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use outflow::{AsyncSinkExt, SharedAsyncSink, sink};
///
/// let even = sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }).filter(|event| event % 2 == 0);
/// let all = sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) });
/// let sinks: [SharedAsyncSink<u32>; 2] = [even.shared(), all.shared()];
/// # assert_eq!(sinks.len(), 2);
/// ```
pub struct SharedAsyncSink<E, X = Infallible> {
    sink: Arc<dyn Erased<E, X>>,
}

type Writing<'a, E, X> = Pin<Box<dyn Future<Output = Result<(), WriteError<E, X>>> + Send + 'a>>;

trait Erased<E, X>: Send + Sync {
    fn write(&self, event: E) -> Writing<'_, E, X>;
    fn flush(&self) -> Flushing;
    fn close(&self) -> Closing;
    fn is_closed(&self) -> bool;
    fn wants(&self, event: &E) -> bool;
}

impl<E, X, S> Erased<E, X> for S
where
    E: 'static,
    S: AsyncSink<E, Error = X>,
{
    fn write(&self, event: E) -> Writing<'_, E, X> {
        Box::pin(AsyncSink::write(self, event))
    }

    fn flush(&self) -> Flushing {
        AsyncSink::flush(self)
    }

    fn close(&self) -> Closing {
        AsyncSink::close(self)
    }

    fn is_closed(&self) -> bool {
        AsyncSink::is_closed(self)
    }

    fn wants(&self, event: &E) -> bool {
        AsyncSink::wants(self, event)
    }
}

impl<E, X> SharedAsyncSink<E, X> {
    pub(crate) fn new<S>(sink: S) -> Self
    where
        E: 'static,
        S: AsyncSink<E, Error = X> + 'static,
    {
        Self { sink: Arc::new(sink) }
    }
}

impl<E, X> AsyncSink<E> for SharedAsyncSink<E, X> {
    type Error = X;

    fn write(&self, event: E) -> impl Future<Output = Result<(), WriteError<E, X>>> + Send {
        self.sink.write(event)
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.sink.wants(event)
    }
}

impl<E, X> Clone for SharedAsyncSink<E, X> {
    fn clone(&self) -> Self {
        Self { sink: Arc::clone(&self.sink) }
    }
}

impl<E, X> fmt::Debug for SharedAsyncSink<E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAsyncSink(..)")
    }
}
