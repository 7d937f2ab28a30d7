//! For each law there is a sink that breaks it, and `Conformance` reports that law.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use crate::common::spin_for;
use outflow::testing::{
    AsyncDownstream, Conformance, Downstream, Law, Probe, Stamp, Subject, Violation, block_on,
};
use outflow::{
    AsyncSink, AsyncSinkExt, CloseError, Closing, FlushError, Flushing, Queue, Sink, SinkExt, WriteError,
    channel, sink,
};

type Answer = Result<(), WriteError<Probe, Infallible>>;

/// What hangs is waited for as long, and what does not come for a part of it.
const LIMIT: Duration = Duration::from_secs(2);

/// Methods that do what those of the sink below do, which is the field 0.
macro_rules! as_below {
    (@flush) => {
        fn flush(&self) -> Flushing {
            self.0.flush()
        }
    };
    (@close) => {
        fn close(&self) -> Closing {
            self.0.close()
        }
    };
    (@is_closed) => {
        fn is_closed(&self) -> bool {
            self.0.is_closed()
        }
    };
    ($($method:ident),+) => {
        $(as_below!(@$method);)+
    };
}

/// A short limit, for those that hang.
fn check<S, F>(make: F) -> Result<(), Violation>
where
    F: Fn(Downstream) -> S + Send + Sync + 'static,
    S: Sink<Probe> + Send + Sync + 'static,
{
    Conformance::new(make).limit(LIMIT).run()
}

#[track_caller]
fn breaks<S, F>(law: Law, says: &str, make: F)
where
    F: Fn(Downstream) -> S + Send + Sync + 'static,
    S: Sink<Probe> + Send + Sync + 'static,
{
    let violation = check(make).expect_err("it passes");
    assert_eq!(violation.law, law, "{violation}");
    assert!(violation.what.contains(says), "{violation}");
    assert!(violation.to_string().starts_with(&format!("breaks law {}", law.number())), "{violation}");
}

/// As [`breaks`], for a sink that breaks other laws too.
#[track_caller]
fn breaks_alone<S, F>(law: Law, says: &str, make: F)
where
    F: Fn(Downstream) -> S + Send + Sync + 'static,
    S: Sink<Probe> + Send + Sync + 'static,
{
    let check = Conformance::new(make).laws([law]).limit(LIMIT).rounds(1);
    let violation = check.run().expect_err("it passes");
    assert_eq!(violation.law, law, "{violation}");
    assert!(violation.what.contains(says), "{violation}");
}

/// Passes every call on, except where a test replaces it.
struct Broken<S, W> {
    sink: S,
    write: W,
    close: fn(&S) -> Closing,
    is_closed: fn(&S) -> bool,
}

impl<S, W> Broken<S, W>
where
    S: Sink<Probe, Error = Infallible>,
    W: Fn(&S, Probe) -> Answer,
{
    fn new(sink: S, write: W) -> Self {
        Self { sink, write, close: S::close, is_closed: S::is_closed }
    }
}

impl<S, W> Sink<Probe> for Broken<S, W>
where
    S: Sink<Probe, Error = Infallible>,
    W: Fn(&S, Probe) -> Answer,
{
    type Error = Infallible;

    fn write(&self, event: Probe) -> Answer {
        (self.write)(&self.sink, event)
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        (self.close)(&self.sink)
    }

    fn is_closed(&self) -> bool {
        (self.is_closed)(&self.sink)
    }
}

#[test]
fn what_breaks_nothing_passes() {
    check(|end| end).unwrap();
    check(|end| Broken::new(end, Downstream::write)).unwrap();
    check(|end| Broken::new(end.queued(), Queue::write)).unwrap();
}

#[test]
fn law_1_a_copy_is_handed_back() {
    breaks(Law::HandedBack, "a copy", |end| {
        Broken::new(end, |end: &Downstream, event: Probe| {
            end.write_ref(&event).map_err(|_| WriteError::Closed(event.clone()))
        })
    });
}

