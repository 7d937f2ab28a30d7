//! Asynchronous sinks under odd executors, and under an end that comes at any moment.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio::runtime::Builder;

use crate::common::{Census, Event, SOON, in_time, rounds, spin, spin_below, wait_until};
use outflow::buffer::Policy;
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::Breaker;
use outflow::testing::VirtualClock;
use outflow::{
    AsyncOnly, AsyncSinkExt, Buffer, CloseError, DeadLetter, Queue, Rate, Sink, SinkExt, WorkerFuture,
    WriteError, sink,
};

/// Polls a worker on the thread that wakes it, inside of whatever that does, or on a new thread for each poll.
struct Odd {
    state: Mutex<OddState>,
    inline: bool,
}

#[derive(Default)]
struct OddState {
    worker: Option<WorkerFuture>,
    polled: bool,
    woken: bool,
    dropped: bool,
}

impl Odd {
    fn new(inline: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), inline })
    }

    fn options<E: Send + 'static, P>(
        self: &Arc<Self>,
        buffer: Buffer<E, P>,
    ) -> QueueOptions<E, P, AsyncOnly> {
        let odd = Arc::clone(self);
        QueueOptions::new(buffer).on(move |worker| {
            odd.state.lock().unwrap().worker = Some(worker);
            Arc::clone(&odd).wake();
        })
    }

    fn run(self: Arc<Self>) {
        let mut state = self.state.lock().unwrap();
        state.woken = true;
        if state.polled {
            return;
        }
        while state.woken {
            let Some(mut worker) = state.worker.take() else { return };
            state.woken = false;
            state.polled = true;
            drop(state);
            let waker = Waker::from(Arc::clone(&self));
            let polled = worker.as_mut().poll(&mut Context::from_waker(&waker));
            state = self.state.lock().unwrap();
            state.polled = false;
            if polled.is_pending() && !state.dropped {
                state.worker = Some(worker);
            } else {
                drop(state);
                drop(worker);
                return;
            }
        }
    }

    /// Runs a task in the place of a worker.
    fn run_task(task: impl Future<Output = ()> + Send + 'static, inline: bool) {
        let odd = Self::new(inline);
        odd.state.lock().unwrap().worker = Some(Box::pin(task));
        odd.wake();
    }

    /// Drops the worker, after a poll that is under way.
    fn shut_down(&self) {
        let mut state = self.state.lock().unwrap();
        state.dropped = true;
        let worker = state.worker.take();
        drop(state);
        drop(worker);
    }
}

impl Wake for Odd {
    fn wake(self: Arc<Self>) {
        if self.inline {
            self.run();
        } else {
            thread::spawn(move || self.run());
        }
    }
}

/// Gives way so many times.
async fn give_way(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Closes a queue, which does not hang.
fn close<E: Send + 'static, P: Policy>(queue: &Queue<E, P>) -> Result<(), CloseError> {
    let begun = Instant::now();
    let closed = queue.close().within(SOON);
    assert!(begun.elapsed() < SOON / 2, "it hung: {closed:?} {:?}", queue.stats());
    closed
}

/// Writers of three kinds and a flush, and if it `ends` a close, an abort, or the executor's own end beside them: every event
/// is somewhere, and nothing hangs.
fn under_an_odd_executor(inline: bool, lanes: Option<usize>, ends: bool) {
    for round in 0..rounds(if inline { 500_u32 } else { 100 }) {
        let odd = Odd::new(inline);
        let (kept, spill) = (sink::collector(), sink::collector());
        let keeps = kept.clone();
        let end = sink::from_async_fn(move |event: u64| {
            let kept = keeps.clone();
            async move {
                give_way(event % 3).await;
                kept.write(event).map_err(|_| "closed")
            }
        });
        let mut options = odd.options(Buffer::bounded(3).spill(spill.clone()));
        if let Some(lanes) = lanes {
            options = options.keyed(lanes, |event| event % 5);
        }
        let queue = end.lossy().queued_with(options);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (done, task_is_done) = mpsc::channel();
        let (writes, counts) = (queue.clone(), Arc::clone(&accepted));
        let task = async move {
            for event in 15..30 {
                let written = writes.write_async(event * 2 + 2).await;
                counts.fetch_add(usize::from(written.is_ok()), Ordering::Relaxed);
            }
            done.send(()).unwrap();
        };
        Odd::run_task(task, inline);
        thread::scope(|scope| {
            for writer in 0..2_u64 {
                let (queue, accepted) = (&queue, &accepted);
                scope.spawn(move || {
                    for event in 0..15 {
                        let event = event * 2 + writer;
                        let written = match event % 3 {
                            0 => queue.write(event),
                            1 => block_on(queue.write_async(event)),
                            _ => match block_on(queue.reserve()) {
                                Ok(permit) => permit.send(event),
                                Err(_) => Err(WriteError::Closed(event)),
                            },
                        };
                        accepted.fetch_add(usize::from(written.is_ok()), Ordering::Relaxed);
                    }
                });
            }
            let other = &queue;
            scope.spawn(move || other.flush().within(SOON).is_ok());
            if ends {
                spin(round);
                match round % 3 {
                    0 => drop(queue.close()),
                    1 => _ = queue.close().abort(),
                    _ => odd.shut_down(),
                }
            }
        });
        task_is_done.recv_timeout(SOON).expect("the task ends");
        let closed = close(&queue);
        wait_until("an aborted write has ended", || queue.stats().in_flight == 0);
        let stats = queue.stats();
        let accepted = accepted.load(Ordering::Relaxed) as u64;
        assert_eq!(stats.accepted, accepted, "round {round}: {stats:?} {closed:?}");
        assert_eq!((stats.delivered, stats.spilled), (kept.len() as u64, spill.len() as u64), "{stats:?}");
        assert_eq!(accepted, stats.delivered + stats.spilled + stats.lost, "round {round}: {stats:?}");
        if !ends {
            assert_eq!((stats.delivered, closed), (45, Ok(())));
            let all = kept.events();
            let apart = if lanes.is_none() { 1 } else { 5 };
            for writer in 0..3 {
                for key in 0..apart {
                    let by = |event: u64| if event < 30 { event % 2 } else { 2 };
                    let of_key = |event: &&u64| by(**event) == writer && **event % apart == key;
                    assert!(all.iter().filter(of_key).is_sorted(), "round {round}: {all:?}");
                }
            }
        }
    }
}

