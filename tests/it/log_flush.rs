//! A flush of a log: what it waits for, what it shares, and where it ends.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{Latch, SOON, in_time, queue_behind, rounds, wait_until};
use outflow::log::{Log, WeakLog};
use outflow::retry::Constant;
use outflow::{CloseError, Closing, FlushError, Flushing, Sink, SinkExt, WriteError, sink};

/// Counts the flushes that reach it, and passes everything on.
struct Counted<S> {
    sink: S,
    flushes: Arc<AtomicUsize>,
}

fn counted<S>(sink: S) -> (Counted<S>, Arc<AtomicUsize>) {
    let flushes = Arc::new(AtomicUsize::new(0));
    (Counted { sink, flushes: Arc::clone(&flushes) }, flushes)
}

impl<E, S: Sink<E>> Sink<E> for Counted<S> {
    type Error = S::Error;

    fn write(&self, event: E) -> Result<(), WriteError<E, S::Error>> {
        self.sink.write(event)
    }

    fn flush(&self) -> Flushing {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }
}

#[test]
fn waits_for_the_sink_of_a_follower_that_was_closed_before() {
    let go = Latch::new();
    let queue = queue_behind::<u32>(&go);
    let log = Log::new();
    let follower = log.follow(queue.clone());
    log.write_all(0..10).unwrap();
    drop(follower.close());
    let while_listed = log.flush();
    wait_until("the follower is done with its sink", || log.followers() == 0);
    let after = log.flush();
    assert!(!while_listed.is_done() && !after.is_done());
    go.open();
    while_listed.within(SOON).unwrap();
    after.within(SOON).unwrap();
    assert_eq!(queue.stats().delivered, 10);
    log.flush().within(SOON).unwrap();
}

#[test]
fn says_what_the_sink_of_a_follower_did_not_deliver_that_was_closed_before() {
    let dead = sink::from_fn(|_: &u32| Err("down")).retry(Constant::new(Duration::from_secs(3600)));
    let log = Log::new();
    let follower = log.follow(dead.queued());
    log.write(1).unwrap();
    let of_follower = follower.close();
    wait_until("the follower is done with its sink", || log.followers() == 0);
    let flushing = log.flush();
    of_follower.abort().unwrap_err();
    let error = flushing.within(SOON).unwrap_err();
    assert!(matches!(error, FlushError::NotDelivered(error) if error.undelivered() == 1));
    // From now on `ended` says so.
    log.flush().within(SOON).unwrap();
    assert_eq!(log.ended().undelivered, 1);
}

#[test]
fn that_leads_back_to_the_log_ends_when_what_was_accepted_before_it_is_delivered() {
    for (queued, followers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        in_time("a flush that leads back", move || {
            let log = Log::new();
            let mut counts = Vec::new();
            for _ in 0..followers {
                let back =
                    log.clone().keep_open().filter_map(|event: &u32| (*event < 10).then(|| event + 100));
                let (back, flushes) = counted(back);
                counts.push(flushes);
                match queued {
                    true => log.follow(back.queued()),
                    false => log.follow(back),
                };
            }
            log.write_all(0..10).unwrap();
            log.flush().wait().unwrap();
            let written_back = 10 * followers;
            wait_until("everything came back", || log.head() == 10 + written_back);
            log.flush().wait().unwrap();
            // However many rounds that took: it comes to rest.
            let before: usize = counts.iter().map(|count| count.load(Ordering::SeqCst)).sum();
            assert!(before <= 100, "{before} flushes reached the sinks");
            log.close().wait().unwrap();
        });
    }
}

#[test]
fn whose_sink_writes_to_the_log_and_flushes_it_in_turn_ends() {
    struct WritesBack {
        log: WeakLog<u32>,
        flushes: Arc<AtomicUsize>,
    }
    impl Sink<u32> for WritesBack {
        type Error = Infallible;

        fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
            Ok(())
        }

        fn flush(&self) -> Flushing {
            self.flushes.fetch_add(1, Ordering::SeqCst);
            let Some(log) = self.log.upgrade() else { return Flushing::done() };
            if log.is_closed() {
                return Flushing::done();
            }
            let _ = log.write(0);
            log.flush()
        }

        fn close(&self) -> Closing {
            Closing::done()
        }
    }
    in_time("the flush", || {
        let flushes = Arc::new(AtomicUsize::new(0));
        let log = Log::new();
        let follower = log.follow(WritesBack { log: log.downgrade(), flushes: Arc::clone(&flushes) });
        log.write(1).unwrap();
        log.flush().wait().unwrap();
        follower.flush().wait().unwrap();
        wait_until("everything is delivered", || follower.stats().delivered == log.head());
        log.close().wait().unwrap();
        let flushes = flushes.load(Ordering::SeqCst);
        assert!(flushes <= 3, "it was flushed {flushes} times");
    });
}

#[test]
fn asked_for_again_and_again_is_one_flush() {
    let go = Latch::new();
    let stuck = {
        let go = go.clone();
        sink::for_each(move |_: u32| go.pass())
    };
    let (stuck, flushes) = counted(stuck);
    let log = Log::new();
    let follower = log.follow(stuck);
    log.write(1).unwrap();
    go.arrived(1);
    let asked: Vec<_> = (0..500).flat_map(|_| [log.flush(), follower.flush()]).collect();
    assert!(asked.iter().all(|flushing| !flushing.is_done()));
    go.open();
    asked.iter().for_each(|flushing| flushing.within(SOON).unwrap());
    assert_eq!(flushes.load(Ordering::SeqCst), 1);
    log.write(2).unwrap();
    log.flush().within(SOON).unwrap();
    assert_eq!(flushes.load(Ordering::SeqCst), 2);
}