#[test]
fn law_1_another_event_is_handed_back() {
    // Keeps the event that it should hand back, and hands back the one that it kept before.
    breaks(Law::HandedBack, "was handed back", |end| {
        let kept: Mutex<Option<Probe>> = Mutex::new(None);
        Broken::new(end, move |end: &Downstream, event: Probe| {
            end.write(event).map_err(|refused| {
                refused.map_event(|event| {
                    let mut kept = kept.lock().unwrap();
                    let before = kept.take().unwrap_or_else(|| event.clone());
                    *kept = Some(event);
                    before
                })
            })
        })
    });
}

#[test]
fn law_2_a_write_after_close_is_accepted() {
    breaks(Law::ClosedRefuses, "is_closed() is false", |end| end.keep_open());
    // It says that it is closed, and yet accepts events, which it drops.
    breaks(Law::ClosedRefuses, "was accepted after close", |end| {
        Broken::new(end, |end: &Downstream, event: Probe| {
            let _ = end.write(event);
            Ok(())
        })
    });
}

#[test]
fn law_2_only_the_thread_that_closed_is_refused() {
    breaks(Law::ClosedRefuses, "was accepted after close", |end| {
        let closer = Arc::new(OnceLock::new());
        struct OwnThread(Downstream, Arc<OnceLock<thread::ThreadId>>);
        impl Sink<Probe> for OwnThread {
            type Error = Infallible;
            fn write(&self, event: Probe) -> Answer {
                if self.1.get() == Some(&thread::current().id()) {
                    return Err(WriteError::Closed(event));
                }
                let _ = self.0.write(event);
                Ok(())
            }
            as_below!(flush);
            fn close(&self) -> Closing {
                let _ = self.1.set(thread::current().id());
                self.0.close()
            }
            as_below!(is_closed);
        }
        OwnThread(end, closer)
    });
}

#[test]
fn law_2_a_write_after_close_fails_instead() {
    let violation = Conformance::new(|end: Downstream| {
        struct Fails(Downstream);
        impl Sink<Probe> for Fails {
            type Error = &'static str;
            fn write(&self, event: Probe) -> Result<(), WriteError<Probe, &'static str>> {
                self.0.write(event).map_err(|refused| WriteError::failed(refused.into_event(), "broken pipe"))
            }
            as_below!(flush, close, is_closed);
        }
        Fails(end)
    })
    .run()
    .unwrap_err();
    assert_eq!(violation.law, Law::ClosedRefuses, "{violation}");
    assert!(violation.what.contains("failed, and was not refused"), "{violation}");
}

#[test]
fn law_3_a_second_close_completes_before_the_drain() {
    struct Hasty(Queue<Probe>, AtomicBool);
    impl Sink<Probe> for Hasty {
        type Error = Infallible;
        fn write(&self, event: Probe) -> Answer {
            self.0.write(event)
        }
        as_below!(flush);
        fn close(&self) -> Closing {
            if self.1.swap(true, Ordering::SeqCst) {
                // As a second close of go-events does.
                while !self.0.is_closed() {
                    thread::yield_now();
                }
                return Closing::done();
            }
            self.0.close()
        }
        as_below!(is_closed);
    }
    breaks(Law::CloseIsShared, "a close completed with", |end| {
        Hasty(end.inspect(|_| thread::sleep(Duration::from_micros(20))).queued(), AtomicBool::new(false))
    });
}

#[test]
fn law_3_a_close_waits_itself() {
    breaks(Law::CloseIsShared, "close itself waits", |end| {
        let mut broken = Broken::new(end.queued(), Queue::write);
        broken.close = |queue| {
            let _ = queue.close().wait();
            queue.close()
        };
        broken
    });
}

#[test]
fn law_3_two_closers_get_different_outcomes() {
    breaks(Law::CloseIsShared, "and another", |end| {
        let mut broken = Broken::new(end, Downstream::write);
        broken.close = |end| {
            let first = !end.is_closed();
            let closing = end.close();
            if first { closing } else { Closing::failed(CloseError::other("already closed")) }
        };
        broken
    });
}

