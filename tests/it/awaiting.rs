//! `Closing` and `Flushing` can be awaited, and wake the tasks that await them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::common::{Count, Latch, PanicsOnWake, SOON, rounds, spin_for};
use futures::executor::block_on;
use outflow::{Broadcaster, CloseError, Closing, Sink, SinkExt, sink};

#[test]
fn a_close_that_is_awaited_completes_when_everything_is_delivered() {
    for events in 0..500 {
        let delivered = sink::collector();
        let queue = delivered.clone().queued();
        queue.write_all(0..events).unwrap();
        block_on(queue.close()).unwrap();
        assert_eq!(delivered.len(), events);
    }
}

#[test]
fn a_flush_that_is_awaited_is_a_barrier() {
    let delivered = sink::collector();
    let queue = delivered.clone().queued();
    for event in 0..500 {
        queue.write(event).unwrap();
        block_on(queue.flush()).unwrap();
        assert_eq!(delivered.len(), event + 1);
    }
    block_on(queue.close()).unwrap();
}

#[test]
fn every_task_that_awaits_the_same_close_is_woken() {
    let (closing, pending) = Closing::pending();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let closing = closing.clone();
            thread::spawn(move || block_on(closing))
        })
        .collect();
    pending.finish(Err(CloseError::other("told to all")));
    for task in tasks {
        assert_eq!(task.join().unwrap().unwrap_err().to_string(), "told to all");
    }
}

#[test]
fn a_waker_that_panics_ends_no_queue_and_holds_up_no_close() {
    let waker = PanicsOnWake::waker();
    let mut context = Context::from_waker(&waker);
    for _ in 0..rounds(50) {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let queue = sink::for_each(move |_: u32| _ = released.lock().unwrap().recv()).queued();
        let broadcaster = Broadcaster::new();
        broadcaster.add(queue.clone()).unwrap();
        broadcaster.write(1).unwrap();
        let mut flushing = queue.flush();
        assert!(Pin::new(&mut flushing).poll(&mut context).is_pending());
        release.send(()).unwrap();
        flushing.within(SOON).unwrap();
        broadcaster.write(2).unwrap();
        let mut closing = queue.close();
        assert!(Pin::new(&mut closing).poll(&mut context).is_pending());
        let above = broadcaster.close();
        drop(release);
        above.within(SOON).unwrap();
        assert_eq!(queue.stats().delivered, 2);
    }
}

#[test]
fn what_is_polled_by_one_task_after_another_keeps_the_last_one_alone() {
    let (mut closing, pending) = Closing::pending();
    let wakers: Vec<_> = (0..100).map(|_| Count::new()).collect();
    for (_, waker) in &wakers {
        assert!(Pin::new(&mut closing).poll(&mut Context::from_waker(waker)).is_pending());
    }
    // Ours, the waker's, and of the last one that which is to be woken.
    let kept: Vec<_> = wakers.iter().map(|(count, _)| Arc::strong_count(count)).collect();
    assert!(kept[..99].iter().all(|kept| *kept == 2) && kept[99] == 3, "{kept:?}");

    // A clone is polled for another task, and neither takes the other's place.
    let (count, waker) = Count::new();
    let mut clone = closing.clone();
    assert!(Pin::new(&mut clone).poll(&mut Context::from_waker(&waker)).is_pending());
    pending.finish(Ok(()));
    assert_eq!((count.get(), wakers[99].0.get(), wakers[98].0.get()), (1, 1, 0));
}

