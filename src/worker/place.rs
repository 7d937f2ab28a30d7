use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use super::deliver::Deliver;
use super::life::Life;
use super::pool::Workers;
use super::source::Source;
use super::thread::block_on;

/// The worker of a queue or a follower, as an [`Executor`](crate::Executor) gets it: a future that is ready when the worker has ended.
///
/// Dropped before that, polled or not, it ends: what was pending is spilled or dropped, what was in flight is lost, and
/// all of that is counted. A close that waits says so.
pub type WorkerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a worker is to run.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: Option<String>,
    runs: Runs,
}

/// Public for a sealed trait.
#[derive(Clone)]
pub enum Runs {
    OnTheGlobalPool,
    On(Workers),
    /// By what this hands it to.
    Spawned(Arc<dyn Fn(WorkerFuture) + Send + Sync>),
    /// On a thread of its own, with such a stack.
    Dedicated {
        stack_size: Option<usize>,
    },
}

impl Place {
    /// The global pool. With the feature `testing` and `OUTFLOW_TEST_DEDICATED=1` in the environment, a thread of its own: so
    /// that a test suite can be run on both.
    pub(crate) fn new() -> Self {
        #[cfg(feature = "testing")]
        if std::env::var_os("OUTFLOW_TEST_DEDICATED").is_some_and(|value| value == "1") {
            return Self { name: None, runs: Runs::Dedicated { stack_size: None } };
        }
        Self { name: None, runs: Runs::OnTheGlobalPool }
    }

    /// Not on a thread of its own.
    pub(crate) fn set(&mut self, runs: Runs) {
        self.runs = runs;
    }

    /// On a thread of its own.
    pub(crate) fn set_dedicated(&mut self) {
        if !matches!(self.runs, Runs::Dedicated { .. }) {
            self.runs = Runs::Dedicated { stack_size: None };
        }
    }

    /// On a thread of its own, with such a stack.
    pub(crate) fn set_stack_size(&mut self, bytes: usize) {
        self.runs = Runs::Dedicated { stack_size: Some(bytes) };
    }

    /// # Panics
    ///
    /// If the name is none for a thread.
    #[track_caller]
    pub(crate) fn check_name(&self) {
        let has_nul = self.name.as_ref().is_some_and(|name| name.contains('\0'));
        assert!(!has_nul, "the name of a thread must not have a NUL byte in it");
    }

    /// Starts a worker there.
    ///
    /// # Errors
    ///
    /// The system's, if there is no thread. The worker is dropped then, before it runs.
    pub(crate) fn start<S, D>(self, life: Life<S, D>) -> io::Result<()>
    where
        S: Source,
        D: Deliver<S::Item, Receipt = S::Receipt>,
    {
        let Self { name, runs } = self;
        let stack_size = match runs {
            Runs::OnTheGlobalPool => return Workers::global().spawn(life.run_once_polled(false)),
            Runs::On(workers) => return workers.spawn(life.run_once_polled(false)),
            Runs::Spawned(spawn) => {
                // Whatever becomes of the future: the worker ends when it is dropped.
                spawn(Box::pin(life.run(false)));
                return Ok(());
            }
            Runs::Dedicated { stack_size } => stack_size,
        };
        let mut thread = thread::Builder::new();
        if let Some(name) = name {
            thread = thread.name(name);
        }
        if let Some(stack_size) = stack_size {
            thread = thread.stack_size(stack_size);
        }
        thread.spawn(move || block_on(life.run(true))).map(drop)
    }

    pub(crate) fn fields(&self, f: &mut std::fmt::DebugStruct<'_, '_>) {
        f.field("name", &self.name).field("runs", &self.runs);
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnTheGlobalPool => f.write_str("OnTheGlobalPool"),
            Self::On(workers) => f.debug_tuple("On").field(workers).finish(),
            Self::Spawned(_) => f.write_str("Spawned(..)"),
            Self::Dedicated { stack_size } => {
                f.debug_struct("Dedicated").field("stack_size", stack_size).finish()
            }
        }
    }
}