#[test]
fn asked_for_again_while_the_sink_flushes_is_one_flush() {
    struct Slow {
        flushes: Mutex<Vec<outflow::PendingFlush>>,
    }
    impl Sink<u32> for &'static Slow {
        type Error = Infallible;

        fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
            Ok(())
        }

        fn flush(&self) -> Flushing {
            let (flushing, pending) = Flushing::pending();
            self.flushes.lock().unwrap().push(pending);
            flushing
        }

        fn close(&self) -> Closing {
            Closing::done()
        }
    }
    let slow: &Slow = Box::leak(Box::new(Slow { flushes: Mutex::default() }));
    let begun = || slow.flushes.lock().unwrap().len();
    let log = Log::new();
    let follower = log.follow(slow);
    log.write(1).unwrap();
    let first = follower.flush();
    wait_until("the sink flushes", || begun() == 1);
    let asked: Vec<_> = (0..500).flat_map(|_| [log.flush(), follower.flush()]).collect();
    // What came later is in none of them.
    log.write(2).unwrap();
    let later = follower.flush();
    wait_until("the sink flushes again", || begun() == 2);
    slow.flushes.lock().unwrap()[0].finish(Ok(()));
    first.within(SOON).unwrap();
    asked.iter().for_each(|flushing| flushing.within(SOON).unwrap());
    assert!(!later.is_done());
    slow.flushes.lock().unwrap()[1].finish(Ok(()));
    later.within(SOON).unwrap();
    assert_eq!(begun(), 2);
}

/// What waits, in a sink, for the log above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Flush,
    Close,
}

/// Waits for the log above in its own `flush` or `close`, and keeps the answers.
struct Waits {
    place: In,
    log: WeakLog<u32>,
    go: Latch,
    answers: Arc<Mutex<Vec<(bool, bool)>>>,
}

impl Waits {
    fn wait(&self) {
        let Some(log) = self.log.upgrade() else { return };
        let flushed = matches!(log.flush().wait(), Err(error) if would_deadlock(&error));
        let closed = matches!(log.close().wait(), Err(CloseError::WouldDeadlock));
        self.answers.lock().unwrap().push((flushed, closed));
    }
}

fn would_deadlock(error: &FlushError) -> bool {
    matches!(error, FlushError::WouldDeadlock)
}

impl Sink<u32> for Waits {
    type Error = Infallible;

    fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
        self.go.pass();
        Ok(())
    }

    fn flush(&self) -> Flushing {
        if self.place == In::Flush {
            self.wait();
        }
        Flushing::done()
    }

    fn close(&self) -> Closing {
        if self.place == In::Close {
            self.wait();
        }
        Closing::done()
    }
}

#[test]
fn a_sink_whose_flush_or_close_waits_for_the_log_above_would_deadlock() {
    for (place, abort) in [(In::Flush, false), (In::Close, false), (In::Close, true)] {
        let (answers, go) = (Arc::default(), Latch::new());
        let log = Log::new();
        let sink = Waits { place, log: log.downgrade(), go: go.clone(), answers: Arc::clone(&answers) };
        let follower = log.follow(sink);
        log.write(1).unwrap();
        go.arrived(1);
        let of_log = log.clone();
        in_time("the sink", move || match (place, abort) {
            (In::Flush, _) => {
                let flushing = of_log.flush();
                go.open();
                drop(flushing.wait());
            }
            (In::Close, false) => {
                go.open();
                drop(follower.close().wait());
            }
            // Its close is called on this thread, while the worker is in a write.
            (In::Close, true) => {
                drop(follower.close().abort());
                go.open();
            }
        });
        in_time("the log", move || drop(log.close().wait()));
        let answers = answers.lock().unwrap();
        assert!(!answers.is_empty() && answers.iter().all(|answer| answer.1), "{place:?} {answers:?}");
        if !abort {
            // A flush that comes back to where it came through ends there, and need not be waited for.
            assert_eq!(answers[0].0, place == In::Close, "{place:?} {answers:?}");
        }
    }
}

#[test]
fn of_many_threads_beside_writes_and_followers_that_come_and_go_is_a_barrier() {
    in_time("the flushes", || {
        for round in 0..rounds(50_u64) {
            let log = Log::new();
            let delivered = sink::collector();
            log.follow(delivered.clone());
            thread::scope(|scope| {
                for thread in 0..3 {
                    let (log, delivered) = (&log, &delivered);
                    scope.spawn(move || {
                        for n in 0..40 {
                            let event = (thread, n);
                            log.write(event).unwrap();
                            if (round + n) % 3 == 0 {
                                log.flush().wait().unwrap();
                                assert!(delivered.events().contains(&event), "{event:?} is not delivered");
                            }
                        }
                    });
                }
                scope.spawn(|| {
                    for n in 0..20 {
                        let follower = log.follow(sink::discard().queued());
                        if n % 2 == 0 { drop(follower.detach()) } else { drop(follower.close()) }
                    }
                });
            });
            log.close().wait().unwrap();
            assert_eq!(delivered.len(), 120);
        }
    });
}
