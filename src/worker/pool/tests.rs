use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Barrier, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::threads::Pool;
use super::*;
use crate::sync::blocking::blocking;
use crate::sync::caught::panic_message;

/// Fewer where every step is interpreted.
const fn times(n: usize) -> usize {
    if cfg!(miri) { n.div_ceil(2000) } else { n }
}

/// Waits for what no event tells of.
#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came about");
        thread::sleep(Duration::from_micros(100));
    }
}

fn pool(threads: usize) -> Workers {
    Workers::builder().threads(threads).build()
}

/// A pool on which nobody notices what blocks without a word.
fn unwatched(threads: usize) -> Workers {
    let mut builder = Workers::builder().threads(threads);
    builder.start_fails = |name, _| name.ends_with("-watcher");
    builder.build()
}

/// Gone when the last thread is.
fn threads_of(workers: &Workers) -> Weak<Pool> {
    Arc::downgrade(workers.owner().pool())
}

#[track_caller]
fn assert_ends(threads: &Weak<Pool>) {
    eventually(|| threads.strong_count() == 0);
    // What they dropped before is seen as dropped from here on.
    fence(Ordering::Acquire);
}

/// Has whatever waits on it wait until this is dropped.
fn gate() -> (Sender<()>, Receiver<()>) {
    bounded(0)
}

/// A task that is polled when it is woken, and says what it was woken for.
#[derive(Clone, Default)]
struct Woken(Arc<WokenState>);

#[derive(Default)]
struct WokenState {
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
    ended: AtomicBool,
}

impl Woken {
    fn on(workers: &Workers) -> Self {
        let woken = Self::default();
        workers.spawn(woken.clone()).unwrap();
        eventually(|| woken.0.polls.load(Ordering::SeqCst) == 1);
        woken
    }

    fn wake(&self) {
        let waker = self.0.waker.lock().clone();
        waker.unwrap().wake();
    }

    fn end(self) {
        self.0.ended.store(true, Ordering::SeqCst);
        let waker = self.0.waker.lock().take();
        waker.unwrap().wake();
    }
}

