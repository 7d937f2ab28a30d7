mod checks;
mod downstream;
mod law;
mod subject;
mod trial;

pub use self::downstream::Downstream;
pub use self::law::{Law, Violation};
pub use self::subject::Subject;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::downstream::StampOf;
use super::probe::Census;
use super::{Probe, Stamp};
use crate::contract::Sink;

/// Checks that a sink keeps the laws, and names the one that it breaks.
///
/// It is given a maker of fresh sinks, which is handed the [`Downstream`] to put at the end, and answers the
/// sink, or a [`Subject`], which also says how to read what else becomes of an event. Then it
///
/// - writes by itself, flushes, closes, writes after the close and closes again;
/// - races several writers with several closers, many times over, and with an abort every third time;
/// - closes while a write is held up downstream;
/// - lets the downstream close by itself;
/// - calls the sink from within the downstream;
/// - has the downstream panic;
///
/// and after each accounts for every event that it wrote. What hangs is ended by a time limit and reported;
/// its threads stay behind. The last three write until the downstream has done what it is to do: if too few
/// writes come to it for that, the law could not be checked, and that is reported as a violation of it.
///
/// A race shows what it shows: that a sink passes is no proof. What a check cannot see by its nature a
/// [`Subject`] may have to tell it, and a law that a sink does not claim is left out by name:
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
/// A sink of one's own, that takes text, writes it elsewhere, and forgot to look whether it is closed:
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
    /// Checks the sinks that `make` makes, with [`Probe`]s: every law, 4 writers of 60 events each, 30 races,
    /// 20 s for each check.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.queued()).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn new<F, S>(make: F) -> Self
    where
        F: Fn(Downstream) -> S + Send + Sync + 'static,
        S: Sink<Probe> + Send + Sync + 'static,
    {
        Self::of_subjects(move |end| Subject::new(make(end)))
    }

    /// The same for sinks of which there is more to tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Subject};
    /// use outflow::{Buffer, SinkExt};
    ///
    /// Conformance::of_subjects(|end: Downstream| {
    ///     let queue = end.queued_with(Buffer::bounded(4).drop_newest());
    ///     let stats = queue.clone();
    ///     Subject::new(queue).counted(move || stats.stats().dropped + stats.stats().lost)
    /// })
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
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
    /// Checks a sink of another event: `event` makes the one of a stamp, and `stamp` tells whose it is.
    ///
    /// That an error hands back the event itself and not a copy, and that none is leaked, only a [`Probe`] can
    /// show: a sink that takes any event is better checked with [`new`](Conformance::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Conformance, Downstream, Stamp, Subject};
    ///
    /// // Events of one's own; what is under test may ask more of them than a probe has.
    /// Conformance::of_events(
    ///     |stamp: Stamp| (stamp.writer, stamp.sequence),
    ///     |event| Stamp::new(event.0, event.1),
    ///     |end: Downstream<(u64, u64)>| Subject::new(end),
    /// )
    /// .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
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

    /// Checks these laws and no others.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream, Law};
    ///
    /// let shared = |end: Downstream| end.keep_open();
    /// assert!(Conformance::new(shared).laws([Law::HandedBack, Law::InOrder]).run().is_ok());
    /// assert!(Conformance::new(shared).laws([Law::ClosedRefuses]).run().is_err());
    /// ```
    pub fn laws<I>(mut self, laws: I) -> Self
    where
        I: IntoIterator<Item = Law>,
    {
        self.plan.laws = laws.into_iter().collect();
        self
    }

    /// Leaves out what the sink does not claim.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream, Law};
    ///
    /// Conformance::new(|end: Downstream| end.keep_open())
    ///     .without([Law::ClosedRefuses, Law::ClosesDownstream])
    ///     .run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn without<I>(mut self, laws: I) -> Self
    where
        I: IntoIterator<Item = Law>,
    {
        for law in laws {
            self.plan.laws.remove(&law);
        }
        self
    }

    /// How many threads write at once.
    ///
    /// # Panics
    ///
    /// If it is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.queued()).writers(2).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    #[track_caller]
    pub fn writers(mut self, writers: u64) -> Self {
        assert!(writers > 0, "a check without writers would find nothing: give at least 1");
        self.plan.writers = writers;
        self
    }

    /// How many events each writes.
    ///
    /// # Panics
    ///
    /// If they are fewer than 8, which some checks need.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.queued()).events(20).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    #[track_caller]
    pub fn events(mut self, events: u64) -> Self {
        assert!(events >= 8, "{events} events are too few to check with: give at least 8");
        self.plan.events = events;
        self
    }

    /// How many times writers race with closers; a sink is made for each. Every third race, from the third on, has
    /// an abort in it.
    ///
    /// # Panics
    ///
    /// If it is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.queued()).rounds(100).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    #[track_caller]
    pub fn rounds(mut self, rounds: u32) -> Self {
        assert!(rounds > 0, "a check without races would find little: give at least 1");
        self.plan.rounds = rounds;
        self
    }

    /// How long each check, and each race, may take: what is not through by then hangs.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.queued()).limit(std::time::Duration::from_secs(60)).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn limit(mut self, limit: Duration) -> Self {
        self.plan.limit = limit;
        self
    }

    /// Checks.
    ///
    /// # Errors
    ///
    /// The first law that is found broken.
    ///
    /// # Panics
    ///
    /// If the maker does.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.inspect(|_| {})).run()?;
    /// # Ok::<(), outflow::testing::Violation>(())
    /// ```
    pub fn run(self) -> Result<(), Violation> {
        checks::run(&Arc::new(self.plan))
    }

    /// Checks, and panics with the law that is found broken.
    ///
    /// # Panics
    ///
    /// With a [`Violation`]'s message; and if the maker does.
    ///
    /// # Examples
    ///
    /// ```should_panic
    /// use outflow::SinkExt;
    /// use outflow::testing::{Conformance, Downstream};
    ///
    /// Conformance::new(|end: Downstream| end.keep_open()).assert(); // breaks law 2
    /// ```
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
