use std::io;
use std::thread;

use super::deliver::Deliver;
use super::life::Life;
use super::pool::Workers;
use super::source::Source;
use super::thread::block_on;

/// Where a worker is to run.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: Option<String>,
    stack_size: Option<usize>,
    /// `None` is a thread of its own.
    workers: Option<Workers>,
}

impl Place {
    /// A thread as [`std::thread::spawn`] makes it. With the feature `testing` and `OUTFLOW_TEST_POOL=1` in the environment,
    /// the global pool: so that a test suite can be run on both.
    pub(crate) fn new() -> Self {
        #[cfg(feature = "testing")]
        let pooled = std::env::var_os("OUTFLOW_TEST_POOL").is_some_and(|value| value == "1");
        #[cfg(not(feature = "testing"))]
        let pooled = false;
        Self { name: None, stack_size: None, workers: pooled.then(|| Workers::global().clone()) }
    }

    /// On a thread of its own, with such a stack.
    pub(crate) fn set_stack_size(&mut self, bytes: usize) {
        self.stack_size = Some(bytes);
        self.workers = None;
    }

    /// On a pool; without one, on a thread of its own.
    pub(crate) fn set_workers(&mut self, workers: Option<&Workers>) {
        self.workers = workers.cloned();
        if workers.is_some() {
            self.stack_size = None;
        }
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
        let Self { name, stack_size, workers } = self;
        if let Some(workers) = workers {
            return workers.spawn(async { life.run(false).await });
        }
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
        f.field("name", &self.name).field("stack_size", &self.stack_size).field("workers", &self.workers);
    }
}
