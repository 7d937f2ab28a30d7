//! A rate limit: never more events than the rate allows, in the order in which their writers came, and a close ends every
//! wait.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Count, in_time, panic_message, rounds, spin_below, wait_until, without_waiting};
use outflow::adapter::RateLimit;
use outflow::retry::Constant;
use outflow::sink::Collector;
use outflow::testing::{VirtualClock, block_on};
use outflow::{AsyncSink, AsyncSinkExt, Rate, Sink, SinkExt, Workers, WriteError, queue::QueueOptions, sink};

const SECOND: Duration = Duration::from_secs(1);

/// A rate, and what it is made of: so many events in a time, and a burst.
fn any_rate(rng: &mut fastrand::Rng) -> (Rate, u32, Duration, u32) {
    let events = match rng.u8(0..3) {
        0 => rng.u32(1..10),
        1 => rng.u32(1..1_000_000),
        _ => rng.u32(1..),
    };
    let burst = rng.u32(1..20);
    let (rate, events, period) = match rng.u8(0..3) {
        0 => (Rate::per_second(events), events, SECOND),
        1 => (Rate::per_minute(events), events, 60 * SECOND),
        _ => {
            let interval = Duration::from_nanos(rng.u64(1..10_000_000_000));
            (Rate::every(interval), 1, interval)
        }
    };
    (rate.burst(burst), events, period, burst)
}

/// A limited sink by a virtual clock, and the times at which it was written to.
fn timed(rate: Rate) -> (VirtualClock, RateLimit<impl Sink<u64, Error = Infallible> + Send + Sync>, Times) {
    let (clock, times) = (VirtualClock::new(), Times::default());
    let (now, seen) = (clock.clone(), Arc::clone(&times));
    let sink = sink::from_fn(move |_: &u64| {
        seen.lock().unwrap().push(now.elapsed());
        Ok(())
    });
    let sink = sink.rate_limit(rate).clock(clock.clone());
    (clock, sink, times)
}

type Times = Arc<Mutex<Vec<Duration>>>;

