use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// A sink that fails by a script, or at random. A write that fails does not reach the sink that it wraps.
///
/// Writes are numbered from 0 in the order in which they begin. Whether a write fails depends on its number
/// alone, so that a test with one writer runs the same way every time.
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
/// assert!(flaky.write(3).is_ok()); // When the script is used up, every write passes.
/// assert_eq!(delivered.events(), [1, 3]);
/// assert_eq!(flaky.writes(), 3);
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct Flaky<S> {
    sink: S,
    plan: Plan,
    writes: AtomicU64,
}

/// Whether a write to a [`Flaky`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write goes on to the sink.
    Pass,
    /// The write fails with [`FlakyError::Injected`].
    Fail,
}

#[derive(Debug)]
enum Plan {
    Script { outcomes: Box<[Outcome]>, repeats: bool },
    Random { probability: f64, seed: u64 },
}

/// Why a write to a [`Flaky`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlakyError<X> {
    /// The script, or chance, made it fail.
    #[error("planned failure of write {write}")]
    Injected {
        /// The number of the write, counted from 0.
        write: u64,
    },
    /// The wrapped sink failed.
    #[error(transparent)]
    Sink(X),
}

impl<S> Flaky<S> {
    /// Passes or fails each write as `outcomes` say, in order. When they are used up, every write passes.
    pub fn script<I>(sink: S, outcomes: I) -> Self
    where
        I: IntoIterator<Item = Outcome>,
    {
        Self::new(sink, Plan::Script { outcomes: outcomes.into_iter().collect(), repeats: false })
    }

    /// As [`script`](Flaky::script), but begins again with the first outcome when they are used up.
    ///
    /// # Panics
    ///
    /// If there are no `outcomes`.
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
    pub fn always(sink: S) -> Self {
        Self::cycle(sink, [Outcome::Fail])
    }

    /// Fails each write with this probability. The same seed fails the same writes.
    ///
    /// # Panics
    ///
    /// If `probability` is not between 0 and 1.
    #[track_caller]
    pub fn at_random(sink: S, probability: f64, seed: u64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "a probability of {probability}: give one from 0 to 1");
        Self::new(sink, Plan::Random { probability, seed })
    }

    fn new(sink: S, plan: Plan) -> Self {
        Self { sink, plan, writes: AtomicU64::new(0) }
    }

    /// How many writes there were, failed ones included. Those that the closed sink refused do not count.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Counts a write. `Err`, with its number, if it is to fail.
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
                // What does not fit in a `usize` is beyond the end of any script.
                let outcome = usize::try_from(at).ok().and_then(|at| outcomes.get(at));
                outcome.copied().unwrap_or(Outcome::Pass)
            }
            Self::Random { probability, seed } => {
                // A generator for each write: concurrent writes need no lock, and their order does not matter.
                // The increment is SplitMix64's.
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

    /// A write that the closed sink refuses is not counted, and uses up no outcome of the script.
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

    delegate!(sink: flush, close, is_closed, wants);
}

impl<E, S> AsyncSink<E> for Flaky<S>
where
    E: Send,
    S: AsyncSink<E>,
{
    type Error = FlakyError<S::Error>;

    /// As that of the `Sink`.
    async fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
        if self.sink.is_closed() {
            return Err(WriteError::Closed(event));
        }
        match self.next() {
            Ok(()) => self.sink.write(event).await.map_err(|refused| refused.map_error(FlakyError::Sink)),
            Err(write) => Err(WriteError::failed(event, FlakyError::Injected { write })),
        }
    }

    delegate!(sink: flush, close, is_closed, wants);
}

impl<S: fmt::Debug> fmt::Debug for Flaky<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flaky")
            .field("sink", &self.sink)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}
