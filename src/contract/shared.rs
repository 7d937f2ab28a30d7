use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use super::never::{Never, refused};
use super::{AsyncSink, Sink, WriteError, delegate};

/// A sink whose type is erased. Clones are cheap, and share the sink. Made by
/// [`shared`](crate::SinkExt::shared).
///
/// # Examples
///
/// ```
/// use outflow::{SharedSink, Sink, SinkExt, sink};
///
/// let sinks: Vec<SharedSink<u32>> = vec![sink::discard().shared(), sink::collector().shared()];
/// for sink in &sinks {
///     sink.write(1).unwrap();
/// }
/// ```
pub type SharedSink<E, X = Infallible> = Arc<dyn Sink<E, Error = X> + Send + Sync>;

impl<E, X> fmt::Debug for dyn Sink<E, Error = X> + Send + Sync + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink(..)")
    }
}

/// Turns the error of a reliable sink into [`Infallible`] itself, so that its type can be erased.
pub(crate) struct Reliable<S>(pub(crate) S);

impl<S> fmt::Debug for Reliable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reliable(..)")
    }
}

impl<E, S> Sink<E> for Reliable<S>
where
    S: Sink<E>,
    S::Error: Never,
{
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.0.write(event).map_err(|error| WriteError::Closed(refused(error)))
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        self.0.write_ref(event).map_err(|error| {
            refused(error);
            WriteError::Closed(())
        })
    }

    delegate!(0: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Reliable<S>
where
    E: Send,
    S: AsyncSink<E>,
    S::Error: Never,
{
    type Error = Infallible;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.0.write(event).await.map_err(|error| WriteError::Closed(refused(error)))
    }

    delegate!(0: flush, close, is_closed, wants);
}

/// Erases a reliable sink.
pub(crate) fn erase<E, S>(sink: S) -> SharedSink<E>
where
    S: Sink<E> + Send + Sync + 'static,
    S::Error: Never,
{
    Arc::new(Reliable(sink))
}