#[test]
fn law_3_a_close_never_completes() {
    breaks(Law::CloseIsShared, "does not complete", |end| {
        let mut broken = Broken::new(end, Downstream::write);
        broken.close = |end| {
            drop(end.close());
            let (closing, pending) = Closing::pending();
            std::mem::forget(pending);
            closing
        };
        broken
    });
}

#[test]
fn law_4_an_event_is_dropped() {
    breaks(Law::Accounted, "events accounted for", |end| {
        let n = AtomicU64::new(0);
        Broken::new(end, move |end: &Downstream, event: Probe| match n.fetch_add(1, Ordering::SeqCst) {
            17 => Ok(()),
            _ => end.write(event),
        })
    });
}

#[test]
fn law_4_an_event_is_dropped_when_a_close_comes_between() {
    // It loses events only in a race with a close.
    breaks(Law::Accounted, "are missing", |end| {
        Broken::new(end, |end: &Downstream, event: Probe| {
            if end.is_closed() {
                return Err(WriteError::Closed(event));
            }
            spin_for(200);
            if end.is_closed() { Ok(()) } else { end.write(event) }
        })
    });
}

#[test]
fn law_4_an_event_is_delivered_twice() {
    breaks(Law::Accounted, "arrived twice", |end| {
        Broken::new(end, |end: &Downstream, event: Probe| {
            if event.stamp().sequence == 9 {
                end.write_ref(&event).map_err(|_| WriteError::Closed(event.clone()))?;
            }
            end.write(event)
        })
    });
}

#[test]
fn law_4_an_event_is_delivered_and_handed_back() {
    breaks(Law::Accounted, "arrived all the same", |end| {
        struct Both(Downstream);
        impl Sink<Probe> for Both {
            type Error = &'static str;
            fn write(&self, event: Probe) -> Result<(), WriteError<Probe, &'static str>> {
                match self.0.write_ref(&event) {
                    Ok(()) if event.stamp().sequence == 6 => Err(WriteError::failed(event, "timed out")),
                    Ok(()) => Ok(()),
                    Err(_) => Err(WriteError::Closed(event)),
                }
            }
            as_below!(flush, close, is_closed);
        }
        Both(end)
    });
}

#[test]
fn law_4_an_event_is_leaked() {
    breaks(Law::Accounted, "leaked", |end| {
        Broken::new(end, |end: &Downstream, event: Probe| {
            if event.stamp().sequence == 5 {
                std::mem::forget(event.clone());
            }
            end.write(event)
        })
    });
}

#[test]
fn law_4_more_is_counted_than_is_missing() {
    let violation = Conformance::of_subjects(|end: Downstream| Subject::new(end).counted(|| 1))
        .limit(LIMIT)
        .run()
        .unwrap_err();
    assert_eq!(violation.law, Law::Accounted, "{violation}");
    assert!(violation.what.contains("counted as undelivered"), "{violation}");
}

#[test]
fn law_4_a_flush_completes_too_early() {
    struct Lies(Queue<Probe>);
    impl Sink<Probe> for Lies {
        type Error = Infallible;
        fn write(&self, event: Probe) -> Answer {
            self.0.write(event)
        }
        fn flush(&self) -> Flushing {
            Flushing::done()
        }
        as_below!(close, is_closed);
    }
    breaks(Law::Accounted, "the flush completed", |end| {
        Lies(end.inspect(|_| thread::sleep(Duration::from_micros(200))).queued())
    });
}

#[test]
fn law_4_a_flush_always_fails() {
    breaks(Law::Accounted, "the flush failed (not everything was delivered: the disk is full)", |end| {
        struct Fails(Downstream);
        impl Sink<Probe> for Fails {
            type Error = Infallible;
            fn write(&self, event: Probe) -> Answer {
                self.0.write(event)
            }
            fn flush(&self) -> Flushing {
                Flushing::failed(FlushError::other("the disk is full"))
            }
            as_below!(close, is_closed);
        }
        Fails(end)
    });
}

/// A queue whose close reports something else when it was aborted.
struct Aborted<S> {
    queue: Queue<Probe>,
    closing: OnceLock<Closing>,
    reports: fn(CloseError) -> Result<(), CloseError>,
    below: S,
}

