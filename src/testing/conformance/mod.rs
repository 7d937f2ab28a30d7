mod checks;
mod downstream;
mod law;
mod subject;
mod trial;

pub use self::downstream::{AsyncDownstream, Downstream};
pub use self::law::{Law, Violation};
pub use self::subject::Subject;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::downstream::StampOf;
use super::probe::Census;
use super::{Probe, Stamp};
use crate::contract::{AsyncSink, Sink};

/// Checks that a sink keeps the [laws](Law), and names the first that it breaks.
///
/// You pass a closure that makes a fresh sink for each check. It is called with the [`Downstream`] to put at the end of
/// the chain, and returns the sink, or a [`Subject`], which also says where else events go. The checks:
///
/// - one thread writes, flushes, closes, writes after the close and closes again;
/// - several writers race with several closers, many times over, with an abort every third time;
/// - the sink is closed while a write is blocked downstream;
/// - the downstream closes by itself;
/// - the downstream calls the sink from within a write;
/// - the downstream panics.
///
/// After each, every event that was written is accounted for. A check that hangs is reported when its time limit is
/// over; its threads are left behind. The last three need some writes to reach the downstream, and write until enough
/// have. If too few do, the law could not be checked, and that is reported as a violation of it.
///
/// A pass is no proof: races do not show every interleaving. A law that a sink does not claim is left out by name, with
/// [`without`](Conformance::without).
///
/// # Examples
///
/// A combinator:
///
/// ```
/// use std::time::Duration;
/// use outflow::SinkExt;
/// use outflow::retry::Breaker;
/// use outflow::testing::{Conformance, Downstream, Flaky};
///
/// Conformance::new(|end: Downstream| {
///     Flaky::at_random(end, 0.3, 7).retry(Breaker::new(5, Duration::from_micros(10)))
/// })
/// .run()?;
/// # Ok::<(), outflow::testing::Violation>(())
/// ```
///
/// A sink of your own, which takes text, writes it elsewhere, and has a bug: it accepts writes after its close.
///
/// ```
/// use std::convert::Infallible;
/// use std::sync::{Arc, Mutex};
/// use outflow::testing::{Conformance, Law, Stamp, Subject};
/// use outflow::{Closing, Flushing, Sink, WriteError};
///
/// struct Log(Arc<Mutex<Vec<String>>>);
///
/// impl Sink<String> for Log {
///     type Error = Infallible;
///
///     fn write(&self, line: String) -> Result<(), WriteError<String, Infallible>> {
///         self.0.lock().unwrap().push(line);
///         Ok(())
///     }
///     fn flush(&self) -> Flushing { Flushing::done() }
///     fn close(&self) -> Closing { Closing::done() }
/// }
///
/// fn stamp(line: &String) -> Stamp {
///     let (writer, sequence) = line.split_once(' ').unwrap();
///     Stamp::new(writer.parse().unwrap(), sequence.parse().unwrap())
/// }
///
/// let violation = Conformance::of_events(
///     |stamp: Stamp| format!("{} {}", stamp.writer, stamp.sequence),
///     stamp,
///     |_| {
///         let lines = Arc::new(Mutex::new(Vec::new()));
///         let log = Log(Arc::clone(&lines));
///         Subject::new(log).delivered(move || lines.lock().unwrap().iter().map(stamp).collect())
///     },
/// )
/// .run()
/// .unwrap_err();
/// assert_eq!(violation.law, Law::ClosedRefuses);
/// ```
#[must_use = "nothing is checked until it is run"]
pub struct Conformance<E = Probe> {
    plan: Plan<E>,
}

struct Plan<E> {
    make: Box<dyn Fn(Downstream<E>) -> Subject<E> + Send + Sync>,
    event: EventOf<E>,
    stamp: StampOf<E>,
    is_copy: fn(&E) -> bool,
    laws: BTreeSet<Law>,
    writers: u64,
    events: u64,
    rounds: u32,
    limit: Duration,
}

type EventOf<E> = Box<dyn Fn(Stamp, &Census) -> E + Send + Sync>;

impl Conformance<Probe> {
    /// Checks the sinks that `make` returns, with [`Probe`]s as events. Defaults: every law, 4 writers of 60 events each,
    /// 30 races, 20 s for each check.
    pub fn new<F, S>(make: F) -> Self
    where
        F: Fn(Downstream) -> S + Send + Sync + 'static,
        S: Sink<Probe> + Send + Sync + 'static,
    {
        Self::of_subjects(move |end| Subject::new(make(end)))
    }

