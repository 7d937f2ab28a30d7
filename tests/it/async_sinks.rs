//! Asynchronous sinks: what is not said of them by `conformance`, `auto_traits` and the docs.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Count, rounds};
use outflow::retry::{Breaker, BreakerState, Constant, ExponentialBackoff, RetryAfter};
use outflow::sink::{Collector, FromAsyncFn, ImmediateSink};
use outflow::testing::Outcome::Fail;
use outflow::testing::{Flaky, FlakyError, Latch, Panicking, Slow, Stuck, VirtualClock, block_on};
// Both, in every test: a method of one is not taken for that of the other.
use outflow::{
    AsyncSink, AsyncSinkExt, CatchPanicError, Counter, DeadLetter, Meter, SharedAsyncSink, Sink, SinkExt,
    TimeoutError, WriteError, sink,
};

const HOUR: Duration = Duration::from_secs(3600);

/// An asynchronous sink over a collector, which stays open.
fn into(kept: &Collector<u32>) -> impl AsyncSink<u32, Error = Infallible> + use<> {
    let kept = kept.clone();
    sink::from_async_fn(move |event: u32| {
        let kept = kept.clone();
        async move {
            kept.write(event).unwrap();
            Ok(())
        }
    })
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn nothing_happens_before_the_first_poll() {
    let seen = sink::collector();
    let meter = Meter::new();
    let log = seen.clone();
    let chain = into(&seen)
        .timeout(HOUR)
        .retry(Constant::new(HOUR))
        .catch_panic()
        .inspect(move |event: &u32| log.write(*event).unwrap())
        .metered(&meter);
    drop(chain.write(1));
    assert_eq!((seen.len(), meter.snapshot().events), (0, 0));
    block_on(chain.write(2)).unwrap();
    assert_eq!(seen.events(), [2, 2]);
}

#[test]
fn the_event_itself_comes_back_through_every_combinator() {
    /// Counts how far a copy is from the original.
    #[derive(Debug, PartialEq)]
    struct Event(u32);
    impl Clone for Event {
        fn clone(&self) -> Self {
            Event(self.0 + 1)
        }
    }
    let leaf = || sink::from_async_fn(|_: Event| async { Err::<(), _>("down") });
    fn erased<X: 'static>(sink: impl AsyncSink<Event, Error = X> + 'static) -> SharedAsyncSink<Event, X> {
        sink.shared()
    }
    fn event<X>(sink: &impl AsyncSink<Event, Error = X>) -> Event {
        block_on(sink.write(Event(0))).map_err(WriteError::into_event).unwrap_err()
    }
    assert_eq!(event(&erased(leaf())), Event(0));
    assert_eq!(event(&leaf().timeout(HOUR)), Event(0));
    assert_eq!(event(&leaf().catch_panic()), Event(0));
    assert_eq!(event(&leaf().filter(|_| true)), Event(0));
    assert_eq!(event(&leaf().map(|event: &Event| event.clone())), Event(0));
    assert_eq!(event(&leaf().map_owned(|event: Event| event, |event| event)), Event(0));
    assert_eq!(event(&leaf().filter_map(|event: &Event| Some(event.clone()))), Event(0));
    assert_eq!(event(&leaf().inspect(|_| ())), Event(0));
    assert_eq!(event(&leaf().retry(Constant::new(Duration::ZERO)).max_attempts(3)), Event(0));
    assert_eq!(event(&leaf().metered(&Meter::new())), Event(0));
    assert_eq!(event(&leaf().keep_open().closeable()), Event(0));
    assert_eq!(event(&leaf().close_on_failure()), Event(0));
    assert_eq!(event(&leaf().close_with_last()), Event(0));
}

#[test]
fn both_faces_of_a_combinator_are_told_apart_where_both_traits_are_imported() {
    let kept = sink::collector();
    let sync = kept.clone().filter(|event: &u32| *event > 1).map(|event: &u32| *event).closeable();
    let chain = into(&kept).filter(|event: &u32| *event > 1).map(|event: &u32| *event).closeable();
    sync.write(1).unwrap();
    sync.write(2).unwrap();
    block_on(chain.write(1)).unwrap();
    block_on(chain.write(3)).unwrap();
    assert_eq!(kept.events(), [2, 3]);
    assert!(sync.wants(&2) && chain.wants(&2) && !chain.wants(&1));
    chain.close().wait().unwrap();
    assert!(chain.is_closed() && !kept.is_closed());
    assert_eq!(block_on(chain.write(4)), Err(WriteError::Closed(4)));
}