impl<S> Aborted<S>
where
    S: Sink<Probe, Error = Infallible> + Clone + Send + Sync + 'static,
{
    fn over(end: S, reports: fn(CloseError) -> Result<(), CloseError>) -> Self {
        // Slow, so that events remain when it is aborted.
        let queue = end.clone().inspect(|_| thread::sleep(Duration::from_micros(50))).queued();
        Self { queue, closing: OnceLock::new(), reports, below: end }
    }
}

impl<S> Sink<Probe> for Aborted<S>
where
    S: Sink<Probe> + Send + Sync,
{
    type Error = Infallible;

    fn write(&self, event: Probe) -> Answer {
        self.queue.write(event)
    }

    fn flush(&self) -> Flushing {
        self.queue.flush()
    }

    fn close(&self) -> Closing {
        let begin = || {
            let (closing, pending) = Closing::pending();
            let (below, reports) = (self.queue.close(), self.reports);
            let aborted = below.clone();
            pending.on_abort(move || aborted.abort().or_else(reports));
            thread::spawn(move || pending.finish(below.wait().or_else(reports)));
            closing
        };
        let closing = self.closing.get_or_init(begin).clone();
        // It must be closed when `close` returns.
        while !self.queue.is_closed() {
            thread::yield_now();
        }
        closing
    }

    fn is_closed(&self) -> bool {
        self.queue.is_closed() || self.below.is_closed()
    }
}

#[test]
fn law_4_an_abort_does_not_report_every_event_that_it_did_not_deliver() {
    breaks(Law::Accounted, "are missing, 0 are counted, after a race", |end| Aborted::over(end, |_| Ok(())));
    // It reports one too few.
    let one_less = |error: CloseError| {
        let events = error.undelivered().saturating_sub(1);
        Err(CloseError::Undelivered { events, in_flight: 0 })
    };
    breaks(Law::Accounted, "are missing", move |end| Aborted::over(end, one_less));
    // More is right where an event counts once for each of several sinks, and `Aborted` sets no bound.
    let laws = [Law::Accounted, Law::CloseIsShared];
    let twice =
        |error: CloseError| Err(CloseError::Undelivered { events: 2 * error.undelivered(), in_flight: 0 });
    Conformance::new(move |end| Aborted::over(end, twice)).laws(laws).assert();
    Conformance::new(|end| Aborted::over(end, |_| Err(CloseError::Aborted))).laws(laws).assert();
}

#[test]
fn law_5_the_downstream_is_not_closed() {
    breaks(Law::ClosesDownstream, "was not closed", |end| end.keep_open().closeable());
}

#[test]
fn law_5_the_downstream_is_closed_before_the_last_write() {
    breaks(Law::ClosesDownstream, "written downstream after", |end| {
        struct Eager(Queue<Probe>, Downstream);
        impl Sink<Probe> for Eager {
            type Error = Infallible;
            fn write(&self, event: Probe) -> Answer {
                self.0.write(event)
            }
            as_below!(flush);
            fn close(&self) -> Closing {
                drop(self.1.close());
                self.0.close()
            }
            as_below!(is_closed);
        }
        let queue = end.clone().inspect(|_| thread::sleep(Duration::from_micros(20))).queued();
        Eager(queue, end)
    });
}

#[test]
fn law_5_another_sink_that_it_holds_is_not_closed() {
    let violation = Conformance::of_subjects(|end: Downstream| {
        let dead = sink::collector();
        let held = dead.clone();
        Subject::new(end.dead_letter(dead.keep_open())).closes(move || held.is_closed())
    })
    .limit(LIMIT)
    .run()
    .unwrap_err();
    assert_eq!(violation.law, Law::ClosesDownstream, "{violation}");
    assert!(violation.what.contains("another sink"), "{violation}");
}

