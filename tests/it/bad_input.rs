//! Nonsense has a documented answer: a clear refusal, or a meaning; and what panics loses at most its own event.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::{PLANNED, SOON, in_time, panic_message, planned_panic};
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::{Breaker, BreakerState, Constant, ExponentialBackoff, Failure, RetryStrategy};
use outflow::{Broadcaster, Buffer, CloseError, Rate, Sink, SinkExt, channel, sink};

const CENTURIES: Duration = Duration::from_secs(300 * 365 * 24 * 3600);

fn fail<R: RetryStrategy<(), ()>>(strategy: &R) {
    let failure = Failure { event: &(), error: &(), attempt: 1, elapsed: Duration::ZERO };
    assert!(strategy.failure(failure).is_ok());
}

fn backoff<R: RetryStrategy<(), ()>>(strategy: &R) -> Duration {
    strategy.backoff(&())
}

// One test, since the panic hook belongs to the process.
#[test]
fn what_would_hold_nothing_is_refused_with_a_message_that_says_what_to_do() {
    let message = panic_message(|| Buffer::<u32, _>::bounded(0));
    assert!(message.contains("capacity of at least 1"), "{message}");
    assert!(message.contains("channel::rendezvous()"), "{message}");
    let message = panic_message(|| sink::discard::<u32>().queued_with(Buffer::bounded(0)));
    assert!(message.contains("a buffer of 0 events"), "{message}");
    let message = panic_message(|| QueueOptions::default().keyed(0, |event: &u32| *event));
    assert!(message.contains("allow at least 1"), "{message}");
    let message = panic_message(|| QueueOptions::<u32>::default().concurrent(0));
    assert!(message.contains("allow at least 1"), "{message}");
    let message = panic_message(|| Batch::<u32>::of(0));
    assert!(message.contains("a size of at least 1"), "{message}");
    let message =
        panic_message(|| sink::discard::<u32>().retry(Constant::new(Duration::ZERO)).max_attempts(0));
    assert!(message.contains("at least 1"), "{message}");

    let message = panic_message(|| {
        sink::discard::<u32>().queued_with(QueueOptions::default().stack_size(usize::MAX / 2))
    });
    assert!(message.contains("no thread could be started"), "{message}");
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error_and_the_sink_is_dropped_with_what_it_holds() {
    let below = sink::collector::<u32>();
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let impossible = QueueOptions::new(Buffer::bounded(8)).stack_size(usize::MAX / 2);
    let refused = below.clone().inspect(move |_| _ = &held).try_queued_with(impossible);
    assert!(refused.is_err());
    assert_eq!(Arc::strong_count(&dropped), 1, "the sink is held by nobody");
    assert!(!below.is_closed(), "it was not part of a chain, so nobody closed it");
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let impossible = QueueOptions::default().stack_size(usize::MAX / 2).keyed(2, |event: &u32| *event);
    assert!(below.clone().inspect(move |_| _ = &held).try_queued_with(impossible).is_err());
    assert_eq!(Arc::strong_count(&dropped), 1, "the sink of a keyed queue is held by nobody");
    assert!(!below.is_closed());
    let batches = sink::collector::<Vec<u32>>();
    let impossible = QueueOptions::new(Buffer::bounded(8)).stack_size(usize::MAX / 2);
    assert!(batches.clone().try_batched_with(Batch::of(8), impossible.clone()).is_err());
    assert!(!batches.is_closed());

    let possible = QueueOptions::new(Buffer::bounded(8)).name("webhooks");
    let queue = below.clone().try_queued_with(possible).unwrap();
    queue.write(1).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(below.events(), [1]);
}

#[test]
fn a_capacity_of_zero_makes_a_channel_a_rendezvous() {
    in_time("the rendezvous", || {
        let (sink, events) = channel::bounded(0);
        assert_eq!(sink.try_write(1).unwrap_err().error().unwrap().capacity(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| sink.write(2).unwrap());
            assert_eq!(events.recv(), Ok(2));
        });
    });
}

