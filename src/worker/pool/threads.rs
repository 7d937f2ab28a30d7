//! The threads of a pool: how they find tasks, sleep, wait and end. See [the module](super) for the argument.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::task::{Schedule, Task};
use super::watcher::{Watched, Watcher};
use crate::sync::blocking::{Waits, announce_waits_to};
use crate::sync::caught::drop_caught;

/// How often a thread that finds nothing looks again before it yields, and then sleeps; and the spins between two looks:
/// some 20 µs in all. The looks are closer than a reader's of a channel (`sync::spin`), which spins 10 µs from one to the
/// next: a task would wait that long. Nothing is pushed for a task that is awake, so looks get in few writers' way.
const LOOKS: usize = 64;
const SPINS: usize = 8;
const YIELDS: usize = 4;

/// How a pool is to be.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How many threads are in use at once if none of them blocks, and how many sleep on without an end.
    pub(super) threads: usize,
    pub(super) max_threads: usize,
    pub(super) keep_alive: Duration,
    pub(super) name: String,
    /// Whether the start of the thread of this name, the n-th of all from 0, is to fail.
    #[cfg(test)]
    pub(super) start_fails: fn(&str, usize) -> bool,
}

/// What the threads of a pool share. They and the watcher hold it; handles and tasks hold an [`Owner`].
pub(super) struct Pool {
    settings: Settings,
    /// The run queue. It is never waited on: threads sleep on a list of their own, so that the newest sleeper is woken
    /// first, and none while another is awake and looking.
    push: Sender<Arc<Task<Owner>>>,
    queue: Receiver<Arc<Task<Owner>>>,
    /// Threads that are awake and looking for a task, or about to be.
    searching: AtomicUsize,
    /// Threads that are in a wait that they announced.
    waiting: AtomicUsize,
    /// How many polls have begun.
    begun: AtomicUsize,
    /// How many threads there are. Changed under the lock.
    started: AtomicUsize,
    /// How many threads may be in no announced wait before it takes the watcher to add one. Changed under the lock.
    allowed: AtomicUsize,
    /// How many are in `sleepers`. Changed under the lock.
    asleep: AtomicUsize,
    sleepers: Mutex<Sleepers>,
    watcher: Watcher,
    #[cfg(test)]
    attempts: AtomicUsize,
}

#[derive(Default)]
struct Sleepers {
    /// The newest last.
    stack: Vec<Arc<Sleeper>>,
    /// Whether the last owner is gone.
    is_shut: bool,
}

struct Sleeper {
    thread: Thread,
    woken: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// What keeps a pool going: shared by its handles and its tasks. The threads end when the last of them is dropped.
pub(super) struct Owner(Arc<Pool>);

impl Owner {
    pub(super) fn new(settings: Settings) -> Self {
        let (push, queue) = crossbeam_channel::unbounded();
        Self(Arc::new(Pool {
            push,
            queue,
            searching: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            allowed: AtomicUsize::new(settings.threads),
            asleep: AtomicUsize::new(0),
            sleepers: Mutex::default(),
            watcher: Watcher::default(),
            #[cfg(test)]
            attempts: AtomicUsize::new(0),
            settings,
        }))
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0
    }

    /// An error if there is no thread and none can be started.
    pub(super) fn spawn(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        if let Err(error) = self.0.start_first() {
            drop_caught(future);
            return Err(error);
        }
        Task::new(future, Arc::clone(self)).wake();
        Ok(())
    }
}

impl Schedule for Owner {
    fn schedule(&self, task: &Arc<Task<Self>>) {
        self.0.push(Arc::clone(task));
        fence(Ordering::SeqCst);
        if self.0.searching.load(Ordering::SeqCst) == 0 {
            self.0.find_thread();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut();
    }
}

// What runs on a thread of the pool.
impl Pool {
    fn work(self: &Arc<Self>) {
        let me = Arc::new(Sleeper { thread: thread::current(), woken: AtomicBool::new(false) });
        // It counts as searching from before it was started.
        while let Some(mut task) = self.search(&me) {
            loop {
                self.begun.fetch_add(1, Ordering::Relaxed);
                let again = task.run();
                if again.is_none() {
                    if let Some(next) = self.take() {
                        task = next;
                        continue;
                    }
                }
                self.searching.fetch_add(1, Ordering::SeqCst);
                // After that: this thread takes it, or what is before it, and then looks who takes the next.
                again.into_iter().for_each(|task| self.push(task));
                break;
            }
        }
    }