fn down() -> FromAsyncFn<u32, impl Fn(u32) -> std::future::Ready<Result<(), &'static str>> + Send + Sync> {
    sink::from_async_fn(|_: u32| std::future::ready(Err("down")))
}

#[test]
fn a_virtual_clock_drives_the_waits_of_a_retry() {
    let clock = VirtualClock::new();
    let kept = sink::collector();
    let retry = Flaky::script(into(&kept), [Fail, Fail])
        .retry(Breaker::new(1, HOUR).clock(clock.clone()))
        .clock(clock.clone());
    let (count, waker) = Count::new();
    let mut write = pin!(retry.write(1));
    for wakes in 0..2 {
        assert!(poll(write.as_mut(), &waker).is_pending());
        // A poll too many is as good as none.
        assert!(poll(write.as_mut(), &waker).is_pending());
        assert_eq!((clock.sleeping(), clock.next_wake()), (1, Some(HOUR)));
        clock.advance(HOUR - Duration::from_nanos(1));
        assert_eq!(count.get(), wakes);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(count.get(), wakes + 1);
    }
    assert_eq!(poll(write.as_mut(), &waker), Poll::Ready(Ok(())));
    assert_eq!((kept.events(), clock.sleeping()), (vec![1], 0));
}

#[test]
fn a_close_wakes_a_retry_that_waits_at_once() {
    let retry = down().retry(Constant::new(HOUR));
    let (count, waker) = Count::new();
    let mut write = pin!(retry.write(1));
    assert!(poll(write.as_mut(), &waker).is_pending());
    assert_eq!(count.get(), 0);
    retry.close().wait().unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(poll(write.as_mut(), &waker), Poll::Ready(Err(WriteError::Closed(1))));
}

#[test]
fn a_success_wakes_the_others_that_wait_in_a_retry() {
    let open = Latch::new();
    let up = open.clone();
    let retry = sink::from_async_fn(move |_: u32| {
        let up = up.is_open();
        async move { if up { Ok(()) } else { Err("down") } }
    })
    .retry(Breaker::new(1, Duration::from_millis(1)));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|event| {
                scope.spawn({
                    let retry = &retry;
                    move || block_on(retry.write(event))
                })
            })
            .collect();
        open.open();
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
    });
    assert_eq!(retry.strategy().state(), BreakerState::Closed);
}

#[test]
fn no_wake_up_is_lost_between_a_close_and_a_wait_that_begins() {
    for round in 0..rounds(2000) {
        let retry = Arc::new(down().retry(Constant::new(HOUR)));
        let writer = thread::spawn({
            let retry = Arc::clone(&retry);
            move || block_on(retry.write(1))
        });
        for _ in 0..round % 64 * 16 {
            std::hint::spin_loop();
        }
        retry.close().wait().unwrap();
        assert_eq!(writer.join().unwrap(), Err(WriteError::Closed(1)));
    }
}

#[test]
fn a_wait_that_is_dropped_leaves_nothing_behind() {
    let clock = VirtualClock::new();
    let retry = down().retry(Constant::new(HOUR).clock(clock.clone())).clock(clock.clone()).max_attempts(2);
    let task = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&task));
    for _ in 0..3 {
        let mut write = Box::pin(retry.write(1));
        assert!(poll(write.as_mut(), &waker).is_pending());
        assert!(Arc::strong_count(&task) > 2);
        assert_eq!(clock.sleeping(), 1);
        drop(write);
        assert_eq!(clock.sleeping(), 0);
        assert_eq!(Arc::strong_count(&task), 2, "the retry keeps a waker");
    }
    // With the monotonic clock too.
    let retry = down().retry(Constant::new(HOUR));
    let mut write = Box::pin(retry.write(1));
    assert!(poll(write.as_mut(), &waker).is_pending());
    drop(write);
    assert_eq!(Arc::strong_count(&task), 2);
    retry.close().wait().unwrap();
    assert_eq!(task.get(), 0);
}

