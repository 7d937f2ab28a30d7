use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::Closing;
use crate::trace;

/// A count that can be read from anywhere. Clones share it.
///
/// # Examples
///
/// ```
/// use outflow::{Counter, Sink, SinkExt, sink};
///
/// let dropped = Counter::new();
/// let queue = sink::from_fn(|_: &u32| Err("full")).lossy_counted(&dropped).queued();
/// queue.write(1).unwrap();
/// queue.close().wait().unwrap();
/// assert_eq!(dropped.get(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter {
    count: Arc<AtomicU64>,
    /// See `Handles`.
    #[cfg(feature = "metrics")]
    handles: Handles,
}

/// As many clones as there are handles. An observer has none of them, and sees when nothing can be counted any more.
#[cfg(feature = "metrics")]
#[derive(Clone, Debug, Default)]
pub(super) struct Handles(Arc<()>);

#[cfg(feature = "metrics")]
impl Handles {
    /// Returns whether all are gone; a count that is read after that is the last.
    pub(super) fn observer(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let handles = Arc::downgrade(&self.0);
        move || {
            let gone = handles.strong_count() == 0;
            // Pairs with the release of a handle that is dropped.
            std::sync::atomic::fence(Ordering::Acquire);
            gone
        }
    }
}

impl Counter {
    /// A count of zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The count, and whether it is the last: nothing can be counted any more.
    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> impl Fn() -> (u64, bool) + Send + Sync + use<> {
        let (count, gone) = (Arc::clone(&self.count), self.handles.observer());
        move || {
            let ended = gone();
            (count.load(Ordering::Relaxed), ended)
        }
    }

    pub(crate) fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Drops what fails, as asked, and counts it. Made by [`lossy`](crate::SinkExt::lossy) and
/// [`lossy_counted`](crate::SinkExt::lossy_counted).
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let sink = sink::from_fn(|_: &u32| Err("full")).lossy();
/// assert!(sink.write(1).is_ok());
/// assert_eq!(sink.dropped(), 1);
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Lossy<S> {
    sink: S,
    counter: Counter,
    losses: trace::Losses,
}

impl<S> Lossy<S> {
    pub(crate) fn new(sink: S, counter: Counter) -> Self {
        Self { sink, counter, losses: trace::Losses::of_lossy() }
    }

    /// How many events failed and were dropped.
    pub fn dropped(&self) -> u64 {
        self.counter.get()
    }

    fn outcome<E, X>(&self, written: Result<(), WriteError<E, X>>) -> Result<(), WriteError<E, Infallible>> {
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Closed(event)) => Err(WriteError::Closed(event)),
            Err(WriteError::Failed { .. }) => {
                self.counter.add_one();
                self.losses.one(std::any::type_name::<X>());
                Ok(())
            }
        }
    }
}

impl<E, S> Sink<E> for Lossy<S>
where
    S: Sink<E>,
{
    type Error = Infallible;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.outcome(self.sink.write(event))
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>>
    where
        E: Clone,
    {
        self.outcome(self.sink.write_ref(event))
    }

    fn close(&self) -> Closing {
        self.losses.rest();
        self.sink.close()
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Lossy<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = Infallible;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        self.outcome(self.sink.write(event).await)
    }

    fn close(&self) -> Closing {
        self.losses.rest();
        self.sink.close()
    }

    delegate!(sink: flush, is_closed, wants);
}

impl<S: fmt::Debug> fmt::Debug for Lossy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lossy").field("sink", &self.sink).field("dropped", &self.dropped()).finish()
    }
}
