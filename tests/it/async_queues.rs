//! Queues and followers over asynchronous sinks, wherever their workers run.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};

use crate::common::{PanicsOnDrop, SOON, in_time, planned_panic, rounds, spin, wait_until};
use outflow::log::{FollowOptions, LogOptions, Start};
use outflow::queue::{Batch, QueueOptions, QueueStats};
use outflow::retry::Constant;
use outflow::{
    AsyncOnly, AsyncSink, AsyncSinkExt, Buffer, CloseError, FlushError, Log, Queue, Sink, SinkExt,
    WorkerFuture, Workers, buffer::Block, sink,
};

/// Awaits the runtime's turn, then keeps the event.
fn keeps<T: Clone + Send + 'static>(
    kept: &sink::Collector<T>,
) -> impl AsyncSink<T, Error = Infallible> + use<T> {
    let kept = kept.clone();
    sink::from_async_fn(move |event: T| {
        let kept = kept.clone();
        async move {
            tokio::task::yield_now().await;
            kept.write(event).map_err(|_| "closed")
        }
    })
    .lossy()
}

#[test]
fn a_queue_over_an_async_sink_delivers_in_order_wherever_its_worker_runs() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let pool = futures::executor::ThreadPool::builder().pool_size(1).create().unwrap();
    let kept = sink::collector();
    let queues = [
        keeps(&kept).queued(),
        keeps(&kept).queued_with(Buffer::unbounded()),
        keeps(&kept).queued_with(QueueOptions::default().on(&Workers::builder().threads(1).build())),
        keeps(&kept).queued_with(QueueOptions::default().dedicated()),
        keeps(&kept).queued_with(QueueOptions::default().on(runtime.handle())),
        keeps(&kept).queued_with(QueueOptions::default().on(runtime.handle().clone())),
        keeps(&kept).queued_with(QueueOptions::default().on(move |worker| pool.spawn_ok(worker))),
    ];
    for queue in queues {
        queue.write_all(0..1000).unwrap();
        queue.flush().wait().unwrap();
        assert!(kept.take().into_iter().eq(0..1000), "{queue:?}");
        queue.close().wait().unwrap();
        assert_eq!(queue.stats().delivered, 1000);
        assert!(queue.write(0).unwrap_err().is_closed());
    }
}

#[test]
fn a_batching_queue_over_an_async_sink_writes_vectors() {
    let kept = sink::collector();
    let queue = keeps(&kept).batched(Batch::of(3));
    queue.write_all(0..10).unwrap();
    queue.close().wait().unwrap();
    let batches: Vec<Vec<u32>> = kept.take();
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert!(batches.into_iter().flatten().eq(0..10));
}

#[test]
fn followers_over_async_sinks_deliver_in_order_wherever_their_workers_run() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let log = Log::with(LogOptions::new().retain(10_000));
    log.append_all(0..500).unwrap();
    let kept: [sink::Collector<u32>; 4] = Default::default();
    let oldest = FollowOptions::new().start(Start::Oldest);
    log.follow_async_with(Start::Oldest, keeps(&kept[0])).unwrap();
    log.follow_async_with(oldest.clone().on(runtime.handle()), keeps(&kept[1])).unwrap();
    log.follow_async_with(oldest.dedicated().name("follower"), keeps(&kept[2])).unwrap();
    let late = log.follow_async(keeps(&kept[3]));
    log.append_all(500..1000).unwrap();
    log.flush().wait().unwrap();
    assert!(kept[..3].iter().all(|kept| kept.events().into_iter().eq(0..1000)));
    assert!(late.detach().is_none() && late.close().wait().is_ok());
    log.close().wait().unwrap();
    assert!(kept[3].events().into_iter().eq(500..1000));
}

#[test]
fn an_async_sink_is_detached_as_one() {
    let kept = sink::collector();
    let log = Log::new();
    let follower = log.follow_async(keeps(&kept));
    log.append(1).unwrap();
    follower.flush().wait().unwrap();
    assert!(follower.detach().is_none());
    let sink = follower.detach_async().expect("it has not ended");
    log.append(2).unwrap();
    log.close().wait().unwrap();
    block_on(sink.write(3)).unwrap();
    assert_eq!(kept.events(), [1, 3]);
}

/// A runtime, or something like it, that is shut down at some moment.
trait ShutDown {
    fn on(&self, buffer: Buffer<u32, Block>) -> QueueOptions<u32, Block, AsyncOnly>;
}

