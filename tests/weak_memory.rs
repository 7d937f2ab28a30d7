//! The protocols that rest on fences and orderings, in a few steps each: small enough for Miri, which runs them in
//! many interleavings and lets a thread read what a weak memory model allows it to. See `.ci/weak_memory`.
//!
//! A wake-up that is lost is a deadlock, of which Miri tells. Run as a plain test, this shows little.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use outflow::retry::{Breaker, Failure, RetryStrategy};
use outflow::{Broadcaster, Buffer, CloseError, Sink, SinkExt, WriteError, channel, sink};

/// How many of these writes were accepted.
fn accepted<X>(sink: &impl Sink<u32, Error = X>, events: std::ops::Range<u32>) -> u64 {
    events.filter(|event| sink.write(*event).is_ok()).count() as u64
}

#[test]
fn a_close_beside_writes_loses_no_event_of_a_channel() {
    let (sink, events) = channel::unbounded();
    let (accepted, read) = thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let sink = sink.clone();
            scope.spawn(move || accepted(&sink, writer * 2..writer * 2 + 2))
        });
        let reader = scope.spawn(move || events.iter().count() as u64);
        drop(sink.close());
        let accepted: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        (accepted, reader.join().unwrap())
    });
    assert_eq!(accepted, read);
}

#[test]
fn a_reader_that_goes_beside_writes_loses_no_event_of_a_channel() {
    let (sink, events) = channel::unbounded();
    let accepted = thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let sink = sink.clone();
            scope.spawn(move || accepted(&sink, writer * 2..writer * 2 + 2))
        });
        drop(events);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>()
    });
    sink.close().wait().unwrap();
    assert_eq!(accepted, sink.dropped());
}

#[test]
fn a_close_beside_writes_that_wait_for_room_loses_no_event_of_a_queue() {
    let delivered = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&delivered);
    let queue = sink::for_each(move |_: u32| _ = counted.fetch_add(1, Ordering::Relaxed))
        .queued_with(Buffer::bounded(1));
    let accepted = thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let queue = queue.clone();
            scope.spawn(move || accepted(&queue, writer * 2..writer * 2 + 2))
        });
        queue.close().wait().unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>()
    });
    assert_eq!((accepted, queue.stats().accepted), (u64::from(delivered.load(Ordering::Relaxed)), accepted));
}

#[test]
fn an_abort_beside_writes_accounts_for_every_event_of_a_queue() {
    let queue = sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(1).drop_oldest());
    let accepted = thread::scope(|scope| {
        let writer = {
            let queue = queue.clone();
            scope.spawn(move || accepted(&queue, 0..3))
        };
        let _ = queue.close().abort();
        writer.join().unwrap()
    });
    let _ = queue.close().wait();
    let stats = queue.stats();
    assert_eq!((stats.accepted, stats.delivered + stats.dropped), (accepted, accepted), "{stats:?}");
}

#[test]
fn a_flush_sees_what_was_written_before_it() {
    let delivered = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&delivered);
    let queue = sink::for_each(move |_: u32| _ = counted.fetch_add(1, Ordering::Relaxed)).queued();
    queue.write_all(0..2).unwrap();
    queue.flush().wait().unwrap();
    assert_eq!(delivered.load(Ordering::Relaxed), 2);
}

#[test]
fn an_abort_beside_a_write_tells_of_every_event_that_a_sink_missed() {
    let broadcaster = Broadcaster::new();
    let delivered = [sink::collector(), sink::collector()];
    broadcaster.extend(delivered.clone()).unwrap();
    let (accepted, outcome) = thread::scope(|scope| {
        let writer = {
            let broadcaster = broadcaster.clone();
            scope.spawn(move || accepted(&broadcaster, 0..2))
        };
        let outcome = broadcaster.close().abort();
        (writer.join().unwrap(), outcome)
    });
    let missed = 2 * accepted - delivered.iter().map(|sink| sink.len() as u64).sum::<u64>();
    // Time passes as Miri likes it: a write may well not come back in that of an abort.
    let knows = !matches!(&outcome, Err(error) if error.to_string().ends_with("was aborted"));
    assert!(!knows || outcome.as_ref().err().map_or(0, CloseError::undelivered) == missed, "{outcome:?}");
    assert_eq!(broadcaster.ended().undelivered, missed);
}