#[test]
fn never_more_events_than_a_burst_and_the_rate_in_any_stretch_of_time() {
    in_time("the writers", || {
        for round in 0..rounds(150) {
            let mut rng = fastrand::Rng::with_seed(round as u64);
            let (rate, events, period, burst) = any_rate(&mut rng);
            let (clock, sink, times) = timed(rate);
            let writers = rng.usize(1..4);
            let writing = AtomicUsize::new(writers);
            thread::scope(|scope| {
                for _ in 0..writers {
                    let (sink, writing, each) = (&sink, &writing, rng.u64(1..60));
                    scope.spawn(move || {
                        sink.write_all(0..each).unwrap();
                        writing.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                // The clock moves only while every writer sleeps, so that the times are exact.
                let interval = u64::try_from(rate.interval().as_nanos()).unwrap();
                while writing.load(Ordering::SeqCst) > 0 {
                    if clock.sleeping() < writing.load(Ordering::SeqCst) {
                        thread::yield_now();
                    } else if rng.bool() {
                        clock.advance_to_next();
                    } else {
                        // Too late, as a thread that gets no processor is.
                        clock.advance(Duration::from_nanos(rng.u64(..=4 * interval + 2)));
                    }
                }
            });
            let times = times.lock().unwrap();
            for (n, begin) in times.iter().enumerate() {
                for (m, end) in times.iter().enumerate().skip(n) {
                    let stretch = (*end - *begin).as_nanos() * u128::from(events) / period.as_nanos();
                    let passed = (m - n + 1) as u128;
                    assert!(
                        passed <= u128::from(burst) + stretch,
                        "round {round}, {rate:?}: {passed} in {stretch}"
                    );
                }
            }
        }
    });
}

#[test]
fn an_event_passes_as_soon_as_it_may_and_not_a_nanosecond_before() {
    in_time("the writer", || {
        for round in 0..rounds(100) {
            let mut rng = fastrand::Rng::with_seed(round as u64);
            let (rate, events, period, burst) = any_rate(&mut rng);
            let (clock, sink, times) = timed(rate);
            without_waiting(&clock, || sink.write_all(0..40).unwrap());
            for (n, time) in times.lock().unwrap().iter().enumerate() {
                let waited = (n as u128).saturating_sub(u128::from(burst) - 1);
                let due = (waited * period.as_nanos()).div_ceil(u128::from(events));
                // The clock has whole nanoseconds. Without a burst, what it is late by is not made up for.
                let late = if burst == 1 { n as u128 } else { 0 };
                let time = time.as_nanos();
                assert!(
                    (due..=due + late).contains(&time),
                    "round {round}, {rate:?}, event {n}: {time}, {due}"
                );
            }
        }
    });
}

#[test]
fn a_pause_allows_a_burst_and_no_more() {
    let (clock, sink, times) = timed(Rate::per_second(10).burst(3));
    clock.advance(3600 * SECOND);
    without_waiting(&clock, || sink.write_all(0..5).unwrap());
    let since: Vec<_> =
        times.lock().unwrap().iter().map(|time| (*time - 3600 * SECOND).as_millis()).collect();
    assert_eq!(since, [0, 0, 0, 100, 200]);
}

#[test]
fn writers_go_on_in_the_order_in_which_they_came() {
    in_time("the writers", || {
        for round in 0..rounds(30) {
            let (clock, written) = (VirtualClock::new(), sink::collector());
            let sink = written.clone().rate_limit(Rate::per_second(1)).clock(clock.clone());
            sink.write(0).unwrap();
            thread::scope(|scope| {
                for n in 1..=8 {
                    let sink = &sink;
                    scope.spawn(move || {
                        if n % 2 == 0 { sink.write(n).unwrap() } else { sink.write_ref(&n).unwrap() }
                    });
                    clock.until_sleeping(n);
                }
                // All of them are late, and one after the other passes all the same.
                for n in 1..=8 {
                    clock.until_sleeping(9 - n);
                    clock.advance(if round % 2 == 0 { 20 * SECOND } else { SECOND });
                    wait_until("the next has passed", || written.len() > n);
                }
            });
            assert_eq!(written.events(), (0..9).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_close_hands_their_events_back_to_all_that_wait() {
    in_time("the writers", || {
        let (clock, written) = (VirtualClock::new(), sink::collector());
        let sink = written.clone().rate_limit(Rate::every(Duration::MAX)).clock(clock.clone());
        sink.write(0).unwrap();
        thread::scope(|scope| {
            let writers: Vec<_> = (1..9)
                .map(|n| {
                    let sink = &sink;
                    scope.spawn(move || (n, sink.write(n).unwrap_err(), sink.write_ref(&n).unwrap_err()))
                })
                .collect();
            clock.until_sleeping(8);
            sink.close().wait().unwrap();
            for writer in writers {
                let (n, refused, by_reference) = writer.join().unwrap();
                assert!(refused.is_closed() && by_reference.is_closed());
                assert_eq!(refused.into_event(), n);
            }
        });
        assert!(sink.is_closed() && written.is_closed());
        assert_eq!(written.events(), [0]);
    });
}

#[test]
fn a_close_beside_writers_forgets_none_of_them() {
    in_time("a writer", || {
        for round in 0..rounds(2000) {
            let written = sink::collector();
            let sink = written.clone().rate_limit(Rate::per_second(20_000).burst(2));
            let begin = Barrier::new(4);
            let accepted: usize = thread::scope(|scope| {
                let writers: Vec<_> = (0..3)
                    .map(|writer| {
                        let (sink, begin) = (&sink, &begin);
                        scope.spawn(move || {
                            begin.wait();
                            (0..4).filter(|n| sink.write(writer * 4 + n).is_ok()).count()
                        })
                    })
                    .collect();
                begin.wait();
                spin_below(round, 2000);
                drop(sink.close());
                assert!(sink.write(100).unwrap_err().is_closed());
                writers.into_iter().map(|writer| writer.join().unwrap()).sum()
            });
            assert_eq!(written.len(), accepted);
        }
    });
}

#[test]
fn many_writers_share_a_rate_fairly() {
    in_time("the writers", || {
        let (clock, per_writer) = (VirtualClock::new(), [const { AtomicU64::new(0) }; 4]);
        let sink = sink::discard().rate_limit(Rate::per_second(100)).clock(clock.clone());
        sink.write(0).unwrap();
        thread::scope(|scope| {
            for count in &per_writer {
                let sink = &sink;
                scope.spawn(move || {
                    while sink.write(0).is_ok() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..400 {
                // All are in the queue again before the next may pass.
                clock.until_sleeping(4);
                clock.advance_to_next();
            }
            drop(sink.close());
        });
        let counts = per_writer.map(AtomicU64::into_inner);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{counts:?}");
    });
}

#[test]
fn a_wait_of_centuries_does_not_overflow() {
    in_time("the writers", || {
        for rate in [Rate::every(Duration::MAX), Rate::every(Duration::MAX).burst(u32::MAX)] {
            let sink = sink::discard().rate_limit(rate);
            thread::scope(|scope| {
                let begun = Instant::now();
                sink.write(1).unwrap();
                let writers = [(); 2].map(|()| scope.spawn(|| sink.write(2).is_ok()));
                if rate == Rate::every(Duration::MAX) {
                    wait_until("they wait", || begun.elapsed() > Duration::from_millis(5));
                    drop(sink.close());
                    assert!(writers.into_iter().all(|writer| !writer.join().unwrap()));
                }
            });
        }
        // At the end of time, too.
        let clock = VirtualClock::new();
        let sink =
            sink::discard().rate_limit(Rate::per_second(u32::MAX).burst(u32::MAX)).clock(clock.clone());
        sink.write(1).unwrap();
        clock.advance(Duration::MAX);
        sink.write(1).unwrap();
    });
}

#[test]
fn nothing_is_cloned() {
    struct Unique;
    impl Clone for Unique {
        fn clone(&self) -> Self {
            panic!("it was cloned")
        }
    }
    let sink = sink::from_fn(|_: &Unique| Ok::<_, Infallible>(())).rate_limit(Rate::per_second(1000));
    for _ in 0..3 {
        assert!(sink.write_ref(&Unique).is_ok());
    }
    drop(sink.close());
    assert!(sink.write_ref(&Unique).unwrap_err().is_closed());
}

#[test]
fn an_abort_ends_a_wait_and_a_close_delivers_at_the_rate() {
    in_time("the close", || {
        let written = sink::collector();
        let queue = written.clone().rate_limit(Rate::every(3600 * SECOND)).queued();
        queue.write_all(0..3).unwrap();
        wait_until("the first is written", || written.len() == 1);
        let error = queue.close().within(Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.undelivered(), 2);

        let (clock, sink, times) = timed(Rate::per_second(1));
        let queue = sink.queued();
        queue.write_all(0..3).unwrap();
        without_waiting(&clock, || queue.close().wait().unwrap());
        assert_eq!(*times.lock().unwrap(), [0, 1, 2].map(Duration::from_secs));
    });
}

#[test]
fn a_wait_holds_up_no_other_queue_of_a_pool() {
    in_time("the other queue", || {
        let workers = Workers::builder().threads(1).build();
        let options = || QueueOptions::default().on(&workers);
        let limited = sink::discard().rate_limit(Rate::every(3600 * SECOND)).queued_with(options());
        limited.write_all(0..2).unwrap();
        wait_until("one waits", || limited.stats().delivered == 1 && limited.stats().in_flight == 1);
        let other = sink::discard().queued_with(options());
        other.write(1).unwrap();
        other.close().wait().unwrap();
        assert!(limited.close().within(Duration::from_millis(5)).is_err());
    });
}

#[test]
fn above_a_retry_it_limits_events_and_below_one_attempts() {
    let run = |below: bool| {
        let (clock, attempts) = (VirtualClock::new(), Times::default());
        let (now, seen) = (clock.clone(), Arc::clone(&attempts));
        let http = sink::from_fn(move |_: &u64| {
            let mut seen = seen.lock().unwrap();
            seen.push(now.elapsed());
            if seen.len() % 2 == 1 { Err("busy") } else { Ok(()) }
        });
        let (rate, retry) = (Rate::per_second(1), Constant::new(Duration::ZERO));
        if below {
            let sink = http.rate_limit(rate).clock(clock.clone()).retry(retry);
            without_waiting(&clock, || sink.write_all(0..2).unwrap());
        } else {
            let sink = http.retry(retry).rate_limit(rate).clock(clock.clone());
            without_waiting(&clock, || sink.write_all(0..2).unwrap());
        }
        let seconds: Vec<_> = attempts.lock().unwrap().iter().map(Duration::as_secs).collect();
        seconds
    };
    assert_eq!(run(true), [0, 1, 2, 3]);
    assert_eq!(run(false), [0, 0, 1, 1]);
}

#[test]
fn it_may_be_written_to_from_within_its_own_sink() {
    in_time("the write", || {
        let clock = VirtualClock::new();
        let limited: Arc<std::sync::OnceLock<outflow::SharedSink<u64>>> = Arc::default();
        let (within, written) = (Arc::clone(&limited), sink::collector());
        let log = written.clone();
        let sink = sink::for_each(move |n: u64| {
            log.write(n).unwrap();
            if n < 3 {
                within.get().unwrap().write(n + 1).unwrap();
            }
        });
        let sink = sink.rate_limit(Rate::per_second(1)).clock(clock.clone()).shared();
        assert!(limited.set(sink.clone()).is_ok());
        without_waiting(&clock, || sink.write(0).unwrap());
        assert_eq!(written.events(), [0, 1, 2, 3]);
        assert_eq!(clock.elapsed(), 3 * SECOND);
    });
}

#[test]
fn nonsense_is_refused_with_a_message_that_says_what_to_do() {
    for message in [panic_message(|| Rate::per_second(0)), panic_message(|| Rate::per_minute(0))] {
        assert!(message.contains("a rate of 0 events") && message.contains("at least 1"), "{message}");
    }
    let message = panic_message(|| Rate::per_second(1).burst(0));
    assert!(message.contains("a burst of 0 events") && message.contains("at least 1"), "{message}");
    let message = panic_message(|| Rate::every(Duration::ZERO));
    assert!(message.contains("leave the rate limit out"), "{message}");
}

#[test]
fn it_shows_its_rate() {
    let rate = Rate::per_minute(7).burst(3);
    let sink = sink::discard::<u32>().rate_limit(rate);
    assert_eq!(sink.rate(), rate);
    assert!(format!("{sink:?}").contains("burst: 3"));
    assert_eq!(rate.interval(), Duration::from_nanos(8_571_428_571));
}

fn poll<F: Future>(future: &mut std::pin::Pin<Box<F>>, waker: &Waker) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(waker))
}

/// A limited asynchronous sink over a collector.
fn limited(
    clock: &VirtualClock,
) -> (Collector<u32>, RateLimit<impl AsyncSink<u32, Error = Infallible> + use<>>) {
    let written = sink::collector();
    let log = written.clone();
    let sink = sink::from_async_fn(move |n: u32| {
        log.write(n).unwrap();
        std::future::ready(Ok(()))
    });
    (written, sink.rate_limit(Rate::per_second(1)).clock(clock.clone()))
}

#[test]
fn a_task_that_waits_is_woken_when_it_is_its_turn() {
    let clock = VirtualClock::new();
    let (written, sink) = limited(&clock);
    let mut tasks: Vec<_> = (0..4)
        .map(|n| {
            let (count, waker) = Count::new();
            (Box::pin(sink.write(n)), count, waker)
        })
        .collect();
    for (n, (write, _, waker)) in tasks.iter_mut().enumerate() {
        assert_eq!(poll(write, waker).is_ready(), n == 0);
    }
    for n in 1..4 {
        clock.advance(SECOND - Duration::from_nanos(1));
        let (write, count, waker) = &mut tasks[n];
        assert!(poll(write, waker).is_pending());
        let before = count.get();
        clock.advance(Duration::from_nanos(1));
        assert!(count.get() > before, "it was not woken");
        assert_eq!(poll(write, waker), Poll::Ready(Ok(())));
        for (write, _, waker) in &mut tasks[n + 1..] {
            assert!(poll(write, waker).is_pending());
        }
    }
    assert_eq!(written.events(), [0, 1, 2, 3]);
}

#[test]
fn a_task_that_is_dropped_while_it_waits_leaves_its_place_to_the_next() {
    let clock = VirtualClock::new();
    let (written, sink) = limited(&clock);
    assert!(poll(&mut Box::pin(sink.write(0)), Waker::noop()).is_ready());
    let (count, waker) = Count::new();
    let (mut first, mut second, mut third) =
        (Box::pin(sink.write(1)), Box::pin(sink.write(2)), Box::pin(sink.write(3)));
    assert!(poll(&mut first, Waker::noop()).is_pending());
    assert!(poll(&mut second, Waker::noop()).is_pending());
    assert!(poll(&mut third, &waker).is_pending());
    drop(second);
    assert_eq!(count.get(), 0, "the first is still before it");
    drop(first);
    assert_eq!(count.get(), 1, "it is not told that it is first");
    assert!(poll(&mut third, &waker).is_pending());
    clock.advance(SECOND);
    assert!(poll(&mut third, &waker).is_ready());
    assert_eq!((written.events(), clock.sleeping()), (vec![0, 3], 0));
}

#[test]
fn a_newcomer_does_not_overtake_those_that_wait() {
    let clock = VirtualClock::new();
    let (written, sink) = limited(&clock);
    assert!(poll(&mut Box::pin(sink.write(0)), Waker::noop()).is_ready());
    let (mut first, mut newcomer) = (Box::pin(sink.write(1)), Box::pin(sink.write(2)));
    assert!(poll(&mut first, Waker::noop()).is_pending());
    // The first may pass, and has not run since.
    clock.advance(SECOND);
    assert!(poll(&mut newcomer, Waker::noop()).is_pending());
    assert!(poll(&mut first, Waker::noop()).is_ready());
    clock.advance(SECOND);
    assert!(poll(&mut newcomer, Waker::noop()).is_ready());
    assert_eq!(written.events(), [0, 1, 2]);
}

#[test]
fn a_close_wakes_every_task_that_waits() {
    let clock = VirtualClock::new();
    let (_, sink) = limited(&clock);
    assert!(poll(&mut Box::pin(sink.write(0)), Waker::noop()).is_ready());
    let mut tasks: Vec<_> = (1..4)
        .map(|n| {
            let (count, waker) = Count::new();
            let mut write = Box::pin(sink.write(n));
            assert!(poll(&mut write, &waker).is_pending());
            (n, write, count, waker)
        })
        .collect();
    sink.close().wait().unwrap();
    for (n, write, count, waker) in &mut tasks {
        assert_eq!(count.get(), 1);
        assert_eq!(poll(write, waker), Poll::Ready(Err(WriteError::Closed(*n))));
    }
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn threads_and_dropped_tasks_beside_each_other_forget_no_writer() {
    in_time("a writer", || {
        for round in 0..rounds(500) {
            let written = sink::collector();
            let log = written.clone();
            let sink = sink::from_async_fn(move |n: u32| {
                log.write(n).unwrap();
                std::future::ready(Ok::<_, Infallible>(()))
            })
            .rate_limit(Rate::per_second(50_000).burst(2));
            let written_to_the_end: usize = thread::scope(|scope| {
                let writers: Vec<_> = (0..3_u32)
                    .map(|writer| {
                        let sink = &sink;
                        scope.spawn(move || {
                            let mut done = 0;
                            for n in 0..6 {
                                let mut write = Box::pin(sink.write(n));
                                if n % 3 == writer {
                                    // Given up after a poll or two.
                                    let mut ready = poll(&mut write, Waker::noop()).is_ready();
                                    spin_below(round + n, 500);
                                    ready = ready || poll(&mut write, Waker::noop()).is_ready();
                                    done += usize::from(ready);
                                } else {
                                    block_on(write).unwrap();
                                    done += 1;
                                }
                            }
                            done
                        })
                    })
                    .collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).sum()
            });
            assert_eq!(written.len(), written_to_the_end);
        }
    });
}