impl Future for Woken {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.waker.lock().get_or_insert_with(|| context.waker().clone());
        self.0.polls.fetch_add(1, Ordering::SeqCst);
        if self.0.ended.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[test]
fn nonsense_is_refused() {
    let message = |build: fn() -> Workers| panic_message(catch_unwind(build).unwrap_err());
    assert!(message(|| Workers::builder().threads(0).build()).contains("0 threads would run nothing"));
    assert!(message(|| Workers::builder().max_threads(0).build()).contains("at most 0 threads"));
    assert!(message(|| Workers::builder().name("a\0b").build()).contains("NUL byte"));
    let below = message(|| Workers::builder().max_threads(2).threads(3).build());
    assert!(below.contains("3 threads cannot have at most 2"), "{below}");
    // What was not asked for is no nonsense.
    assert_eq!(Workers::builder().max_threads(1).build().stats().threads, 0);
}

#[test]
fn the_global_pool_is_one_and_runs_tasks() {
    let (done, ran) = unbounded();
    Workers::global()
        .spawn(async move { done.send(thread::current().name().map(str::to_owned)).unwrap() })
        .unwrap();
    assert_eq!(ran.recv().unwrap().as_deref(), Some("outflow"));
    assert!(Workers::global().stats().threads >= 1);
    assert!(format!("{:?}", Workers::global()).starts_with("Workers { stats: WorkersStats { threads: "));
}

#[test]
fn threads_have_the_name_and_are_no_more_than_needed() {
    let workers = Workers::builder().threads(8).name("webhooks").build();
    let (done, ran) = unbounded();
    for _ in 0..3 {
        let done = done.clone();
        workers
            .spawn(async move { done.send(thread::current().name().map(str::to_owned)).unwrap() })
            .unwrap();
        assert_eq!(ran.recv().unwrap().as_deref(), Some("webhooks"));
    }
    assert!((1..=3).contains(&workers.stats().threads), "{:?}", workers.stats());
}

#[test]
fn as_many_tasks_run_at_once_as_there_are_threads() {
    let workers = unwatched(4);
    let barrier = Arc::new(Barrier::new(5));
    for _ in 0..4 {
        let barrier = Arc::clone(&barrier);
        workers.spawn(async move { _ = barrier.wait() }).unwrap();
    }
    barrier.wait();
}

#[test]
fn stats_count_what_is_runnable_and_what_waits() {
    let workers = Workers::builder().threads(1).max_threads(1).build();
    let (open, shut) = gate();
    let (waits, is_waiting) = unbounded();
    workers
        .spawn(async move {
            blocking(|| {
                waits.send(()).unwrap();
                blocking(|| shut.recv().unwrap_err());
                waits.send(()).unwrap();
            });
        })
        .unwrap();
    is_waiting.recv().unwrap();
    (0..3).for_each(|_| workers.spawn(async {}).unwrap());
    assert_eq!(workers.stats(), WorkersStats { threads: 1, runnable: 3, waiting: 1 });
    drop(open);
    is_waiting.recv().unwrap();
    eventually(|| workers.stats() == WorkersStats { threads: 1, runnable: 0, waiting: 0 });
}

#[test]
fn without_a_thread_nothing_is_run_and_the_future_is_dropped() {
    let mut builder = Workers::builder();
    builder.start_fails = |_, n| n == 0;
    let workers = builder.build();
    let (done, ran) = unbounded();
    let first = done.clone();
    assert!(workers.spawn(async move { first.send(1).unwrap() }).is_err());
    workers.spawn(async move { done.send(2).unwrap() }).unwrap();
    // The end comes when both futures are gone.
    assert_eq!(ran.iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_future_that_panics_when_it_is_refused_does_not_panic_its_caller() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let mut builder = Workers::builder();
    builder.start_fails = |_, _| true;
    let panics = Panics;
    assert!(builder.build().spawn(async move { drop(panics) }).is_err());
}

#[test]
fn where_no_other_thread_can_be_started_the_one_that_there_is_goes_on() {
    let mut builder = Workers::builder().threads(4);
    builder.start_fails = |_, n| n > 0;
    let workers = builder.build();
    let (done, ran) = unbounded();
    for n in 0..times(2000) {
        let done = done.clone();
        workers.spawn(async move { blocking(|| done.send(n).unwrap()) }).unwrap();
    }
    drop(done);
    assert_eq!(ran.iter().collect::<Vec<_>>(), (0..times(2000)).collect::<Vec<_>>());
    assert_eq!(workers.stats().threads, 1);
}

#[test]
fn a_thread_that_could_not_be_started_is_tried_again_by_the_watcher() {
    let mut builder = Workers::builder().threads(1);
    // The first thread and the watcher come, then none for a while.
    builder.start_fails = |_, n| (2..5).contains(&n);
    let workers = builder.build();
    let (open, shut) = gate();
    let (done, ran) = unbounded();
    workers
        .spawn(async move {
            shut.recv().unwrap_err();
        })
        .unwrap();
    workers.spawn(async move { done.send(()).unwrap() }).unwrap();
    ran.recv().unwrap();
    drop(open);
}

#[test]
fn a_panic_ends_one_task_and_no_thread() {
    let workers = Workers::builder().threads(1).max_threads(1).build();
    let (done, ran) = unbounded();
    let mut first = None;
    for n in 0..20 {
        let done = done.clone();
        workers
            .spawn(async move {
                done.send((n, thread::current().id())).unwrap();
                assert!(n % 2 == 0, "in a poll");
            })
            .unwrap();
        let (ran, thread) = ran.recv().unwrap();
        assert_eq!((ran, *first.get_or_insert(thread)), (n, thread));
    }
}

#[test]
fn a_wake_beside_polls_is_never_lost() {
    const WAKERS: usize = 4;

    let workers = pool(2);
    let told: Arc<[AtomicUsize; WAKERS]> = Arc::default();
    let seen: Arc<[AtomicUsize; WAKERS]> = Arc::default();
    let is_polled = AtomicBool::new(false);
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let task = {
        let (told, seen, slot) = (Arc::clone(&told), Arc::clone(&seen), Arc::clone(&slot));
        poll_fn(move |context| {
            assert!(!is_polled.swap(true, Ordering::SeqCst), "polled by two threads");
            slot.lock().get_or_insert_with(|| context.waker().clone());
            for (told, seen) in told.iter().zip(&*seen) {
                seen.store(told.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            is_polled.store(false, Ordering::SeqCst);
            Poll::Pending
        })
    };
    workers.spawn(task).unwrap();
    eventually(|| slot.lock().is_some());
    let waker = slot.lock().clone().unwrap();
    thread::scope(|scope| {
        for (told, seen) in told.iter().zip(&*seen) {
            let waker = &waker;
            scope.spawn(move || {
                for round in 1..=times(20_000) {
                    told.store(round, Ordering::Relaxed);
                    waker.wake_by_ref();
                    while seen.load(Ordering::Relaxed) < round {
                        thread::yield_now();
                    }
                    if round % 500 == 0 {
                        // Long enough for the threads to go to sleep.
                        thread::sleep(Duration::from_micros(500));
                    }
                }
            });
        }
    });
}

#[test]
fn tasks_that_wake_each_other_in_a_ring_never_stop() {
    const TASKS: usize = 64;

    let workers = pool(2);
    let wakers: Arc<Vec<Mutex<Option<Waker>>>> = Arc::new((0..TASKS).map(|_| Mutex::default()).collect());
    let (done, ran) = unbounded();
    for n in 0..TASKS {
        let (wakers, done) = (Arc::clone(&wakers), done.clone());
        let mut rounds = 0;
        let ring = poll_fn(move |context| {
            if wakers[n].lock().replace(context.waker().clone()).is_none() {
                done.send(()).unwrap();
                return Poll::Pending;
            }
            rounds += 1;
            let next = wakers[(n + 1) % TASKS].lock().clone();
            next.unwrap().wake();
            if rounds == times(2000) {
                done.send(()).unwrap();
                return Poll::Ready(());
            }
            Poll::Pending
        });
        workers.spawn(ring).unwrap();
    }
    (0..TASKS).for_each(|_| ran.recv().unwrap());
    // Each of these goes round; all of them arrive.
    let first = wakers[0].lock().clone();
    first.unwrap().wake();
    (0..TASKS).for_each(|_| ran.recv().unwrap());
    wakers.iter().for_each(|waker| drop(waker.lock().take()));
}

#[test]
fn a_task_that_wakes_itself_lets_the_others_run() {
    let workers = Workers::builder().threads(1).max_threads(1).build();
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, has_ended) = unbounded();
    let stopped = Arc::clone(&stop);
    let busy = poll_fn(move |context| {
        if stopped.load(Ordering::SeqCst) {
            ended.send(()).unwrap();
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    workers.spawn(busy).unwrap();
    for _ in 0..100 {
        let (done, ran) = unbounded();
        workers.spawn(async move { done.send(()).unwrap() }).unwrap();
        ran.recv().unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    has_ended.recv().unwrap();
}

#[test]
fn a_task_spawns_others() {
    fn tree(workers: Workers, depth: usize, done: Sender<()>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            for _ in 0..if depth > 0 { 2 } else { 0 } {
                workers.spawn(tree(workers.clone(), depth - 1, done.clone())).unwrap();
            }
            done.send(()).unwrap();
        })
    }
    let workers = pool(2);
    let threads = threads_of(&workers);
    let (done, ran) = unbounded();
    let depth = if cfg!(miri) { 3 } else { 10 };
    workers.spawn(tree(workers.clone(), depth, done)).unwrap();
    drop(workers);
    assert_eq!(ran.iter().count(), (2 << depth) - 1);
    assert_ends(&threads);
}

#[test]
fn tasks_that_are_queued_when_the_last_handle_goes_all_run_and_then_the_threads_end() {
    for threads in [1, 3] {
        let workers = unwatched(threads);
        let left = threads_of(&workers);
        let (open, shut) = gate();
        let (done, ran) = unbounded();
        for _ in 0..times(500).max(2 * threads) {
            let (shut, done) = (shut.clone(), done.clone());
            let task = async move {
                shut.recv().unwrap_err();
                done.send(()).unwrap();
            };
            workers.spawn(task).unwrap();
        }
        drop(workers);
        drop((open, done));
        assert_eq!(ran.iter().count(), times(500).max(2 * threads));
        assert_ends(&left);
    }
}

#[test]
fn a_task_that_is_woken_after_the_last_handle_went_runs_on() {
    let workers = pool(2);
    let threads = threads_of(&workers);
    let woken = Woken::on(&workers);
    drop(workers);
    for polls in 2..times(2000) + 2 {
        woken.wake();
        eventually(|| woken.0.polls.load(Ordering::SeqCst) == polls);
    }
    assert!(threads.strong_count() > 0);
    woken.end();
    assert_ends(&threads);
}

#[test]
fn the_last_handle_goes_beside_wakes_and_ends() {
    for _ in 0..times(2000) {
        let workers = pool(2);
        let threads = threads_of(&workers);
        let woken = Woken::on(&workers);
        let token = Arc::downgrade(&woken.0);
        thread::scope(|scope| {
            let other = woken.clone();
            scope.spawn(move || {
                if let Some(waker) = { other.0.waker.lock().clone() } {
                    (0..3).for_each(|_| waker.wake_by_ref());
                }
            });
            scope.spawn(move || drop(workers));
            scope.spawn(move || woken.end());
        });
        assert_ends(&threads);
        assert_eq!(token.strong_count(), 0);
    }
}

#[test]
fn a_task_that_nothing_can_wake_is_dropped_and_the_pool_ends() {
    let workers = pool(2);
    let threads = threads_of(&workers);
    let (done, ran) = unbounded::<()>();
    let never = async move {
        let _done = done;
        std::future::pending::<()>().await;
    };
    workers.spawn(never).unwrap();
    drop(workers);
    assert!(ran.recv().is_err());
    assert_ends(&threads);
}

#[test]
fn a_waker_outlives_its_task_and_its_pool() {
    let workers = pool(1);
    let threads = threads_of(&workers);
    let woken = Woken::on(&workers);
    let waker = woken.0.waker.lock().clone().unwrap();
    let state = Arc::clone(&woken.0);
    woken.end();
    eventually(|| Arc::strong_count(&state) == 1);
    let polls = state.polls.load(Ordering::SeqCst);
    drop(workers);
    for _ in 0..times(10_000) {
        waker.wake_by_ref();
    }
    assert_eq!(state.polls.load(Ordering::SeqCst), polls);
    // A waker keeps the pool. The last poll has left one, too.
    assert!(threads.strong_count() > 0);
    drop((waker, state));
    assert_ends(&threads);
}

#[test]
fn a_hundred_thousand_tasks_leave_no_thread_and_no_byte() {
    let workers = pool(2);
    let threads = threads_of(&workers);
    let token = Arc::new(());
    for n in 0..times(100_000) {
        let token = Arc::clone(&token);
        let mut polls = 0;
        let task = poll_fn(move |context| {
            let _ = &token;
            polls += 1;
            match n % 3 {
                // Ends at once, later, or never.
                0 => Poll::Ready(()),
                1 if polls == 3 => Poll::Ready(()),
                1 => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Pending,
            }
        });
        workers.spawn(task).unwrap();
    }
    drop(workers);
    assert_ends(&threads);
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn every_task_may_block_at_once() {
    let tasks = if cfg!(miri) { 6 } else { 200 };
    let workers = pool(2);
    let threads = threads_of(&workers);
    let barrier = Arc::new(Barrier::new(tasks + 1));
    for _ in 0..tasks {
        let barrier = Arc::clone(&barrier);
        workers.spawn(async move { _ = barrier.wait() }).unwrap();
    }
    barrier.wait();
    drop(workers);
    assert_ends(&threads);
}

#[test]
fn tasks_that_are_stuck_in_user_code_hold_up_no_other() {
    let (tasks, every) = if cfg!(miri) { (12, 4) } else { (10_000, 20) };
    let workers = pool(2);
    let (open, shut) = gate();
    let (done, ran) = unbounded();
    let begun = Instant::now();
    for n in 0..tasks {
        let (shut, done) = (shut.clone(), done.clone());
        let task = async move {
            if n % every == 0 {
                shut.recv().unwrap_err();
            }
            done.send(()).unwrap();
        };
        workers.spawn(task).unwrap();
    }
    (0..tasks - tasks / every).for_each(|_| ran.recv().unwrap());
    println!("{:?}, {:?}", begun.elapsed(), workers.stats());
    drop(open);
    (0..tasks / every).for_each(|_| ran.recv().unwrap());
}

#[test]
fn two_idle_threads_that_each_take_a_task_that_blocks_leave_no_third_behind() {
    let workers = pool(2);
    for _ in 0..times(1000) {
        let (open, shut) = gate();
        let (done, ran) = unbounded();
        for n in 0..3 {
            let (shut, done) = (shut.clone(), done.clone());
            let task = async move {
                if n < 2 {
                    shut.recv().unwrap_err();
                }
                done.send(()).unwrap();
            };
            workers.spawn(task).unwrap();
        }
        ran.recv().unwrap();
        drop(open);
        (0..2).for_each(|_| ran.recv().unwrap());
    }
}

#[test]
fn a_wake_wakes_no_thread_while_one_searches_and_that_one_sees_to_it() {
    let workers = unwatched(2);
    let pool = workers.owner().pool();
    let woken = Woken::on(&workers);
    eventually(|| pool.asleep_and_searching() == (1, 0));
    // A thread that searches, and takes its time.
    pool.begin_search();
    woken.wake();
    assert_eq!((pool.asleep_and_searching(), workers.stats().runnable), ((1, 1), 1));
    pool.end_search();
    eventually(|| woken.0.polls.load(Ordering::SeqCst) == 2);
    woken.end();
}

#[test]
fn threads_that_are_not_needed_end_and_those_that_are_stay() {
    let workers = Workers::builder().threads(2).keep_alive(Duration::from_millis(20)).build();
    let threads = threads_of(&workers);
    for _ in 0..2 {
        let barrier = Arc::new(Barrier::new(9));
        for _ in 0..8 {
            let barrier = Arc::clone(&barrier);
            workers.spawn(async move { _ = barrier.wait() }).unwrap();
        }
        barrier.wait();
        assert!(workers.stats().threads >= 8);
        eventually(|| workers.stats().threads == 2);
    }
    drop(workers);
    assert_ends(&threads);
}

#[test]
fn a_pool_of_at_most_one_thread_never_has_another() {
    let workers = Workers::builder().threads(1).max_threads(1).build();
    let threads = threads_of(&workers);
    let inside = Arc::new(AtomicBool::new(false));
    let (done, ran) = unbounded();
    for n in 0..times(1000) {
        let (inside, done) = (Arc::clone(&inside), done.clone());
        let task = async move {
            blocking(|| {
                assert!(!inside.swap(true, Ordering::SeqCst));
                thread::yield_now();
                inside.store(false, Ordering::SeqCst);
            });
            done.send(n).unwrap();
        };
        workers.spawn(task).unwrap();
    }
    drop(done);
    assert_eq!(ran.iter().count(), times(1000));
    assert_eq!(workers.stats().threads, 1);
    drop(workers);
    assert_ends(&threads);
}

#[test]
fn a_full_pool_goes_on_where_one_of_its_tasks_returns() {
    let workers = Workers::builder().threads(1).max_threads(4).build();
    let (open, shut) = gate();
    let (done, ran) = unbounded();
    for _ in 0..40 {
        let (shut, done) = (shut.clone(), done.clone());
        let task = async move {
            shut.recv().unwrap_err();
            done.send(()).unwrap();
        };
        workers.spawn(task).unwrap();
    }
    eventually(|| workers.stats().threads == 4);
    drop((open, done));
    assert_eq!(ran.iter().count(), 40);
    assert_eq!(workers.stats().threads, 4);
}

#[test]
fn a_wait_that_is_announced_lets_another_thread_take_over() {
    // Before the wait, and during it.
    for is_queued in [true, false] {
        let workers = unwatched(1);
        let (done, ran) = unbounded();
        let (waits, is_waiting) = unbounded();
        let (go, may_go) = unbounded::<()>();
        let other = async move { done.send(()).unwrap() };
        workers
            .spawn(async move {
                may_go.recv().unwrap();
                blocking(|| {
                    waits.send(()).unwrap();
                    ran.recv().unwrap();
                });
                waits.send(()).unwrap();
            })
            .unwrap();
        if is_queued {
            workers.spawn(other).unwrap();
            go.send(()).unwrap();
            is_waiting.recv().unwrap();
        } else {
            go.send(()).unwrap();
            is_waiting.recv().unwrap();
            workers.spawn(other).unwrap();
        }
        is_waiting.recv().unwrap();
    }
}

#[test]
fn waits_beside_pushes_are_always_taken_over() {
    let workers = unwatched(1);
    for _ in 0..times(5000) {
        let (done, ran) = unbounded();
        let (waited, has_waited) = unbounded();
        workers
            .spawn(async move {
                blocking(|| ran.recv().unwrap());
                waited.send(()).unwrap();
            })
            .unwrap();
        workers.spawn(async move { done.send(()).unwrap() }).unwrap();
        has_waited.recv().unwrap();
    }
}

#[test]
fn a_chain_of_waits_has_a_thread_for_each() {
    let tasks = if cfg!(miri) { 5 } else { 100 };
    let workers = unwatched(1);
    let barrier = Arc::new(Barrier::new(tasks + 1));
    for _ in 0..tasks {
        let barrier = Arc::clone(&barrier);
        workers.spawn(async move { blocking(|| _ = barrier.wait()) }).unwrap();
    }
    barrier.wait();
    eventually(|| workers.stats().waiting == 0);
}

#[test]
fn a_wait_in_a_wait_counts_once_and_a_panic_ends_it() {
    let workers = pool(1);
    let (done, ran) = unbounded();
    let pool = workers.clone();
    workers
        .spawn(async move {
            let waiting = || pool.stats().waiting;
            assert_eq!(waiting(), 0);
            blocking(|| {
                assert_eq!(waiting(), 1);
                blocking(|| assert_eq!(waiting(), 1));
                assert_eq!(waiting(), 1);
                let inner = catch_unwind(AssertUnwindSafe(|| blocking(|| panic!("in a wait in a wait"))));
                assert!(inner.is_err());
                assert_eq!(waiting(), 1);
            });
            assert_eq!(waiting(), 0);
            assert!(catch_unwind(AssertUnwindSafe(|| blocking(|| panic!("in a wait")))).is_err());
            assert_eq!(waiting(), 0);
            // Still announced.
            assert_eq!(blocking(waiting), 1);
            done.send(()).unwrap();
            blocking(|| panic!("in a wait that ends its task"));
        })
        .unwrap();
    ran.recv().expect("no assertion failed");
    eventually(|| workers.stats().waiting == 0);
}

#[test]
fn a_task_that_waits_while_it_is_dropped_lets_another_thread_take_over() {
    struct Waits(Receiver<()>, Sender<()>);
    impl Drop for Waits {
        fn drop(&mut self) {
            blocking(|| self.0.recv().unwrap());
            self.1.send(()).unwrap();
        }
    }
    let workers = unwatched(1);
    let (done, ran) = unbounded();
    let (dropped, is_dropped) = unbounded();
    let waits = Waits(ran, dropped);
    workers
        .spawn(async move {
            let _waits = waits;
        })
        .unwrap();
    workers.spawn(async move { done.send(()).unwrap() }).unwrap();
    is_dropped.recv().unwrap();
}

#[test]
fn a_wait_on_a_thread_of_no_pool_is_just_that() {
    assert_eq!(blocking(|| blocking(|| 7)), 7);
}
