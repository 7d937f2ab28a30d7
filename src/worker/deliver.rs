//! How an event is delivered.

use std::future::{Future, ready};
use std::sync::Arc;

use crate::contract::{AsyncSink, Never, Sink, refused};
use crate::lifecycle::Flushing;

/// The sink of a worker, which accepts a `T` at a time.
pub(crate) trait Deliver<T>: Send + Sync + 'static {
    /// What a delivery leaves.
    type Receipt;

    /// Hands it to the sink, and gives back what that refused, since it is closed.
    fn deliver(&self, item: T) -> impl Future<Output = Result<Self::Receipt, T>> + Send;

    /// As [`deliver`](Self::deliver), at once, if the sink is synchronous; otherwise gives the item back. So that the loop
    /// of a synchronous sink is one of plain calls: a value that lives across an await is in memory.
    #[inline]
    fn deliver_now(&self, item: T) -> Result<Result<Self::Receipt, T>, T> {
        Err(item)
    }

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

    #[inline]
    fn deliver_now(&self, item: T) -> Result<Result<(), T>, T> {
        Ok(self.0.write(item).map_err(refused))
    }

    fn wants(&self, item: &T) -> bool {
        self.0.wants(item)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}

/// An asynchronous sink, whose writes are awaited.
pub(crate) struct Awaited<S>(pub(crate) Arc<S>);

impl<T, S> Deliver<T> for Awaited<S>
where
    T: Send,
    S: AsyncSink<T> + 'static,
    S::Error: Never,
{
    type Receipt = ();

    async fn deliver(&self, item: T) -> Result<(), T> {
        self.0.write(item).await.map_err(refused)
    }

    fn wants(&self, item: &T) -> bool {
        self.0.wants(item)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}