impl ShutDown for Runtime {
    fn on(&self, buffer: Buffer<u32, Block>) -> QueueOptions<u32, Block, AsyncOnly> {
        QueueOptions::new(buffer).on(self.handle())
    }
}

/// A current-thread runtime, driven by a thread until it is dropped.
struct CurrentThread {
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl CurrentThread {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || _ = runtime.block_on(stopped));
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }
}

impl ShutDown for CurrentThread {
    fn on(&self, buffer: Buffer<u32, Block>) -> QueueOptions<u32, Block, AsyncOnly> {
        QueueOptions::new(buffer).on(&self.handle)
    }
}

impl Drop for CurrentThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Polls a worker so many times, woken or not, and drops it.
struct DropsAtRandom(usize);

impl ShutDown for DropsAtRandom {
    fn on(&self, buffer: Buffer<u32, Block>) -> QueueOptions<u32, Block, AsyncOnly> {
        let polls = self.0;
        QueueOptions::new(buffer).on(move |mut worker: WorkerFuture| {
            thread::spawn(move || {
                for _ in 0..polls {
                    if worker.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        return;
                    }
                    thread::yield_now();
                }
            });
        })
    }
}

/// Writers of both kinds, a flush and a close, while `runtime` is dropped: every event is somewhere, and nothing hangs.
fn shut_down_in_the_middle(
    round: u32,
    runtime: impl ShutDown + Send + 'static,
    lanes: Option<usize>,
) -> QueueStats {
    let kept = sink::collector();
    let spill = sink::collector();
    let inner = kept.clone();
    let panics_on = if round % 11 == 0 { 17 } else { u32::MAX };
    let end = sink::from_async_fn(move |event: u32| {
        let inner = inner.clone();
        async move {
            for _ in 0..event % 3 {
                tokio::task::yield_now().await;
            }
            if event == panics_on {
                planned_panic();
            }
            inner.write(event).map_err(|_| "closed")
        }
    });
    let mut options = runtime.on(Buffer::bounded(4).spill(spill.clone()));
    if let Some(lanes) = lanes {
        options = options.keyed(lanes, |event| event % 7);
    }
    let queue = end.lossy().queued_with(options);
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for writer in 0..2 {
        let (queue, accepted) = (queue.clone(), Arc::clone(&accepted));
        threads.push(thread::spawn(move || {
            for event in 0..30 {
                let written =
                    if writer == 0 { queue.write(event) } else { block_on(queue.write_async(event)) };
                match written {
                    Ok(()) => _ = accepted.fetch_add(1, Ordering::Relaxed),
                    Err(refused) => assert!(refused.is_closed()),
                }
            }
        }));
    }
    let other = queue.clone();
    threads.push(thread::spawn(move || {
        let flushed = other.flush().within(SOON);
        assert!(!matches!(flushed, Err(FlushError::TimedOut)), "{flushed:?}");
    }));
    let other = queue.clone();
    threads.push(thread::spawn(move || match round % 4 {
        0 => _ = other.close().within(SOON),
        1 => _ = other.close().abort(),
        _ => {}
    }));
    // At another moment in each round.
    while kept.len() < (round % 50) as usize && !queue.is_closed() {
        thread::yield_now();
    }
    spin(round);
    drop(runtime);
    let begun = Instant::now();
    let closed = queue.close().within(SOON);
    assert!(begun.elapsed() < SOON / 2, "round {round} hung: {closed:?}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = queue.stats();
    let accepted = accepted.load(Ordering::Relaxed) as u64;
    assert_eq!((stats.pending, stats.in_flight), (0, 0), "round {round}: {stats:?} {closed:?}");
    assert_eq!(stats.delivered, kept.len() as u64, "round {round}: {stats:?}");
    assert_eq!(stats.spilled, spill.len() as u64, "round {round}: {stats:?}");
    assert_eq!(stats.accepted, accepted, "round {round}: {stats:?}");
    assert_eq!(accepted, stats.delivered + stats.spilled + stats.dropped + stats.lost);
    assert!(stats.lost <= lanes.unwrap_or(1) as u64 && stats.dropped == 0, "round {round}: {stats:?}");
    assert_eq!(closed.is_ok(), stats.spilled + stats.lost == 0, "round {round}: {stats:?} {closed:?}");
    stats
}

#[test]
fn a_multi_thread_runtime_that_is_dropped_leaves_every_event_accounted_for() {
    for round in 0..rounds(1000) {
        let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
        shut_down_in_the_middle(round, runtime, None);
    }
}

#[test]
fn a_current_thread_runtime_that_is_dropped_leaves_every_event_accounted_for() {
    for round in 0..rounds(1000) {
        shut_down_in_the_middle(round, CurrentThread::new(), None);
    }
}

#[test]
fn an_executor_that_drops_a_worker_at_any_poll_leaves_every_event_accounted_for() {
    let mut lost = 0;
    let mut spilled = 0;
    for round in 0..rounds(2000).max(50) {
        let stats = shut_down_in_the_middle(round, DropsAtRandom(round as usize % 41), None);
        lost += stats.lost;
        spilled += stats.spilled;
    }
    assert!(lost > 0 && spilled > 0, "nothing was in the middle: {lost} lost, {spilled} spilled");
}

#[test]
fn a_keyed_queue_accounts_for_all_that_is_in_flight_when_its_executor_drops_it() {
    let mut most_lost = 0;
    for round in 0..rounds(1000).max(50) {
        let lanes = Some(1 + round as usize % 4);
        shut_down_in_the_middle(round, Builder::new_multi_thread().worker_threads(2).build().unwrap(), lanes);
        shut_down_in_the_middle(round, CurrentThread::new(), lanes);
        let stats = shut_down_in_the_middle(round, DropsAtRandom(round as usize % 41), lanes);
        most_lost = most_lost.max(stats.lost);
    }
    assert!(most_lost > 1, "never were two in flight");
}

#[test]
fn a_keyed_queue_over_an_async_sink_is_one_task_with_up_to_n_writes_in_flight() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let spawned = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&spawned);
    let handle = runtime.handle().clone();
    let on = QueueOptions::default().on(move |worker| {
        counts.fetch_add(1, Ordering::Relaxed);
        drop(handle.spawn(worker));
    });
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let kept = sink::collector();
    let (is_inside, at_most, keeps) = (Arc::clone(&inside), Arc::clone(&most), kept.clone());
    let end = sink::from_async_fn(move |event: (u32, u32)| {
        let (inside, most, kept) = (Arc::clone(&is_inside), Arc::clone(&at_most), keeps.clone());
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            for _ in 0..event.1 % 5 {
                tokio::task::yield_now().await;
            }
            inside.fetch_sub(1, Ordering::Relaxed);
            kept.write(event).map_err(|_| "closed")
        }
    });
    let queue = end.lossy().queued_with(on.keyed(5, |event: &(u32, u32)| event.0));
    runtime.block_on(async {
        for event in 0..3000_u32 {
            queue.write((event % 20, event)).unwrap();
            if event % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        queue.flush().await.unwrap();
        assert_eq!(queue.stats().delivered, 3000);
        queue.close().await.unwrap();
    });
    assert_eq!((spawned.load(Ordering::Relaxed), most.load(Ordering::Relaxed)), (1, 5));
    for key in 0..20 {
        let of_key: Vec<u32> = kept.events().into_iter().filter(|e| e.0 == key).map(|e| e.1).collect();
        assert!(of_key.into_iter().eq((0..3000).filter(|event| event % 20 == key)), "key {key}");
    }
}