#[test]
fn law_6_events_change_places() {
    // Holds one event back and writes it after the next.
    breaks(Law::InOrder, "arrived after", |end| {
        struct Swaps(Downstream, Mutex<Option<Probe>>);
        impl Swaps {
            fn empty(&self) {
                if let Some(kept) = self.1.lock().unwrap().take() {
                    self.0.write(kept).unwrap();
                }
            }
        }
        impl Sink<Probe> for Swaps {
            type Error = Infallible;
            fn write(&self, event: Probe) -> Answer {
                let mut kept = self.1.lock().unwrap();
                if self.0.is_closed() {
                    return Err(WriteError::Closed(event));
                }
                if kept.is_none() {
                    *kept = Some(event);
                    return Ok(());
                }
                drop(kept);
                self.0.write(event)?;
                self.empty();
                Ok(())
            }
            fn flush(&self) -> Flushing {
                self.empty();
                self.0.flush()
            }
            fn close(&self) -> Closing {
                self.empty();
                self.0.close()
            }
            as_below!(is_closed);
        }
        Swaps(end, Mutex::new(None))
    });
}

#[test]
fn law_6_a_reader_takes_the_newest_first() {
    let violation = Conformance::of_subjects(|end: Downstream| {
        let (sink, events) = channel::unbounded();
        let reader = thread::spawn(move || {
            let mut all: Vec<Probe> = events.into_iter().collect();
            while let Some(event) = all.pop() {
                end.write(event).unwrap();
            }
        });
        Subject::new(sink).drained(move || reader.join().unwrap())
    })
    .laws([Law::Accounted, Law::InOrder])
    .run()
    .unwrap_err();
    assert_eq!(violation.law, Law::InOrder, "{violation}");
}

#[test]
fn law_7_a_queue_accepts_for_ever_over_a_downstream_that_has_closed() {
    /// A queue as in go-events: a list, a lock, and a thread that drops what its sink refuses.
    type State = (Mutex<(VecDeque<Probe>, bool)>, Condvar);
    struct Naive(Arc<State>, Closing);
    impl Naive {
        fn over(end: Downstream) -> Self {
            let shared: Arc<State> = Arc::default();
            let (closing, pending) = Closing::pending();
            let inside = Arc::clone(&shared);
            thread::spawn(move || {
                loop {
                    let mut state = inside.0.lock().unwrap();
                    while state.0.is_empty() && !state.1 {
                        state = inside.1.wait(state).unwrap();
                    }
                    let Some(event) = state.0.front().cloned() else { break };
                    drop(state);
                    let _ = end.write(event);
                    inside.0.lock().unwrap().0.pop_front();
                    inside.1.notify_all();
                }
                drop(end.close());
                pending.finish(Ok(()));
            });
            Self(shared, closing)
        }
    }
    impl Sink<Probe> for Naive {
        type Error = Infallible;
        fn write(&self, event: Probe) -> Answer {
            let mut state = self.0.0.lock().unwrap();
            if state.1 {
                return Err(WriteError::Closed(event));
            }
            state.0.push_back(event);
            self.0.1.notify_all();
            Ok(())
        }
        fn flush(&self) -> Flushing {
            let mut state = self.0.0.lock().unwrap();
            while !state.0.is_empty() {
                state = self.0.1.wait(state).unwrap();
            }
            Flushing::done()
        }
        fn close(&self) -> Closing {
            self.0.0.lock().unwrap().1 = true;
            self.0.1.notify_all();
            self.1.clone()
        }
        fn is_closed(&self) -> bool {
            self.0.0.lock().unwrap().1
        }
    }
    breaks(Law::ClosedBelow, "still accepts", Naive::over);
}

#[test]
fn law_7_what_the_downstream_refuses_is_lost_in_silence() {
    breaks_alone(Law::ClosedBelow, "are missing", |end| {
        let closed = AtomicBool::new(false);
        Broken::new(end, move |end: &Downstream, event: Probe| match end.write(event) {
            Err(_) if !closed.swap(true, Ordering::SeqCst) => Ok(()),
            outcome => outcome,
        })
    });
}