#[test]
fn a_retry_of_an_asynchronous_sink_has_the_strategies_and_their_methods() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Throttled;
    impl RetryAfter for Throttled {
        fn retry_after(&self) -> Option<Duration> {
            Some(HOUR)
        }
    }
    let clock = VirtualClock::new();
    let (retries, failures) = (Counter::new(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&failures);
    let retry = sink::from_async_fn(|_: u32| async { Err(Throttled) })
        .retry(ExponentialBackoff::default().max(Duration::from_secs(1)).clock(clock.clone()))
        .clock(clock.clone())
        .honor_retry_after()
        .max_retry_after(HOUR / 2)
        .give_up_when(|failure| *failure.event == 7)
        .max_attempts(2)
        .on_failure(move |_| _ = seen.fetch_add(1, Ordering::SeqCst))
        .count_retries(&retries);
    assert_eq!(block_on(retry.write(7)), Err(WriteError::failed(7, Throttled)));
    let mut write = pin!(retry.write(1));
    assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    assert_eq!(clock.next_wake(), Some(HOUR / 2));
    clock.advance(HOUR / 2);
    while poll(write.as_mut(), Waker::noop()).is_pending() {
        clock.advance_to_next().unwrap();
        if retries.get() == 1 && failures.load(Ordering::SeqCst) == 3 {
            break;
        }
    }
    assert_eq!((retries.get(), failures.load(Ordering::SeqCst)), (1, 3));
}

#[test]
fn a_write_that_takes_too_long_comes_back_and_is_given_up() {
    let (clock, latch, kept, meter) = (VirtualClock::new(), Latch::new(), sink::collector(), Meter::new());
    let slow = Stuck::new(into(&kept), &latch).metered(&meter).timeout(HOUR).clock(clock.clone());
    let (count, waker) = Count::new();
    let mut write = pin!(slow.write(1));
    assert!(poll(write.as_mut(), &waker).is_pending());
    clock.advance(HOUR);
    assert_eq!(count.get(), 1);
    assert_eq!(
        poll(write.as_mut(), &waker),
        Poll::Ready(Err(WriteError::failed(1, TimeoutError::TimedOut(HOUR))))
    );
    assert_eq!(
        (meter.snapshot().cancelled, meter.snapshot().panicked, meter.snapshot().in_flight),
        (1, 0, 0)
    );
    latch.open();
    assert!(kept.is_empty());

    // What is done when its time is up has succeeded.
    let mut write = pin!(slow.write(2));
    clock.advance(HOUR);
    assert_eq!(poll(write.as_mut(), &waker), Poll::Ready(Ok(())));
    assert_eq!(kept.events(), [2]);
}

#[test]
fn a_timeout_of_a_sink_that_had_written_delivers_at_least_once_under_a_retry() {
    let clock = VirtualClock::new();
    let kept = sink::collector();
    let log = kept.clone();
    // It has written, and then never says so the first time.
    let never_says = Latch::new();
    let latch = never_says.clone();
    let retry = sink::from_async_fn(move |event: u32| {
        let (first, latch) = (log.is_empty(), latch.clone());
        log.write(event).unwrap();
        async move {
            if first {
                latch.passed().await;
            }
            Ok::<_, Infallible>(())
        }
    })
    .timeout(HOUR)
    .clock(clock.clone())
    .retry(Constant::new(Duration::ZERO));
    let mut write = pin!(retry.write(1));
    assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    assert_eq!(poll(write.as_mut(), Waker::noop()), Poll::Ready(Ok(())));
    assert_eq!(kept.events(), [1, 1]);
}

#[test]
fn a_timeout_by_the_machines_clock_ends() {
    let begun = Instant::now();
    let stuck = Stuck::new(into(&sink::collector()), &Latch::new()).timeout(Duration::from_millis(5));
    assert_eq!(
        block_on(stuck.write(1)).unwrap_err().error(),
        Some(&TimeoutError::TimedOut(Duration::from_millis(5)))
    );
    assert!(begun.elapsed() >= Duration::from_millis(5));
}

#[test]
fn a_panic_in_a_poll_is_a_panic_of_the_sink() {
    let (kept, meter) = (sink::collector(), Meter::new());
    let caught = Panicking::at(into(&kept), 0).message("out of paper").metered(&meter).catch_panic();
    let error = block_on(caught.write(1)).unwrap_err();
    assert_eq!(error, WriteError::failed(1, CatchPanicError::Panicked("out of paper".into())));
    block_on(caught.write(2)).unwrap();
    assert_eq!((kept.events(), meter.snapshot().panicked, meter.snapshot().cancelled), (vec![2], 1, 0));
}

#[test]
fn a_panic_after_a_suspension_and_one_outside_of_the_future_are_caught_too() {
    let latch = Latch::new();
    latch.open();
    let kept = sink::collector();
    let late = Slow::new(Panicking::at(into(&kept), 0), Duration::from_millis(1)).catch_panic();
    assert!(block_on(late.write(1)).is_err());
    let hasty = sink::from_async_fn(|_: u32| -> std::future::Ready<Result<(), Infallible>> {
        std::panic::resume_unwind(Box::new("before there is a future"))
    });
    let error = block_on(hasty.catch_panic().write(1)).unwrap_err();
    assert_eq!(error.error(), Some(&CatchPanicError::Panicked("before there is a future".into())));
}