#[test]
fn a_key_whose_async_write_is_stuck_or_retried_holds_up_no_other_wherever_the_queue_runs() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let pool = Workers::builder().threads(1).build();
    let options = [
        QueueOptions::default().into(),
        QueueOptions::default().on(&pool).into(),
        QueueOptions::default().dedicated().into(),
        QueueOptions::default().on(runtime.handle()),
    ];
    for options in options {
        let options: QueueOptions<u32, _, AsyncOnly> = options;
        let (release, released) = oneshot::channel::<()>();
        let released = Arc::new(Mutex::new(Some(released)));
        let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let kept = sink::collector();
        let (keeps, is_down) = (kept.clone(), Arc::clone(&down));
        let end = sink::from_async_fn(move |event: u32| {
            let (kept, is_down) = (keeps.clone(), Arc::clone(&is_down));
            let stuck = if event == 0 { released.lock().unwrap().take() } else { None };
            async move {
                if let Some(stuck) = stuck {
                    stuck.await.map_err(|_| "cancelled")?;
                }
                if event == 1 && is_down.load(Ordering::SeqCst) {
                    return Err("down");
                }
                kept.write(event).map_err(|_| "closed")
            }
        });
        let retried = end.retry(Constant::new(Duration::from_millis(1)));
        let queue = retried.queued_with(options.keyed(3, |event: &u32| event % 10));
        queue.write_all(0..200).unwrap();
        let others = (0..200).filter(|event| event % 10 > 1).count();
        wait_until("the others are delivered", || kept.len() == others);
        assert!(kept.events().iter().all(|event| event % 10 > 1));
        release.send(()).unwrap();
        wait_until("the stuck key goes on", || kept.len() == others + 20);
        down.store(false, Ordering::SeqCst);
        queue.close().wait().unwrap();
        for key in 0..10 {
            let of_key: Vec<u32> = kept.events().into_iter().filter(|event| event % 10 == key).collect();
            assert!(of_key.len() == 20 && of_key.is_sorted(), "{of_key:?}");
        }
    }
}