#[test]
fn a_future_that_is_dropped_keeps_no_waker() {
    let (closing, pending) = Closing::pending();
    let (count, waker) = Count::new();
    for _ in 0..10_000 {
        let mut closing = closing.clone();
        assert!(Pin::new(&mut closing).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 2);
    pending.finish(Ok(()));
    assert_eq!(count.get(), 0);
}

#[test]
fn a_task_that_moves_while_the_outcome_is_set_is_woken() {
    for round in 0..rounds(5000) {
        let (mut closing, pending) = Closing::pending();
        let told = thread::spawn(move || {
            spin_for(round % 200);
            pending.finish(Ok(()));
        });
        let polled = |closing: &mut Closing| {
            let (count, waker) = Count::new();
            let ready = Pin::new(closing).poll(&mut Context::from_waker(&waker)).is_ready();
            (count, ready)
        };
        let mut last = polled(&mut closing);
        for _ in 0..round % 7 {
            if !last.1 {
                last = polled(&mut closing);
            }
        }
        told.join().unwrap();
        // Not ready when it was polled last: then that task was woken.
        assert!(last.1 || last.0.get() == 1, "round {round}");
    }
}

#[test]
fn a_closing_that_is_done_keeps_no_waker() {
    let (closing, pending) = Closing::pending();
    let mut polled: Vec<_> = (0..3).map(|_| closing.clone()).collect();
    let (count, waker) = Count::new();
    for closing in &mut polled {
        assert!(Pin::new(closing).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 5);
    pending.finish(Ok(()));
    assert_eq!((Arc::strong_count(&count), count.get()), (2, 3), "each was woken, and none is kept");
    // Polled once more, by another task.
    let (other, waker) = Count::new();
    for closing in &mut polled {
        assert!(Pin::new(&mut *closing).poll(&mut Context::from_waker(&waker)).is_ready());
        assert!(Pin::new(closing).poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert_eq!(Arc::strong_count(&other), 2);
    drop(polled);

    // Nor if it becomes done while it is polled.
    for _ in 0..rounds(600) {
        let (mut closing, pending) = Closing::pending();
        let (count, waker) = Count::new();
        let finishes = thread::spawn(move || pending.finish(Ok(())));
        while Pin::new(&mut closing).poll(&mut Context::from_waker(&waker)).is_pending() {}
        finishes.join().unwrap();
        assert_eq!(Arc::strong_count(&count), 2);
    }
}

/// Runs a task where it is woken, on the thread that wakes it.
struct Inline<T> {
    task: std::sync::Mutex<Option<Pin<Box<dyn Future<Output = T> + Send>>>>,
    output: std::sync::mpsc::Sender<(T, thread::ThreadId)>,
}

impl<T: Send + 'static> Inline<T> {
    fn spawn(
        task: impl Future<Output = T> + Send + 'static,
    ) -> std::sync::mpsc::Receiver<(T, thread::ThreadId)> {
        let (output, outputs) = std::sync::mpsc::channel();
        Arc::new(Self { task: std::sync::Mutex::new(Some(Box::pin(task))), output }).wake();
        outputs
    }
}

impl<T: Send + 'static> Wake for Inline<T> {
    fn wake(self: Arc<Self>) {
        let mut slot = self.task.lock().unwrap();
        let Some(task) = &mut *slot else { return };
        let waker = Waker::from(Arc::clone(&self));
        if let Poll::Ready(output) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            *slot = None;
            let _ = self.output.send((output, thread::current().id()));
        }
    }
}

#[test]
fn a_task_that_is_polled_on_a_workers_thread_gets_the_outcome_and_no_would_deadlock() {
    let latch = Latch::new();
    let stuck = latch.clone();
    let below = sink::for_each(move |_: u32| stuck.pass()).queued();
    let (worker, workers) = std::sync::mpsc::channel();
    let upper =
        below.clone().keep_open().inspect(move |_| worker.send(thread::current().id()).unwrap()).queued();
    upper.write(1).unwrap();
    latch.arrived(1);
    let upper_worker = workers.recv().unwrap();
    // First what the upper queue's worker completes: from there on the task is polled on that thread, which both
    // of the flushes below depend on, while they are not done.
    let (begun, other) = (upper.flush(), below.clone());
    let (again, closes) = (upper.clone(), upper.clone());
    let outputs = Inline::spawn(async move {
        let begun = begun.await;
        let flushed = again.flush().await;
        let closed = closes.close().await;
        let below = other.close().await;
        (begun, flushed, closed, below)
    });
    latch.open();
    let (output, thread) = outputs.recv_timeout(SOON).expect("it ends");
    assert_eq!(output, (Ok(()), Ok(()), Ok(()), Ok(())));
    assert_ne!(thread, thread::current().id());
    let _ = upper_worker;
}

#[test]
fn a_task_on_a_workers_thread_awaits_a_close_that_depends_on_that_worker() {
    // The worker polls a task that awaits its own queue's close, and goes on: nothing waits for ever.
    let slot = Arc::new(std::sync::OnceLock::<outflow::queue::WeakQueue<u32>>::new());
    let own = Arc::clone(&slot);
    let (tasks, outputs) = std::sync::mpsc::channel();
    let queue = sink::for_each(move |_: u32| {
        let closing = own.wait().upgrade().expect("a handle is alive").close();
        // A thread that waits here is told, and a task is not: it does not keep the worker.
        assert_eq!(closing.wait(), Err(CloseError::WouldDeadlock));
        tasks.send(Inline::spawn(closing)).unwrap();
    })
    .queued();
    assert!(slot.set(queue.downgrade()).is_ok());
    queue.write(1).unwrap();
    let output = outputs.recv().unwrap().recv_timeout(SOON).expect("it ends");
    assert_eq!(output.0, Ok(()));
}
