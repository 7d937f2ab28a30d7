use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::{AsyncSink, Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::testing::{Probe, Stamp, block_on};

/// A sink for [`Conformance`](super::Conformance) to check, and how to read what became of its events.
///
/// [`Conformance::new`](super::Conformance::new), with the sink alone, is enough if everything that the sink delivers
/// goes to the [`Downstream`](super::Downstream), and its close reports every event that it did not deliver. For any
/// other sink, the methods of this type say where else events go.
///
/// # Examples
///
/// A queue that evicts, and counts in its stats what it dropped:
///
/// ```
/// use outflow::testing::{Conformance, Downstream, Subject};
/// use outflow::{Buffer, SinkExt};
///
/// Conformance::of_subjects(|end: Downstream| {
///     let queue = end.queued_with(Buffer::bounded(4).drop_oldest());
///     let stats = queue.clone();
///     Subject::new(queue).counted(move || stats.stats().dropped + stats.stats().lost)
/// })
/// .run()?;
/// # Ok::<(), outflow::testing::Violation>(())
/// ```
pub struct Subject<E = Probe> {
    pub(super) sink: Arc<dyn Tested<E>>,
    pub(super) delivered: Option<Read>,
    pub(super) spilled: Option<Read>,
    pub(super) counted: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    pub(super) drained: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pub(super) closes: Vec<Box<dyn Fn() -> bool + Send + Sync>>,
    pub(super) delivers: Box<dyn Fn(Stamp) -> bool + Send + Sync>,
}

type Read = Box<dyn Fn() -> Vec<Stamp> + Send + Sync>;

impl<E> Subject<E> {
    /// Begins with a sink that delivers everything to the [`Downstream`](super::Downstream).
    pub fn new<S>(sink: S) -> Self
    where
        S: Sink<E> + Send + Sync + 'static,
        E: Clone,
    {
        Self::tested(Arc::new(Called(sink)))
    }

    /// Begins with an asynchronous sink that delivers everything to the downstream, made
    /// [asynchronous](super::Downstream::into_async).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::AsyncSinkExt;
    /// use outflow::testing::{Conformance, Downstream, Probe, Subject};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let even = |probe: &Probe| probe.stamp().sequence % 2 == 0;
    ///     Subject::of_async(end.into_async().filter(even)).delivers(|stamp| stamp.sequence % 2 == 0)
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn of_async<S>(sink: S) -> Self
    where
        S: AsyncSink<E> + 'static,
        E: Clone + 'static,
    {
        Self::tested(Arc::new(Polled(sink)))
    }

    fn tested(sink: Arc<dyn Tested<E>>) -> Self {
        Self {
            sink,
            delivered: None,
            spilled: None,
            counted: None,
            drained: Mutex::new(None),
            closes: Vec::new(),
            delivers: Box::new(|_| true),
        }
    }

    /// For a sink that delivers elsewhere: `read` returns the stamps of the events that it delivered, in the order in
    /// which they came. [`Conformance`](super::Conformance) has an example. The downstream is not used then, and what
    /// needs it is not checked: laws 5, 7, 8 and 9, and a close while a write is blocked.
    pub fn delivered<F>(mut self, read: F) -> Self
    where
        F: Fn() -> Vec<Stamp> + Send + Sync + 'static,
    {
        self.delivered = Some(Box::new(read));
        self
    }

    /// For a sink that puts some events into another sink, as a spill, a dead letter or a fallback: `read` returns their
    /// stamps, in any order. [`closes`](Subject::closes) has an example.
    pub fn spilled<F>(mut self, read: F) -> Self
    where
        F: Fn() -> Vec<Stamp> + Send + Sync + 'static,
    {
        self.spilled = Some(Box::new(read));
        self
    }

    /// For a sink that counts what it drops or loses: `read` returns how many accepted events were neither delivered nor
    /// [`spilled`](Subject::spilled). See the example of the type.
    ///
    /// Without this method, that number is what the close reports as
    /// [`undelivered`](crate::CloseError::undelivered). After an abort it is an upper bound, since an abort reports an
    /// event once for each of several sinks that miss it, and also one in flight that may still arrive. A close that
    /// fails with [`Aborted`](crate::CloseError::Aborted) sets no bound.
    pub fn counted<F>(mut self, read: F) -> Self
    where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        self.counted = Some(Box::new(read));
        self
    }

    /// For a sink whose close completes before everything is delivered, as a channel's does: `wait` is called after the
    /// close, and returns when everything is delivered.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Law, Subject};
    /// use outflow::{Sink, channel};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let (sink, events) = channel::unbounded();
    ///     let reader = std::thread::spawn(move || {
    ///         events.into_iter().for_each(|event| end.write(event).unwrap());
    ///     });
    ///     Subject::new(sink).drained(move || reader.join().unwrap())
    /// })
    /// // A channel has readers, and no downstream.
    /// .without([Law::ClosesDownstream, Law::ClosedBelow, Law::CalledFromWithin, Law::SurvivesPanic])
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn drained<F>(mut self, wait: F) -> Self
    where
        F: FnOnce() + Send + 'static,
    {
        self.drained = Mutex::new(Some(Box::new(wait)));
        self
    }

    /// For a sink that must close another one too, as a spill or a dead letter: `is_closed` returns whether that one is
    /// closed. Call this once for each.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Flaky, Probe, Subject};
    /// use outflow::{DeadLetter, Sink, SinkExt, sink};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let dead = sink::collector::<DeadLetter<Probe, _>>();
    ///     let (letters, closed) = (dead.clone(), dead.clone());
    ///     Subject::new(Flaky::at_random(end, 0.3, 7).dead_letter(dead))
    ///         .spilled(move || letters.events().iter().map(|letter| letter.event.stamp()).collect())
    ///         .closes(move || closed.is_closed())
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn closes<F>(mut self, is_closed: F) -> Self
    where
        F: Fn() -> bool + Send + Sync + 'static,
    {
        self.closes.push(Box::new(is_closed));
        self
    }

    /// For a sink that leaves events out: `which` returns whether the event of a stamp must arrive. The others must not.
    /// Default: all must.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream, Probe, Subject};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     Subject::new(end.filter(|probe: &Probe| probe.stamp().sequence % 2 == 0))
    ///         .delivers(|stamp| stamp.sequence % 2 == 0)
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn delivers<F>(mut self, which: F) -> Self
    where
        F: Fn(Stamp) -> bool + Send + Sync + 'static,
    {
        self.delivers = Box::new(which);
        self
    }
}