#[test]
fn law_7_what_the_downstream_refuses_is_counted_and_the_close_does_not_report_it() {
    let violation = Conformance::of_subjects(|end: Downstream| {
        let (closed, dropped) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
        let counts = Arc::clone(&dropped);
        let sink = Broken::new(end, move |end: &Downstream, event: Probe| match end.write(event) {
            Err(_) if !closed.swap(true, Ordering::SeqCst) => {
                dropped.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            outcome => outcome,
        });
        Subject::new(sink).counted(move || counts.load(Ordering::SeqCst))
    })
    .laws([Law::ClosedBelow])
    .run()
    .unwrap_err();
    assert_eq!(violation.law, Law::ClosedBelow, "{violation}");
    assert!(violation.what.contains("the close does not report it"), "{violation}");
}

/// One event in ten reaches the downstream.
fn is_tenth(stamp: Stamp) -> bool {
    stamp.sequence % 10 == 9
}

/// Checks one law over a sink that drops most events, and passes the others to `write`.
#[track_caller]
fn breaks_over_few<W>(law: Law, says: &str, write: impl Fn() -> W + Send + Sync + 'static)
where
    W: Fn(&Downstream, Probe) -> Answer + Send + Sync + 'static,
{
    let make = move |end: Downstream| {
        let write = write();
        let few = Broken::new(end, move |end: &Downstream, event: Probe| {
            if is_tenth(event.stamp()) {
                write(end, event)
            } else if end.is_closed() {
                Err(WriteError::Closed(event))
            } else {
                Ok(())
            }
        });
        Subject::new(few).delivers(is_tenth)
    };
    let violation = Conformance::of_subjects(make)
        .laws([law])
        .events(8)
        .writers(2)
        .limit(LIMIT)
        .run()
        .expect_err("it passes");
    assert_eq!(violation.law, law, "{violation}");
    assert!(violation.what.contains(says), "{violation}");
}

#[test]
fn law_8_a_lock_is_held_over_a_downstream_that_few_events_reach() {
    breaks_over_few(Law::CalledFromWithin, "hangs", || {
        let lock = Mutex::new(());
        move |end: &Downstream, event: Probe| {
            let _held = lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            end.write(event)
        }
    });
}

#[test]
fn law_9_all_is_lost_after_a_panic_of_a_downstream_that_few_events_reach() {
    breaks_over_few(Law::SurvivesPanic, "are missing", || {
        let broken = AtomicBool::new(false);
        move |end: &Downstream, event: Probe| {
            if broken.load(Ordering::SeqCst) {
                return if end.is_closed() { Err(WriteError::Closed(event)) } else { Ok(()) };
            }
            let guard = Guard(&broken);
            let outcome = end.write(event);
            std::mem::forget(guard);
            outcome
        }
    });
}

/// Sets a flag when it is dropped, as a panic does.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_could_not_be_checked_is_reported() {
    // No event reaches the downstream, and so it can neither call nor panic.
    let nothing = |end: Downstream| Subject::new(end.filter(|_: &Probe| false)).delivers(|_| false);
    for law in [Law::CalledFromWithin, Law::SurvivesPanic] {
        let violation = Conformance::of_subjects(nothing)
            .laws([law])
            .limit(Duration::from_secs(1))
            .run()
            .expect_err("it passes, unchecked");
        assert_eq!(violation.law, law, "{violation}");
        assert!(violation.what.contains("could not be checked"), "{violation}");
    }
    let without = [Law::CalledFromWithin, Law::SurvivesPanic];
    Conformance::of_subjects(nothing).without(without).limit(LIMIT).run().unwrap();
}

#[test]
#[should_panic(expected = "a check without races would find little")]
fn a_check_has_races() {
    let _ = Conformance::new(|end: Downstream| end).rounds(0);
}

#[test]
fn law_8_a_lock_is_held_while_the_downstream_runs() {
    breaks(Law::CalledFromWithin, "hangs", |end| {
        let lock = Mutex::new(());
        Broken::new(end, move |end: &Downstream, event: Probe| {
            let _held = lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            end.write(event)
        })
    });
}

#[test]
fn law_8_a_borrow_is_held_while_the_downstream_runs() {
    breaks_alone(Law::CalledFromWithin, "panicked", |end| {
        sink::from_fn_mut(move |event: &Probe| end.write_ref(event))
    });
}

#[test]
fn law_9_a_lock_is_poisoned() {
    breaks(Law::SurvivesPanic, "panicked", |end| {
        let lock = Mutex::new(());
        let waits = Mutex::new(None::<thread::ThreadId>);
        Broken::new(end, move |end: &Downstream, event: Probe| {
            // A write from within a write works.
            let own = Some(thread::current().id());
            if *waits.lock().unwrap() == own {
                return end.write(event);
            }
            let held = lock.lock().unwrap();
            *waits.lock().unwrap() = own;
            let outcome = end.write(event);
            *waits.lock().unwrap() = None;
            drop(held);
            outcome
        })
    });
}

#[test]
fn law_9_a_worker_dies_and_its_close_hangs() {
    struct Dies {
        sender: Mutex<Option<std::sync::mpsc::Sender<Probe>>>,
        closing: Closing,
        end: Downstream,
    }
    impl Sink<Probe> for Dies {
        type Error = Infallible;
        fn write(&self, event: Probe) -> Answer {
            match &*self.sender.lock().unwrap() {
                Some(sender) => sender.send(event).map_err(|refused| WriteError::Closed(refused.0)),
                None => Err(WriteError::Closed(event)),
            }
        }
        fn flush(&self) -> Flushing {
            Flushing::done()
        }
        fn close(&self) -> Closing {
            self.sender.lock().unwrap().take();
            self.closing.clone()
        }
        fn is_closed(&self) -> bool {
            self.sender.lock().unwrap().is_none() || self.end.is_closed()
        }
    }
    breaks_alone(Law::SurvivesPanic, "a close does not complete, when the downstream panics", |end| {
        let (sender, events) = std::sync::mpsc::channel::<Probe>();
        let (closing, pending) = Closing::pending();
        let below = end.clone();
        thread::spawn(move || {
            // A panic does not drop it, and so the close never completes.
            let pending = std::mem::ManuallyDrop::new(pending);
            while let Ok(event) = events.recv() {
                let _ = below.write(event);
            }
            drop(below.close());
            pending.finish(Ok(()));
        });
        Dies { sender: Mutex::new(Some(sender)), closing, end }
    });
}

#[test]
fn law_9_other_events_go_with_the_one_that_panics() {
    // It writes in batches. When the downstream panics, the others in the batch are lost, and the close does not say so.
    struct Batches(Downstream, Mutex<Vec<Probe>>);
    impl Batches {
        fn empty(&self) {
            let batch = std::mem::take(&mut *self.1.lock().unwrap());
            for event in batch {
                let _ = self.0.write(event);
            }
        }
    }
    impl Sink<Probe> for Batches {
        type Error = Infallible;
        fn write(&self, event: Probe) -> Answer {
            {
                let mut batch = self.1.lock().unwrap();
                if self.0.is_closed() {
                    return Err(WriteError::Closed(event));
                }
                batch.push(event);
                if batch.len() < 5 {
                    return Ok(());
                }
            }
            self.empty();
            Ok(())
        }
        fn flush(&self) -> Flushing {
            self.empty();
            self.0.flush()
        }
        fn close(&self) -> Closing {
            self.empty();
            self.0.close()
        }
        as_below!(is_closed);
    }
    // With one writer the downstream panics on the first event of a batch, and the others are lost with it.
    let violation = Conformance::new(|end: Downstream| Batches(end, Mutex::default()))
        .laws([Law::SurvivesPanic])
        .writers(1)
        .limit(LIMIT)
        .run()
        .expect_err("it passes");
    assert!(violation.law == Law::SurvivesPanic && violation.what.contains("are missing"), "{violation}");
}

/// Passes every call on, except where a test replaces it.
struct BrokenAsync<W> {
    end: Arc<AsyncDownstream>,
    write: W,
    close: fn(&AsyncDownstream) -> Closing,
}

impl<W, F> AsyncSink<Probe> for BrokenAsync<W>
where
    W: Fn(Arc<AsyncDownstream>, Probe) -> F + Send + Sync,
    F: Future<Output = Answer> + Send,
{
    type Error = Infallible;

    fn write(&self, event: Probe) -> impl Future<Output = Answer> + Send {
        (self.write)(Arc::clone(&self.end), event)
    }

    fn flush(&self) -> Flushing {
        self.end.flush()
    }

    fn close(&self) -> Closing {
        (self.close)(&self.end)
    }

    fn is_closed(&self) -> bool {
        self.end.is_closed()
    }
}

/// As [`breaks_alone`], for asynchronous sinks.
#[track_caller]
fn breaks_async<S, F>(law: Law, says: &str, make: F)
where
    F: Fn(AsyncDownstream) -> S + Send + Sync + 'static,
    S: AsyncSink<Probe> + 'static,
{
    let violation =
        Conformance::of_async(make).laws([law]).limit(LIMIT).rounds(1).run().expect_err("it passes");
    assert_eq!(violation.law, law, "{violation}");
    assert!(violation.what.contains(says), "{violation}");
}

/// As [`breaks_async`], with this write.
#[track_caller]
fn breaks_async_write<W, F>(law: Law, says: &str, write: W)
where
    W: Fn(Arc<AsyncDownstream>, Probe) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    breaks_async(law, says, move |end| BrokenAsync {
        end: Arc::new(end),
        write: write.clone(),
        close: AsyncDownstream::close,
    });
}

