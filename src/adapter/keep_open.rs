use std::fmt;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::Closing;

/// Passes everything on but `close`. Made by [`keep_open`](crate::SinkExt::keep_open).
///
/// For a sink that several chains share and that is closed by hand: the close of a chain leaves it open. So a
/// close of this is done at once, and closes nothing; to wait until everything is delivered, flush. A sink
/// that is to be closed with the last of its chains: [`close_with_last`](crate::SinkExt::close_with_last).
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let shared = sink::collector::<u32>();
/// let chain = shared.clone().keep_open().queued();
/// chain.close().wait()?;
/// assert!(!shared.is_closed());
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct KeepOpen<S> {
    sink: S,
}

impl<S> KeepOpen<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink }
    }
}

impl<E, S> Sink<E> for KeepOpen<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.sink.write(event)
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        self.sink.write_ref(event)
    }

    fn close(&self) -> Closing {
        Closing::done()
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<E, S> AsyncSink<E> for KeepOpen<S>
where
    S: AsyncSink<E>,
{
    type Error = S::Error;

    fn write(&self, event: E) -> impl Future<Output = Result<(), WriteError<E, S::Error>>> + Send {
        self.sink.write(event)
    }

    fn close(&self) -> Closing {
        Closing::done()
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<S> fmt::Debug for KeepOpen<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepOpen").field("sink", &self.sink).finish_non_exhaustive()
    }
}