    /// As [`new`](Conformance::new), for asynchronous sinks, each of whose writes is polled by the thread that writes. See
    /// [`Subject::of_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::AsyncSinkExt;
    /// use outflow::retry::Breaker;
    /// use outflow::testing::{AsyncDownstream, Conformance, Flaky};
    ///
    /// Conformance::of_async(|end: AsyncDownstream| {
    ///     Flaky::at_random(end, 0.3, 7).retry(Breaker::new(5, Duration::from_micros(10)))
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn of_async<F, S>(make: F) -> Self
    where
        F: Fn(AsyncDownstream) -> S + Send + Sync + 'static,
        S: AsyncSink<Probe> + 'static,
    {
        Self::of_subjects(move |end| Subject::of_async(make(end.into_async())))
    }

    /// As [`new`](Conformance::new), for sinks whose events do not all go to the downstream: see [`Subject`].
    pub fn of_subjects<F>(make: F) -> Self
    where
        F: Fn(Downstream) -> Subject + Send + Sync + 'static,
    {
        Self::with(make, Box::new(Probe::new), Arc::new(Probe::stamp), Probe::is_copy)
    }
}

impl<E> Conformance<E>
where
    E: Clone + Send + 'static,
{
    /// Checks a sink of events of another type: `event` makes the event of a stamp, and `stamp` returns the stamp of an
    /// event. The type has an example.
    ///
    /// Only a [`Probe`] shows that an error hands back the event itself and not a copy, and that no event is leaked. So
    /// a sink that takes any event is better checked with [`new`](Conformance::new).
    pub fn of_events<G, K, F>(event: G, stamp: K, make: F) -> Self
    where
        G: Fn(Stamp) -> E + Send + Sync + 'static,
        K: Fn(&E) -> Stamp + Send + Sync + 'static,
        F: Fn(Downstream<E>) -> Subject<E> + Send + Sync + 'static,
    {
        Self::with(make, Box::new(move |stamp, _| event(stamp)), Arc::new(stamp), |_| false)
    }

    fn with<F>(make: F, event: EventOf<E>, stamp: StampOf<E>, is_copy: fn(&E) -> bool) -> Self
    where
        F: Fn(Downstream<E>) -> Subject<E> + Send + Sync + 'static,
    {
        Self {
            plan: Plan {
                make: Box::new(make),
                event,
                stamp,
                is_copy,
                laws: Law::ALL.into(),
                writers: 4,
                events: 60,
                rounds: 30,
                limit: Duration::from_secs(20),
            },
        }
    }

    /// Checks only these laws.
    pub fn laws<I>(mut self, laws: I) -> Self
    where
        I: IntoIterator<Item = Law>,
    {
        self.plan.laws = laws.into_iter().collect();
        self
    }

    /// Leaves out laws that the sink does not claim to keep, such as law 2 for [`keep_open`](crate::SinkExt::keep_open).
    pub fn without<I>(mut self, laws: I) -> Self
    where
        I: IntoIterator<Item = Law>,
    {
        for law in laws {
            self.plan.laws.remove(&law);
        }
        self
    }

    /// How many threads write at the same time.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn writers(mut self, writers: u64) -> Self {
        assert!(writers > 0, "a check without writers would find nothing: give at least 1");
        self.plan.writers = writers;
        self
    }

    /// How many events each thread writes.
    ///
    /// # Panics
    ///
    /// If it is less than 8, which some checks need.
    #[track_caller]
    pub fn events(mut self, events: u64) -> Self {
        assert!(events >= 8, "{events} events are too few to check with: give at least 8");
        self.plan.events = events;
        self
    }

    /// How many times writers race with closers, each time over a new sink. Every third race has an abort in it.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn rounds(mut self, rounds: u32) -> Self {
        assert!(rounds > 0, "a check without races would find little: give at least 1");
        self.plan.rounds = rounds;
        self
    }

    /// How long each check, and each race, may take. One that takes longer is reported as hanging.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.plan.limit = limit;
        self
    }

    /// Runs the checks. Blocks until they have ended.
    ///
    /// # Errors
    ///
    /// The first law that is found broken.
    ///
    /// # Panics
    ///
    /// If the closure that makes the sinks does.
    pub fn run(self) -> Result<(), Violation> {
        checks::run(&Arc::new(self.plan))
    }

    /// Runs the checks, and panics if one fails: for a test.
    ///
    /// # Panics
    ///
    /// With the message of the [`Violation`], or if the closure that makes the sinks does.
    #[track_caller]
    pub fn assert(self) {
        if let Err(violation) = self.run() {
            panic!("the sink {violation}");
        }
    }
}

impl<E> fmt::Debug for Conformance<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance")
            .field("laws", &self.plan.laws)
            .field("writers", &self.plan.writers)
            .field("events", &self.plan.events)
            .field("rounds", &self.plan.rounds)
            .field("limit", &self.plan.limit)
            .finish_non_exhaustive()
    }
}
