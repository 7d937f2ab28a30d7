//! A task: a future, and the state machine that decides when it is polled.
//!
//! The state is two bits and an end, in one atomic:
//!
//! | state | meaning |
//! | --- | --- |
//! | 0, idle | nothing is to be done until it is woken |
//! | `WOKEN`, scheduled | it is in the run queue, once |
//! | `RUNNING` | a thread polls it |
//! | `RUNNING + WOKEN` | it was woken since that poll began, and is polled again |
//! | `DONE` | it has ended; `WOKEN` beside it means nothing |
//!
//! **It is in the run queue at most once, and never polled by two threads.** The steps into `WOKEN` alone are one from
//! idle (a wake that finds 0) and one from `RUNNING + WOKEN` (the end of a poll). Each is a read-modify-write, so one
//! thread makes it, and that thread puts the task into the queue. `RUNNING` is set by the thread that took it out of
//! there.
//!
//! **No wake-up is lost.** A wake sets `WOKEN` in one read-modify-write, whatever the state. Before a poll the swap takes
//! the bit away and acquires what every wake before it released; so that poll sees what they were about. A wake after
//! the swap finds `RUNNING`, and the end of the poll finds its bit. That a wake which finds the bit set writes all the
//! same is what the first half rests on: a mere load would hand nothing over to the poll to come.
//!
//! **A wake of a task that has ended does nothing**: it finds `DONE`, which is never taken away.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use crate::sync::caught::drop_caught;

const WOKEN: u8 = 1;
const RUNNING: u8 = 2;
const DONE: u8 = 4;

/// Where a task goes when it is to be polled.
pub(super) trait Schedule: Send + Sync + Sized + 'static {
    /// Takes a clone of the task: the caller's own keeps the task, and with it this, alive until it returns.
    fn schedule(&self, task: &Arc<Task<Self>>);
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future that is polled when it is woken. See the module for why none of that goes wrong.
pub(super) struct Task<S> {
    state: AtomicU8,
    /// Locked by the thread that polls, so never contended. Empty once the future has ended.
    future: Mutex<Option<Boxed>>,
    schedule: Arc<S>,
}

impl<S: Schedule> Task<S> {
    /// An idle one.
    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static, schedule: Arc<S>) -> Arc<Self> {
        let future: Boxed = Box::pin(future);
        Arc::new(Self { state: AtomicU8::new(0), future: Mutex::new(Some(future)), schedule })
    }

    /// Polls it, on the thread that took it out of the run queue. `Some` if it is to be put back there.
    ///
    /// A panic ends the task.
    pub(super) fn run(self: Arc<Self>) -> Option<Arc<Self>> {
        // Acquires what the wakes released.
        self.state.swap(RUNNING, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = self.future.lock();
        let polled = slot.as_mut().map(|future| {
            let mut context = Context::from_waker(&waker);
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
        });
        if let Some(Ok(Poll::Pending)) = polled {
            drop(slot);
            // Releases the future to the thread of the next poll. Clears one bit: idle, or scheduled again.
            let woken = self.state.fetch_and(!RUNNING, Ordering::AcqRel) & WOKEN != 0;
            return woken.then_some(self);
        }
        let future = slot.take();
        drop(slot);
        self.state.store(DONE, Ordering::Release);
        drop_caught(future);
        drop_caught(polled);
        None
    }
}

impl<S: Schedule> Wake for Task<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Releases what the wake is about; acquires the end of the poll before.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.schedule.schedule(self);
        }
    }
}

