//! A pool of threads that polls the workers of queues and followers: each costs a task, not a thread.
//!
//! [`task`] is a task and its states, [`threads`] how threads find tasks, sleep, wait and end, [`watcher`] the thread that
//! notices code that blocks.
//!
//! # Why no task is left in the run queue
//!
//! What holds at any time: **if the run queue is not empty, then a thread is searching, or the watcher is awake, or the pool
//! has as many threads as it may, or a thread is in the middle of a step that ends in one of these.**
//!
//! A thread that is *searching* is in no poll; it takes a task, or it goes to sleep. What could break the sentence:
//!
//! - *A push.* It looks at `searching` afterwards, and if that is 0 it finds a thread: it wakes a sleeper, else starts a
//!   thread if there is room, else wakes the watcher unless the pool is full (`find_thread`). If it is not 0, it relies on a
//!   thread that searches.
//! - *A thread stops searching because it has a task.* That task may block, and others may have relied on this thread. So
//!   the last one to stop looks at the queue afterwards, and finds a thread for what is there: this is the case of two
//!   threads that each take a task that blocks, before a full queue.
//! - *A thread stops searching to sleep.* It is on the list of sleepers by then, and looks at the queue once more.
//! - *The watcher goes to sleep.* It looks at the queue once more.
//! - *A pool that was full no longer is*, since a thread has ended, or was not to be started after all. A thread that ended
//!   looks at the queue; whatever was to start one has the watcher look.
//! - *A thread that took one task after another, and does not count as searching, goes into a poll.* Nothing relied on
//!   it: if others wait, the sentence held before without it.
//!
//! Each "afterwards" is the same pair. One side pushes, then reads a word; the other changes that word (`searching`, `awake`,
//! `started`), then reads the queue. Between the two steps each side has a sequentially consistent fence, so one of them
//! sees the other. `find_thread` looks at `searching` once more under the lock, so that a burst of pushes wakes one
//! thread and not one each; that look comes after the push too.
//!
//! # Why nothing is held up
//!
//! A thread that searches takes a task in a few steps of its own. While the watcher is awake, it looks once in a millisecond.
//! If the queue was not empty at two looks in a row, no poll has begun between them, and no thread searched, then every
//! thread is in a poll that has lasted a millisecond: it adds threads, twice as many each time until it finds the queue
//! empty. So code that blocks is noticed within 2 ms of the moment at which something waits behind it, as far as the system
//! runs the watcher in time. Polls that merely take long are helped in the same way, and no more than until one begins in each
//! millisecond: a queue that moves slowly is not one that is stuck.
//!
//! A wait that is announced counts a thread out, and looks at the queue afterwards; a push looks at that count in
//! `find_thread`. So another thread takes over at once, if the pool is not full.
//!
//! With `max_threads` there is an end to that. A full pool is not watched, since nothing could be done.
//!
//! # Why the threads end
//!
//! Handles and tasks share an `Owner`, threads do not. When the last of them is dropped, there is no task left to run or
//! to be woken: the sleepers are woken and end, the others when they would go to sleep, the watcher at its next look. Until
//! then a thread ends that has slept for the time to keep alive while more were asleep than `threads`. Of the sleepers
//! at most `threads` sleep without an end, since a thread looks at how many there are, itself included, before it does.

mod task;
#[cfg(test)]
mod tests;
mod threads;
mod watcher;
mod workers;

pub use self::workers::{Workers, WorkersBuilder, WorkersStats};
