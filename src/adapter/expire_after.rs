use std::fmt;
use std::time::Duration;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Fails the events that are too old. Made by [`expire_after`](crate::SinkExt::expire_after).
///
/// `age` is called at each write and returns how old the event is: `|event| event.created.elapsed()` for an
/// [`Instant`](std::time::Instant), or what another clock says, which may be one of another process. An event that is
/// older than the limit is handed back with [`ExpireError::Expired`], and what is above says what becomes of it:
/// [`dead_letter`](crate::SinkExt::dead_letter), [`lossy_counted`](crate::SinkExt::lossy_counted) or
/// [`fallback`](crate::SinkExt::fallback). Once the sink is closed, it is answered with `Closed` as any other event.
///
/// # Above a retry or below
///
/// *Above* (`http.retry(..).expire_after(..)`) an event is looked at once, when its turn has come. What waited too long
/// in a queue expires, and what is being retried is delivered however long that takes. The only failure is then that of
/// an expired event, so that the chain is reliable with it in a dead letter.
///
/// *Below* (`http.expire_after(..).retry(..)`) it is looked at before each attempt, so that one that is being retried
/// expires too, when its next attempt is due. A retry has to give up then, since the event only gets older:
/// `.give_up_when(|failure| failure.error.is_expired())`. Without that it would be tried for ever.
///
/// # Examples
///
/// The endpoint is down. The event that is being retried expires in the retry, and the one behind it in the queue:
///
/// ```
/// use std::time::{Duration, Instant};
/// use outflow::{Sink, SinkExt, retry::Constant, sink};
///
/// struct Quote {
///     price: u32,
///     made: Instant,
/// }
///
/// let dead = sink::collector();
/// let quotes = sink::from_fn(|_: &Quote| Err("no route to host"))
///     .expire_after(Duration::from_millis(20), |quote| quote.made.elapsed())
///     .retry(Constant::new(Duration::from_millis(1)))
///     .give_up_when(|failure| failure.error.is_expired())
///     .dead_letter(dead.clone())
///     .queued();
/// for price in [11, 12] {
///     assert!(quotes.write(Quote { price, made: Instant::now() }).is_ok());
/// }
/// quotes.close().wait()?;
/// assert_eq!(dead.take().iter().map(|letter| letter.event.price).collect::<Vec<_>>(), [11, 12]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct ExpireAfter<S, F> {
    sink: S,
    limit: Duration,
    age: F,
}

/// Why a write through [`ExpireAfter`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpireError<X> {
    /// The event was too old. It was not written.
    #[error("the event is {age:?} old, and expired after {limit:?}")]
    Expired {
        /// How old it was.
        age: Duration,
        /// How old it may be.
        limit: Duration,
    },
    /// The sink failed.
    #[error(transparent)]
    Sink(X),
}

impl<X> ExpireError<X> {
    /// Whether the event was too old.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Expired { .. })
    }
}

impl<S, F> ExpireAfter<S, F> {
    pub(crate) fn new(sink: S, limit: Duration, age: F) -> Self {
        Self { sink, limit, age }
    }

    /// Why `event` is not to be written, if it is not.
    fn refuse<E, X>(
        &self,
        event: &E,
        is_closed: impl FnOnce() -> bool,
    ) -> Option<WriteError<(), ExpireError<X>>>
    where
        F: Fn(&E) -> Duration,
    {
        let age = (self.age)(event);
        if age <= self.limit {
            None
        } else if is_closed() {
            Some(WriteError::Closed(()))
        } else {
            Some(WriteError::failed((), ExpireError::Expired { age, limit: self.limit }))
        }
    }
}

impl<E, S, F> Sink<E> for ExpireAfter<S, F>
where
    S: Sink<E>,
    F: Fn(&E) -> Duration,
{
    type Error = ExpireError<S::Error>;

    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        match self.refuse(&event, || self.sink.is_closed()) {
            None => self.sink.write(event).map_err(|refused| refused.map_error(ExpireError::Sink)),
            Some(refused) => Err(refused.map_event(|()| event)),
        }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        match self.refuse(event, || self.sink.is_closed()) {
            None => self.sink.write_ref(event).map_err(|refused| refused.map_error(ExpireError::Sink)),
            Some(refused) => Err(refused),
        }
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S, F> AsyncSink<E> for ExpireAfter<S, F>
where
    E: Send,
    S: AsyncSink<E>,
    F: Fn(&E) -> Duration + Send + Sync,
{
    type Error = ExpireError<S::Error>;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        // Not a `match`, whose value would be kept while the write is awaited, and would have to be `Send`.
        if let Some(refused) = self.refuse(&event, || self.sink.is_closed()) {
            return Err(refused.map_event(|()| event));
        }
        self.sink.write(event).await.map_err(|refused| refused.map_error(ExpireError::Sink))
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S, F> fmt::Debug for ExpireAfter<S, F>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpireAfter")
            .field("sink", &self.sink)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
