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
