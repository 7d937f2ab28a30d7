//! Workers of queues that an executor drops. What can be reached from outside is raced in `tests/it`.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use super::*;
use crate::lifecycle::FlushError;
use crate::worker::testing::{Awaits, poll_and_drop};

/// Keeps what it gets, and panics on one event.
struct Keeps {
    events: Mutex<Vec<u32>>,
    panics_on: u32,
}

impl Keeps {
    fn new(panics_on: u32) -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), panics_on })
    }

    /// Panics, without a word of it on standard error.
    fn look(&self, event: u32) {
        if event == self.panics_on {
            std::panic::resume_unwind(Box::new("as planned"));
        }
    }

    fn len(&self) -> u64 {
        self.events.lock().unwrap().len() as u64
    }
}

impl Sink<u32> for Keeps {
    type Error = Infallible;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, Infallible>> {
        self.look(event);
        self.events.lock().unwrap().push(event);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

impl Sink<Vec<u32>> for Keeps {
    type Error = Infallible;

    fn write(&self, events: Vec<u32>) -> Result<(), WriteError<Vec<u32>, Infallible>> {
        events.iter().for_each(|event| self.look(*event));
        self.events.lock().unwrap().extend(events);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

const ROUNDS: u32 = if cfg!(miri) { 8 } else { 4000 };

/// Writes, flushes, closes and aborts while the worker is polled, and dropped after some polls.
fn drop_while_it_runs<T, W>(source: impl Fn(Arc<QueuePipe<u32>>) -> W, in_flight: u64)
where
    T: Send + 'static,
    Keeps: Sink<T, Error = Infallible>,
    W: Source<Item = T, Receipt = ()>,
{
    for round in 0..ROUNDS {
        let sink = Keeps::new(if round % 7 == 0 { 5 } else { u32::MAX });
        let spill = Keeps::new(u32::MAX);
        let closes = Arc::new(erase::<T, _>(Arc::clone(&sink)));
        let buffer = Buffer::<u32, _>::unbounded().spill(Arc::clone(&spill));
        let deliver = Awaits(Direct(Arc::clone(&sink)));
        let (queue, life) = Queue::<u32>::with_worker(buffer, None, closes, None, &source, deliver);
        let life = life.run(false);
        let accepted = thread::scope(|scope| {
            let writer = scope
                .spawn(|| (0..20).filter(|event| Sink::<u32>::write(&queue, *event).is_ok()).count() as u64);
            scope.spawn(|| {
                let flushed = queue.flush().within(Duration::from_secs(20));
                assert!(!matches!(flushed, Err(FlushError::TimedOut)), "{flushed:?}");
            });
            scope.spawn(|| match round % 3 {
                0 => drop(queue.close()),
                1 => _ = queue.close().abort(),
                _ => {}
            });
            scope.spawn(|| poll_and_drop(life, round as usize % 41));
            writer.join().unwrap()
        });
        let begun = std::time::Instant::now();
        let closed = queue.close().within(Duration::from_secs(20));
        assert!(begun.elapsed() < Duration::from_secs(15), "round {round} hung: {closed:?}");
        let stats = queue.stats();
        assert_eq!((stats.accepted, stats.pending, stats.in_flight), (accepted, 0, 0), "{stats:?}");
        assert_eq!((stats.delivered, stats.spilled, stats.dropped), (sink.len(), spill.len(), 0));
        assert_eq!(accepted, stats.delivered + stats.spilled + stats.lost);
        assert!(stats.lost <= in_flight, "{stats:?}");
        assert_eq!(closed.is_ok(), accepted == stats.delivered, "{closed:?} {stats:?}");
    }
}

#[test]
fn a_worker_whose_future_is_dropped_at_any_moment_ends_with_everything_accounted_for() {
    drop_while_it_runs::<u32, _>(Single::new, 1);
}

#[test]
fn so_does_one_that_assembles_batches() {
    let batch = Batch::of(7).within(Duration::from_millis(1));
    drop_while_it_runs::<Vec<u32>, _>(|pipe| Batches::new(pipe, batch.clone()), 7);
    // Every other event is too heavy for the batch before it, and waits for the next one.
    let weighed = batch.weighing(3, |event| 1 + u64::from(event % 3));
    drop_while_it_runs::<Vec<u32>, _>(|pipe| Batches::new(pipe, weighed.clone()), 3);
}

#[test]
fn a_worker_that_was_never_polled_closes_its_sink_when_it_is_dropped() {
    let sink = Arc::new(crate::leaf::collector::<u32>());
    let closes = Arc::new(erase::<u32, _>(Arc::clone(&sink)));
    let (queue, life) =
        Queue::with_worker(Buffer::unbounded(), None, closes, None, Single::new, Direct(Arc::clone(&sink)));
    queue.write(1).unwrap();
    drop(life.run(false));
    let error = queue.close().within(Duration::from_secs(20)).unwrap_err();
    assert_eq!(error.undelivered(), 1);
    assert!(sink.is_closed() && queue.write(2).is_err());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_worker_that_gives_way_sleeps_only_with_its_waker_registered() {
    for events in 0..600 {
        let sink = Arc::new(crate::leaf::collector::<u32>());
        let closes = Arc::new(erase::<u32, _>(Arc::clone(&sink)));
        let deliver = Direct(Arc::clone(&sink));
        let (queue, life) = Queue::with_worker(Buffer::unbounded(), None, closes, None, Single::new, deliver);
        (0..events).for_each(|event| queue.write(event).unwrap());
        let mut life = Box::pin(life.run(false));
        let woken = Arc::new(Woken::default());
        for _ in 0..6 {
            woken.0.store(0, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&woken));
            assert!(life.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            // As a write does that comes late: its event has been delivered, and it finds a waker.
            let registered = queue.writer.pipe.end.waker.take();
            let wakes = woken.0.load(Ordering::SeqCst);
            assert!(registered.is_some() || wakes > 0, "after {events} events it sleeps for good");
            registered.into_iter().for_each(Waker::wake);
        }
        assert_eq!(sink.len(), events as usize);
        drop(queue.close());
        // It may give way once more.
        let mut ends = || life.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(ends() || ends());
    }
}
