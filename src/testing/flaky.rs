use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};

/// A sink that fails by a script, or at random; what fails never reaches the sink that it wraps.
///
/// Writes are numbered from 0 in the order in which they begin, and what becomes of a write is settled by its
/// number alone: a test with one writer runs the same way every time.
///
/// # Examples
///
/// ```
/// use outflow::testing::{Flaky, FlakyError, Outcome::{Fail, Pass}};
/// use outflow::{Sink, sink};
///
/// let delivered = sink::collector();
/// let flaky = Flaky::script(delivered.clone(), [Pass, Fail]);
/// assert!(flaky.write(1).is_ok());
/// let refused = flaky.write(2).unwrap_err();
/// assert_eq!(refused.error(), Some(&FlakyError::Injected { write: 1 }));
/// assert!(flaky.write(3).is_ok()); // after its end a script lets everything pass
/// assert_eq!(delivered.events(), [1, 3]);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Flaky<S> {
    sink: S,
    plan: Plan,
    writes: AtomicU64,
}

/// What becomes of a write to a [`Flaky`].
///
/// # Examples
///
/// ```
/// use outflow::testing::{Flaky, Outcome};
/// use outflow::{Sink, sink};
///
/// let flaky = Flaky::cycle(sink::discard(), [Outcome::Pass, Outcome::Fail]);
/// let written: Vec<bool> = (0..4).map(|event| flaky.write(event).is_ok()).collect();
/// assert_eq!(written, [true, false, true, false]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to the sink.
    Pass,
    /// It fails.
    Fail,
}

#[derive(Debug)]
enum Plan {
    Script { outcomes: Box<[Outcome]>, repeats: bool },
    Random { probability: f64, seed: u64 },
}

/// Why a write to a [`Flaky`] failed.
///
/// # Examples
///
/// ```
/// use outflow::testing::{Flaky, FlakyError, Outcome::Pass};
/// use outflow::{Sink, sink};
///
/// let inner = sink::from_fn(|_: &u32| Err("full"));
/// let flaky = Flaky::script(inner, [Pass]);
/// assert_eq!(flaky.write(1).unwrap_err().error(), Some(&FlakyError::Sink("full")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlakyError<X> {
    /// It was to fail.
    #[error("write {write} was to fail")]
    Injected {
        /// The number of the write, counted from 0.
        write: u64,
    },
    /// The sink failed.
    #[error(transparent)]
    Sink(X),
}

impl<S> Flaky<S> {
    /// Does with each write what `outcomes` say, in their order, and then passes everything on.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Flaky, Outcome::{Fail, Pass}};
    /// use outflow::{Sink, sink};
    ///
    /// let flaky = Flaky::script(sink::discard(), [Pass, Fail]);
    /// let written: Vec<bool> = (0..4).map(|event| flaky.write(event).is_ok()).collect();
    /// assert_eq!(written, [true, false, true, true]);
    /// ```
    pub fn script<I>(sink: S, outcomes: I) -> Self
    where
        I: IntoIterator<Item = Outcome>,
    {
        Self::new(sink, Plan::Script { outcomes: outcomes.into_iter().collect(), repeats: false })
    }

    /// The same over and over.
    ///
    /// # Panics
    ///
    /// If there are no `outcomes`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Flaky, Outcome::{Fail, Pass}};
    /// use outflow::{Sink, sink};
    ///
    /// let flaky = Flaky::cycle(sink::discard(), [Fail, Pass]);
    /// let written: Vec<bool> = (0..4).map(|event| flaky.write(event).is_ok()).collect();
    /// assert_eq!(written, [false, true, false, true]);
    /// ```
    #[track_caller]
    pub fn cycle<I>(sink: S, outcomes: I) -> Self
    where
        I: IntoIterator<Item = Outcome>,
    {
        let outcomes: Box<[Outcome]> = outcomes.into_iter().collect();
        assert!(!outcomes.is_empty(), "a script of no outcomes cannot be repeated: give at least one");
        Self::new(sink, Plan::Script { outcomes, repeats: true })
    }

    /// Fails every write.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Flaky;
    /// use outflow::{Sink, sink};
    ///
    /// assert!(Flaky::always(sink::discard()).write("push").is_err());
    /// ```
    pub fn always(sink: S) -> Self {
        Self::cycle(sink, [Outcome::Fail])
    }

    /// Fails a write with this probability, the same ones for the same seed.
    ///
    /// # Panics
    ///
    /// If `probability` is not between 0 and 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Flaky;
    /// use outflow::{Sink, sink};
    ///
    /// let run = || {
    ///     let flaky = Flaky::at_random(sink::discard(), 0.3, 7);
    ///     (0..1000).map(|event| flaky.write(event).is_err()).collect::<Vec<bool>>()
    /// };
    /// let failed = run().into_iter().filter(|failed| *failed).count();
    /// assert!((200..400).contains(&failed));
    /// assert_eq!(run(), run());
    /// ```
    #[track_caller]
    pub fn at_random(sink: S, probability: f64, seed: u64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "a probability of {probability}: give one from 0 to 1");
        Self::new(sink, Plan::Random { probability, seed })
    }

    fn new(sink: S, plan: Plan) -> Self {
        Self { sink, plan, writes: AtomicU64::new(0) }
    }

    /// How many writes there were.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Flaky;
    /// use outflow::{Sink, SinkExt, retry::Constant, sink};
    ///
    /// let flaky = Flaky::always(sink::discard());
    /// let retry = (&flaky).retry(Constant::new(std::time::Duration::ZERO)).max_attempts(3);
    /// assert!(retry.write("push").is_err());
    /// assert_eq!(flaky.writes(), 3);
    /// ```
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// `Err` with the number of the write if it is to fail.
    fn next(&self) -> Result<(), u64> {
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        match self.plan.outcome(write) {
            Outcome::Pass => Ok(()),
            Outcome::Fail => Err(write),
        }
    }
}

impl Plan {
    fn outcome(&self, write: u64) -> Outcome {
        match self {
            Self::Script { outcomes, repeats } => {
                let len = outcomes.len() as u64;
                let at = if *repeats { write % len } else { write };
                // Beyond what a `usize` holds is beyond the end.
                let outcome = usize::try_from(at).ok().and_then(|at| outcomes.get(at));
                outcome.copied().unwrap_or(Outcome::Pass)
            }
            Self::Random { probability, seed } => {
                // A generator for each write, so that concurrent ones need no lock and no order. The increment
                // is that of SplitMix64.
                let seed = seed.wrapping_add(write.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                if fastrand::Rng::with_seed(seed).f64() < *probability {
                    Outcome::Fail
                } else {
                    Outcome::Pass
                }
            }
        }
    }
}

impl<E, S> Sink<E> for Flaky<S>
where
    S: Sink<E>,
{
    type Error = FlakyError<S::Error>;

    /// A closed sink refuses before the script is asked: a write that it refuses is none of the script's.
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(event));
        }
        match self.next() {
            Ok(()) => self.sink.write(event).map_err(|refused| refused.map_error(FlakyError::Sink)),
            Err(write) => Err(WriteError::failed(event, FlakyError::Injected { write })),
        }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(()));
        }
        match self.next() {
            Ok(()) => self.sink.write_ref(event).map_err(|refused| refused.map_error(FlakyError::Sink)),
            Err(write) => Err(WriteError::failed((), FlakyError::Injected { write })),
        }
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

impl<S: fmt::Debug> fmt::Debug for Flaky<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flaky")
            .field("sink", &self.sink)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}
