//! Law 9: a panic in a user's code leaves no sink hanging and no other event unaccounted for, even if what it
//! was raised with panics when it is dropped.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::common::{OnClose, PLANNED, PanicsOnDrop, in_time, planned_panic, wait_until};
use outflow::sink::Collector;
use outflow::{
    Broadcaster, Buffer, CloseError, Closing, DeadLetter, FlushError, Flushing, Sink, SinkExt, WriteError,
    sink,
};

/// An event that panics when it is dropped, with a payload that panics when it is dropped.
struct Nasty;

impl Drop for Nasty {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new(PanicsOnDrop));
        }
    }
}

/// A sink whose close, flush and `is_closed` panic.
struct Broken;

impl<E> Sink<E> for Broken {
    type Error = Infallible;

    fn write(&self, _: E) -> Result<(), WriteError<E, Infallible>> {
        Ok(())
    }

    fn is_closed(&self) -> bool {
        planned_panic()
    }

    fn flush(&self) -> Flushing {
        resume_unwind(Box::new(PanicsOnDrop))
    }

    fn close(&self) -> Closing {
        resume_unwind(Box::new(PanicsOnDrop))
    }
}

#[test]
fn of_two_sinks_of_a_broadcaster_keep_the_event_from_no_other() {
    let broadcaster = Broadcaster::new();
    let [first, last] = [sink::collector(), sink::collector()];
    broadcaster.add(sink::for_each(|_: u32| planned_panic())).unwrap();
    broadcaster.add(first.clone()).unwrap();
    broadcaster.add(sink::for_each(|_: u32| resume_unwind(Box::new(PanicsOnDrop)))).unwrap();
    broadcaster.add(last.clone()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| broadcaster.write(1))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&PLANNED), "the first goes on");
    assert_eq!((first.events(), last.events()), (vec![1], vec![1]));
}

#[test]
fn of_a_spill_are_counted_and_keep_no_event_in_flight() {
    let (sink, events) = outflow::channel::with(
        Buffer::bounded(1)
            .drop_oldest()
            .spill(sink::for_each(|_: u32| resume_unwind(Box::new(PanicsOnDrop)))),
    );
    sink.write_all(0..4).unwrap();
    assert_eq!((events.recv().unwrap(), sink.dropped()), (3, 3));

    let queue = sink::discard().queued_with(
        Buffer::bounded(1)
            .drop_newest()
            .spill(sink::for_each(|_: u32| resume_unwind(Box::new(PanicsOnDrop)))),
    );
    queue.write_all(0..1000).unwrap();
    in_time("the close", move || {
        queue.close().wait().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.in_flight, stats.delivered + stats.dropped), (0, 1000), "{stats:?}");
    });
}

#[test]
fn of_a_close_or_a_flush_are_reported_by_the_queue_above() {
    in_time("the queue", || {
        let queue = Broken.queued();
        queue.write(1).unwrap();
        let flushed = queue.flush().wait().unwrap_err();
        assert!(matches!(flushed, FlushError::NotDelivered(CloseError::Panicked { .. })), "{flushed:?}");
        assert!(!queue.is_closed());
        let closed = queue.close().wait().unwrap_err();
        assert!(matches!(closed, CloseError::Panicked { events: 0, .. }), "{closed:?}");
    });
}