#[test]
fn a_keyed_bounded_queue_serves_async_writers_and_futures_sinks() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let kept = sink::collector();
    let options =
        || QueueOptions::new(Buffer::bounded(3)).on(runtime.handle()).keyed(2, |event: &u32| event % 4);
    let queue = keeps(&kept).queued_with(options());
    block_on(async {
        for event in 0..200 {
            match event % 2 {
                0 => queue.write_async(event).await.unwrap(),
                _ => queue.reserve().await.unwrap().send(event).unwrap(),
            }
        }
    });
    queue.close().wait().unwrap();
    assert_eq!(kept.len(), 200);
    let queue = keeps(&kept).queued_with(options());
    block_on(stream::iter(200..400).map(Ok).forward(queue.into_futures())).unwrap();
    for key in 0..4 {
        let of_key: Vec<u32> = kept.events().into_iter().filter(|event| event % 4 == key).collect();
        assert!(of_key.len() == 100 && of_key.is_sorted(), "{of_key:?}");
    }
}

type Slot = Arc<Mutex<Option<WorkerFuture>>>;

/// Options, with keys or without, whose executor leaves the worker in a slot.
fn in_a_slot(keyed: bool) -> (QueueOptions<u32, Block, AsyncOnly>, Slot) {
    let slot = Slot::default();
    let worker = Arc::clone(&slot);
    let options = QueueOptions::new(Buffer::bounded(8)).on(move |new| *worker.lock().unwrap() = Some(new));
    (if keyed { options.keyed(2, |event| *event) } else { options }, slot)
}

#[test]
fn a_queue_whose_worker_is_never_polled_ends_by_an_abort_and_by_being_dropped() {
    for keyed in [false, true] {
        for aborted in [false, true] {
            let (options, slot) = in_a_slot(keyed);
            let kept = sink::collector();
            let queue = keeps(&kept).queued_with(options);
            queue.write_all([1, 2]).unwrap();
            let flushing = queue.flush();
            if aborted {
                let closed = queue.close().within(Duration::from_millis(1)).unwrap_err();
                assert_eq!(closed, CloseError::Undelivered { events: 2, in_flight: 0 });
            }
            drop(slot.lock().unwrap().take());
            assert!(flushing.within(SOON).is_err_and(|error| !matches!(error, FlushError::TimedOut)));
            assert_eq!(queue.close().wait().unwrap_err().undelivered(), 2);
            assert_eq!((queue.stats().dropped, queue.stats().pending, kept.len()), (2, 0, 0));
        }
    }
}