#[test]
fn an_asynchronous_sink_that_breaks_nothing_passes() {
    Conformance::of_subjects(|end: Downstream| {
        Subject::of_async(BrokenAsync {
            end: Arc::new(end.into_async()),
            write: |end: Arc<AsyncDownstream>, event| async move { end.write(event).await },
            close: AsyncDownstream::close,
        })
    })
    .limit(LIMIT)
    .run()
    .unwrap();
}

#[test]
fn law_1_an_asynchronous_sink_hands_back_a_copy() {
    breaks_async_write(Law::HandedBack, "a copy", |end, event| async move {
        end.write(event.clone()).await.map_err(|_| WriteError::Closed(event.clone()))
    });
}

#[test]
fn law_2_an_asynchronous_sink_accepts_after_its_close() {
    breaks_async(Law::ClosedRefuses, "is_closed() is false", |end| end.keep_open());
    breaks_async_write(Law::ClosedRefuses, "was accepted after close", |end, event| async move {
        let _ = end.write(event).await;
        Ok(())
    });
}

#[test]
fn law_3_the_close_of_an_asynchronous_sink_waits() {
    breaks_async(Law::CloseIsShared, "", |end| BrokenAsync {
        end: Arc::new(end),
        write: |end: Arc<AsyncDownstream>, event| async move { end.write(event).await },
        close: |end| {
            let closing = end.close();
            thread::sleep(2 * LIMIT);
            closing
        },
    });
}

