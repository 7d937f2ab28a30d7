//! Readers that sleep, and how they are woken.
//!
//! # Why no wake-up is lost, and why a write pays nothing when nobody sleeps
//!
//! A reader that found nothing registers under the log's lock, where it looks once more: `sleepers` counts
//! up, and it takes the number of the current generation. A write, which holds that lock to append, sees the
//! count, begins a new generation and sets the count back; a plain number under a lock that it holds anyway.
//! It raises the generation when it has let go of the lock. So a reader either sees the event or is seen by
//! the write. It sleeps until its generation is over, wherever between registering and sleeping that happens.
//!
//! One write wakes everybody who sleeps, once; the next ones find nobody asleep. The lock that sleepers wait
//! with is not the log's: `parking_lot` lets them pass it one after the other, and no writer waits for them.
//!
//! A task that reads sleeps no otherwise: it leaves its waker, then registers, once a generation, and looks once
//! more under the lock. Who ends the generation has the tasks that registered in it, and wakes them.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

#[cfg(feature = "futures")]
use super::stream::Task;

#[derive(Default)]
pub(super) struct Wake {
    /// Those who went to sleep in a generation up to this one may go on.
    over: Mutex<u64>,
    changed: Condvar,
}

/// Who sleeps: kept under the log's lock.
#[derive(Default)]
pub(super) struct Sleepers {
    count: usize,
    generation: u64,
    /// Those of them that are no threads.
    #[cfg(feature = "futures")]
    tasks: Vec<std::sync::Arc<Task>>,
    /// How many of these nobody reads for any more.
    #[cfg(feature = "futures")]
    gone: usize,
}

/// A generation that is over, to be [raised](Wake::raise) without the lock.
#[must_use]
pub(super) struct Over {
    generation: u64,
    #[cfg(feature = "futures")]
    tasks: Vec<std::sync::Arc<Task>>,
}

impl Sleepers {
    /// Registers one; answers its generation.
    pub(super) fn add(&mut self) -> u64 {
        self.count += 1;
        self.generation
    }

    /// Registers a task, unless it is in this generation.
    #[cfg(feature = "futures")]
    pub(super) fn add_task(&mut self, task: &std::sync::Arc<Task>) {
        if task.enter(self.generation) {
            self.count += 1;
            self.tasks.push(std::sync::Arc::clone(task));
        }
    }

    /// Takes back one whose cursor is gone. Half of the tasks are gone before they are looked through, so that cursors
    /// that come and go while nobody writes leave little behind, and each pays for one.
    #[cfg(feature = "futures")]
    pub(super) fn remove_task(&mut self, task: std::sync::Arc<Task>) {
        if !task.is_in(self.generation) {
            return;
        }
        drop(task);
        self.gone += 1;
        if 2 * self.gone > self.tasks.len() {
            let before = self.tasks.len();
            // Only the cursor has another.
            self.tasks.retain(|task| std::sync::Arc::strong_count(task) > 1);
            self.count -= before - self.tasks.len();
            self.gone = 0;
        }
    }

    /// Takes back one whose time was up, unless it was woken meanwhile.
    pub(super) fn remove(&mut self, generation: u64) {
        if self.generation == generation {
            self.count -= 1;
        }
    }

    /// Ends the generation, if anybody sleeps in it.
    #[inline]
    pub(super) fn end(&mut self) -> Option<Over> {
        if self.count == 0 {
            return None;
        }
        self.count = 0;
        self.generation += 1;
        #[cfg(feature = "futures")]
        {
            self.gone = 0;
        }
        Some(Over {
            generation: self.generation,
            #[cfg(feature = "futures")]
            tasks: std::mem::take(&mut self.tasks),
        })
    }
}

impl Wake {
    #[cold]
    pub(super) fn raise(&self, ended: Over) {
        let mut over = self.over.lock();
        *over = ended.generation.max(*over);
        drop(over);
        self.changed.notify_all();
        #[cfg(feature = "futures")]
        ended.tasks.iter().for_each(|task| task.wake());
    }

    /// Sleeps until `generation` is over; `false` if `deadline` was before.
    pub(super) fn sleep(&self, generation: u64, deadline: Option<Instant>) -> bool {
        let mut over = self.over.lock();
        while *over <= generation {
            match deadline {
                None => self.changed.wait(&mut over),
                Some(deadline) => {
                    if self.changed.wait_until(&mut over, deadline).timed_out() {
                        return *over > generation;
                    }
                }
            }
        }
        true
    }
}

#[cfg(all(test, feature = "futures"))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn tasks_that_come_and_go_while_nobody_writes_leave_little_behind() {
        let mut sleepers = Sleepers::default();
        let stays: Vec<Arc<Task>> = (0..10).map(|_| Arc::default()).collect();
        stays.iter().for_each(|task| sleepers.add_task(task));
        for _ in 0..1000 {
            let goes = Arc::default();
            sleepers.add_task(&goes);
            sleepers.add_task(&goes);
            sleepers.remove_task(goes);
            assert!(sleepers.tasks.len() <= 2 * stays.len() + 2, "{} are kept", sleepers.tasks.len());
            assert_eq!(sleepers.count, sleepers.tasks.len());
        }
        let over = sleepers.end().expect("some sleep");
        assert!(stays.iter().all(|task| over.tasks.iter().any(|other| Arc::ptr_eq(task, other))));
        // Of a generation that is over there is nothing to take back.
        stays.into_iter().for_each(|task| sleepers.remove_task(task));
        assert!(sleepers.end().is_none());
    }
}