#[test]
fn a_worker_that_is_polled_inside_of_what_wakes_it_delivers_everything_in_order() {
    in_time("a queue", || {
        under_an_odd_executor(true, None, false);
        under_an_odd_executor(true, Some(3), false);
    });
}

#[test]
fn a_worker_that_is_polled_inside_of_what_wakes_it_may_end_at_any_moment() {
    in_time("a queue", || {
        under_an_odd_executor(true, None, true);
        under_an_odd_executor(true, Some(3), true);
    });
}

#[test]
fn a_worker_that_is_polled_by_another_thread_each_time_may_end_at_any_moment() {
    in_time("a queue", || {
        under_an_odd_executor(false, None, true);
        under_an_odd_executor(false, Some(3), true);
    });
}

/// Events of which all, or one, panic when they are dropped, in a queue that is ended at some moment.
fn under_destructors_that_panic(lanes: Option<usize>) {
    let mut lost = 0;
    for round in 0..rounds(500_u32).max(50) {
        let all_panic = round % 2 == 0;
        let census = if all_panic { Census::panicking_on_drop() } else { Census::new() };
        if !all_panic {
            census.panic_on_drop_of(u64::from(round % 20));
        }
        let odd = Odd::new(round % 3 != 0);
        let end = sink::from_async_fn(move |event: Arc<Event>| async move {
            give_way(event.id % 3).await;
            Ok::<_, Infallible>(())
        });
        let mut options = odd.options(Buffer::unbounded());
        if let Some(lanes) = lanes {
            options = options.keyed(lanes, |event: &Arc<Event>| event.id % 5);
        }
        let queue = end.queued_with(options);
        let mut accepted = 0;
        for id in 0..20 {
            // One that is refused is dropped here, and may panic.
            let written =
                catch_unwind(AssertUnwindSafe(|| queue.write(Arc::new(Event::new(id, &census))).is_ok()));
            accepted += u64::from(written.unwrap_or(false));
            if id == u64::from(round % 23) {
                match round % 5 {
                    0 => drop(queue.close()),
                    1 => _ = queue.close().abort(),
                    2 => odd.shut_down(),
                    _ => {}
                }
            }
        }
        let closed = close(&queue);
        wait_until("what was in flight has ended", || queue.stats().in_flight == 0);
        let stats = queue.stats();
        assert_eq!(stats.accepted, accepted, "round {round}: {stats:?} {closed:?}");
        assert_eq!(
            accepted,
            stats.delivered + stats.dropped + stats.lost,
            "round {round}: {stats:?} {closed:?}"
        );
        lost += stats.lost;
        drop(queue);
        odd.shut_down();
        census.assert_none_left();
    }
    assert!(lost > 0, "no destructor has panicked in a poll");
}

#[test]
fn events_whose_destructors_panic_in_a_poll_or_with_the_worker_are_accounted_for() {
    in_time("a queue", || {
        under_destructors_that_panic(None);
        under_destructors_that_panic(Some(3));
    });
}

