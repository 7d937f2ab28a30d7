//! How an event is delivered.

use std::future::{Future, ready};
use std::sync::Arc;

use crate::contract::{Never, Sink, refused};
use crate::lifecycle::Flushing;

/// The sink of a worker, which accepts a `T` at a time.
pub(crate) trait Deliver<T>: Send + Sync + 'static {
    /// What a delivery leaves.
    type Receipt;

    /// Hands it to the sink, and gives back what that refused, since it is closed. It is ready at once if the sink is
    /// synchronous: then the write happens in the call.
    fn deliver(&self, item: T) -> impl Future<Output = Result<Self::Receipt, T>> + Send;

    /// Whether the sink would do anything with it.
    fn wants(&self, item: &T) -> bool;

    fn flush(&self) -> Flushing;
}

/// A synchronous sink, which gets its events by value.
pub(crate) struct Direct<S>(pub(crate) Arc<S>);

impl<T, S> Deliver<T> for Direct<S>
where
    T: Send,
    S: Sink<T> + Send + Sync + 'static,
    S::Error: Never,
{
    type Receipt = ();

    #[inline]
    fn deliver(&self, item: T) -> impl Future<Output = Result<(), T>> + Send {
        ready(self.0.write(item).map_err(refused))
    }

    fn wants(&self, item: &T) -> bool {
        self.0.wants(item)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}