impl<E> fmt::Debug for Subject<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

/// Why a write was refused, whatever the error of the sink.
pub(super) struct Refused<T> {
    pub(super) event: T,
    pub(super) closed: bool,
}

impl<T, X> From<WriteError<T, X>> for Refused<T> {
    fn from(refused: WriteError<T, X>) -> Self {
        Self { closed: refused.is_closed(), event: refused.into_event() }
    }
}

/// A sink without its error.
pub(super) trait Tested<E>: Send + Sync {
    fn write(&self, event: E) -> Result<(), Refused<E>>;
    fn write_ref(&self, event: &E) -> Result<(), Refused<()>>;
    fn flush(&self) -> Flushing;
    fn close(&self) -> Closing;
    fn is_closed(&self) -> bool;
}

/// A sink whose writes are called.
struct Called<S>(S);

/// An asynchronous sink whose writes are polled by the thread that writes.
struct Polled<S>(S);

impl<E, S> Tested<E> for Called<S>
where
    E: Clone,
    S: Sink<E> + Send + Sync,
{
    fn write(&self, event: E) -> Result<(), Refused<E>> {
        self.0.write(event).map_err(Refused::from)
    }

    fn write_ref(&self, event: &E) -> Result<(), Refused<()>> {
        self.0.write_ref(event).map_err(Refused::from)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<E, S> Tested<E> for Polled<S>
where
    E: Clone,
    S: AsyncSink<E>,
{
    fn write(&self, event: E) -> Result<(), Refused<E>> {
        block_on(self.0.write(event)).map_err(Refused::from)
    }

    fn write_ref(&self, event: &E) -> Result<(), Refused<()>> {
        let written = block_on(self.0.write(event.clone()));
        written.map_err(|refused| Refused::from(refused.map_event(drop)))
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