#[test]
fn a_batch_of_no_time_does_not_wait() {
    in_time("the batch", || {
        let batches = sink::collector();
        let queue = batches.clone().batched(Batch::of(100).within(Duration::ZERO));
        queue.write(1).unwrap();
        crate::common::wait_until("it is written", || batches.len() == 1);
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_batch_of_centuries_waits_to_be_full_flushed_or_closed() {
    in_time("the batch", || {
        let batches = sink::collector();
        let queue = batches.clone().batched(Batch::of(3).within(Duration::MAX));
        queue.write_all(0..4).unwrap();
        crate::common::wait_until("one is full", || batches.len() == 1);
        queue.flush().wait().unwrap();
        assert_eq!(batches.events(), [vec![0, 1, 2], vec![3]]);
        queue.close().wait().unwrap();
    });
}

#[test]
fn a_threshold_of_zero_has_every_failure_back_off() {
    let breaker = Breaker::new(0, CENTURIES);
    assert_eq!(backoff(&breaker), Duration::ZERO, "before any failure");
    fail(&breaker);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert!(backoff(&breaker) > CENTURIES / 2);
}

#[test]
fn a_backoff_of_zero_never_waits() {
    let breaker = Breaker::new(1, Duration::ZERO);
    let constant = Constant::new(Duration::ZERO);
    let zero = Duration::ZERO;
    let exponential = ExponentialBackoff::default().base(zero).factor(zero).max(zero);
    for _ in 0..100 {
        fail(&breaker);
        fail(&constant);
        fail(&exponential);
        assert_eq!((backoff(&breaker), backoff(&constant), backoff(&exponential)), (zero, zero, zero));
    }
}

#[test]
fn a_backoff_of_centuries_saturates_and_a_close_ends_it() {
    in_time("the close", || {
        for long in [CENTURIES, Duration::MAX] {
            let breaker = Breaker::new(1, long);
            let constant = Constant::new(long);
            let exponential = ExponentialBackoff::default().base(long).factor(long).max(long);
            for _ in 0..100 {
                fail(&breaker);
                fail(&constant);
                fail(&exponential);
            }
            // 292 years is what 63 bits of nanoseconds hold.
            let years = CENTURIES / 300 * 290;
            assert!(backoff(&breaker) > years && backoff(&constant) > years);
            assert!(backoff(&exponential) <= long);

            let queue = sink::from_fn(|_: &u32| Err("down")).retry(Constant::new(long)).queued();
            queue.write(1).unwrap();
            let begun = Instant::now();
            assert_eq!(queue.close().within(Duration::from_millis(20)).unwrap_err().undelivered(), 1);
            assert!(begun.elapsed() < SOON);
        }
    });
}

#[test]
fn a_wait_of_centuries_for_room_or_for_a_close_does_not_overflow() {
    in_time("the wait", || {
        let (sink, events) = channel::with(Buffer::bounded(1).block_for(Duration::MAX));
        sink.write(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| sink.write(2).unwrap());
            assert_eq!(events.recv(), Ok(1));
            assert_eq!(events.recv(), Ok(2));
        });
        assert!(sink.write_timeout(3, Duration::MAX).is_ok());
        sink.close().within(Duration::MAX).unwrap();
        assert!(sink.flush().within(Duration::MAX).is_ok());
        assert_eq!(events.recv_timeout(Duration::MAX), Ok(3));
        assert!(events.recv_timeout(Duration::MAX).is_err(), "the end, not a time-out that overflows");
    });
}

/// Panics while `armed`.
fn trap(armed: &Arc<AtomicBool>) -> impl Fn() + Send + Sync + use<> {
    let armed = Arc::clone(armed);
    move || {
        if armed.load(Ordering::SeqCst) {
            planned_panic();
        }
    }
}

/// On the writer's thread the panic goes on to the writer, and the sink works as before. Behind a queue it ends
/// the queue, which tells of it, loses the one event and gives up the others.
fn panics<S>(name: &str, make: impl Fn(Box<dyn Fn() + Send + Sync>) -> S)
where
    S: Sink<u32, Error = Infallible> + Send + Sync + 'static,
{
    let armed = Arc::new(AtomicBool::new(false));
    let sink = make(Box::new(trap(&armed)));
    for by_reference in [false, true] {
        armed.store(true, Ordering::SeqCst);
        let written = catch_unwind(AssertUnwindSafe(|| {
            if by_reference { sink.write_ref(&1).is_ok() } else { sink.write(1).is_ok() }
        }));
        let panic = written.expect_err(name);
        assert_eq!(panic.downcast_ref::<&str>(), Some(&PLANNED), "{name}");
        armed.store(false, Ordering::SeqCst);
        assert!(sink.write(2).is_ok(), "{name} does not work after a panic");
    }
    sink.close().within(SOON).expect(name);

    armed.store(true, Ordering::SeqCst);
    let queue = make(Box::new(trap(&armed))).queued();
    // The first may end the queue before the others are written.
    let accepted = (0..3).filter(|event| queue.write(*event).is_ok()).count() as u64;
    let error = queue.close().wait().expect_err(name);
    let told = matches!(&error, CloseError::Panicked { message, .. } if &**message == PLANNED);
    assert!(told, "{name}: {error:?}");
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.lost, stats.dropped), (accepted, 1, accepted - 1), "{name}: {stats:?}");
    assert_eq!(error.undelivered(), accepted, "{name}");
}