#[test]
fn law_4_an_asynchronous_sink_writes_twice_or_not_at_all() {
    breaks_async_write(Law::Accounted, "", |end, event| async move {
        end.write(event.clone()).await?;
        end.write(event).await
    });
    breaks_async_write(Law::Accounted, "", |end, event| async move {
        if event.stamp().sequence == 3 {
            return if end.is_closed() { Err(WriteError::Closed(event)) } else { Ok(()) };
        }
        end.write(event).await
    });
}

#[test]
fn law_5_an_asynchronous_sink_leaves_its_downstream_open() {
    breaks_async(Law::ClosesDownstream, "", |end| end.keep_open().closeable());
}

#[test]
fn law_8_an_asynchronous_sink_holds_a_lock_while_its_downstream_runs() {
    let lock = Arc::new(Mutex::new(()));
    breaks_async_write(Law::CalledFromWithin, "hangs", move |end, event| {
        let lock = Arc::clone(&lock);
        async move {
            let _held = lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            block_on(end.write(event))
        }
    });
}

#[test]
fn a_law_that_is_left_out_is_not_checked() {
    Conformance::new(|end: Downstream| end.keep_open())
        .without([Law::ClosedRefuses, Law::ClosesDownstream])
        .run()
        .unwrap();
}

#[test]
#[should_panic(expected = "the sink breaks law 2")]
fn a_panic_names_the_law() {
    Conformance::new(|end: Downstream| end.keep_open()).assert();
}
