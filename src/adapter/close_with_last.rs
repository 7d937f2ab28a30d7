use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::contract::{AsyncSink, Sink, WriteError};
use crate::lifecycle::completion::Completion;
use crate::lifecycle::{Closing, Flushing, MaybeDone, close_caught, flush_caught, join};

/// A sink that several chains share, closed with the last of them. Made by
/// [`close_with_last`](crate::SinkExt::close_with_last); each chain gets a clone.
///
/// Each clone is closed for itself, and then refuses writes; the others go on. The sink is closed when the
/// last clone is closed or dropped, so a clone that is not part of a chain has to be dropped (or moved into
/// the last one). A clone of a closed clone is closed.
///
/// The close of a clone is done when what was accepted is delivered: it waits for a [`flush`](Sink::flush) of
/// the sink, and the close of the last one waits for the close of the sink. An abort ends the wait of a
/// clone; only that of the last reaches the sink. Likewise a write that waits inside of the sink is woken
/// only by the last close. A drop waits for nothing.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let log = sink::collector();
/// let shared = log.clone().close_with_last();
/// let queues: Vec<_> = (0..4).map(|_| shared.clone().queued()).collect();
/// drop(shared);
///
/// for queue in &queues {
///     queue.write("pushed").unwrap();
/// }
/// for queue in &queues {
///     assert!(!log.is_closed());
///     queue.close().wait()?;
/// }
/// assert_eq!(log.len(), 4);
/// assert!(log.is_closed());
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct CloseWithLast<S, E> {
    shared: Arc<Shared<S>>,
    /// That of this clone, set when its close begins.
    closing: OnceLock<Closing>,
    event: PhantomData<fn(E)>,
}

struct Shared<S> {
    sink: S,
    /// `close` of its face, a `Sink` or an `AsyncSink`.
    close: fn(&S) -> Closing,
    /// How many clones are open. Once 0, it stays 0.
    open: AtomicUsize,
}

impl<S> Shared<S> {
    /// Counts another clone, unless there is none left.
    fn join(&self) -> bool {
        // Acquire: pairs with the release in `leave`, so that a clone that finds 0 finds its `closing` set.
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open > 0).then_some(open + 1))
            .is_ok()
    }

    /// Whether it was the last.
    fn leave(&self) -> bool {
        // The last one acquires what every other released: their writes come before the close.
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl<S, E> CloseWithLast<S, E> {
    pub(crate) fn new(sink: S, close: fn(&S) -> Closing) -> Self {
        let shared = Arc::new(Shared { sink, close, open: AtomicUsize::new(1) });
        Self { shared, closing: OnceLock::new(), event: PhantomData }
    }

    fn has_closed(&self) -> bool {
        self.closing.get().is_some()
    }

    fn close_clone(&self, flush: impl FnOnce(&S) -> Flushing) -> Closing {
        if let Some(closing) = self.closing.get() {
            return closing.clone();
        }
        let completion = Completion::new();
        let closing = Closing::pending_on(&completion);
        if self.closing.set(closing.clone()).is_err() {
            // Another thread was first.
            return self.closing.get().cloned().unwrap_or(closing);
        }
        let sink = &self.shared.sink;
        if self.shared.leave() {
            MaybeDone::gather(&completion, [(close_caught(|| (self.shared.close)(sink)).0, true)], join);
        } else {
            MaybeDone::gather(&completion, [(flush_caught(|| flush(sink)).0, false)], join);
        }
        closing
    }
}

impl<E, S> Sink<E> for CloseWithLast<S, E>
where
    S: Sink<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.has_closed() {
            return Err(WriteError::Closed(event));
        }
        self.shared.sink.write(event)
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        if self.has_closed() {
            return Err(WriteError::Closed(()));
        }
        self.shared.sink.write_ref(event)
    }

    fn flush(&self) -> Flushing {
        self.shared.sink.flush()
    }

    fn close(&self) -> Closing {
        self.close_clone(S::flush)
    }

    fn is_closed(&self) -> bool {
        self.has_closed() || self.shared.sink.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.shared.sink.wants(event)
    }
}

impl<E, S> AsyncSink<E> for CloseWithLast<S, E>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        if self.has_closed() {
            return Err(WriteError::Closed(event));
        }
        self.shared.sink.write(event).await
    }

    fn flush(&self) -> Flushing {
        self.shared.sink.flush()
    }

    fn close(&self) -> Closing {
        self.close_clone(S::flush)
    }

    fn is_closed(&self) -> bool {
        self.has_closed() || self.shared.sink.is_closed()
    }

    fn wants(&self, event: &E) -> bool {
        self.shared.sink.wants(event)
    }
}

impl<S, E> Clone for CloseWithLast<S, E> {
    fn clone(&self) -> Self {
        let closing = match self.closing.get() {
            None if self.shared.join() => OnceLock::new(),
            // It is closed, or was meanwhile; `closing` is set before the count falls.
            _ => self.closing.clone(),
        };
        Self { shared: Arc::clone(&self.shared), closing, event: PhantomData }
    }
}

impl<S, E> Drop for CloseWithLast<S, E> {
    fn drop(&mut self) {
        if !self.has_closed() && self.shared.leave() {
            // Nothing waits for it, and no outcome is left to report a panic in.
            drop(close_caught(|| (self.shared.close)(&self.shared.sink)));
        }
    }
}

impl<S, E> fmt::Debug for CloseWithLast<S, E>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseWithLast")
            .field("sink", &self.shared.sink)
            .field("open", &self.shared.open)
            .field("closed", &self.has_closed())
            .finish_non_exhaustive()
    }
}
