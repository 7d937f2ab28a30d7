use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::threads::{Owner, Settings};

/// The threads that workers of queues run on, as tasks. Cheap to clone; clones share.
///
/// There are as many threads as cores, started as they are needed. A task that blocks holds up no other one:
///
/// - a wait of this crate, such as the backoff of a retry, room in a bounded buffer or the wait on a
///   [`Closing`](crate::Closing), has another thread take over at once if a task is runnable, or as soon as one is;
/// - code of yours that blocks is noticed within 2 ms when tasks wait behind it, and threads are added, twice as many each
///   time, until a task begins again in every millisecond.
///
/// Threads that are not needed any more end after some time ([`keep_alive`](WorkersBuilder::keep_alive)). Nothing wakes up
/// in a pool that has nothing to do.
///
/// A pool that is dropped lets its tasks finish: its threads end when the last one has. What nothing can wake any more is
/// dropped.
///
/// # Limits
///
/// - How many threads there are is bounded by [`max_threads`](WorkersBuilder::max_threads) alone, and by the system. If no
///   thread can be added, those that there are go on.
/// - On targets without threads nothing is promised: a thread cannot be started, and that is the answer.
/// - In the child of a fork no thread of a pool exists, so what runs on one there never moves. Fork first, or execute
///   another program.
#[derive(Clone)]
pub struct Workers {
    owner: Arc<Owner>,
}

impl Workers {
    /// The pool of this process, with the settings of [`builder`](Self::builder). It starts its first thread when a task
    /// is put on it, and never ends.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Workers> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::builder().build())
    }

    /// A pool of your own: as many threads as cores, no bound on those that are added when some block, and 10 s until those
    /// end.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::Workers;
    ///
    /// let workers = Workers::builder().threads(2).keep_alive(Duration::from_secs(1)).name("webhooks").build();
    /// assert_eq!(workers.stats().threads, 0); // they start as they are needed
    /// ```
    pub fn builder() -> WorkersBuilder {
        WorkersBuilder {
            threads: None,
            max_threads: usize::MAX,
            keep_alive: Duration::from_secs(10),
            name: "outflow".to_owned(),
            #[cfg(test)]
            start_fails: |_, _| false,
        }
    }

    /// What the pool does at the moment. The figures are read one after another.
    pub fn stats(&self) -> WorkersStats {
        let pool = self.owner.pool();
        WorkersStats { threads: pool.threads(), runnable: pool.runnable(), waiting: pool.waiting() }
    }

    /// Polls `future` on this pool until it is ready or panics, which ends it alone.
    ///
    /// # Errors
    ///
    /// If the pool has no thread and none can be started. The future is dropped.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        self.owner.spawn(future)
    }

    #[cfg(test)]
    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What [`Workers`] do at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkersStats {
    /// Threads, those that wait or are idle included; without the one that watches them.
    pub threads: usize,
    /// Tasks that have something to do and wait for a thread.
    pub runnable: usize,
    /// Threads that are in a wait of this crate, such as a backoff, and for which another may take over.
    pub waiting: usize,
}

/// Settings of [`Workers`]. Made by [`Workers::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct WorkersBuilder {
    threads: Option<usize>,
    max_threads: usize,
    keep_alive: Duration,
    name: String,
    #[cfg(test)]
    pub(super) start_fails: fn(&str, usize) -> bool,
}

impl WorkersBuilder {
    /// How many threads run tasks if none of them blocks: as many as there are cores, unless this says otherwise, and no
    /// more than [`max_threads`](Self::max_threads).
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a pool of 0 threads would run nothing: allow at least 1");
        self.threads = Some(threads);
        self
    }

    /// Never more threads than this. There is no bound by default, since a bound is a deadlock for somebody: if that many
    /// tasks wait for what another task is to do, it is never done.
    ///
    /// # Panics
    ///
    /// If it is 0. [`build`](Self::build) panics if it is below [`threads`](Self::threads).
    #[track_caller]
    pub fn max_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "a pool of at most 0 threads would run nothing: allow at least 1");
        self.max_threads = threads;
        self
    }

    /// After which idle time a thread ends, if as many as [`threads`](Self::threads) are idle besides: 10 s by default.
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// The name of the threads: `outflow` by default. The thread that watches them has `-watcher` behind it.
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte in it.
    #[track_caller]
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.name = name.into();
        assert!(
            !self.name.contains('\0'),
            "the name of a thread cannot have a NUL byte in it: {:?}",
            self.name
        );
        self
    }

    /// The pool. No thread is started yet.
    ///
    /// # Panics
    ///
    /// If [`max_threads`](Self::max_threads) is below [`threads`](Self::threads).
    #[track_caller]
    pub fn build(self) -> Workers {
        let threads = self.threads.unwrap_or_else(|| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            cores.min(self.max_threads)
        });
        assert!(
            threads <= self.max_threads,
            "a pool of {threads} threads cannot have at most {}: allow at least {threads}",
            self.max_threads,
        );
        let settings = Settings {
            threads,
            max_threads: self.max_threads,
            keep_alive: self.keep_alive,
            name: self.name,
            #[cfg(test)]
            start_fails: self.start_fails,
        };
        Workers { owner: Arc::new(Owner::new(settings)) }
    }
}