    /// The next task. This thread counts as searching until it has one; without one it ends.
    fn search(self: &Arc<Self>, me: &Arc<Sleeper>) -> Option<Arc<Task<Owner>>> {
        loop {
            if let Some(task) = self.take() {
                self.end_search();
                return Some(task);
            }
            // One that spins is enough.
            let alone = self.searching.load(Ordering::Relaxed) == 1;
            if alone && self.spin() {
                continue;
            }
            if !self.sleep(me) {
                return None;
            }
        }
    }

    /// Whether there was something to do before it is worth sleeping.
    fn spin(&self) -> bool {
        let has_come = || !self.queue.is_empty();
        (0..LOOKS).any(|_| {
            (0..SPINS).for_each(|_| std::hint::spin_loop());
            has_come()
        }) || (0..YIELDS).any(|_| {
            thread::yield_now();
            has_come()
        })
    }

    /// The last thread that ends its search without a sleep has to see to what was pushed meanwhile.
    pub(super) fn end_search(self: &Arc<Self>) {
        if self.searching.fetch_sub(1, Ordering::SeqCst) == 1 {
            fence(Ordering::SeqCst);
            if !self.queue.is_empty() {
                self.find_thread();
            }
        }
    }

    /// Sleeps until there may be something to do, and counts as searching again then. False: this thread is to end.
    fn sleep(self: &Arc<Self>, me: &Arc<Sleeper>) -> bool {
        let mut sleepers = self.sleepers.lock();
        if sleepers.is_shut {
            self.searching.fetch_sub(1, Ordering::SeqCst);
            self.started.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        me.woken.store(false, Ordering::Relaxed);
        sleepers.stack.push(Arc::clone(me));
        self.asleep.store(sleepers.stack.len(), Ordering::SeqCst);
        let mut is_extra = sleepers.stack.len() > self.settings.threads;
        drop(sleepers);

        self.searching.fetch_sub(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() {
            let mut sleepers = self.sleepers.lock();
            if self.remove(&mut sleepers, me) {
                self.searching.fetch_add(1, Ordering::SeqCst);
            }
            // Otherwise it was woken just now, and is counted.
            return true;
        }

        let until = is_extra.then(|| Instant::now().checked_add(self.settings.keep_alive)).flatten();
        while !me.woken.load(Ordering::Acquire) {
            let Some(until) = until.filter(|_| is_extra) else {
                thread::park();
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::park_timeout(left);
                continue;
            }
            let mut sleepers = self.sleepers.lock();
            is_extra = sleepers.stack.len() > self.settings.threads;
            if is_extra && self.remove(&mut sleepers, me) {
                self.ended(sleepers);
                return false;
            }
        }
        true
    }

    /// Whether it was asleep still.
    fn remove(&self, sleepers: &mut Sleepers, me: &Arc<Sleeper>) -> bool {
        let Some(at) = sleepers.stack.iter().rposition(|other| Arc::ptr_eq(other, me)) else {
            return false;
        };
        sleepers.stack.remove(at);
        self.asleep.store(sleepers.stack.len(), Ordering::SeqCst);
        true
    }

    /// One thread fewer, which was asleep.
    fn ended(self: &Arc<Self>, sleepers: impl Sized) {
        self.started.fetch_sub(1, Ordering::SeqCst);
        let allowed = self.allowed.load(Ordering::Relaxed);
        self.allowed.store(self.settings.threads.max(allowed - 1), Ordering::SeqCst);
        drop(sleepers);
        // It may have been the one that a push found asleep, or there may be room for another now.
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() && self.searching.load(Ordering::SeqCst) == 0 {
            self.find_thread();
        }
    }
}

// What runs on any thread.
impl Pool {
    fn push(&self, task: Arc<Task<Owner>>) {
        // The receiver is beside it.
        let _ = self.push.send(task);
    }

    fn take(&self) -> Option<Arc<Task<Owner>>> {
        self.queue.try_recv().ok()
    }

    /// Wakes a thread or starts one; if neither can be, has the watcher look.
    #[cold]
    fn find_thread(self: &Arc<Self>) {
        if self.asleep.load(Ordering::SeqCst) > 0 || self.has_room() {
            let mut sleepers = self.sleepers.lock();
            // Another may have found one meanwhile: so that a burst wakes one thread, and that one the next.
            if sleepers.is_shut || self.searching.load(Ordering::SeqCst) > 0 {
                return;
            }
            if let Some(sleeper) = sleepers.stack.pop() {
                self.asleep.store(sleepers.stack.len(), Ordering::SeqCst);
                self.searching.fetch_add(1, Ordering::SeqCst);
                // Under the lock: the sleeper may see that it is off the stack, run a task and sleep again, and a
                // `woken` that came only then would end that sleep, which counts for nothing.
                sleeper.woken.store(true, Ordering::Release);
                drop(sleepers);
                sleeper.thread.unpark();
                return;
            }
            if self.has_room() && self.start_thread().is_ok() {
                return;
            }
        }
        if !self.is_full() {
            self.watcher.wake(|| {
                let pool = Arc::clone(self);
                let name = format!("{}-watcher", self.settings.name);
                self.start(name, move || pool.watcher.run(&pool, pool.settings.threads))
            });
        }
    }

    fn is_full(&self) -> bool {
        self.started.load(Ordering::SeqCst) >= self.settings.max_threads
    }

    /// Whether a thread may be added, even if those that there are move on.
    fn has_room(&self) -> bool {
        let waiting = self.waiting.load(Ordering::SeqCst);
        let active = self.started.load(Ordering::SeqCst).saturating_sub(waiting);
        active < self.allowed.load(Ordering::SeqCst) && !self.is_full()
    }

    /// Starts a thread if there is none.
    fn start_first(self: &Arc<Self>) -> io::Result<()> {
        if self.started.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        // Under the lock, so that another caller does not count on a thread that does not come.
        let _sleepers = self.sleepers.lock();
        if self.started.load(Ordering::SeqCst) > 0 { Ok(()) } else { self.start_thread() }
    }

    /// To be called under the lock.
    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        self.searching.fetch_add(1, Ordering::SeqCst);
        let pool = Arc::clone(self);
        let started = self.start(self.settings.name.clone(), move || {
            announce_waits_to(Arc::new(Arc::clone(&pool)));
            pool.work();
        });
        match started {
            Ok(_) => _ = self.started.fetch_add(1, Ordering::SeqCst),
            Err(_) => _ = self.searching.fetch_sub(1, Ordering::SeqCst),
        }
        started.map(drop)
    }

    fn start(&self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        #[cfg(test)]
        if (self.settings.start_fails)(&name, self.attempts.fetch_add(1, Ordering::SeqCst)) {
            return Err(io::Error::other("no more threads"));
        }
        Ok(thread::Builder::new().name(name).spawn(run)?.thread().clone())
    }

    fn shut(&self) {
        let mut sleepers = self.sleepers.lock();
        sleepers.is_shut = true;
        let stack = std::mem::take(&mut sleepers.stack);
        self.asleep.store(0, Ordering::SeqCst);
        self.searching.fetch_add(stack.len(), Ordering::SeqCst);
        drop(sleepers);
        stack.iter().for_each(|sleeper| sleeper.wake());
        self.watcher.stop();
    }

    #[cfg(test)]
    pub(super) fn asleep_and_searching(&self) -> (usize, usize) {
        (self.asleep.load(Ordering::SeqCst), self.searching.load(Ordering::SeqCst))
    }

    #[cfg(test)]
    pub(super) fn begin_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn threads(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(super) fn runnable(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Watched for Arc<Pool> {
    fn is_worth_watching(&self) -> bool {
        !self.queue.is_empty() && !self.is_full()
    }

    fn moves(&self) -> Option<usize> {
        (self.searching.load(Ordering::SeqCst) == 0).then(|| self.begun.load(Ordering::Relaxed))
    }

    fn add_threads(&self, threads: usize) -> io::Result<()> {
        for _ in 0..threads.min(self.queue.len()) {
            let sleepers = self.sleepers.lock();
            if sleepers.is_shut || self.queue.is_empty() || self.is_full() {
                break;
            }
            let has_room = self.has_room();
            self.start_thread()?;
            if !has_room {
                self.allowed.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

impl Waits for Arc<Pool> {
    fn begin_wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // A push looks at `waiting` after it, this at the queue after `waiting`: one of them sees the other.
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() && self.searching.load(Ordering::SeqCst) == 0 {
            self.find_thread();
        }
    }

    fn end_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
