//! A close ends, tells everybody the same, and accounts for what it could not deliver.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Census, Dest, Event, Fault, Latch, SOON, in_time, queue_behind, rounds, spin_for, wait_until,
};
use outflow::retry::Constant;
use outflow::testing::Stuck;
use outflow::{
    Broadcaster, Buffer, CloseError, Closing, Flushing, Meter, Queue, SharedSink, Sink, SinkExt, WriteError,
    channel, sink,
};

const HOUR: Duration = Duration::from_secs(3600);

fn every_sink() -> Vec<(&'static str, SharedSink<u64>)> {
    let fine = || sink::from_fn(|_: &u64| Ok::<(), Infallible>(()));
    let failing = || sink::from_fn(|_: &u64| Err("always"));
    let (channel, events) = channel::bounded(4);
    std::mem::forget(events);
    let broadcaster = Broadcaster::new();
    broadcaster.add(fine()).unwrap();
    broadcaster.add(fine().queued()).unwrap();
    vec![
        ("from_fn", fine().shared()),
        ("from_fn_mut", sink::from_fn_mut(|_: &u64| Ok::<(), Infallible>(())).shared()),
        ("for_each", sink::for_each(|_: u64| {}).shared()),
        ("discard", sink::discard().shared()),
        ("collector", sink::collector().shared()),
        ("filter", fine().filter(|_| true).shared()),
        ("filter that rejects", fine().filter(|_| false).shared()),
        ("map", fine().map(|event: &u64| *event).shared()),
        ("map_owned", fine().map_owned(|event: u64| event, |event| event).shared()),
        ("filter_map", fine().filter_map(|event: &u64| Some(*event)).shared()),
        ("filter_map that rejects", fine().filter_map(|_: &u64| None).shared()),
        ("inspect", fine().inspect(|_| {}).shared()),
        ("tee", fine().tee(fine()).shared()),
        ("fallback", failing().fallback(fine()).shared()),
        ("dead_letter", failing().dead_letter(sink::discard()).shared()),
        ("lossy", failing().lossy().shared()),
        ("catch_panic", fine().catch_panic().lossy().shared()),
        ("metered", fine().metered(&Meter::new()).shared()),
        ("closeable", fine().keep_open().closeable().shared()),
        ("retry", fine().retry(Constant::new(HOUR)).shared()),
        ("queue", fine().queued().shared()),
        ("bounded queue", fine().queued_with(Buffer::bounded(4).drop_oldest()).shared()),
        ("channel", channel.shared()),
        ("broadcaster", broadcaster.shared()),
    ]
}

#[test]
fn twice_and_write_after_it_for_every_sink() {
    in_time("a close", || {
        for (name, sink) in every_sink() {
            assert!(!sink.is_closed(), "{name}");
            assert!(sink.write(1).is_ok(), "{name}");
            let closing = sink.close();
            assert!(sink.is_closed(), "{name}");
            let refused = sink.write(2).expect_err(name);
            assert!(refused.is_closed(), "{name}");
            assert_eq!(refused.into_event(), 2, "{name}");
            assert!(sink.write_ref(&3).expect_err(name).is_closed(), "{name}");
            thread::scope(|scope| {
                let elsewhere = scope.spawn(|| sink.write(4).expect_err(name).is_closed());
                assert!(elsewhere.join().unwrap(), "{name}");
            });
            closing.wait().expect(name);
            sink.close().wait().expect(name);
            assert!(closing.is_done() && sink.close().is_done(), "{name}");
            assert!(sink.write(5).is_err(), "{name}");
            sink.flush().within(SOON).expect(name);
        }
    });
}