impl<S> Drop for Task<S> {
    /// An idle task that nothing can wake any more ends with its last waker, on whatever thread that is.
    fn drop(&mut self) {
        drop_caught(self.future.get_mut().take());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    use crossbeam_channel::Sender;

    use super::*;

    /// A run queue and no more.
    struct Queue(Sender<Arc<Task<Queue>>>);

    impl Schedule for Queue {
        fn schedule(&self, task: &Arc<Task<Self>>) {
            self.0.send(Arc::clone(task)).unwrap();
        }
    }

    fn spawn(queue: &Arc<Queue>, future: impl Future<Output = ()> + Send + 'static) -> Arc<Task<Queue>> {
        Task::new(future, Arc::clone(queue))
    }

    fn queue() -> (Arc<Queue>, crossbeam_channel::Receiver<Arc<Task<Queue>>>) {
        let (push, queue) = crossbeam_channel::unbounded();
        (Arc::new(Queue(push)), queue)
    }

    #[test]
    fn every_wake_is_followed_by_a_poll_that_sees_what_it_was_about() {
        const WAKERS: usize = 2;
        const ROUNDS: usize = if cfg!(miri) { 4 } else { 20_000 };

        let (push, queue) = queue();
        // Relaxed throughout: what is under test is the only thing that orders them.
        let told: Arc<[AtomicUsize; WAKERS]> = Arc::default();
        let seen: Arc<[AtomicUsize; WAKERS]> = Arc::default();
        let polled = Arc::new(AtomicBool::new(false));
        let task = {
            let (told, seen) = (Arc::clone(&told), Arc::clone(&seen));
            spawn(
                &push,
                poll_fn(move |_| {
                    assert!(!polled.swap(true, Ordering::Relaxed), "polled by two threads");
                    for (told, seen) in told.iter().zip(&*seen) {
                        seen.store(told.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                    polled.store(false, Ordering::Relaxed);
                    Poll::Pending
                }),
            )
        };
        thread::scope(|scope| {
            for _ in 0..2 {
                let queue = queue.clone();
                scope.spawn(move || {
                    // Until the queue is gone.
                    for task in queue {
                        let mut task = task.run();
                        while let Some(again) = task {
                            task = again.run();
                        }
                    }
                });
            }
            let wakers: Vec<_> = (0..WAKERS)
                .map(|n| {
                    let (task, told, seen) = (Arc::clone(&task), &told[n], &seen[n]);
                    scope.spawn(move || {
                        for round in 1..=ROUNDS {
                            told.store(round, Ordering::Relaxed);
                            task.wake_by_ref();
                            // A lost wake-up hangs here.
                            while seen.load(Ordering::Relaxed) < round {
                                thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            drop(task);
            drop(push);
        });
    }

    #[test]
    fn a_task_is_in_the_run_queue_once_however_often_it_is_woken() {
        let (push, queue) = queue();
        let task = spawn(&push, poll_fn(|_| Poll::Pending));
        (0..3).for_each(|_| task.wake_by_ref());
        assert_eq!(queue.len(), 1);
        assert!(queue.recv().unwrap().run().is_none());
        (0..3).for_each(|_| task.wake_by_ref());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_task_that_wakes_itself_is_to_be_polled_again() {
        let (push, queue) = queue();
        let mut polls = 0;
        let task = spawn(
            &push,
            poll_fn(move |context| {
                polls += 1;
                context.waker().wake_by_ref();
                if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
            }),
        );
        task.wake();
        let again = queue.recv().unwrap().run().expect("it was woken in its poll");
        assert!(again.run().is_none());
        assert!(queue.is_empty());
    }

    #[test]
    fn a_task_that_has_ended_is_never_polled_again() {
        let (push, queue) = queue();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let task = spawn(&push, async move { _ = counted.fetch_add(1, Ordering::SeqCst) });
        let waker = Waker::from(Arc::clone(&task));
        task.wake();
        assert!(queue.recv().unwrap().run().is_none());
        assert_eq!(Arc::strong_count(&polls), 1, "the future is dropped at its end");
        (0..1000).for_each(|_| waker.wake_by_ref());
        assert!(queue.is_empty());
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_wake_beside_the_end_is_nothing() {
        for _ in 0..if cfg!(miri) { 3 } else { 2000 } {
            let (push, queue) = queue();
            let task = spawn(&push, async {});
            task.wake_by_ref();
            let scheduled = queue.recv().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| (0..3).for_each(|_| task.wake_by_ref()));
                assert!(scheduled.run().is_none());
            });
            assert!(queue.is_empty());
        }
    }

    /// Panics when it is dropped.
    struct Panics(Arc<AtomicUsize>);

    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("in a drop");
        }
    }

    #[test]
    fn a_panic_ends_a_task_and_goes_no_further() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (push, queue) = queue();
        let in_poll = {
            let held = Panics(Arc::clone(&dropped));
            spawn(
                &push,
                poll_fn(move |_| {
                    let raised = Panics(Arc::clone(&held.0));
                    std::panic::panic_any(raised);
                }),
            )
        };
        in_poll.wake_by_ref();
        assert!(queue.recv().unwrap().run().is_none());
        assert!(in_poll.future.lock().is_none());
        // What was raised, and what the future held.
        assert_eq!(dropped.load(Ordering::SeqCst), 2);

        // At its end, and as what nothing can wake any more.
        for is_ready in [true, false] {
            let held = Panics(Arc::clone(&dropped));
            let before = dropped.load(Ordering::SeqCst);
            let task = spawn(
                &push,
                poll_fn(move |_| {
                    let _ = &held;
                    if is_ready { Poll::Ready(()) } else { Poll::Pending }
                }),
            );
            task.wake();
            assert!(queue.recv().unwrap().run().is_none());
            assert_eq!(dropped.load(Ordering::SeqCst), before + 1);
        }
    }
}
