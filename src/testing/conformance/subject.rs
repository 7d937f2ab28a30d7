use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::testing::{Probe, Stamp};

/// A sink that [`Conformance`](super::Conformance) is to check, and how to read what it did.
///
/// A sink by itself is enough, and [`Conformance::new`](super::Conformance::new), if everything that it delivers
/// goes to the [`Downstream`](super::Downstream) that the maker was handed, and everything that it gives up is
/// told by its close. What else there is to know stands here.
///
/// # Examples
///
/// A queue that evicts, with what its stats count as dropped:
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
    /// A sink whose deliveries all go to the downstream of the maker.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Subject};
    ///
    /// Conformance::of_subjects(|end: Downstream| Subject::new(end)).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn new<S>(sink: S) -> Self
    where
        S: Sink<E> + Send + Sync + 'static,
        E: Clone,
    {
        Self {
            sink: Arc::new(sink),
            delivered: None,
            spilled: None,
            counted: None,
            drained: Mutex::new(None),
            closes: Vec::new(),
            delivers: Box::new(|_| true),
        }
    }

    /// For a sink that delivers elsewhere: the stamps of what it delivered, in the order in which it came. The
    /// downstream is then none of it, and what needs one is not checked: laws 5, 7, 8 and 9, and a close while a
    /// write is held up.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::sink;
    /// use outflow::testing::{Conformance, Downstream, Probe, Subject};
    ///
    /// Conformance::of_subjects(|_: Downstream| {
    ///     let collector = sink::collector::<Probe>();
    ///     let reads = collector.clone();
    ///     Subject::new(collector)
    ///         .delivered(move || reads.events().iter().map(Probe::stamp).collect())
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn delivered<F>(mut self, read: F) -> Self
    where
        F: Fn() -> Vec<Stamp> + Send + Sync + 'static,
    {
        self.delivered = Some(Box::new(read));
        self
    }

    /// The stamps of what it gave up into another sink, in any order: a spill, a dead letter, a fallback.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Flaky, Probe, Subject};
    /// use outflow::{DeadLetter, SinkExt, sink};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let dead = sink::collector::<DeadLetter<Probe, _>>();
    ///     let reads = dead.clone();
    ///     Subject::new(Flaky::at_random(end, 0.3, 7).dead_letter(dead))
    ///         .spilled(move || reads.events().iter().map(|letter| letter.event.stamp()).collect())
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn spilled<F>(mut self, read: F) -> Self
    where
        F: Fn() -> Vec<Stamp> + Send + Sync + 'static,
    {
        self.spilled = Some(Box::new(read));
        self
    }

    /// How many events it accepted, neither delivered nor [`spilled`](Subject::spilled), and counted: dropped,
    /// lost. See the example of the type. Without this it is what the close tells as
    /// [`undelivered`](crate::CloseError::undelivered); after an abort, which tells an event for each of several
    /// sinks that miss it, and one in flight that may arrive yet, at most that; or anything, if the close says with
    /// [`Aborted`](crate::CloseError::Aborted) that it does not know.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Flaky, Subject};
    /// use outflow::{Counter, SinkExt};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let dropped = Counter::new();
    ///     let lossy = Flaky::at_random(end, 0.3, 7).lossy_counted(&dropped);
    ///     Subject::new(lossy).counted(move || dropped.get())
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn counted<F>(mut self, read: F) -> Self
    where
        F: Fn() -> u64 + Send + Sync + 'static,
    {
        self.counted = Some(Box::new(read));
        self
    }

    /// For a sink whose close is through before everything is delivered, as that of a channel is: called when
    /// the close is through, and returns when everything is.
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
    /// // What reads a channel is no downstream of it.
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

    /// For a sink that was handed another beside the downstream, which is to be closed with it: a spill, a dead
    /// letter. Whether that is closed; may be said of several.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Law, Subject};
    /// use outflow::{Buffer, Sink, SinkExt, sink};
    ///
    /// let spills = |spill_is_shared: bool| {
    ///     Conformance::of_subjects(move |end: Downstream| {
    ///         let spill = sink::collector();
    ///         let buffer = if spill_is_shared {
    ///             Buffer::unbounded().spill(spill.clone().keep_open())
    ///         } else {
    ///             Buffer::unbounded().spill(spill.clone())
    ///         };
    ///         Subject::new(end.queued_with(buffer)).closes(move || spill.is_closed())
    ///     })
    ///     .laws([Law::ClosesDownstream])
    ///     .run()
    /// };
    /// assert!(spills(false).is_ok());
    /// assert_eq!(spills(true).unwrap_err().law, Law::ClosesDownstream);
    /// ```
    pub fn closes<F>(mut self, is_closed: F) -> Self
    where
        F: Fn() -> bool + Send + Sync + 'static,
    {
        self.closes.push(Box::new(is_closed));
        self
    }

    /// Which of the events that it accepts are to arrive; those that are not must not. All, if nothing else is
    /// said.
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

impl<E, S> Tested<E> for S
where
    E: Clone,
    S: Sink<E> + Send + Sync,
{
    fn write(&self, event: E) -> Result<(), Refused<E>> {
        Sink::write(self, event).map_err(Refused::from)
    }

    fn write_ref(&self, event: &E) -> Result<(), Refused<()>> {
        Sink::write_ref(self, event).map_err(Refused::from)
    }

    fn flush(&self) -> Flushing {
        Sink::flush(self)
    }

    fn close(&self) -> Closing {
        Sink::close(self)
    }

    fn is_closed(&self) -> bool {
        Sink::is_closed(self)
    }
}