#[test]
fn of_a_close_are_reported_by_the_broadcaster_above_for_each_sink() {
    in_time("the broadcaster", || {
        let broadcaster = Broadcaster::<u32>::new();
        let id = broadcaster.add(Broken).unwrap();
        let log = sink::collector();
        broadcaster.add(log.clone()).unwrap();
        assert!(broadcaster.flush().wait().is_err());
        let error = broadcaster.close().wait().unwrap_err();
        assert_eq!(error.sinks().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
        assert!(log.is_closed());
    });
}

/// A queue over `two`, one of whose two sinks is `Broken`; the other is `kept`, behind a queue of its own.
#[track_caller]
fn check_the_other(
    which: &'static str,
    kept: &Collector<u32>,
    events: u64,
    two: impl Sink<u32, Error = Infallible> + Send + Sync + 'static,
) {
    let kept = kept.clone();
    in_time(which, move || {
        let queue = two.queued();
        queue.write_all(0..10).unwrap();
        let flushed = queue.flush().wait().unwrap_err();
        assert!(
            matches!(flushed, FlushError::NotDelivered(CloseError::Panicked { .. })),
            "{which}: {flushed:?}"
        );
        assert_eq!(kept.len() as u64, events, "{which}: flushed");
        queue.write_all(10..20).unwrap();
        let closed = queue.close().wait().unwrap_err();
        assert!(matches!(closed, CloseError::Panicked { events: 0, .. }), "{which}: {closed:?}");
        assert!(kept.is_closed(), "{which}: closed");
        assert_eq!(kept.len() as u64, 2 * events, "{which}: drained");
    });
}

#[test]
fn of_one_of_two_sinks_close_and_flush_leave_the_other_to_be_closed_and_drained() {
    let failing = || sink::from_fn(|_: &u32| Err("no"));

    let kept = sink::collector();
    check_the_other("a tee's first", &kept, 10, Broken.tee(kept.clone().queued()));
    let kept = sink::collector();
    check_the_other("a tee's second", &kept, 10, kept.clone().queued().tee(Broken));
    let kept = sink::collector();
    check_the_other("what falls back", &kept, 0, SinkExt::<u32>::fallback(Broken, kept.clone().queued()));
    let kept = sink::collector();
    check_the_other("a fallback", &kept, 10, kept.clone().queued().fallback(Broken));
    let kept = sink::collector();
    let letters = kept.clone().queued().map(|letter: &DeadLetter<u32, Infallible>| letter.event);
    check_the_other("what has a dead letter sink", &kept, 0, SinkExt::<u32>::dead_letter(Broken, letters));
    let kept = sink::collector();
    let lettered = kept.clone().queued().dead_letter(Broken);
    check_the_other("a dead letter sink", &kept, 10, lettered);

    // Nothing is left that an abort would wait for.
    let kept = sink::collector();
    let all = failing().dead_letter(Broken).tee(failing().fallback(Broken)).tee(kept.clone().queued());
    let error = in_time("the close", move || all.close().abort().unwrap_err());
    assert!(matches!(&error, CloseError::Several(panics) if panics.len() == 2), "{error:?}");
    assert!(kept.is_closed());
}

#[test]
fn of_a_close_in_a_guards_drop_are_reported_and_go_no_further() {
    let reported = sink::collector();
    let report = reported.clone();
    let guard = SinkExt::<u32>::close_on_drop(Broken, Duration::from_secs(5))
        .on_error(move |error| report.write(error.to_string()).unwrap());
    drop(guard);
    assert_eq!(reported.events().len(), 1);

    let guard = SinkExt::<u32>::close_on_drop(Broken, Duration::from_secs(5));
    assert!(matches!(guard.close(), Err(CloseError::Panicked { .. })));
}

#[test]
fn of_an_aborts_hook_end_the_abort_and_reach_no_caller() {
    in_time("the abort", || {
        for finished in [false, true] {
            let (closing, pending) = Closing::pending();
            let bomb = PanicsOnDrop;
            pending.on_abort(move || {
                std::mem::forget(bomb);
                resume_unwind(Box::new(PanicsOnDrop))
            });
            let broadcaster = Broadcaster::new();
            broadcaster.add(OnClose(move || closing.clone())).unwrap();
            let log = sink::collector();
            broadcaster.add(log.clone().queued()).unwrap();
            broadcaster.write(1).unwrap();
            let closing = broadcaster.close();
            if finished {
                // The hook is dropped unused, and what it holds panics.
                pending.finish(Ok(()));
                closing.wait().unwrap();
            } else {
                assert!(matches!(
                    closing.abort().unwrap_err().sinks().next(),
                    Some((_, CloseError::Panicked { .. }))
                ));
            }
        }
    });
}

#[test]
fn of_a_sinks_destructor_keep_no_close_from_completing() {
    in_time("the broadcaster", || {
        let held = |bomb: PanicsOnDrop| {
            OnClose(move || {
                let _ = &bomb;
                Closing::done()
            })
        };
        let broadcaster = Broadcaster::new();
        broadcaster.extend([held(PanicsOnDrop), held(PanicsOnDrop)]).unwrap();
        let log = sink::collector();
        broadcaster.add(log.clone()).unwrap();
        broadcaster.write(1).unwrap();
        // Whoever shuts it drops the sinks.
        broadcaster.close().wait().unwrap();
        assert!(log.is_closed());
    });
}

#[test]
fn of_an_events_destructor_keep_no_event_from_being_counted_and_no_close_from_being_told() {
    // The events are let go of by whoever gives them up, never by a sink of the test.
    let write = |sink: &dyn Sink<Nasty, Error = Infallible>| {
        assert!(sink.write(Nasty).map_err(std::mem::forget).is_ok());
    };
    in_time("the eviction", move || {
        let (sink, events) = outflow::channel::with(Buffer::bounded(1).drop_oldest());
        (0..3).for_each(|_| write(&sink));
        assert_eq!(sink.dropped(), 2);
        drop(events);
        assert_eq!((sink.dropped(), sink.is_closed()), (3, true));
    });
    for panics in [false, true] {
        in_time("the close", move || {
            let (inside, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
            let queue = {
                let (inside, go) = (Arc::clone(&inside), Arc::clone(&go));
                sink::for_each(move |event: Nasty| {
                    std::mem::forget(event);
                    inside.wait();
                    go.wait();
                    if panics {
                        planned_panic();
                    }
                })
                .queued()
            };
            (0..3).for_each(|_| write(&queue));
            inside.wait();
            let closing = queue.close();
            if panics {
                go.wait();
                assert_eq!(closing.wait().unwrap_err().undelivered(), 3);
            } else {
                let aborting = closing.clone();
                let aborter = std::thread::spawn(move || aborting.abort());
                wait_until("what is left is given up", || queue.stats().dropped == 2);
                go.wait();
                assert_eq!(aborter.join().unwrap().unwrap_err().undelivered(), 2);
            }
            let stats = queue.stats();
            assert_eq!((stats.dropped, stats.lost, stats.in_flight), (2, u64::from(panics), 0), "{stats:?}");
        });
    }
}

#[cfg(feature = "futures")]
#[test]
fn of_a_wakers_destructor_keep_no_reader_that_goes_from_being_missed() {
    use std::task::{Wake, Waker};

    use crate::common::poll;
    use futures::Stream;
    use outflow::log::{Lag, Log, SubscribeOptions};

    /// The last to keep its task.
    struct Task(Nasty);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let _ = &self.0;
        }
    }

    fn poll_once(stream: &mut (impl Stream + Unpin)) {
        assert!(poll(stream, &Waker::from(Arc::new(Task(Nasty)))).is_pending());
    }

    in_time("a write", || {
        let (sink, mut events) = outflow::channel::bounded::<u32>(1);
        poll_once(&mut events);
        drop(events);
        assert!(sink.is_closed());

        let broadcaster = Broadcaster::new();
        let mut watcher = broadcaster.subscribe(Buffer::bounded(1));
        poll_once(&mut watcher);
        drop(watcher);
        broadcaster.write_all(0..3).unwrap();

        let log = Log::new();
        let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Block)).unwrap();
        poll_once(&mut cursor);
        drop(cursor);
        log.write_all(0..3).unwrap();
    });
}
