//! Events whose destructors panic, everywhere a log drops one: nothing hangs, and nobody else sees the panic.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::common::{Census, Event, Latch, PanicsOnDrop, in_time, planned_panic, wait_until};
use outflow::log::{FollowOptions, FollowerHandle, Lag, Log, LogOptions, RecvError, SubscribeOptions};
use outflow::{CloseError, Closing, Flushing, Sink, SinkExt, WriteError, sink};

/// Appends events of a census whose events panic when they are dropped.
fn append(log: &Log<Event>, census: &Arc<Census>, events: u64) {
    (0..events).for_each(|id| assert!(log.append(Event::new(id, census)).is_ok()));
}

/// What becomes of the first event that a follower writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Accepted,
    Closed,
    Panic,
}

struct Ends {
    end: End,
    go: Latch,
}

impl Sink<Event> for Ends {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        std::mem::forget(event);
        unreachable!("it is written by reference")
    }

    fn write_ref(&self, _: &Event) -> Result<(), WriteError<(), Infallible>> {
        self.go.pass();
        match self.end {
            End::Accepted => Ok(()),
            End::Closed => Err(WriteError::Closed(())),
            End::Panic => planned_panic(),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

/// Lets a follower end beside events that are in its segment, in sealed ones and in the open one.
fn ends(end: End, max_lag: Option<Lag>, stop: impl Fn(&Log<Event>, &FollowerHandle<Event>, &Latch)) {
    let census = Census::panicking_on_drop();
    let (go, log) = (Latch::new(), Log::new());
    let mut options = FollowOptions::new();
    if let Some(lag) = max_lag {
        options = options.max_lag(8, lag);
    }
    let follower = log.follow_with(options, Ends { end, go: go.clone() }).unwrap();
    append(&log, &census, 1);
    go.arrived(1);
    append(&log, &census, 2);
    // Another reader seals what there is.
    let mut passer_by = log.subscribe();
    append(&log, &census, 3);
    assert_eq!(passer_by.next_chunk().unwrap().len(), 3);
    drop(passer_by);
    append(&log, &census, 2);
    stop(&log, &follower, &go);
    go.open();
    let _ = follower.close().wait();
    wait_until("the log does without it", || log.followers() == 0);
    let _ = log.close().wait();
    drop(log);
    wait_until("every event is dropped, once", || census.live() == 0);
    assert_eq!(census.drops(), 8);
    let stats = follower.stats();
    let terms = stats.delivered + stats.skipped + stats.dropped + stats.spilled + stats.lost;
    assert_eq!((stats.accepted, stats.pending, stats.in_flight), (terms, 0, 0), "{stats:?}");
}

#[test]
fn keep_no_follower_from_ending_however_it_does() {
    for max_lag in [None, Some(Lag::Block), Some(Lag::Skip), Some(Lag::Close)] {
        for end in [End::Accepted, End::Closed, End::Panic] {
            in_time(&format!("{end:?} {max_lag:?}"), move || {
                ends(end, max_lag, |_, _, _| {});
                ends(end, max_lag, |log, _, _| drop(log.close()));
                ends(end, max_lag, |_, follower, go| {
                    go.open();
                    drop(follower.close().abort());
                });
                ends(end, max_lag, |log, _, _| {
                    let error = log.close().abort().unwrap_err();
                    assert!(error.undelivered() > 0, "{error:?}");
                });
                ends(end, max_lag, |_, follower, _| drop(follower.detach()));
            });
        }
    }
}

#[test]
fn end_no_follower_that_only_passes_them() {
    in_time("the follower", || {
        let census = Census::panicking_on_drop();
        let (go, log) = (Latch::new(), Log::new());
        let follower = log.follow(Ends { end: End::Accepted, go: go.clone() });
        go.open();
        for _ in 0..100 {
            append(&log, &census, 3);
            log.flush().wait().unwrap();
        }
        log.close().wait().unwrap();
        assert_eq!(follower.stats().delivered, 300);
    });
}

#[test]
fn keep_no_cursor_on_the_register_and_no_panic_reaches_its_reader() {
    for max_lag in [None, Some(Lag::Block), Some(Lag::Skip), Some(Lag::Close)] {
        in_time("the cursor", move || {
            let census = Census::panicking_on_drop();
            let log = Log::new();
            let options = || match max_lag {
                Some(lag) => SubscribeOptions::new().max_lag(9, lag),
                None => SubscribeOptions::new(),
            };
            let mut cursor = log.subscribe_with(options()).unwrap();
            append(&log, &census, 3);
            cursor.recv_with(|_| ()).unwrap();
            assert_eq!(cursor.next_chunk().unwrap().len(), 2);
            append(&log, &census, 4);
            cursor.recv_with(|_| ()).unwrap();
            append(&log, &census, 2);
            drop(cursor);
            assert_eq!((log.held().events, census.live()), (0, 0));
            // Dropped while the thread unwinds, a second panic would be the end of the process.
            let mut cursor = log.subscribe_with(options()).unwrap();
            append(&log, &census, 4);
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let chunk = cursor.next_chunk().unwrap();
                assert_eq!(chunk.len(), 4);
                planned_panic()
            }));
            assert!(unwound.is_err());
            append(&log, &census, 4);
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _cursor = cursor;
                planned_panic()
            }));
            assert!(unwound.is_err());
            assert_eq!((log.held().events, census.live()), (0, 0));
        });
    }
}

#[test]
fn reach_neither_a_write_that_drops_them_nor_the_last_handle() {
    in_time("the log", || {
        let census = Census::panicking_on_drop();
        let log = Log::with(LogOptions::new().retain(64));
        append(&log, &census, 1000);
        assert!(census.live() < 200);
        let mut cursor = log.subscribe();
        drop(log);
        assert_eq!(cursor.recv_with(|_| ()), Err(RecvError::Ended));
        assert_eq!(census.live(), 0);
    });
}

#[test]
fn keep_no_write_waiting_when_a_snapshot_panics() {
    in_time("a write", || {
        let census = Census::panicking_on_drop();
        let log = Log::new();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let cursor = log.subscribe();
            append(&log, &census, 3);
            log.subscribe_with_snapshot(|| {
                // The snapshot's reader is the last that keeps them.
                drop(cursor);
                planned_panic()
            })
        }));
        assert!(unwound.is_err());
        assert_eq!((log.held().events, census.live()), (0, 0));
        let _reader = log.subscribe();
        append(&log, &census, 1);
    });
}

#[test]
fn of_a_sink_and_not_of_an_event_leaves_the_outcome_as_it_is() {
    for abort in [false, true] {
        in_time("the close", move || {
            let of_sink = PanicsOnDrop;
            let (go, log) = (Latch::new(), Log::new());
            let sink = {
                let go = go.clone();
                sink::for_each(move |_: u32| {
                    let _ = &of_sink;
                    go.pass();
                })
            };
            let follower = log.follow(sink);
            log.write_all(0..10).unwrap();
            go.arrived(1);
            if abort {
                let error = log.close().abort().unwrap_err();
                assert!(error.undelivered() > 0, "{error:?}");
                go.open();
                assert!(matches!(follower.close().wait(), Err(CloseError::Undelivered { .. })));
            } else {
                go.open();
                log.close().wait().unwrap();
            }
            wait_until("it has ended", || follower.has_ended() && log.followers() == 0);
        });
    }
}
