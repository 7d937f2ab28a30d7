use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::latency::{Latency, Stopwatch};
use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Counts the writes of the sinks that were made [`metered`](crate::SinkExt::metered) with it. Cheap to
/// clone, readable from anywhere.
///
/// # Examples
///
/// ```
/// use outflow::{Meter, Sink, SinkExt, sink};
///
/// let meter = Meter::new();
/// let sink = sink::from_fn(|event: &u32| if *event < 2 { Ok(()) } else { Err("full") }).metered(&meter);
/// for event in 0..3 {
///     let _ = sink.write(event);
/// }
/// let snapshot = meter.snapshot();
/// assert_eq!((snapshot.events, snapshot.successes, snapshot.failures), (3, 2, 1));
/// ```
#[derive(Clone, Default)]
pub struct Meter {
    counts: Arc<Counts>,
    /// See `Handles`.
    #[cfg(feature = "metrics")]
    handles: super::lossy::Handles,
}

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    panicked: AtomicU64,
    cancelled: AtomicU64,
    latency: Latency,
}

/// What a [`Meter`] had counted at a moment.
///
/// # Examples
///
/// ```
/// use outflow::{Meter, Sink, SinkExt, sink};
///
/// let meter = Meter::new();
/// let sink = sink::discard().metered(&meter);
/// sink.write(1).unwrap();
/// sink.close().wait()?;
/// assert!(sink.write(2).is_err());
/// let snapshot = meter.snapshot();
/// assert_eq!((snapshot.events, snapshot.successes, snapshot.refused, snapshot.in_flight), (2, 1, 1, 0));
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeterSnapshot {
    /// Writes begun.
    pub events: u64,
    /// Writes that were accepted.
    pub successes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Writes that were refused because the sink was closed.
    pub refused: u64,
    /// Writes that panicked.
    pub panicked: u64,
    /// Writes to an asynchronous sink whose future was dropped before it was done, by a
    /// [`timeout`](crate::AsyncSinkExt::timeout) above it or by the caller.
    pub cancelled: u64,
    /// Writes that are under way.
    pub in_flight: u64,
}

impl Meter {
    /// A meter that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts now.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Meter, Sink, SinkExt, sink};
    ///
    /// let meter = Meter::new();
    /// let inside = meter.clone();
    /// let sink = sink::for_each(move |_: u32| assert_eq!(inside.snapshot().in_flight, 1)).metered(&meter);
    /// sink.write(1).unwrap();
    /// assert_eq!(meter.snapshot().in_flight, 0);
    /// ```
    pub fn snapshot(&self) -> MeterSnapshot {
        self.counts.snapshot()
    }

    /// Times every write from now on. Returns `false` if they were timed before.
    #[cfg(feature = "metrics")]
    pub(crate) fn time_writes(&self, histograms: super::Histograms) -> bool {
        self.counts.latency.record_to(histograms)
    }

    /// The counts, and whether they are the last: nothing can be counted any more.
    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> impl Fn() -> (MeterSnapshot, bool) + Send + Sync + use<> {
        let (counts, gone) = (Arc::clone(&self.counts), self.handles.observer());
        move || {
            let ended = gone();
            (counts.snapshot(), ended)
        }
    }

    fn measure<T, X>(
        &self,
        write: impl FnOnce() -> Result<(), WriteError<T, X>>,
    ) -> Result<(), WriteError<T, X>> {
        let measured = self.begin(&self.counts.panicked);
        let written = write();
        measured.end(&written);
        written
    }

    /// `unless` counts the write if it does not come to its end.
    #[inline]
    fn begin<'a>(&'a self, unless: &'a AtomicU64) -> Measured<'a> {
        self.counts.events.fetch_add(1, Ordering::Relaxed);
        let outcome = Outcome { counts: &self.counts, count: unless };
        Measured { outcome, stopwatch: self.counts.latency.start() }
    }
}

impl Counts {
    fn snapshot(&self) -> MeterSnapshot {
        // Outcomes first, each acquiring what was counted before it: no outcome without its event.
        let successes = self.successes.load(Ordering::Acquire);
        let failures = self.failures.load(Ordering::Acquire);
        let refused = self.refused.load(Ordering::Acquire);
        let panicked = self.panicked.load(Ordering::Acquire);
        let cancelled = self.cancelled.load(Ordering::Acquire);
        let events = self.events.load(Ordering::Acquire);
        let in_flight = events.saturating_sub(successes + failures + refused + panicked + cancelled);
        MeterSnapshot { events, successes, failures, refused, panicked, cancelled, in_flight }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("counts", &self.counts).finish()
    }
}

/// A write that is under way.
struct Measured<'a> {
    outcome: Outcome<'a>,
    stopwatch: Stopwatch<'a>,
}

impl Measured<'_> {
    #[inline]
    fn end<T, X>(mut self, written: &Result<(), WriteError<T, X>>) {
        self.outcome.count = match written {
            Ok(()) => &self.outcome.counts.successes,
            Err(WriteError::Failed { .. }) => &self.outcome.counts.failures,
            Err(WriteError::Closed(_)) => &self.outcome.counts.refused,
        };
        self.stopwatch.stop(written);
    }
}

/// Counts an outcome when dropped.
struct Outcome<'a> {
    counts: &'a Counts,
    count: &'a AtomicU64,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        // Release: pairs with the acquire of a snapshot, which then sees the event too.
        self.count.fetch_add(1, Ordering::Release);
    }
}

/// Counts writes and their outcomes. Made by [`metered`](crate::SinkExt::metered). Above a queue it counts
/// what the queue accepts, not what is delivered.
///
/// # Examples
///
/// ```
/// use outflow::{Meter, Sink, SinkExt, sink};
///
/// let (accepted, delivered) = (Meter::new(), Meter::new());
/// let chain = sink::discard().metered(&delivered).queued().metered(&accepted);
/// chain.write_all(0..3).unwrap();
/// assert_eq!(accepted.snapshot().successes, 3);
/// chain.close().wait()?;
/// assert_eq!(delivered.snapshot().successes, 3);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct Metered<S> {
    sink: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(crate) fn new(sink: S, meter: Meter) -> Self {
        Self { sink, meter }
    }
}

impl<E, S> Sink<E> for Metered<S>
where
    S: Sink<E>,
{
    type Error = S::Error;

    #[inline]
    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.meter.measure(|| self.sink.write(event))
    }

    #[inline]
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), S::Error>>
    where
        E: Clone,
    {
        self.meter.measure(|| self.sink.write_ref(event))
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Metered<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = S::Error;

    async fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        let counts = &self.meter.counts;
        // Until there is a future to poll, what unwinds is a panic too.
        let mut measured = self.meter.begin(&counts.panicked);
        let mut write = pin!(self.sink.write(event));
        let written = poll_fn(|context| {
            // What unwinds out of this poll is a panic, and what is dropped between two polls is not.
            measured.outcome.count = &counts.panicked;
            let polled = write.as_mut().poll(context);
            measured.outcome.count = &counts.cancelled;
            polled
        })
        .await;
        measured.end(&written);
        written
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S> fmt::Debug for Metered<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("sink", &self.sink).finish_non_exhaustive()
    }
}
