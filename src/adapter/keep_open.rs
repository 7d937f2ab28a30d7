use std::fmt;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// Passes everything on but `close`. Made by [`keep_open`](crate::SinkExt::keep_open).
///
/// For a sink that several chains share: each closes what it was handed, and the sink itself is closed by
/// whoever shares it out. A close answers that it is done at once; `flush` is the barrier.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let shared = sink::collector::<u32>();
/// let chain = shared.clone().keep_open().queued();
/// chain.close().wait().unwrap();
/// assert!(!shared.is_closed());
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

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

impl<S> fmt::Debug for KeepOpen<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepOpen").field("sink", &self.sink).finish_non_exhaustive()
    }
}
