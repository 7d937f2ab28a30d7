//! Asynchronous sinks: what is not said of them by `conformance`, `auto_traits` and the docs.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Count, PLANNED, PanicsOnDrop, panic_message, planned_panic, rounds, spin, wait_until};
use outflow::retry::{Breaker, BreakerState, Constant, ExponentialBackoff, RetryAfter};
use outflow::sink::{Collector, FromAsyncFn, ImmediateSink};
use outflow::testing::Outcome::Fail;
use outflow::testing::{Flaky, FlakyError, Latch, Panicking, Slow, Stuck, VirtualClock, block_on};
// Both, in every test: a method of one is not taken for that of the other.
use outflow::{
    AsyncSink, AsyncSinkExt, Buffer, CatchPanicError, CloseError, Closing, Counter, DeadLetter, Flushing,
    Meter, Rate, SharedAsyncSink, Sink, SinkExt, TimeoutError, WriteError, sink,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A rate at which the writes of a test need not wait.
fn at_once() -> Rate {
    Rate::per_second(1_000).burst(1_000)
}

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
    assert_eq!(event(&leaf().rate_limit(at_once())), Event(0));
    assert_eq!(event(&leaf().expire_after(HOUR, |_| Duration::ZERO)), Event(0));
    assert_eq!(event(&leaf().expire_after(Duration::ZERO, |_| HOUR)), Event(0));
    let split = sink::from_async_fn(|_: Vec<Event>| async { Err::<(), _>("down") }).split_on(|_| true);
    let batch = block_on(split.write(vec![Event(0), Event(0)])).unwrap_err().into_event();
    assert_eq!(batch, [Event(0), Event(0)]);
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
    let (clock, latch) = (VirtualClock::new(), Latch::new());
    let (attempts, inside) = (AtomicUsize::new(0), latch.clone());
    // The first attempt fails, and the second, the probe, waits at the latch.
    let retry = sink::from_async_fn(move |_: u32| {
        let (attempt, latch) = (attempts.fetch_add(1, Ordering::SeqCst), inside.clone());
        async move {
            match attempt {
                0 => return Err("down"),
                1 => latch.passed().await,
                _ => {}
            }
            Ok(())
        }
    })
    .retry(Breaker::new(1, HOUR).clock(clock.clone()))
    .clock(clock.clone());

    let (count, waker) = Count::new();
    let mut probe = pin!(retry.write(0));
    assert!(poll(probe.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    assert!(poll(probe.as_mut(), Waker::noop()).is_pending());
    let mut others: Vec<_> = (1..8).map(|event| Box::pin(retry.write(event))).collect();
    for other in &mut others {
        assert!(poll(other.as_mut(), &waker).is_pending());
    }
    assert_eq!((latch.arrivals(), count.get()), (1, 0));

    latch.open();
    assert_eq!(poll(probe.as_mut(), Waker::noop()), Poll::Ready(Ok(())));
    assert_eq!(count.get(), 7, "the clock stands still, and the success wakes them");
    for other in &mut others {
        assert_eq!(poll(other.as_mut(), &waker), Poll::Ready(Ok(())));
    }
    assert_eq!((retry.strategy().state(), clock.sleeping()), (BreakerState::Closed, 0));
}

#[test]
fn a_retry_that_never_has_to_wait_lets_other_tasks_run() {
    let retry = down().retry(Constant::new(Duration::ZERO));
    let (count, waker) = Count::new();
    let mut write = pin!(retry.write(1));
    assert!(poll(write.as_mut(), &waker).is_pending());
    assert_eq!(count.get(), 1);
    retry.close().wait().unwrap();
    assert_eq!(poll(write.as_mut(), &waker), Poll::Ready(Err(WriteError::Closed(1))));
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
fn a_breakers_probe_that_is_dropped_holds_the_others_up_for_a_backoff_and_no_longer() {
    let clock = VirtualClock::new();
    let attempts = AtomicUsize::new(0);
    let end = sink::from_async_fn(move |_: u32| {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst);
        async move {
            match attempt {
                0 => Err("down"),
                1 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    });
    let sink = end.retry(Breaker::new(1, HOUR).clock(clock.clone())).clock(clock.clone());
    let mut probe = Box::pin(sink.write(1));
    let mut other = pin!(sink.write(2));
    assert!(poll(probe.as_mut(), Waker::noop()).is_pending());
    assert!(poll(other.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    assert!(poll(probe.as_mut(), Waker::noop()).is_pending());
    drop(probe);
    assert!(poll(other.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    assert_eq!(poll(other.as_mut(), Waker::noop()), Poll::Ready(Ok(())));
}

#[test]
fn a_timeout_above_a_retry_ends_its_backoff_and_takes_its_timers_back() {
    let clock = VirtualClock::new();
    let sink = down()
        .retry(Constant::new(HOUR).clock(clock.clone()))
        .clock(clock.clone())
        .timeout(90 * HOUR / 60)
        .clock(clock.clone());
    for event in 0..3 {
        let mut write = pin!(sink.write(event));
        let begun = clock.elapsed();
        let refused = loop {
            match poll(write.as_mut(), Waker::noop()) {
                Poll::Ready(written) => break written.unwrap_err(),
                Poll::Pending => _ = clock.advance_to_next().unwrap(),
            }
        };
        assert_eq!(clock.elapsed() - begun, 90 * HOUR / 60);
        assert_eq!((refused.into_event(), clock.sleeping()), (event, 0));
    }
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
    for _ in 0..2 {
        assert!(poll(write.as_mut(), Waker::noop()).is_pending());
        assert_eq!(clock.next_wake(), Some(HOUR / 2));
        clock.advance(HOUR / 2);
    }
    assert_eq!(poll(write.as_mut(), Waker::noop()), Poll::Ready(Err(WriteError::failed(1, Throttled))));
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
fn a_timeout_of_longer_than_any_clock_counts_never_ends() {
    for time in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let stuck = Stuck::new(into(&sink::collector()), &Latch::new()).timeout(time);
        let (count, waker) = Count::new();
        let mut write = pin!(stuck.write(1));
        assert!(poll(write.as_mut(), &waker).is_pending());
        assert!(poll(write.as_mut(), &waker).is_pending());
        assert_eq!(count.get(), 0);
    }
}

#[test]
fn a_retry_above_a_timeout_waits_as_long_as_the_endpoint_below_it_asks() {
    #[derive(Clone, Debug, PartialEq)]
    struct Throttled;
    impl RetryAfter for Throttled {
        fn retry_after(&self) -> Option<Duration> {
            Some(HOUR)
        }
    }
    let clock = VirtualClock::new();
    let retry = sink::from_async_fn(|_: u32| async { Err(Throttled) })
        .timeout(HOUR)
        .retry(Constant::new(Duration::ZERO))
        .clock(clock.clone())
        .honor_retry_after()
        .max_retry_after(HOUR);
    let mut write = pin!(retry.write(1));
    assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    assert_eq!(clock.next_wake(), Some(HOUR));
    assert_eq!(TimeoutError::<Throttled>::TimedOut(HOUR).retry_after(), None);
}

#[test]
fn a_destructor_that_panics_in_a_write_that_is_given_up_is_a_panic_of_the_sink() {
    let clock = VirtualClock::new();
    let timeout = || {
        sink::from_async_fn(|_: u32| async {
            let _panics = PanicsOnDrop;
            std::future::pending::<Result<(), Infallible>>().await
        })
        .timeout(HOUR)
        .clock(clock.clone())
    };
    let (bare, meter) = (timeout(), Meter::new());
    let mut write = Box::pin(bare.write(1));
    assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    assert_eq!(panic_message(|| poll(write.as_mut(), Waker::noop())), PLANNED);

    let caught = timeout().metered(&meter).catch_panic();
    let mut write = Box::pin(caught.write(1));
    assert!(poll(write.as_mut(), Waker::noop()).is_pending());
    clock.advance(HOUR);
    let error = CatchPanicError::Panicked(PLANNED.into());
    assert_eq!(poll(write.as_mut(), Waker::noop()), Poll::Ready(Err(WriteError::failed(1, error))));
    assert_eq!((meter.snapshot().panicked, meter.snapshot().cancelled, clock.sleeping()), (1, 0, 0));
}

/// Panics before it has made a future.
struct Hasty;

impl AsyncSink<u32> for Hasty {
    type Error = Infallible;

    #[allow(unreachable_code)] // It says what would be returned.
    fn write(&self, _: u32) -> impl Future<Output = Result<(), WriteError<u32, Infallible>>> + Send {
        planned_panic();
        std::future::ready(Ok(()))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn a_panic_before_there_is_a_future_is_a_panic_of_the_sink() {
    let meter = Meter::new();
    let error = block_on(Hasty.metered(&meter).timeout(HOUR).catch_panic().write(1)).unwrap_err();
    assert_eq!(error, WriteError::failed(1, CatchPanicError::Panicked(PLANNED.into())));
    let counts = meter.snapshot();
    assert_eq!((counts.events, counts.panicked, counts.cancelled, counts.in_flight), (1, 1, 0, 0));
}

/// Fails every write, and panics when it is closed or flushed.
struct BrokenClose;

impl AsyncSink<u32> for BrokenClose {
    type Error = &'static str;

    async fn write(&self, event: u32) -> Result<(), WriteError<u32, &'static str>> {
        Err(WriteError::failed(event, "down"))
    }

    fn flush(&self) -> Flushing {
        planned_panic()
    }

    fn close(&self) -> Closing {
        planned_panic()
    }
}

#[test]
fn a_panic_of_the_close_of_one_of_two_sinks_leaves_no_other_open() {
    let (spare, dead) = (sink::collector(), sink::collector());
    let fallback = BrokenClose.fallback(spare.clone());
    let letters = BrokenClose.dead_letter(dead.clone());
    assert!(fallback.flush().wait().is_err() && letters.flush().wait().is_err());
    assert!(matches!(fallback.close().wait(), Err(CloseError::Panicked { .. })));
    assert!(matches!(letters.close().wait(), Err(CloseError::Panicked { .. })));
    assert!(spare.is_closed() && dead.is_closed());

    // Whatever the close does, the writer gets its event back.
    let cut_off = BrokenClose.close_on_failure();
    assert_eq!(block_on(cut_off.write(1)), Err(WriteError::Closed(1)));
    assert_eq!(block_on(cut_off.write(2)), Err(WriteError::Closed(2)));
    drop(BrokenClose.close_with_last());
    drop(BrokenClose.close_on_drop(HOUR));
}

#[test]
fn a_close_in_the_midst_of_a_write_leaves_it_to_its_end_and_refuses_the_next() {
    fn check<S: AsyncSink<u32>>(name: &str, make: impl Fn(SharedAsyncSink<u32>) -> S) {
        let (latch, kept) = (Latch::new(), sink::collector());
        let chain = make(Stuck::new(into(&kept), &latch).shared());
        let mut write = pin!(chain.write(1));
        assert!(poll(write.as_mut(), Waker::noop()).is_pending(), "{name}");
        drop(chain.close());
        let late = block_on(chain.write(2)).map_err(WriteError::into_event);
        assert_eq!(late, Err(2), "{name}");
        latch.open();
        let written = poll(write.as_mut(), Waker::noop()).map_err(WriteError::into_event);
        // The leaf may refuse it, if it had not begun before the close: then it has not arrived.
        let arrived = matches!(written, Poll::Ready(Ok(())));
        assert!(arrived || written == Poll::Ready(Err(1)), "{name}: {written:?}");
        assert_eq!(kept.len(), usize::from(arrived), "{name}");
    }
    check("closeable", |leaf| leaf.closeable());
    check("keep_open, closeable", |leaf| leaf.keep_open().closeable());
    check("close_with_last", |leaf| leaf.close_with_last());
    check("close_on_failure", |leaf| leaf.close_on_failure());
    check("retry", |leaf| leaf.retry(Constant::new(HOUR)));
    check("rate_limit", |leaf| leaf.rate_limit(at_once()));
    check("expire_after", |leaf| leaf.closeable().expire_after(HOUR, |_| Duration::ZERO));
}

/// Drops a write after each number of polls that it can have, and then writes again.
#[track_caller]
fn dropped_at_each_poll<S, X>(name: &str, make: impl Fn(SharedAsyncSink<u32>) -> S)
where
    S: AsyncSink<u32, Error = X>,
    X: std::fmt::Debug,
{
    const PENDING: u32 = 3;
    for polls in 0..=PENDING {
        let (kept, inside, outside) = (sink::collector(), Meter::new(), Meter::new());
        let log = kept.clone();
        let leaf = sink::from_async_fn(move |event: u32| {
            let (log, mut left) = (log.clone(), PENDING);
            async move {
                std::future::poll_fn(|context| {
                    if left == 0 {
                        return Poll::Ready(());
                    }
                    left -= 1;
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                log.write(event).unwrap();
                Ok(())
            }
        });
        let chain = make(leaf.metered(&inside).shared()).metered(&outside);
        let task = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut write = Box::pin(chain.write(1));
        for _ in 0..polls {
            assert!(poll(write.as_mut(), &waker).is_pending(), "{name}");
        }
        drop(write);
        assert_eq!(Arc::strong_count(&task), 2, "{name} keeps a waker after {polls} polls");
        let cancelled = u64::from(polls > 0);
        for meter in [&inside, &outside] {
            let counts = meter.snapshot();
            assert_eq!(
                (counts.events, counts.cancelled),
                (cancelled, cancelled),
                "{name} after {polls} polls"
            );
            assert_eq!((counts.in_flight, counts.panicked), (0, 0), "{name} after {polls} polls");
        }
        assert!(kept.is_empty(), "{name}");
        assert_eq!(block_on(chain.write(2)).map_err(WriteError::into_event), Ok(()), "{name}");
        assert_eq!(kept.events(), [2], "{name} after {polls} polls");
        chain.close().wait().unwrap();
    }
}

#[test]
fn a_write_that_is_dropped_counts_once_and_leaves_every_combinator_usable() {
    dropped_at_each_poll("filter", |leaf| leaf.filter(|_| true));
    dropped_at_each_poll("map", |leaf| leaf.map(|event: &u32| *event));
    dropped_at_each_poll("map_owned", |leaf| leaf.map_owned(|event: u32| event, |event| event));
    dropped_at_each_poll("filter_map", |leaf| leaf.filter_map(|event: &u32| Some(*event)));
    dropped_at_each_poll("inspect", |leaf| leaf.inspect(|_| ()));
    dropped_at_each_poll("retry", |leaf| leaf.retry(Constant::new(HOUR)));
    dropped_at_each_poll("timeout", |leaf| leaf.timeout(HOUR));
    dropped_at_each_poll("catch_panic", |leaf| leaf.catch_panic());
    dropped_at_each_poll("lossy", |leaf| leaf.lossy());
    dropped_at_each_poll("dead_letter", |leaf| leaf.dead_letter(sink::discard()));
    dropped_at_each_poll("fallback", |leaf| leaf.fallback(sink::discard()));
    dropped_at_each_poll("closeable", |leaf| leaf.closeable());
    dropped_at_each_poll("keep_open", |leaf| leaf.keep_open());
    dropped_at_each_poll("close_with_last", |leaf| leaf.close_with_last());
    dropped_at_each_poll("close_on_failure", |leaf| leaf.close_on_failure());
    dropped_at_each_poll("shared", |leaf| leaf.shared());
    dropped_at_each_poll("rate_limit", |leaf| leaf.rate_limit(at_once()));
    dropped_at_each_poll("expire_after", |leaf| leaf.expire_after(HOUR, |_| Duration::ZERO));
    dropped_at_each_poll("split_on", |leaf| {
        let first = |events: &Vec<u32>| events[0];
        leaf.map(first).split_on(|_: &Infallible| true).map(|event: &u32| vec![*event])
    });
}

#[test]
fn a_latch_keeps_the_waker_of_no_task_that_is_gone_and_one_of_each_that_waits() {
    let latch = Latch::new();
    let task = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&task));
    let mut gone = Box::pin(latch.passed());
    let mut waits = Box::pin(latch.passed());
    for _ in 0..3 {
        assert!(poll(gone.as_mut(), &waker).is_pending() && poll(waits.as_mut(), &waker).is_pending());
    }
    assert_eq!((latch.arrivals(), Arc::strong_count(&task)), (2, 4));
    drop(gone);
    assert_eq!(Arc::strong_count(&task), 3);
    latch.open();
    assert_eq!((task.get(), Arc::strong_count(&task)), (1, 2));
    assert!(poll(waits.as_mut(), &waker).is_ready());
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

    /// Is never ready.
    #[derive(Clone)]
    struct Busy;

    impl Service<u32> for Busy {
        type Response = ();
        type Error = &'static str;
        type Future = std::future::Ready<Result<(), &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Pending
        }

        fn call(&mut self, _: u32) -> Self::Future {
            unreachable!("it is not ready")
        }
    }

    #[test]
    fn a_close_wakes_a_write_that_waits_for_a_service_to_be_ready() {
        for round in 0..rounds(500_u32) {
            let sink = sink::from_service(Busy);
            let (count, waker) = Count::new();
            let mut write = pin!(sink.write(1));
            assert!(poll(write.as_mut(), &waker).is_pending());
            thread::scope(|scope| {
                let waits = scope.spawn(|| block_on(sink.write(2)));
                spin(round);
                sink.close().wait().unwrap();
                assert_eq!(waits.join().unwrap(), Err(WriteError::Closed(2)));
            });
            assert_eq!(count.get(), 1);
            assert_eq!(poll(write.as_mut(), &waker), Poll::Ready(Err(WriteError::Closed(1))));
        }
        let spill = sink::collector();
        let options = Buffer::unbounded().spill(spill.clone());
        let queue = sink::from_service(Busy).lossy().queued_with(options);
        queue.write_all([1, 2]).unwrap();
        wait_until("the first is with the service", || queue.stats().in_flight == 1);
        queue.close().abort().unwrap_err();
        wait_until("it came back", || queue.stats().in_flight == 0);
        let mut spilled = spill.take();
        spilled.sort_unstable();
        assert_eq!((spilled, queue.stats().lost), (vec![1, 2], 0));
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