#[test]
fn a_waker_whose_destructor_panics_ends_no_queue() {
    struct Panics(#[allow(dead_code)] PanicsOnDrop);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {}
    }
    for keyed in [false, true] {
        let (options, slot) = in_a_slot(keyed);
        let kept = sink::collector();
        let queue = keeps(&kept).queued_with(options);
        let mut worker = slot.lock().unwrap().take().unwrap();
        for event in 0..3 {
            let waker = Waker::from(Arc::new(Panics(PanicsOnDrop)));
            assert!(worker.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            // The queue has the last one, and lets go of it when it is polled with another, or wakes it.
            drop(waker);
            if event > 0 {
                queue.write(event).unwrap();
            }
            while kept.len() < event as usize {
                assert!(worker.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            for _ in 0..2 {
                assert!(worker.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        }
        assert_eq!((kept.events(), queue.is_closed()), (vec![1, 2], false));
    }
}

#[test]
fn a_queue_on_a_runtime_that_was_shut_down_is_closed_and_says_what_it_lost() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    let kept = sink::collector::<u32>();
    let early = keeps(&kept).queued_with(QueueOptions::default().on(&handle));
    early.write_all(0..3).unwrap();
    drop(runtime);
    let closed = early.close().wait().unwrap_err();
    assert_eq!(closed.undelivered(), 3);
    let late = keeps(&kept).queued_with(QueueOptions::default().on(&handle));
    assert!(late.write(1).unwrap_err().is_closed());
    late.close().wait().unwrap();
    let log = Log::new();
    let follower = log.follow_async_with(FollowOptions::new().on(&handle), keeps(&kept)).unwrap();
    log.append(1).unwrap();
    follower.close().wait().unwrap();
    assert_eq!((follower.stats().accepted, kept.len()), (0, 0));
}

#[test]
fn a_panic_in_a_poll_is_a_panic_of_the_sink() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let spill = sink::collector();
    let panics = sink::from_async_fn(|event: u32| async move {
        tokio::task::yield_now().await;
        if event == 2 {
            planned_panic();
        }
        Ok::<_, Infallible>(())
    });
    let buffer = Buffer::unbounded().spill(spill.clone());
    let queue = panics.queued_with(QueueOptions::new(buffer).on(runtime.handle()));
    let written = queue.write_all(0..5).is_ok();
    let error = queue.close().wait().unwrap_err();
    assert!(matches!(error, CloseError::Panicked { .. }), "{error}");
    let stats = queue.stats();
    assert_eq!((stats.delivered, stats.lost), (2, 1));
    assert!(!written || spill.len() == 2);
    // The runtime goes on.
    assert_eq!(runtime.block_on(async { tokio::spawn(async { 7 }).await }).unwrap(), 7);
}

/// A sink whose only write waits for what it returns, and fails then if that is `false`.
fn answers() -> (impl AsyncSink<u32, Error = &'static str>, oneshot::Sender<bool>, mpsc::Receiver<()>) {
    let (answer, answered) = oneshot::channel();
    let (begin, begun) = mpsc::channel();
    let answered = Arc::new(Mutex::new(Some(answered)));
    let end = sink::from_async_fn(move |_: u32| {
        let answered = answered.lock().unwrap().take();
        begin.send(()).unwrap();
        async move {
            let Some(answered) = answered else { return Err("once") };
            if answered.await.unwrap() { Ok(()) } else { Err("not now") }
        }
    });
    (end, answer, begun)
}

#[test]
fn an_abort_cancels_no_write_and_its_event_is_spilled_if_it_comes_back() {
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for delivers in [true, false] {
        let (end, answer, begun) = answers();
        let spill = sink::collector();
        let buffer = Buffer::unbounded().spill(spill.clone());
        let queue = end
            .retry(Constant::new(Duration::from_secs(3600)))
            .queued_with(QueueOptions::new(buffer).on(runtime.handle()));
        queue.write_all(0..3).unwrap();
        begun.recv().unwrap();
        let error = queue.close().within(Duration::from_millis(10)).unwrap_err();
        assert!(matches!(error, CloseError::Undelivered { events: 2, in_flight: 1 }), "{error:?}");
        answer.send(delivers).unwrap();
        wait_until("the write has ended", || queue.stats().in_flight == 0);
        let stats = queue.stats();
        let expected = if delivers { (1, 2) } else { (0, 3) };
        assert_eq!((stats.delivered, stats.spilled, stats.lost), (expected.0, expected.1, 0), "{stats:?}");
        assert_eq!(spill.len() as u64, expected.1);
    }
}

#[test]
fn an_async_sink_that_waits_on_its_thread_for_its_own_queue_is_told_so() {
    let runtime = Builder::new_current_thread().build().unwrap();
    for keyed in [false, true] {
        let own = Arc::new(std::sync::OnceLock::<outflow::queue::WeakQueue<u32>>::new());
        let (told, tells) = (sink::collector(), Arc::clone(&own));
        let answers = told.clone();
        let end = sink::from_async_fn(move |_: u32| {
            let (own, answers) = (Arc::clone(&tells), answers.clone());
            async move {
                tokio::task::yield_now().await;
                let queue = own.get().unwrap().upgrade().unwrap();
                answers.write(queue.flush().wait() == Err(FlushError::WouldDeadlock)).unwrap();
                let closing = queue.close();
                answers.write(closing.wait() == Err(CloseError::WouldDeadlock)).unwrap();
                Ok::<_, Infallible>(())
            }
        });
        let mut options = QueueOptions::default().on(runtime.handle());
        if keyed {
            options = options.keyed(2, |event| *event);
        }
        let queue = end.queued_with(options);
        own.set(queue.downgrade()).unwrap();
        queue.write(1).unwrap();
        runtime.block_on(queue.close()).unwrap();
        assert_eq!((told.events(), queue.stats().delivered), (vec![true, true], 1));
    }
}

#[test]
fn a_current_thread_runtime_runs_writers_worker_and_close() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let kept = sink::collector();
    runtime.block_on(async {
        let here = tokio::runtime::Handle::current();
        let queue = keeps(&kept).queued_with(QueueOptions::new(Buffer::bounded(2)).on(here));
        for event in 0..100 {
            queue.write_async(event).await.unwrap();
        }
        queue.flush().await.unwrap();
        assert_eq!(kept.len(), 100);
        queue.close().await.unwrap();
    });
}

/// A queue of one, whose sink waits until the sender is dropped or sends.
fn stuck() -> (Queue<u32, Block>, sink::Collector<u32>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let kept = sink::collector();
    let inner = kept.clone();
    let queue = sink::from_fn_mut(move |event: &u32| {
        _ = begin.send(());
        _ = released.recv();
        inner.write(*event)
    })
    .lossy()
    .queued_with(Buffer::bounded(1));
    queue.write(0).unwrap();
    begun.recv().unwrap();
    queue.write(1).unwrap();
    (queue, kept, release)
}

fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn tasks_that_wait_get_room_in_the_order_in_which_they_came() {
    let (queue, kept, release) = stuck();
    let mut second = pin!(queue.write_async(2));
    let mut third = pin!(queue.reserve());
    let mut dropped = Box::pin(queue.write_async(99));
    let mut fourth = pin!(queue.write_async(4));
    assert!(is_pending(second.as_mut()) && is_pending(third.as_mut()));
    assert!(is_pending(dropped.as_mut()) && is_pending(fourth.as_mut()));
    assert!(queue.try_write(98).is_err());
    drop(dropped);
    drop(release);
    block_on(async {
        second.await.unwrap();
        third.await.unwrap().send(3).unwrap();
        fourth.await.unwrap();
    });
    queue.close().wait().unwrap();
    assert_eq!(kept.events(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_permit_that_is_dropped_gives_its_place_to_the_next() {
    let queue = sink::discard().queued_with(Buffer::bounded(1));
    let permit = block_on(queue.reserve()).unwrap();
    assert!(queue.try_write(1).is_err());
    let mut next = pin!(queue.write_async(2));
    assert!(is_pending(next.as_mut()));
    drop(permit);
    block_on(next).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(queue.stats().delivered, 1);
}

#[test]
fn a_close_ends_the_waits_of_tasks_and_waits_for_no_permit() {
    let (queue, kept, release) = stuck();
    let mut waits = pin!(queue.write_async(2));
    let mut reserves = pin!(queue.reserve());
    assert!(is_pending(waits.as_mut()) && is_pending(reserves.as_mut()));
    let closing = queue.close();
    assert_eq!(block_on(waits).unwrap_err().into_event(), 2);
    assert!(block_on(reserves).is_err());
    drop(release);
    closing.wait().unwrap();
    assert_eq!(kept.events(), [0, 1]);

    let queue = sink::discard().queued_with(Buffer::bounded(1));
    let permit = block_on(queue.reserve()).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(permit.send(1).unwrap_err().into_event(), 1);
    assert!(block_on(queue.reserve()).is_err() && block_on(queue.write_async(1)).is_err());
}

#[test]
fn writers_that_give_up_at_any_poll_lose_no_room_and_no_event() {
    for round in 0..rounds(1000) {
        let kept = sink::collector();
        let queue = kept.clone().queued_with(Buffer::bounded(2));
        thread::scope(|scope| {
            for writer in 0..3 {
                let queue = &queue;
                scope.spawn(move || {
                    for event in 0..20 {
                        let event = writer * 100 + event;
                        let gives_up = (round + event) % 3 == 0;
                        if writer == 0 {
                            queue.write(event).unwrap();
                            continue;
                        }
                        let write = async {
                            match event % 2 {
                                0 => queue.write_async(event).await.unwrap(),
                                _ => queue.reserve().await.unwrap().send(event).unwrap(),
                            }
                        };
                        let mut write = Box::pin(write);
                        if gives_up && is_pending(write.as_mut()) {
                            spin(round);
                            drop(write);
                            queue.write(event).unwrap();
                        } else if !gives_up {
                            block_on(write);
                        }
                    }
                });
            }
        });
        let waits = queue.clone();
        in_time("the room", move || (0..4).for_each(|event| waits.write(event).unwrap()));
        queue.close().wait().unwrap();
        assert_eq!(kept.len(), 64, "round {round}");
        // All room is there again.
        assert_eq!(queue.stats().delivered, 64);
    }
}

#[test]
fn what_a_buffer_weighs_waits_for_as_much_room_as_it_needs() {
    let (release, released) = mpsc::channel::<()>();
    let queue = sink::from_fn_mut(move |_: &u32| {
        _ = released.recv();
        Ok::<_, Infallible>(())
    })
    .queued_with(Buffer::bounded(100).weighing(10, |event: &u32| u64::from(*event)));
    queue.write(1).unwrap();
    wait_until("the sink has it", || queue.is_empty());
    block_on(queue.write_async(6)).unwrap();
    let mut heavy = pin!(queue.write_async(5));
    assert!(is_pending(heavy.as_mut()));
    assert_eq!(queue.weight(), Some(6));
    drop(release);
    block_on(heavy).unwrap();
    queue.close().wait().unwrap();
    assert_eq!((queue.weight(), queue.stats().delivered), (Some(0), 3));
}

#[test]
fn a_sink_that_writes_into_its_own_full_queue_does_not_wait() {
    let own: Arc<std::sync::OnceLock<outflow::queue::WeakQueue<u32, Block>>> = Arc::default();
    let inside = Arc::clone(&own);
    let kept = sink::collector();
    let inner = kept.clone();
    let end = sink::from_async_fn(move |event: u32| {
        let (inside, inner) = (Arc::clone(&inside), inner.clone());
        async move {
            inner.write(event).unwrap();
            if event == 0 {
                let queue = inside.get().unwrap().upgrade().unwrap();
                for event in 10..15 {
                    queue.write_async(event).await.unwrap();
                }
            }
            Ok::<_, Infallible>(())
        }
    });
    let queue = end.queued_with(Buffer::bounded(1));
    assert!(own.set(queue.downgrade()).is_ok());
    queue.write(0).unwrap();
    queue.flush().within(SOON).unwrap();
    wait_until("all is delivered", || kept.len() == 6);
    queue.close().within(SOON).unwrap();
    assert_eq!(kept.events(), [0, 10, 11, 12, 13, 14]);
}

#[cfg(feature = "futures")]
#[test]
fn a_bounded_queue_as_a_futures_sink_is_ready_when_there_is_room() {
    use futures::SinkExt as _;

    let (queue, kept, release) = stuck();
    let mut sender = queue.clone().into_futures();
    assert!(poll_once(|context| sender.poll_ready_unpin(context)).is_pending());
    let mut forwarded = Box::pin(stream::iter(2..1000).map(Ok).forward(sender));
    assert!(is_pending(forwarded.as_mut()));
    assert_eq!(queue.len(), 1);
    drop(release);
    block_on(forwarded).unwrap();
    assert!(kept.events().into_iter().eq(0..1000));
    assert!(queue.is_closed());

    // A drop, and a close by another, give the room back.
    let queue = sink::discard().queued_with(Buffer::bounded(1));
    let mut sender = queue.clone().into_futures();
    block_on(poll_fn(|context| sender.poll_ready_unpin(context))).unwrap();
    assert!(queue.try_write(1).is_err());
    drop(sender);
    queue.try_write(1).unwrap();
    let mut sender = queue.clone().into_futures();
    block_on(poll_fn(|context| sender.poll_ready_unpin(context))).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(sender.start_send_unpin(2).unwrap_err().into_event(), Some(2));
    assert!(block_on(sender.send(3)).unwrap_err().is_closed());
}

#[cfg(feature = "futures")]
fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}
