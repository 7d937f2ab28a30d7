//! Law 9: a panic in a user's code leaves no sink hanging and no other event unaccounted for, even if what it
//! was raised with panics when it is dropped.

mod common;

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use common::{PLANNED, hush_planned_panics, in_time};
use outflow::{
    Broadcaster, Buffer, CloseError, Closing, FlushError, Flushing, Sink, SinkExt, WriteError, sink,
};

/// Panics in its destructor, unless another panic is going on.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(PLANNED);
        }
    }
}

/// Whose close and flush panic.
struct Broken;

impl Sink<u32> for Broken {
    type Error = Infallible;

    fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
        Ok(())
    }

    fn flush(&self) -> Flushing {
        panic_any(Bomb)
    }

    fn close(&self) -> Closing {
        panic_any(Bomb)
    }
}

#[test]
fn of_two_sinks_of_a_broadcaster_keep_the_event_from_no_other() {
    hush_planned_panics();
    let broadcaster = Broadcaster::new();
    let [first, last] = [sink::collector(), sink::collector()];
    broadcaster.add(sink::for_each(|_: u32| panic_any(PLANNED))).unwrap();
    broadcaster.add(first.clone()).unwrap();
    broadcaster.add(sink::for_each(|_: u32| panic_any(Bomb))).unwrap();
    broadcaster.add(last.clone()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| broadcaster.write(1))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&PLANNED), "the first goes on");
    assert_eq!((first.events(), last.events()), (vec![1], vec![1]));
}

#[test]
fn of_a_spill_are_counted_and_keep_no_event_in_flight() {
    hush_planned_panics();
    let (sink, events) = outflow::channel::with(
        Buffer::bounded(1).drop_oldest().spill(sink::for_each(|_: u32| panic_any(Bomb))),
    );
    sink.write_all(0..4).unwrap();
    assert_eq!((events.recv().unwrap(), sink.dropped()), (3, 3));

    let queue = sink::discard()
        .queued_with(Buffer::bounded(1).drop_newest().spill(sink::for_each(|_: u32| panic_any(Bomb))));
    queue.write_all(0..1000).unwrap();
    in_time("the close", move || {
        queue.close().wait().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.in_flight, stats.delivered + stats.dropped), (0, 1000), "{stats:?}");
    });
}

#[test]
fn of_a_close_or_a_flush_are_told_by_the_queue_above() {
    hush_planned_panics();
    in_time("the queue", || {
        let queue = Broken.queued();
        queue.write(1).unwrap();
        let flushed = queue.flush().wait().unwrap_err();
        assert!(matches!(flushed, FlushError::Closed(CloseError::Panicked { .. })), "{flushed:?}");
        assert!(!queue.is_closed());
        let closed = queue.close().wait().unwrap_err();
        assert!(matches!(closed, CloseError::Panicked { events: 0, .. }), "{closed:?}");
    });
}

#[test]
fn of_a_close_are_told_by_the_broadcaster_above_for_each_sink() {
    hush_planned_panics();
    in_time("the broadcaster", || {
        let broadcaster = Broadcaster::new();
        let id = broadcaster.add(Broken).unwrap();
        let log = sink::collector();
        broadcaster.add(log.clone()).unwrap();
        assert!(broadcaster.flush().wait().is_err());
        let error = broadcaster.close().wait().unwrap_err();
        assert_eq!(error.sinks().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
        assert!(log.is_closed());
    });
}

#[test]
fn of_an_aborts_hook_end_the_abort_and_reach_nobody() {
    hush_planned_panics();
    struct Hooked(Closing);
    impl Sink<u32> for Hooked {
        type Error = Infallible;

        fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
            Ok(())
        }

        fn flush(&self) -> Flushing {
            Flushing::done()
        }

        fn close(&self) -> Closing {
            self.0.clone()
        }
    }
    in_time("the abort", || {
        for finished in [false, true] {
            let (closing, pending) = Closing::pending();
            let bomb = Bomb;
            pending.on_abort(move || {
                std::mem::forget(bomb);
                panic_any(Bomb)
            });
            let broadcaster = Broadcaster::new();
            broadcaster.add(Hooked(closing)).unwrap();
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
fn of_a_sinks_destructor_keep_no_close_from_being_told() {
    hush_planned_panics();
    in_time("the broadcaster", || {
        struct Held(Bomb);
        impl Sink<u32> for Held {
            type Error = Infallible;

            fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
                let _ = &self.0;
                Ok(())
            }

            fn flush(&self) -> Flushing {
                Flushing::done()
            }

            fn close(&self) -> Closing {
                Closing::done()
            }
        }
        let broadcaster = Broadcaster::new();
        broadcaster.extend([Held(Bomb), Held(Bomb)]).unwrap();
        let log = sink::collector();
        broadcaster.add(log.clone()).unwrap();
        broadcaster.write(1).unwrap();
        // Whoever shuts it drops the sinks.
        broadcaster.close().wait().unwrap();
        assert!(log.is_closed());
    });
}