#[test]
fn a_write_into_a_closed_channel_is_refused_though_there_is_room() {
    let (sink, events) = channel::bounded(8);
    sink.write(1).unwrap();
    drop(sink.close());
    assert_eq!(sink.write(2).unwrap_err().into_event(), 2);
    assert_eq!(events.into_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn no_concurrent_closer_gets_an_outcome_before_the_drain_is_over() {
    for of_queue in [true, false] {
        let latch = Latch::new();
        let kept = sink::collector();
        let queue = Stuck::new(kept.clone(), &latch).queued();
        queue.write(1).unwrap();
        let top: SharedSink<u64> = if of_queue {
            queue.shared()
        } else {
            let broadcaster = Broadcaster::new();
            broadcaster.add(queue).unwrap();
            broadcaster.shared()
        };
        latch.arrived(1);
        let (sender, told) = mpsc::channel();
        for _ in 0..4 {
            let (top, sender, kept) = (Arc::clone(&top), sender.clone(), kept.clone());
            thread::spawn(move || {
                let outcome = top.close().wait();
                sender.send((outcome.is_ok(), kept.is_closed())).unwrap();
            });
        }
        wait_until("it is closed", || top.is_closed());
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "told before the drain was through");
        latch.open();
        for _ in 0..4 {
            assert_eq!(told.recv_timeout(SOON), Ok((true, true)));
        }
    }
}

#[test]
fn concurrent_closers_get_the_same_outcome() {
    let queue = Dest::new(Fault::PanicAt(1)).queued();
    let census = Census::new();
    let latch = Latch::new();
    let outcomes: Vec<String> = thread::scope(|scope| {
        let closers: Vec<_> = (0..6)
            .map(|_| {
                let (queue, latch) = (queue.clone(), latch.clone());
                scope.spawn(move || {
                    latch.pass();
                    format!("{:?}", queue.close().wait())
                })
            })
            .collect();
        latch.arrived(6);
        for id in 0..2 {
            queue.write(Event::new(id, &census)).unwrap();
        }
        latch.open();
        closers.into_iter().map(|closer| closer.join().unwrap()).collect()
    });
    assert!(outcomes[0].contains("Panicked"), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
}

#[test]
fn from_within_a_queues_worker_does_not_deadlock_and_waiting_there_says_so() {
    in_time("the close", || {
        let (sender, told) = mpsc::channel();
        let own: Arc<OnceLock<outflow::queue::WeakQueue<u64>>> = Arc::default();
        let inside = Arc::clone(&own);
        let queue = sink::for_each(move |event: u64| {
            if event == 0 {
                let queue = inside.wait().upgrade().unwrap();
                let closing = queue.close();
                assert!(queue.write(9).is_err());
                let waited = matches!(closing.wait(), Err(CloseError::WouldDeadlock));
                let bounded = matches!(closing.within(HOUR), Err(CloseError::WouldDeadlock));
                let flushed = queue.flush().within(HOUR).is_err();
                sender.send((waited, bounded, flushed)).unwrap();
            }
        })
        .queued();
        queue.write(0).unwrap();
        queue.write(1).unwrap();
        own.set(queue.downgrade()).unwrap();
        assert_eq!(told.recv_timeout(SOON), Ok((true, true, true)));
        queue.close().wait().unwrap();
        assert_eq!(queue.stats().delivered, 2);
    });
}

#[test]
fn from_within_a_broadcasters_write_does_not_deadlock_and_waiting_there_says_so() {
    in_time("the close", || {
        let broadcaster = Broadcaster::new();
        let (sender, told) = mpsc::channel();
        let inside = broadcaster.clone();
        broadcaster
            .add(sink::for_each(move |_: u64| {
                sender.send(matches!(inside.close().wait(), Err(CloseError::WouldDeadlock))).unwrap();
            }))
            .unwrap();
        broadcaster.write(1).unwrap();
        assert_eq!(told.recv(), Ok(true));
        assert!(broadcaster.is_closed());
        broadcaster.close().wait().unwrap();
    });
}

#[test]
fn from_within_a_spill_does_not_deadlock_and_waiting_there_says_so() {
    in_time("the close", || {
        let latch = Latch::new();
        let (sender, told) = mpsc::channel();
        let own: Arc<OnceLock<outflow::queue::WeakQueue<u64, _>>> = Arc::default();
        let (inside, below) = (Arc::clone(&own), latch.clone());
        let spill = sink::for_each(move |_: u64| {
            let Some(queue) = inside.get().and_then(outflow::queue::WeakQueue::upgrade) else { return };
            sender.send(matches!(queue.close().wait(), Err(CloseError::WouldDeadlock))).unwrap();
        });
        let queue = sink::for_each(move |_: u64| below.pass())
            .queued_with(Buffer::bounded(1).drop_newest().spill(spill));
        own.set(queue.downgrade()).unwrap();
        queue.write(0).unwrap();
        latch.arrived(1);
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        assert_eq!(told.recv(), Ok(true));
        latch.open();
        queue.close().wait().unwrap();
        let stats = queue.stats();
        assert_eq!((stats.delivered, stats.spilled), (2, 1));
    });
}

#[test]
fn within_a_time_over_an_endless_retry_accounts_for_every_event() {
    in_time("the close", || {
        let census = Census::new();
        let spill = Dest::new(Fault::None);
        let attempts = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&attempts);
        let queue = sink::from_fn(move |_: &Event| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("dead")
        })
        .retry(Constant::new(HOUR))
        .queued_with(Buffer::unbounded().spill(Arc::clone(&spill)));
        for id in 0..100 {
            queue.write(Event::new(id, &census)).unwrap();
        }
        wait_until("one was tried", || attempts.load(Ordering::SeqCst) == 1);
        let begun = Instant::now();
        let error = queue.close().within(Duration::from_millis(50)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(error.undelivered(), 100, "{error:?}");
        assert!(matches!(error, CloseError::Undelivered { events: 100, in_flight: 0 }), "{error:?}");
        let mut ids = spill.ids();
        ids.sort_unstable();
        assert_eq!(ids, (0..100).collect::<Vec<_>>());
        assert_eq!(queue.stats().spilled, 100);
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        drop((queue, spill));
        census.assert_none_left();
    });
}

#[test]
fn within_a_time_over_a_sink_that_never_returns_accounts_for_every_event() {
    in_time("the close", || {
        // Never released: neither by the close nor by the abort.
        let latch = Latch::new();
        let queue = Stuck::new(sink::collector(), &latch).queued();
        for event in 0..10 {
            queue.write(event).unwrap();
        }
        latch.arrived(1);
        let waiter = {
            let queue = queue.clone();
            thread::spawn(move || queue.close().wait().unwrap_err().undelivered())
        };
        wait_until("it is closed", || queue.is_closed());
        let begun = Instant::now();
        let error = queue.close().within(Duration::from_millis(50)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(matches!(error, CloseError::Undelivered { events: 9, in_flight: 1 }), "{error:?}");
        assert_eq!(error.undelivered(), 10);
        assert_eq!(waiter.join().unwrap(), 10, "a thread that waits is released");
        let stats = queue.stats();
        assert_eq!((stats.accepted, stats.dropped, stats.in_flight), (10, 9, 1));
        assert!(!latch.is_open());
    });
}

/// Waits at the latch and then hands the event back as closed.
struct Late(Latch);

impl Sink<u64> for Late {
    type Error = Infallible;

    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        self.0.pass();
        Err(WriteError::Closed(event))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn an_event_in_flight_that_comes_back_late_is_spilled_then() {
    in_time("the close", || {
        let latch = Latch::new();
        let spill = sink::collector();
        let queue = Late(latch.clone()).queued_with(Buffer::unbounded().spill(spill.clone()));
        queue.write(1).unwrap();
        queue.write(2).unwrap();
        latch.arrived(1);
        let error = queue.close().abort().unwrap_err();
        assert!(matches!(error, CloseError::Undelivered { events: 1, in_flight: 1 }), "{error:?}");
        assert_eq!(spill.events(), [2]);
        assert!(!spill.is_closed(), "the spill is closed after the last write to it");
        latch.open();
        wait_until("it is spilled", || spill.len() == 2);
        wait_until("the spill is closed", || spill.is_closed());
        let stats = queue.stats();
        assert_eq!((stats.accepted, stats.spilled, stats.in_flight), (2, 2, 0));
    });
}

#[test]
fn an_abort_reaches_nested_queues_and_broadcasters() {
    in_time("the abort", || {
        let attempts = Arc::new(AtomicUsize::new(0));
        let dead = || {
            let attempts = Arc::clone(&attempts);
            sink::from_fn(move |_: &u64| {
                attempts.fetch_add(1, Ordering::SeqCst);
                Err("dead")
            })
            .retry(Constant::new(HOUR))
        };
        let (left, right) = (dead().queued(), dead().queued_with(Buffer::bounded(2)));
        let broadcaster = Broadcaster::new();
        let fine = sink::collector();
        broadcaster.add(left.clone().queued()).unwrap();
        broadcaster.add(right.clone()).unwrap();
        broadcaster.add(fine.clone().queued()).unwrap();
        let top = broadcaster.queued().queued();
        for event in 0..8 {
            top.write(event).unwrap();
        }
        // One in the retry, two in the buffer, one waits for room: the top is stuck behind the fourth.
        wait_until("both are tried", || attempts.load(Ordering::SeqCst) == 2);
        wait_until("the buffer is full", || right.len() == 2);
        let begun = Instant::now();
        let error = top.close().within(Duration::from_millis(50)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(error.undelivered() > 0, "{error:?}");
        let (left, right) = (left.stats(), right.stats());
        for stats in [left, right] {
            assert_eq!(stats.delivered, 0, "{stats:?}");
            assert_eq!(stats.pending, 0, "{stats:?}");
            assert_eq!(stats.accepted, stats.dropped + stats.in_flight, "{stats:?}");
        }
        assert_eq!(attempts.load(Ordering::SeqCst), 2, "a retry was woken to try again");
        assert_eq!(top.stats().pending, 0);
    });
}

#[test]
fn a_dead_sink_on_a_broadcaster_keeps_no_healthy_one_from_being_drained() {
    in_time("the close", || {
        let stuck = Latch::new();
        let slow = Latch::new();
        let healthy = sink::collector();
        let broadcaster = Broadcaster::new();
        let waits = slow.clone();
        let id = broadcaster.add(Stuck::new(sink::discard(), &stuck).queued()).unwrap();
        broadcaster.add(healthy.clone().inspect(move |_| waits.pass()).queued()).unwrap();
        for event in 0..20 {
            broadcaster.write(event).unwrap();
        }
        let closing = broadcaster.close();
        slow.open();
        wait_until("the healthy one is drained and closed", || healthy.len() == 20 && healthy.is_closed());
        assert!(!closing.is_done());
        let error = closing.within(Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.undelivered(), 20, "{error:?}");
        assert_eq!(error.sinks().map(|(id, _)| id).collect::<Vec<_>>(), [id], "{error:?}");
    });
}

#[test]
fn a_queue_whose_downstream_has_closed_accepts_no_events_for_ever() {
    let downstream = sink::collector();
    let queue = downstream.clone().queued();
    drop(downstream.close());
    wait_until("the queue is closed", || queue.write(1).is_err());
    assert!(matches!(queue.close().wait(), Err(CloseError::DownstreamClosed { events: 1.. })));
    assert_eq!(queue.stats().accepted, queue.stats().dropped);
}

#[test]
fn a_filter_that_rejects_everything_notices_that_its_downstream_is_closed() {
    let downstream = sink::collector::<u64>();
    let filter = downstream.clone().filter(|_| false);
    assert!(filter.write(1).is_ok());
    drop(downstream.close());
    assert_eq!(filter.write(2).unwrap_err().into_event(), 2);
}

/// A sink that is known only later: the other end of a ring.
struct Later(Arc<OnceLock<SharedSink<u64>>>);

impl Later {
    fn sink(&self) -> &SharedSink<u64> {
        wait_until("the sink is known", || self.0.get().is_some());
        self.0.get().expect("it is known")
    }
}

impl Sink<u64> for Later {
    type Error = Infallible;

    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        self.sink().write(event)
    }

    fn flush(&self) -> Flushing {
        self.sink().flush()
    }

    fn close(&self) -> Closing {
        self.sink().close()
    }

    fn is_closed(&self) -> bool {
        self.sink().is_closed()
    }
}

#[test]
fn of_a_ring_of_two_queues_ends() {
    in_time("the ring", || {
        for first_closed in [0, 1] {
            let back: Arc<OnceLock<SharedSink<u64>>> = Arc::default();
            let one = Later(Arc::clone(&back)).filter_map(|event: &u64| event.checked_sub(1)).queued();
            let other = one.clone().queued();
            let _ = back.set(other.clone().shared());
            one.write(10).unwrap();
            wait_until("it went round", || one.stats().delivered + other.stats().delivered == 21);
            let rings: [&Queue<u64>; 2] = [&one, &other];
            rings[first_closed].close().wait().unwrap();
            rings[1 - first_closed].close().wait().unwrap();
            assert!(one.is_closed() && other.is_closed());
        }
    });
}

#[test]
fn a_ring_through_a_broadcaster_ends_when_its_other_sinks_are_drained() {
    in_time("the ring", || {
        let (inside, go) = (Latch::new(), Latch::new());
        let broadcaster = Broadcaster::new();
        let held = {
            let inside = inside.clone();
            sink::for_each(move |_: u64| inside.pass())
        };
        let drains = queue_behind::<u64>(&go);
        drains.write(1).unwrap();
        let ring = broadcaster.clone().filter(|_: &u64| false).queued();
        broadcaster.add(held).unwrap();
        broadcaster.add(drains.clone()).unwrap();
        broadcaster.add(ring.clone()).unwrap();
        let writer = {
            let broadcaster = broadcaster.clone();
            thread::spawn(move || broadcaster.write(1).is_ok())
        };
        inside.arrived(1);
        // Its worker closes the broadcaster, and waits for it from now on. A write is still under way there.
        let of_ring = ring.close();
        wait_until("the ring awaits the broadcaster", || broadcaster.is_closed());
        thread::sleep(Duration::from_millis(5));
        inside.open();
        assert!(writer.join().unwrap());
        assert!(!broadcaster.close().is_done() && !of_ring.is_done(), "a sink is not drained");
        go.open();
        broadcaster.close().wait().unwrap();
        // The ring had been closed before the last event.
        assert_eq!(broadcaster.ended().undelivered, 1);
        assert!(of_ring.wait().is_ok() && drains.close().is_done());
        assert_eq!(drains.stats().delivered, 2);
    });
}

#[test]
fn a_ring_through_a_spill_ends_when_the_rest_is_drained() {
    in_time("the ring", || {
        let (inside, go) = (Latch::new(), Latch::new());
        let drains = queue_behind::<u64>(&go);
        let held = {
            let inside = inside.clone();
            sink::for_each(move |_: u64| inside.pass()).tee(drains.clone())
        };
        let ring: Arc<OnceLock<SharedSink<u64>>> = Arc::default();
        let spill = Later(Arc::clone(&ring)).queued();
        let queue = held.queued_with(Buffer::unbounded().spill(spill.clone()));
        let _ = ring.set(queue.clone().shared());
        queue.write(1).unwrap();
        inside.arrived(1);
        // Its worker closes the queue, and waits for it from now on.
        let of_spill = spill.close();
        wait_until("the spill awaits the queue", || queue.is_closed());
        thread::sleep(Duration::from_millis(5));
        inside.open();
        wait_until("the queue has delivered it", || queue.stats().delivered == 1);
        thread::sleep(Duration::from_millis(5));
        assert!(!queue.close().is_done() && !of_spill.is_done(), "what is downstream is not drained");
        go.open();
        queue.close().wait().unwrap();
        of_spill.wait().unwrap();
        assert_eq!(drains.stats().delivered, 1);
    });
}

#[test]
fn an_abort_of_a_ring_of_two_queues_ends() {
    in_time("the ring", || {
        let back: Arc<OnceLock<SharedSink<u64>>> = Arc::default();
        let one = Later(Arc::clone(&back)).queued();
        let other = one.clone().queued();
        let _ = back.set(other.clone().shared());
        for event in 0..50 {
            one.write(event).unwrap();
        }
        for outcome in [one.close().abort(), other.close().abort()] {
            // Each knows what it did not deliver.
            assert!(!format!("{outcome:?}").contains("Aborted"), "{outcome:?}");
        }
        wait_until("both are empty", || {
            one.stats().pending + one.stats().in_flight + other.stats().pending + other.stats().in_flight == 0
        });
    });
}

#[test]
fn what_a_chain_holds_is_closed_with_it_after_the_last_write() {
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Logs(&'static str, Arc<Mutex<Vec<&'static str>>>);
    impl Sink<u64> for Logs {
        type Error = Infallible;
        fn write(&self, _: u64) -> Result<(), WriteError<u64, Infallible>> {
            self.1.lock().unwrap().push("write");
            Ok(())
        }
        fn flush(&self) -> Flushing {
            Flushing::done()
        }
        fn close(&self) -> Closing {
            self.1.lock().unwrap().push(self.0);
            Closing::done()
        }
    }
    let queue = Logs("closed", Arc::clone(&order)).queued();
    for event in 0..3 {
        queue.write(event).unwrap();
    }
    queue.close().wait().unwrap();
    let mut order = order.lock().unwrap().clone();
    order.dedup();
    assert_eq!(order, ["write", "closed"]);
}

#[test]
fn dropping_the_last_handle_closes_and_drains() {
    let dest = sink::collector();
    let queue = dest.clone().queued();
    for event in 0..1000 {
        queue.write(event).unwrap();
    }
    drop(queue);
    wait_until("it is closed", || dest.is_closed());
    assert_eq!(dest.len(), 1000);
}

#[test]
fn an_abort_that_nothing_is_left_for_answers_ok() {
    for _ in 0..rounds(300) {
        let dest = sink::collector();
        let queue = dest.clone().queued();
        queue.write(1).unwrap();
        queue.flush().wait().unwrap();
        let outcome = queue.close().abort();
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(queue.stats().delivered, 1);
    }
}

#[test]
fn an_abort_tells_of_what_is_in_doubt_what_the_stats_tell() {
    // Nobody writes any more, so that what is told and what is counted must agree.
    for round in 0..rounds(500) {
        let dest = Dest::new(Fault::None);
        let census = Census::new();
        let queue = Arc::clone(&dest).queued();
        for id in 0..(round % 50) {
            queue.write(Event::new(id, &census)).unwrap();
        }
        let outcome = queue.close().abort();
        wait_until("nothing is in flight", || queue.stats().in_flight == 0);
        let told = outcome.as_ref().err().map_or(0, CloseError::undelivered);
        let stats = queue.stats();
        assert_eq!(told, stats.dropped, "{outcome:?} {stats:?}");
        assert_eq!(stats.delivered + stats.dropped, round % 50);
    }
}

#[test]
fn an_abort_beside_live_writers_tells_what_the_stats_tell() {
    for round in 0..rounds(1000_u64) {
        let queue = Dest::new(Fault::None).queued_with(Buffer::bounded(2));
        let census = Census::new();
        let accepted = AtomicU64::new(0);
        let outcome = thread::scope(|scope| {
            for writer in 0..3 {
                let (queue, census, accepted) = (queue.clone(), &census, &accepted);
                scope.spawn(move || {
                    for n in 0..50 {
                        match queue.write(Event::new(writer * 50 + n, census)) {
                            Ok(()) => _ = accepted.fetch_add(1, Ordering::SeqCst),
                            Err(_) => break,
                        }
                    }
                });
            }
            spin_for((round % 20) * 50);
            queue.close().abort()
        });
        let told = outcome.as_ref().err().map_or(0, CloseError::undelivered);
        let stats = queue.stats();
        assert_eq!(told, stats.dropped, "{outcome:?} {stats:?}");
        assert_eq!(stats.accepted, accepted.load(Ordering::SeqCst), "{stats:?}");
    }
}

/// Calls a closure when it is closed, and another when it is flushed.
struct Calls<C, F>(C, F);

impl<C: Fn() + Send + Sync, F: Fn() + Send + Sync> Sink<u64> for Calls<C, F> {
    type Error = Infallible;

    fn write(&self, _: u64) -> Result<(), WriteError<u64, Infallible>> {
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.1();
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.0();
        Closing::done()
    }
}

#[test]
fn a_sink_whose_own_close_or_flush_waits_for_what_is_above_it_gets_would_deadlock() {
    in_time("the close", || {
        let (sender, told) = mpsc::channel();
        let above: Arc<OnceLock<Broadcaster<u64>>> = Arc::default();
        let (closes, flushes) = (Arc::clone(&above), Arc::clone(&above));
        let (sends, also) = (sender.clone(), sender);
        let broadcaster = Broadcaster::new();
        let waits = Calls(
            move || sends.send(format!("{:?}", closes.wait().close().wait())).unwrap(),
            move || {
                // A flush that comes back to where it came through ends there.
                flushes.wait().flush().wait().unwrap();
                also.send(format!("{:?}", flushes.wait().close().wait())).unwrap();
            },
        );
        broadcaster.add(waits).unwrap();
        assert!(above.set(broadcaster.clone()).is_ok());
        broadcaster.flush().wait().unwrap();
        broadcaster.close().wait().unwrap();
        let told: Vec<String> = told.try_iter().collect();
        assert_eq!(told, ["Err(WouldDeadlock)"; 2], "in its flush, and in its close");
    });
    in_time("the close", || {
        let (sender, told) = mpsc::channel();
        let above: Arc<OnceLock<outflow::queue::WeakQueue<u64>>> = Arc::default();
        let (closes, flushes) = (Arc::clone(&above), Arc::clone(&above));
        let (sends, also) = (sender.clone(), sender);
        let waits = Calls(
            move || {
                let queue = closes.wait().upgrade().expect("a handle is alive");
                sends.send(format!("{:?}", queue.close().wait())).unwrap();
            },
            move || {
                let queue = flushes.wait().upgrade().expect("a handle is alive");
                queue.flush().wait().unwrap();
                also.send(format!("{:?}", queue.close().wait())).unwrap();
            },
        );
        let queue = waits.queued();
        assert!(above.set(queue.downgrade()).is_ok());
        queue.flush().wait().unwrap();
        queue.close().wait().unwrap();
        let told: Vec<String> = told.try_iter().collect();
        assert_eq!(told, ["Err(WouldDeadlock)"; 2], "in its flush, and in its close");
    });
}

#[test]
fn has_a_batch_under_assembly_written_at_once_though_an_evicting_writer_is_in_the_spill() {
    in_time("the close", || {
        let (in_sink, in_spill) = (Latch::new(), Latch::new());
        let (first, stuck) = (in_sink.clone(), in_spill.clone());
        let batches = sink::collector();
        let spill = sink::for_each(move |_: u64| stuck.pass());
        let queue = batches.clone().inspect(move |_: &Vec<u64>| first.pass()).batched_with(
            outflow::queue::Batch::of(100).within(HOUR),
            Buffer::bounded(1).drop_oldest().spill(spill),
        );
        queue.write(0).unwrap();
        queue.flush().within(Duration::ZERO).ok();
        in_sink.arrived(1);
        queue.write(1).unwrap();
        let evicts = queue.clone();
        let writer = thread::spawn(move || evicts.write(2).unwrap());
        in_spill.arrived(1);
        in_sink.open();
        wait_until("the batch is under assembly", || queue.is_empty());
        let closing = queue.close();
        wait_until("the batch is written", || batches.len() == 2);
        assert!(!closing.is_done(), "a writer is in the spill");
        in_spill.open();
        closing.wait().unwrap();
        writer.join().unwrap();
        assert_eq!(batches.take(), [[0], [2]]);
    });
}