/// A strategy that panics where it is told to.
struct Traps {
    backoff: Box<dyn Fn() + Send + Sync>,
    failure: Box<dyn Fn() + Send + Sync>,
    success: Box<dyn Fn() + Send + Sync>,
}

impl Traps {
    fn none() -> Self {
        Self { backoff: Box::new(|| {}), failure: Box::new(|| {}), success: Box::new(|| {}) }
    }
}

impl<E, X> RetryStrategy<E, X> for Traps {
    type Stop = Infallible;

    fn backoff(&self, _: &E) -> Duration {
        (self.backoff)();
        Duration::ZERO
    }

    fn failure(&self, _: Failure<'_, E, X>) -> Result<(), Infallible> {
        (self.failure)();
        Ok(())
    }

    fn success(&self) {
        (self.success)();
    }
}

/// Fails every other time.
fn every_other() -> impl Sink<u32, Error = &'static str> + Send + Sync {
    let attempts = AtomicU32::new(0);
    sink::from_fn(
        move |_: &u32| {
            if attempts.fetch_add(1, Ordering::SeqCst) % 2 == 0 { Err("try again") } else { Ok(()) }
        },
    )
}

#[test]
fn a_panic_of_a_users_code_reaches_the_writer_or_ends_the_queue_and_loses_its_own_event_alone() {
    in_time("a panic", || {
        panics("sink", |trap| sink::for_each(move |_: u32| trap()));
        panics("from_fn", |trap| {
            sink::from_fn(move |_: &u32| {
                trap();
                Ok::<(), Infallible>(())
            })
        });
        panics("from_fn_mut", |trap| {
            sink::from_fn_mut(move |_: &u32| {
                trap();
                Ok::<(), Infallible>(())
            })
        });
        panics("predicate", |trap| {
            sink::discard().filter(move |_: &u32| {
                trap();
                true
            })
        });
        panics("mapper", |trap| {
            sink::discard::<u32>().map(move |event: &u32| {
                trap();
                *event
            })
        });
        panics("owning mapper", |trap| {
            let into = move |event: u32| {
                trap();
                event
            };
            sink::discard::<u32>().map_owned(into, |event| event)
        });
        panics("filtering mapper", |trap| {
            sink::discard::<u32>().filter_map(move |event: &u32| {
                trap();
                Some(*event)
            })
        });
        panics("inspector", |trap| sink::discard().inspect(move |_: &u32| trap()));
        panics("age", |trap| {
            let age = move |_: &u32| {
                trap();
                Duration::ZERO
            };
            sink::discard().expire_after(Duration::ZERO, age).lossy()
        });
        panics("predicate of a split", |trap| {
            let single =
                sink::from_fn(|batch: &Vec<u32>| if batch.len() > 1 { Err("too large") } else { Ok(()) });
            let split = single.split_on(move |_| {
                trap();
                true
            });
            split.lossy().map(|event: &u32| vec![*event, *event])
        });
        panics("sink under a rate limit", |trap| {
            sink::for_each(move |_: u32| trap()).rate_limit(Rate::per_second(1_000_000))
        });
        panics("strategy's backoff", |trap| sink::discard().retry(Traps { backoff: trap, ..Traps::none() }));
        panics("strategy's failure", |trap| every_other().retry(Traps { failure: trap, ..Traps::none() }));
        panics("strategy's success", |trap| sink::discard().retry(Traps { success: trap, ..Traps::none() }));
        panics("on_failure", |trap| every_other().retry(Traps::none()).on_failure(move |_| trap()));
        panics("sink under a breaker", |trap| {
            // A probe that panics lapses by itself.
            sink::for_each(move |_: u32| trap()).retry(Breaker::new(1, Duration::from_millis(1)))
        });
        panics("one side of a tee", |trap| sink::discard().tee(sink::for_each(move |_: u32| trap())));
        panics("a broadcaster's sink", |trap| {
            let broadcaster = Broadcaster::new();
            broadcaster.add(sink::for_each(move |_: u32| trap())).unwrap();
            broadcaster
        });
    });
}

#[test]
fn a_panic_in_a_mapper_back_loses_the_event_that_it_was_to_hand_back() {
    let closed = sink::discard::<u32>();
    drop(closed.close());
    let mapped = closed.map_owned(|event: u32| event, |_| planned_panic());
    let written = catch_unwind(AssertUnwindSafe(|| mapped.write(1).is_ok()));
    assert_eq!(written.unwrap_err().downcast_ref::<&str>(), Some(&PLANNED));
    assert!(mapped.is_closed());
}