#[test]
fn a_sink_that_closes_beside_writes_is_removed_once_and_its_neighbour_misses_nothing() {
    let broadcaster = Broadcaster::new();
    let (closes, log) = (sink::collector(), sink::collector());
    broadcaster.add(closes.clone()).unwrap();
    broadcaster.add(log.clone()).unwrap();
    thread::scope(|scope| {
        for writer in [0, 1] {
            let broadcaster = &broadcaster;
            scope.spawn(move || broadcaster.write(writer).unwrap());
        }
        drop(closes.close());
    });
    let ended = broadcaster.ended();
    assert_eq!((log.len(), ended.count), (2, u64::from(ended.undelivered > 0)));
    // A write that began when it was removed passes it by.
    assert!((1..=2).contains(&(closes.len() as u64 + ended.undelivered)), "{ended:?}");
}

#[test]
fn a_success_beside_waiting_writers_wakes_all_of_them() {
    let failures = Arc::new(AtomicU32::new(2));
    let left = Arc::clone(&failures);
    let sink = sink::from_fn(move |_: &u32| {
        let down = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if down { Err("no route to host") } else { Ok(()) }
    })
    .retry(Breaker::new(0, Duration::from_millis(5)));
    thread::scope(|scope| {
        for writer in [0, 1] {
            let sink = &sink;
            scope.spawn(move || assert!(sink.write(writer).is_ok()));
        }
    });
}

/// Has event 1 wait for ever, until an event is given up.
struct UntilGivenUp(AtomicBool);

impl RetryStrategy<u32, &'static str> for UntilGivenUp {
    type Stop = Infallible;

    fn backoff(&self, event: &u32) -> Duration {
        if *event == 0 || self.0.load(Ordering::SeqCst) { Duration::ZERO } else { Duration::MAX }
    }

    fn failure(&self, _: Failure<'_, u32, &'static str>) -> Result<(), Infallible> {
        Ok(())
    }

    fn final_failure(&self, _: Failure<'_, u32, &'static str>) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn success(&self) {}
}

#[test]
fn an_event_that_is_given_up_beside_a_waiting_writer_wakes_it() {
    let sink = sink::from_fn(|event: &u32| if *event == 0 { Err("malformed") } else { Ok(()) })
        .retry(UntilGivenUp(AtomicBool::new(false)))
        .give_up_when(|_| true);
    let begun = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| assert!(sink.write(0).is_err()));
        scope.spawn(|| assert!(sink.write(1).is_ok()));
    });
    // A writer that is missed looks again after an hour, which passes at once in Miri.
    assert!(begun.elapsed() < Duration::from_secs(3600));
}

#[test]
fn a_close_beside_writers_in_their_backoff_wakes_all_of_them() {
    let sink = sink::from_fn(|_: &u32| Err("no route to host"))
        .retry(Breaker::new(0, Duration::from_secs(1_000_000)));
    let begun = std::time::Instant::now();
    thread::scope(|scope| {
        for writer in [0, 1] {
            let sink = &sink;
            scope.spawn(move || {
                let refused: WriteError<u32, Infallible> = sink.write(writer).unwrap_err();
                assert_eq!((refused.is_closed(), refused.into_event()), (true, writer));
            });
        }
        drop(sink.close());
    });
    assert!(begun.elapsed() < Duration::from_secs(3600));
}

#[test]
fn one_writer_probes_when_the_backoff_of_a_breaker_is_over() {
    const BACKOFF: Duration = Duration::from_millis(1);

    let breaker = Breaker::new(0, BACKOFF);
    let failing = |breaker: &Breaker| {
        let (event, error) = (&0, &"no route to host");
        let failure = Failure { event, error, attempt: 1, elapsed: Duration::ZERO };
        RetryStrategy::<u32, &str>::failure(breaker, failure)
    };
    let Ok(()) = failing(&breaker);
    thread::sleep(2 * BACKOFF);
    let go = |breaker: &Breaker| RetryStrategy::<u32, &str>::backoff(breaker, &0).is_zero();
    let begun = std::time::Instant::now();
    let probes = thread::scope(|scope| {
        [0, 1].map(|_| scope.spawn(|| go(&breaker))).map(|writer| writer.join().unwrap())
    });
    // The claim of the first lapses after another backoff.
    if begun.elapsed() < BACKOFF {
        assert_eq!(probes.into_iter().filter(|probe| *probe).count(), 1);
    }
}