#[test]
fn what_fails_goes_into_sinks_that_never_wait() {
    fn never_waits<E>(_: &impl ImmediateSink<E>) {}
    let (dead, spare) = (sink::collector(), sink::collector());
    never_waits(&dead);
    let letters = down().dead_letter(dead.clone());
    block_on(letters.write(1)).unwrap();
    assert_eq!(dead.events(), [DeadLetter { event: 1, error: "down" }]);
    letters.close().wait().unwrap();
    assert!(dead.is_closed());

    let fallback = down().fallback(spare.clone());
    block_on(fallback.write(1)).unwrap();
    assert_eq!(spare.events(), [1]);
    fallback.close().wait().unwrap();
    assert!(spare.is_closed());

    let dropped = Counter::new();
    block_on(down().lossy_counted(&dropped).write(1)).unwrap();
    assert_eq!(dropped.get(), 1);
}

#[test]
fn a_guard_and_the_last_clone_close_an_asynchronous_sink() {
    let chain = Arc::new(into(&sink::collector()));
    drop(Arc::clone(&chain).close_on_drop(HOUR));
    assert!(chain.is_closed());

    let chain = Arc::new(into(&sink::collector()));
    let shared = Arc::clone(&chain).close_with_last();
    let other = shared.clone();
    shared.close().wait().unwrap();
    assert!(!chain.is_closed() && block_on(shared.write(1)).is_err());
    block_on(other.write(1)).unwrap();
    drop(other);
    assert!(chain.is_closed());

    let closes = down().close_on_failure();
    assert_eq!(block_on(closes.write(1)), Err(WriteError::Closed(1)));
    assert!(closes.is_closed());
}

#[test]
fn write_all_stops_at_the_first_that_fails() {
    let chain = Flaky::script(into(&sink::collector()), [outflow::testing::Outcome::Pass, Fail]);
    let stopped = block_on(chain.write_all(0..5)).unwrap_err();
    assert_eq!(stopped.refused, WriteError::failed(1, FlakyError::Injected { write: 1 }));
    assert!(stopped.rest.eq(2..5));
}

#[test]
fn writes_to_one_sink_are_polled_on_one_thread_at_the_same_time() {
    let latch = Latch::new();
    let kept = sink::collector();
    let stuck = Stuck::new(into(&kept), &latch).retry(Constant::new(HOUR));
    let mut writes: Vec<_> = (0..100).map(|event| Box::pin(stuck.write(event))).collect();
    for write in &mut writes {
        assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    }
    latch.open();
    for write in &mut writes {
        assert_eq!(poll(write.as_mut(), Waker::noop()), Poll::Ready(Ok(())));
    }
    assert_eq!(kept.len(), 100);
}

#[cfg(feature = "tower")]
mod tower {
    use super::*;
    use std::cell::Cell;
    use tower_service::Service;

    /// Is ready at its second poll, and fails as it is told. `Send` and not `Sync`, as boxed services are.
    #[derive(Clone)]
    struct Counts {
        calls: Arc<AtomicUsize>,
        asked: Cell<bool>,
        fails_to_be_ready: bool,
    }

    impl Service<u32> for Counts {
        type Response = &'static str;
        type Error = &'static str;
        type Future = std::future::Ready<Result<&'static str, &'static str>>;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            if !self.asked.replace(true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(if self.fails_to_be_ready { Err("not ready") } else { Ok(()) })
        }

        fn call(&mut self, event: u32) -> Self::Future {
            assert!(self.asked.get(), "called before it was ready");
            self.calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(if event < 10 { Ok("answer") } else { Err("too large") })
        }
    }

    #[test]
    fn a_service_is_called_once_it_is_ready_and_hands_events_back() {
        let calls = Arc::new(AtomicUsize::new(0));
        let service = |fails_to_be_ready| Counts {
            calls: Arc::clone(&calls),
            asked: Cell::new(false),
            fails_to_be_ready,
        };
        let sink = sink::from_service(service(false));
        block_on(sink.write(1)).unwrap();
        assert_eq!(block_on(sink.write(10)), Err(WriteError::failed(10, "too large")));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let unready = sink::from_service(service(true)).retry(Constant::new(Duration::ZERO)).max_attempts(2);
        assert_eq!(block_on(unready.write(1)), Err(WriteError::failed(1, "not ready")));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        sink.close().wait().unwrap();
        assert_eq!(block_on(sink.write(1)), Err(WriteError::Closed(1)));
    }
}
