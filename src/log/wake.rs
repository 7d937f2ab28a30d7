//! Readers that sleep, and how they are woken.
//!
//! # Why no wake-up is lost, and why a write pays nothing when no reader sleeps
//!
//! A reader that has found nothing takes the log's lock, looks once more, and registers: `Sleepers` counts it
//! and gives it the number of the current generation. A write holds the same lock to append; if the count is
//! not zero it ends the generation, which is a plain number under a lock that it holds anyway, and after it has
//! released the lock it publishes the end in `Wake`. So a reader either sees the event or is seen by the write.
//! It sleeps until its generation is over, whether that happens before or after it falls asleep.
//!
//! One write wakes every reader that sleeps, once; the next writes find none asleep. The lock that sleepers wait
//! on is not the log's, so no writer waits for them while they wake up one after the other.
//!
//! A task is woken in the same way: it leaves its waker in its `Remote`, registers that once a generation, and
//! looks once more under the lock. Whatever ends the generation takes the list and wakes its tasks.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::remote::Remote;
use crate::sync::blocking::blocking;

#[derive(Default)]
pub(super) struct Wake {
    /// Readers that registered in a generation before this one may go on.
    over: Mutex<u64>,
    changed: Condvar,
}

/// The readers that sleep. Kept under the log's lock.
#[derive(Default)]
pub(super) struct Sleepers {
    count: usize,
    generation: u64,
    /// Those of them that are tasks.
    tasks: Vec<Arc<Remote>>,
    /// How many of these belong to readers that are gone.
    gone: usize,
}

/// A generation that is over, to be [published](Wake::publish) without the log's lock.
#[must_use]
pub(super) struct EndedGeneration {
    generation: u64,
    tasks: Vec<Arc<Remote>>,
}

impl Sleepers {
    /// Registers a thread and returns its generation.
    pub(super) fn add(&mut self) -> u64 {
        self.count += 1;
        self.generation
    }

    /// Registers a task, unless it is registered in this generation.
    pub(super) fn add_task(&mut self, task: &Arc<Remote>) {
        if task.enter(self.generation) {
            self.count += 1;
            self.tasks.push(Arc::clone(task));
        }
    }

    /// Unregisters a task whose reader is gone. The list is looked through only when half of it is of no use, so
    /// that readers that come and go while nothing is written leave little behind, and each pays for one.
    pub(super) fn remove_task(&mut self, task: Arc<Remote>) {
        if !task.is_in(self.generation) {
            return;
        }
        drop(task);
        self.gone += 1;
        if 2 * self.gone > self.tasks.len() {
            let before = self.tasks.len();
            // The reader had the other reference; handles have weak ones.
            self.tasks.retain(|task| Arc::strong_count(task) > 1);
            self.count -= before - self.tasks.len();
            self.gone = 0;
        }
    }

    /// Unregisters a thread whose deadline has passed, unless it was woken meanwhile.
    pub(super) fn remove(&mut self, generation: u64) {
        if self.generation == generation {
            self.count -= 1;
        }
    }

    /// Ends the generation, if a reader sleeps in it.
    #[inline]
    pub(super) fn end(&mut self) -> Option<EndedGeneration> {
        if self.count == 0 {
            return None;
        }
        self.count = 0;
        self.generation += 1;
        self.gone = 0;
        Some(EndedGeneration { generation: self.generation, tasks: std::mem::take(&mut self.tasks) })
    }
}

impl Wake {
    #[cold]
    pub(super) fn publish(&self, ended: EndedGeneration) {
        let mut over = self.over.lock();
        *over = ended.generation.max(*over);
        drop(over);
        self.changed.notify_all();
        ended.tasks.iter().for_each(|task| task.wake());
    }

    /// Sleeps until `generation` is over; `false` if `deadline` came first.
    pub(super) fn sleep(&self, generation: u64, deadline: Option<Instant>) -> bool {
        blocking(|| self.wait_over(generation, deadline))
    }

    fn wait_over(&self, generation: u64, deadline: Option<Instant>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_come_and_go_while_nothing_is_written_leave_little_behind() {
        let mut sleepers = Sleepers::default();
        let stays: Vec<Arc<Remote>> = (0..10).map(|_| Arc::default()).collect();
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
        // A generation that is over has nothing to unregister.
        stays.into_iter().for_each(|task| sleepers.remove_task(task));
        assert!(sleepers.end().is_none());
    }
}