#[test]
fn a_thread_that_waits_is_told_beside_an_edge_that_is_added() {
    let queue = sink::discard::<u32>().queued();
    let broadcaster = Broadcaster::new();
    broadcaster.add(queue).unwrap();
    let above = broadcaster.clone().queued();
    above.write(1).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| above.close().wait().unwrap());
        }
    });
}

#[cfg(feature = "futures")]
mod tasks {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::Thread;

    use futures::Stream;
    use outflow::log::Log;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
        block_on(|context| Pin::new(&mut *stream).poll_next(context))
    }

    #[test]
    fn a_write_beside_a_poll_wakes_the_task() {
        let (sink, mut events) = channel::unbounded();
        thread::scope(|scope| {
            // Kept open: nothing but the write can wake it.
            scope.spawn(|| sink.write(1).unwrap());
            assert_eq!(next(&mut events), Some(1));
            // Watched now.
            scope.spawn(|| sink.write(2).unwrap());
            assert_eq!(next(&mut events), Some(2));
        });
    }

    #[test]
    fn a_write_that_waits_for_room_beside_a_poll_wakes_the_task() {
        for (sink, mut events) in [channel::bounded(1), channel::rendezvous()] {
            thread::scope(|scope| {
                scope.spawn(|| (1..4).for_each(|event| sink.write(event).unwrap()));
                assert_eq!(
                    [next(&mut events), next(&mut events), next(&mut events)],
                    [Some(1), Some(2), Some(3)]
                );
            });
        }
    }

    #[test]
    fn the_end_beside_a_poll_wakes_the_task() {
        let (sink, mut events) = channel::unbounded::<u32>();
        thread::scope(|scope| {
            scope.spawn(move || drop(sink));
            assert_eq!(next(&mut events), None);
        });
    }

    #[test]
    fn an_append_beside_a_poll_wakes_the_cursor() {
        let log = Log::new();
        let mut cursors = [log.subscribe(), log.subscribe()];
        thread::scope(|scope| {
            scope.spawn(|| log.append(1).unwrap());
            for cursor in &mut cursors {
                scope.spawn(move || assert_eq!(next(cursor), Some(1)));
            }
        });
    }

    #[test]
    fn an_outcome_beside_a_poll_wakes_the_task_that_polled_last() {
        let (mut closing, pending) = outflow::Closing::pending();
        // Polled before for another.
        let other = Waker::from(Arc::new(Unpark(thread::current())));
        assert!(Pin::new(&mut closing).poll(&mut Context::from_waker(&other)).is_pending());
        thread::scope(|scope| {
            scope.spawn(move || pending.finish(Ok(())));
            let mut closing = pin!(closing);
            block_on(|context| closing.as_mut().poll(context)).unwrap();
        });
    }
}

#[test]
fn a_writer_that_waits_for_room_is_woken_whatever_takes_an_event_out() {
    let (sink, events) = channel::bounded(1);
    let read = thread::scope(|scope| {
        for writer in 0..2 {
            let sink = sink.clone();
            scope.spawn(move || sink.write_all(writer * 2..writer * 2 + 2).unwrap());
        }
        drop(sink);
        events.iter().count()
    });
    assert_eq!(read, 4);
}

#[test]
fn a_writer_whose_time_is_up_takes_no_room_with_it() {
    let (sink, events) = channel::with(Buffer::bounded(1).weighing(1, |_: &u32| 1));
    thread::scope(|scope| {
        let other = sink.clone();
        scope.spawn(move || {
            (0..3).filter(|n| other.write_timeout(*n, Duration::from_micros(1)).is_ok()).count()
        });
        scope.spawn(|| while events.recv() != Ok(9) {});
        sink.write(9).unwrap();
    });
    events.try_iter().for_each(drop);
    assert!(sink.try_write(1).is_ok() && sink.try_write(2).is_err());
}
