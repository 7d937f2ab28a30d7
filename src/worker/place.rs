use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use super::deliver::Deliver;
use super::life::{Life, WorkerFuture};
use super::pool::Workers;
use super::source::Source;
use super::thread::block_on;
use super::together::Together;

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
        match self.runs {
            // Whatever becomes of the future: the worker ends when it is dropped.
            Runs::Spawned(_) => self.start_future(life.run(false)),
            Runs::Dedicated { .. } => self.start_future(life.run_once_polled(true)),
            Runs::OnTheGlobalPool | Runs::On(_) => self.start_future(life.run_once_polled(false)),
        }
    }

    /// Starts several workers there as one future, with the first of them.
    ///
    /// # Errors
    ///
    /// As of [`start`](Self::start).
    pub(crate) fn start_together<S, D>(self, life: Life<S, D>, workers: Together) -> io::Result<()>
    where
        S: Source,
        D: Deliver<S::Item, Receipt = S::Receipt>,
    {
        workers.adds().add(match self.runs {
            Runs::Spawned(_) => Box::pin(life.run(false)),
            _ => Box::pin(life.run_once_polled(false)),
        });
        self.start_future(workers)
    }

    fn start_future(self, future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { name, runs } = self;
        let stack_size = match runs {
            Runs::OnTheGlobalPool => return Workers::global().spawn(future),
            Runs::On(workers) => return workers.spawn(future),
            Runs::Spawned(spawn) => {
                spawn(Box::pin(future));
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
        thread.spawn(move || block_on(future)).map(drop)
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