/// The sink fails, or never answers, and there are all the waits that a chain can have.
#[test]
fn a_close_or_an_abort_in_the_midst_of_any_wait_ends_and_leaves_no_timer() {
    in_time("a queue", || {
        for round in 0..rounds(500_u32) {
            let clock = VirtualClock::new();
            let runtime = Builder::new_current_thread().build().unwrap();
            let handle = runtime.handle().clone();
            let (stop, stopped) = futures::channel::oneshot::channel::<()>();
            let driver = thread::spawn(move || _ = runtime.block_on(stopped));
            let kept = sink::collector();
            let keeps = kept.clone();
            let attempts = AtomicUsize::new(round as usize);
            let end = sink::from_async_fn(move |event: u64| {
                let kept = keeps.clone();
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                async move {
                    give_way(event % 2).await;
                    if attempt % 5 == 0 {
                        std::future::pending::<()>().await;
                    }
                    if attempt % 3 == 0 {
                        return Err("down");
                    }
                    kept.write(event).map_err(|_| "closed")
                }
            });
            let second = Duration::from_secs(1);
            let dead = sink::collector();
            let spill = sink::collector();
            let chain = end
                .timeout(second)
                .clock(clock.clone())
                .retry(Breaker::new(2, second).clock(clock.clone()))
                .clock(clock.clone())
                .max_attempts(4)
                .rate_limit(Rate::per_second(2))
                .clock(clock.clone())
                .timeout(5 * second)
                .clock(clock.clone())
                .dead_letter(dead.clone());
            let mut options = QueueOptions::new(Buffer::bounded(4).spill(spill.clone())).on(&handle);
            if round % 2 == 0 {
                options = options.keyed(3, |event| event % 4);
            }
            let queue = chain.queued_with(options);
            let done = AtomicBool::new(false);
            let accepted = AtomicUsize::new(0);
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for event in 0..8 {
                        let written = block_on(queue.write_async(event));
                        accepted.fetch_add(usize::from(written.is_ok()), Ordering::Relaxed);
                    }
                });
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        if clock.advance_to_next().is_none() {
                            thread::yield_now();
                        }
                    }
                });
                if round % 4 > 1 {
                    spin_below(round, 30_000);
                    _ = queue.close().abort();
                }
                writer.join().unwrap();
                let closed = close(&queue);
                wait_until("an aborted write has ended", || queue.stats().in_flight == 0);
                done.store(true, Ordering::SeqCst);
                let stats = queue.stats();
                let accepted = accepted.load(Ordering::Relaxed) as u64;
                assert_eq!(stats.accepted, accepted, "round {round}: {stats:?} {closed:?}");
                assert_eq!(stats.spilled, spill.len() as u64);
                assert_eq!(accepted, stats.delivered + stats.spilled, "round {round}: {stats:?} {closed:?}");
                // A timeout may have had it delivered, and failed.
                assert!(stats.delivered <= (kept.len() + dead.len()) as u64);
            });
            drop(stop);
            driver.join().unwrap();
            wait_until("no timer", || clock.sleeping() == 0);
        }
    });
}

#[test]
fn of_a_batch_that_is_split_each_event_is_somewhere_once_whatever_ends_it() {
    in_time("a queue", || {
        for round in 0..rounds(400_u32) {
            let odd = Odd::new(round % 2 == 0);
            let (kept, dead, spill) = (sink::collector(), sink::collector(), sink::collector());
            let keeps = kept.clone();
            let end = sink::from_async_fn(move |events: Vec<u64>| {
                let kept = keeps.clone();
                async move {
                    give_way(events[0] % 3).await;
                    if events.iter().any(|event| event % 7 == 0) || events.iter().sum::<u64>() > 60 {
                        return Err("bad");
                    }
                    kept.write_all(events).map_err(|_| "closed")
                }
            });
            let chain = end.split_on(|error| *error == "bad").dead_letter(dead.clone());
            let mut options = odd.options(Buffer::bounded(16).spill(spill.clone()));
            if round % 3 > 0 {
                options = options.keyed(2, |event: &u64| event % 3);
            }
            let batch = Batch::of(8).weighing(80, |event: &u64| *event);
            let queue = chain.batched_with(batch, options);
            let mut accepted = 0;
            for event in 0..40_u64 {
                accepted += usize::from(queue.write(event).is_ok());
                if round % 4 == 1 && event == u64::from(round % 41) {
                    odd.shut_down();
                } else if round % 4 == 2 && event == u64::from(round % 41) {
                    _ = queue.close().abort();
                }
            }
            let closed = close(&queue);
            wait_until("an aborted write has ended", || queue.stats().in_flight == 0);
            let stats = queue.stats();
            assert_eq!(stats.accepted, accepted as u64, "{stats:?}");
            assert_eq!(stats.accepted, stats.delivered + stats.spilled + stats.lost, "{stats:?} {closed:?}");
            let dead: Vec<u64> =
                dead.take().into_iter().flat_map(|letter: DeadLetter<Vec<u64>, _>| letter.event).collect();
            let mut all: Vec<u64> = kept.take();
            all.extend(&dead);
            all.extend(spill.take());
            all.sort_unstable();
            assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
            assert!(all.len() as u64 + stats.lost >= stats.accepted, "{stats:?} {all:?}");
            if round % 4 == 0 || round % 4 == 3 {
                assert!(all.into_iter().eq(0..40), "{stats:?} {closed:?}");
                assert!(dead.iter().all(|event| event % 7 == 0), "{dead:?}");
            }
        }
    });
}
