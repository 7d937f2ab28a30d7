//! A broadcaster writes every event to every sink, whatever becomes of the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use crate::common::{
    Census, Event, Latch, PLANNED, PanicsOnDrop, SOON, in_time, planned_panic, queue_behind, rounds,
    wait_until,
};
use outflow::{Broadcaster, Buffer, Sink, SinkExt, SinkId, sink};

#[test]
fn a_closed_sink_among_many_makes_no_neighbour_miss_or_repeat_an_event() {
    for position in 0..5 {
        let reports: Arc<Mutex<Vec<SinkId>>> = Arc::default();
        let reported = Arc::clone(&reports);
        let broadcaster = Broadcaster::with_on_closed(move |id, _: &_| reported.lock().unwrap().push(id));
        let sinks: Vec<_> = (0..5).map(|_| sink::collector()).collect();
        let ids: Vec<_> = sinks.iter().map(|sink| broadcaster.add(sink.clone()).unwrap()).collect();
        for event in 0..10 {
            if event == 5 {
                drop(sinks[position].close());
            }
            broadcaster.write(event).unwrap();
        }
        for (at, sink) in sinks.iter().enumerate() {
            let until = if at == position { 5 } else { 10 };
            assert_eq!(sink.events(), (0..until).collect::<Vec<_>>(), "sink {at}, closed {position}");
        }
        assert_eq!(*reports.lock().unwrap(), [ids[position]], "reported once");
        assert!(!broadcaster.contains(ids[position]));
        assert_eq!(broadcaster.len(), 4);
        let ended = broadcaster.ended();
        assert_eq!((ended.count, ended.undelivered, ended.recent[0].id), (1, 1, ids[position]));
        // It had nothing left to deliver, so that the close has nothing to report.
        broadcaster.close().wait().unwrap();
    }
}

#[test]
fn several_sinks_that_close_at_once_under_concurrent_writes_are_each_reported_once() {
    for _ in 0..rounds(200) {
        let reports: Arc<Mutex<Vec<SinkId>>> = Arc::default();
        let reported = Arc::clone(&reports);
        let broadcaster = Broadcaster::with_on_closed(move |id, _: &_| reported.lock().unwrap().push(id));
        let healthy = sink::collector();
        let ends: Vec<_> = (0..4).map(|_| sink::collector()).collect();
        broadcaster.add(healthy.clone()).unwrap();
        let mut ids: Vec<_> = ends.iter().map(|sink| broadcaster.add(sink.clone()).unwrap()).collect();
        thread::scope(|scope| {
            for writer in 0..3 {
                let broadcaster = broadcaster.clone();
                scope.spawn(move || (0..30).for_each(|n| broadcaster.write(writer * 30 + n).unwrap()));
            }
            scope.spawn(|| ends.iter().for_each(|sink| drop(sink.close())));
        });
        // Those that closed after the last write have not been noticed.
        broadcaster.write(1000).unwrap();
        let mut events = healthy.take();
        events.sort_unstable();
        assert_eq!(events, (0..90).chain([1000]).collect::<Vec<_>>());
        let mut reports = reports.lock().unwrap().clone();
        reports.sort_unstable();
        ids.sort_unstable();
        assert_eq!(reports, ids);
        assert_eq!(broadcaster.ended().count, 4);
        assert!(broadcaster.ended().undelivered >= 4);
    }
}

#[test]
fn ten_sinks_and_a_thousand_concurrent_writes_removed_added_again_and_closed() {
    let broadcaster = Broadcaster::new();
    let sinks: Vec<_> = (0..10).map(|_| sink::collector()).collect();
    let mut ids: Vec<_> = sinks.iter().map(|sink| broadcaster.add(sink.clone()).unwrap()).collect();
    let thousand = |from: u64| {
        thread::scope(|scope| {
            for writer in 0..100 {
                let broadcaster = broadcaster.clone();
                scope.spawn(move || {
                    (0..10).for_each(|n| broadcaster.write(from + writer * 10 + n).unwrap());
                });
            }
        });
    };
    let check = |from: u64| {
        for sink in &sinks {
            let mut events = sink.take();
            events.sort_unstable();
            assert_eq!(events, (from..from + 1000).collect::<Vec<_>>());
        }
    };
    thousand(0);
    check(0);
    for id in &ids {
        assert!(broadcaster.remove(*id).is_some());
        assert!(broadcaster.remove(*id).is_none());
    }
    broadcaster.write(5).unwrap();
    assert!(sinks.iter().all(|sink| sink.is_empty() && !sink.is_closed()));
    assert_eq!(broadcaster.unheard(), 1);
    let again: Vec<_> = sinks.iter().map(|sink| broadcaster.add(sink.clone()).unwrap()).collect();
    assert!(again.iter().all(|id| !ids.contains(id)), "an id was given twice");
    ids = again;
    thousand(5000);
    check(5000);
    assert_eq!(broadcaster.ids(), ids);
    broadcaster.close().wait().unwrap();
    assert!(sinks.iter().all(|sink| sink.is_closed()));
    assert!(broadcaster.write(1).is_err());
}

#[test]
fn a_panic_in_one_sink_keeps_the_event_from_no_other_and_goes_on_to_the_writer() {
    for position in 0..4 {
        let broadcaster = Broadcaster::new();
        let kept: Vec<_> = (0..4).map(|_| sink::collector()).collect();
        for (at, sink) in kept.iter().enumerate() {
            let sink = sink.clone();
            broadcaster
                .add(sink.inspect(move |event: &u64| {
                    if at == position && *event == 1 {
                        planned_panic();
                    }
                }))
                .unwrap();
        }
        broadcaster.write(0).unwrap();
        for by_reference in [false, true] {
            let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if by_reference { broadcaster.write_ref(&1).is_ok() } else { broadcaster.write(1).is_ok() }
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&PLANNED));
        }
        broadcaster.write(2).unwrap();
        for (at, sink) in kept.iter().enumerate() {
            let expected: &[u64] = if at == position { &[0, 2] } else { &[0, 1, 1, 2] };
            assert_eq!(sink.events(), expected, "sink {at}, panics {position}");
        }
        broadcaster.close().wait().unwrap();
    }
}

#[test]
fn a_sink_may_call_back_into_its_broadcaster() {
    in_time("a sink that calls back", || {
        let broadcaster = Broadcaster::new();
        let kept = sink::collector();
        broadcaster.add(kept.clone()).unwrap();
        let (inside, own) = (broadcaster.clone(), Arc::new(OnceLock::new()));
        let own_id = Arc::clone(&own);
        let added = sink::collector();
        let later = added.clone();
        let id = broadcaster
            .add(sink::for_each(move |event: u64| match event {
                1 => inside.write(100).unwrap(),
                2 => drop(inside.add(later.clone()).unwrap()),
                3 => drop(inside.subscribe(Buffer::bounded(1))),
                4 => drop(inside.flush()),
                5 => drop(inside.remove(*own_id.get().unwrap()).unwrap()),
                _ => {}
            }))
            .unwrap();
        own.set(id).unwrap();
        for event in 1..=6 {
            broadcaster.write(event).unwrap();
        }
        assert_eq!(kept.events(), [1, 100, 2, 3, 4, 5, 6]);
        assert_eq!(added.events(), [3, 4, 5, 6], "an added sink sees no write that had begun");
        assert!(!broadcaster.contains(id));
        let inside = broadcaster.clone();
        broadcaster.add(sink::for_each(move |_: u64| drop(inside.close()))).unwrap();
        broadcaster.write(7).unwrap();
        assert_eq!(kept.events().last(), Some(&7));
        assert!(broadcaster.write(8).is_err());
        broadcaster.close().wait().unwrap();
        assert!(kept.is_closed() && added.is_closed());
    });
}

#[test]
fn the_reader_of_a_full_subscription_can_close_the_broadcaster() {
    in_time("the close", || {
        let broadcaster = Broadcaster::new();
        let kept = sink::collector();
        broadcaster.add(kept.clone()).unwrap();
        let watcher = broadcaster.subscribe(Buffer::bounded(1));
        let writer = {
            let broadcaster = broadcaster.clone();
            thread::spawn(move || (0..).take_while(|event| broadcaster.write(*event).is_ok()).count())
        };
        wait_until("the writer waits", || watcher.len() == 1 && kept.len() == 2);
        broadcaster.close().wait().unwrap();
        let accepted = writer.join().unwrap();
        assert_eq!(kept.len(), accepted);
        let read = watcher.iter().count();
        assert_eq!(read as u64 + watcher.dropped(), accepted as u64);
    });
}

#[test]
fn the_reader_of_a_full_subscription_can_leave() {
    in_time("the drop", || {
        let broadcaster = Broadcaster::new();
        let watcher = broadcaster.subscribe(Buffer::bounded(1));
        let kept = sink::collector();
        broadcaster.add(kept.clone()).unwrap();
        let writer = {
            let broadcaster = broadcaster.clone();
            thread::spawn(move || (0..10).for_each(|event| broadcaster.write(event).unwrap()))
        };
        wait_until("the writer waits", || watcher.len() == 1);
        let id = watcher.id();
        drop(watcher);
        writer.join().unwrap();
        assert_eq!(kept.len(), 10);
        assert!(!broadcaster.contains(id));
        assert_eq!(broadcaster.ended().count, 0, "unsubscribing is reported to nobody");
        broadcaster.close().wait().unwrap();
    });
}

#[test]
fn a_blocked_sink_blocks_no_add_and_no_remove() {
    in_time("an add", || {
        let latch = Latch::new();
        let stuck = latch.clone();
        let broadcaster = Broadcaster::new();
        let id = broadcaster.add(sink::for_each(move |_: u64| stuck.pass())).unwrap();
        let writer = {
            let broadcaster = broadcaster.clone();
            thread::spawn(move || broadcaster.write(1).unwrap())
        };
        latch.arrived(1);
        let other = sink::collector();
        let added = broadcaster.add(other.clone()).unwrap();
        assert!(broadcaster.remove(id).is_some());
        assert_eq!(broadcaster.ids(), [added]);
        broadcaster.write(2).unwrap();
        assert_eq!(other.events(), [2]);
        let closing = broadcaster.close();
        assert!(!closing.is_done(), "a write is under way");
        assert!(!other.is_closed(), "closed before the last write was through");
        latch.open();
        writer.join().unwrap();
        closing.wait().unwrap();
        assert!(other.is_closed());
    });
}

#[test]
fn adds_and_removes_beside_writes_disturb_no_other_sink() {
    const CHANGES: u32 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let broadcaster = Broadcaster::new();
    let kept = sink::collector();
    broadcaster.add(kept.clone()).unwrap();
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            for _ in 0..CHANGES {
                let id = broadcaster.add(sink::discard()).unwrap();
                assert!(broadcaster.remove(id).is_some());
            }
        });
        let mut event = 0_u64;
        while !changer.is_finished() {
            broadcaster.write(event).unwrap();
            event += 1;
        }
        assert_eq!(kept.len() as u64, event);
    });
    assert_eq!(broadcaster.len(), 1);
    broadcaster.close().wait().unwrap();
}

#[test]
fn with_no_sinks_what_is_written_is_counted_as_unheard() {
    let broadcaster = Broadcaster::new();
    broadcaster.write(1).unwrap();
    broadcaster.write_ref(&2).unwrap();
    assert_eq!(broadcaster.unheard(), 2);
    broadcaster.close().wait().unwrap();
    assert!(broadcaster.write(3).is_err());
    assert_eq!(broadcaster.unheard(), 2);
}

#[test]
fn an_add_to_a_closed_broadcaster_closes_the_sink_and_says_so() {
    let broadcaster = Broadcaster::new();
    drop(broadcaster.close());
    let late = sink::collector::<u64>();
    let error = broadcaster.add(late.clone()).unwrap_err();
    error.closing().wait().unwrap();
    assert!(late.is_closed());
    assert_eq!(broadcaster.subscribe(Buffer::unbounded()).iter().count(), 0);
}

#[test]
fn an_add_that_races_with_a_close_leaves_no_sink_open() {
    for _ in 0..rounds(2000) {
        let broadcaster = Broadcaster::new();
        let late = sink::collector::<u64>();
        thread::scope(|scope| {
            scope.spawn(|| broadcaster.close().wait().unwrap());
            scope.spawn(|| drop(broadcaster.add(late.clone())));
        });
        assert!(late.is_closed());
    }
}

#[test]
fn a_filter_behind_a_broadcaster_rejects_without_cloning() {
    let census = Census::new();
    let broadcaster = Broadcaster::new();
    let heard = Arc::new(AtomicU64::new(0));
    for _ in 0..8 {
        let heard = Arc::clone(&heard);
        let counts = sink::for_each(move |_: Event| _ = heard.fetch_add(1, Ordering::SeqCst));
        broadcaster.add(counts.filter(|event: &Event| event.id % 10 == 0)).unwrap();
    }
    for id in 1..10 {
        broadcaster.write(Event::new(id, &census)).unwrap();
    }
    assert_eq!(census.clones(), 0, "a rejected event was cloned");
    broadcaster.write(Event::new(10, &census)).unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 8);
    assert_eq!(census.clones(), 7, "one for each sink but the last");
    census.assert_none_left();
}

#[test]
fn an_endpoint_that_fails_for_good_is_reported() {
    let (sender, told) = mpsc::channel();
    let broadcaster = Broadcaster::with_on_closed(move |id, _: &_| _ = sender.send(id));
    let queue = sink::for_each(|_: u64| planned_panic()).queued();
    let id = broadcaster.add(queue).unwrap();
    wait_until("the queue has ended", || {
        broadcaster.write(1).unwrap();
        broadcaster.is_empty()
    });
    assert_eq!(told.recv_timeout(SOON), Ok(id));
    let error = broadcaster.close().wait().unwrap_err();
    assert!(error.sinks().any(|(at, error)| at == id && error.to_string().contains(PLANNED)), "{error:?}");
    assert!(told.try_recv().is_err(), "told twice");
}

#[test]
fn replace_takes_the_place_of_a_sink_and_closes_nothing() {
    let broadcaster = Broadcaster::new();
    let (old, new) = (sink::collector(), sink::collector());
    let id = broadcaster.add(old.clone()).unwrap();
    broadcaster.write(1).unwrap();
    assert!(broadcaster.replace(id, new.clone()).is_ok());
    broadcaster.write(2).unwrap();
    assert_eq!((old.events(), new.events()), (vec![1], vec![2]));
    assert!(!old.is_closed());
    assert!(broadcaster.contains(id));
    assert_eq!(broadcaster.ids(), [id]);
    assert!(broadcaster.remove(id).is_some());
    assert!(!broadcaster.contains(id) && !new.is_closed());
    assert!(broadcaster.replace(id, sink::discard()).is_err());
}

#[test]
fn a_panic_in_on_closed_keeps_no_refused_event_from_being_counted() {
    let told: Arc<AtomicU64> = Arc::default();
    let counted = Arc::clone(&told);
    let broadcaster = Broadcaster::with_on_closed(move |_, _: &_| {
        counted.fetch_add(1, Ordering::SeqCst);
        planned_panic();
    });
    for _ in 0..3 {
        let sink = sink::collector();
        broadcaster.add(sink.clone()).unwrap();
        drop(sink.close());
    }
    let log = sink::collector();
    broadcaster.add(log.clone()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| broadcaster.write(1))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&PLANNED), "it goes on to the writer");
    assert_eq!((log.len(), told.load(Ordering::SeqCst), broadcaster.ended().undelivered), (1, 3, 3));
    assert_eq!(broadcaster.len(), 1);
    broadcaster.close().wait().unwrap();
}

#[test]
fn a_close_waits_for_every_sink_that_ended_however_many_there_are() {
    const SINKS: usize = 200;
    let go = Latch::new();
    let broadcaster = Broadcaster::new();
    let queues: Vec<_> = (0..SINKS)
        .map(|_| {
            let queue = queue_behind::<u32>(&go);
            queue.write(1).unwrap();
            // Ends by itself, and is still draining when the broadcaster finds it closed.
            drop(queue.close());
            broadcaster.add(queue.clone()).unwrap();
            broadcaster.write(2).unwrap();
            queue
        })
        .collect();
    let ended = broadcaster.ended();
    assert_eq!((ended.recent.len(), ended.count, ended.undelivered), (64, SINKS as u64, SINKS as u64));
    let closing = broadcaster.close();
    assert!(!closing.is_done());
    assert!(matches!(queues[0].close().abort().unwrap_err().undelivered(), 1));
    assert!(!closing.is_done(), "the others still drain");
    go.open();
    let error = closing.wait().unwrap_err();
    assert!(queues.iter().all(|queue| queue.close().is_done()));
    // What each refused is in `ended`; what the abort of the first one shed is its own.
    assert_eq!((error.undelivered(), error.sinks().count()), (1, 1), "{error:?}");
    assert_eq!(broadcaster.ended().undelivered, SINKS as u64 + 1);
}

#[test]
fn sinks_that_have_ended_are_forgotten_by_name_and_counted() {
    const SINKS: u64 = 1000;
    let broadcaster = Broadcaster::new();
    for _ in 0..SINKS {
        let sink = sink::collector();
        broadcaster.add(sink.clone()).unwrap();
        drop(sink.close());
        broadcaster.write(1).unwrap();
    }
    let ended = broadcaster.ended();
    assert_eq!((ended.recent.len(), ended.count, ended.undelivered), (64, SINKS, SINKS));
    broadcaster.close().wait().unwrap();
}

#[test]
fn a_sink_that_took_the_place_of_a_subscription_stays_when_that_is_dropped() {
    let broadcaster = Broadcaster::new();
    let watcher = broadcaster.subscribe(Buffer::unbounded());
    let kept = sink::collector();
    assert!(broadcaster.replace(watcher.id(), kept.clone()).is_ok());
    broadcaster.write(1).unwrap();
    drop(watcher);
    broadcaster.write(2).unwrap();
    broadcaster.close().wait().unwrap();
    assert_eq!((kept.events(), kept.is_closed(), broadcaster.unheard()), (vec![1, 2], true, 0));
}

#[test]
fn a_write_that_waits_in_a_subscription_is_released_however_that_ends() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Ends {
        Removed,
        Replaced,
        Closed,
        Aborted,
        RemovedThenClosed,
        ReplacedThenAborted,
    }
    use Ends::*;

    let each = [Removed, Replaced, Closed, Aborted, RemovedThenClosed, ReplacedThenAborted];
    for ends in each.repeat(50) {
        in_time("the write", move || {
            let broadcaster = Broadcaster::new();
            let watcher = broadcaster.subscribe(Buffer::bounded(1));
            let other = sink::collector();
            broadcaster.add(other.clone()).unwrap();
            broadcaster.write(1).unwrap();
            let begins = Arc::new(std::sync::Barrier::new(2));
            let (inside, begun) = (broadcaster.clone(), Arc::clone(&begins));
            let write = thread::spawn(move || {
                begun.wait();
                inside.write(2).is_ok()
            });
            begins.wait();
            // It waits by now, or will: either must be released.
            thread::yield_now();
            let removed = match ends {
                Removed | RemovedThenClosed => broadcaster.remove(watcher.id()),
                Replaced | ReplacedThenAborted => broadcaster.replace(watcher.id(), sink::discard()).ok(),
                Closed | Aborted => None,
            };
            if ends == Removed || ends == Replaced {
                assert!(write.join().unwrap(), "before any close");
                assert_eq!(other.events(), [1, 2]);
                broadcaster.close().wait().unwrap();
            } else {
                let closing = broadcaster.close();
                let aborts = ends == Aborted || ends == ReplacedThenAborted;
                let outcome = if aborts { closing.abort() } else { closing.wait() };
                // The other sink is closed by an abort, and may refuse what is under way.
                assert!(aborts || outcome.is_ok(), "{outcome:?}");
                let (written, refused) = (write.join().unwrap(), u64::from(outcome.is_err()));
                assert_eq!(u64::from(written), other.len() as u64 - 1 + refused, "{ends:?}");
            }
            drop(removed);
            let (read, missed) = (watcher.try_iter().count(), watcher.dropped());
            assert!(read == 1 && missed <= 1, "{ends:?}: {read} were read, {missed} missed");
        });
    }
}

#[test]
fn a_flush_waits_for_a_queue_that_was_closed_from_outside_and_still_drains() {
    in_time("the flush", || {
        for found_out in [false, true] {
            let latch = Latch::new();
            let stuck = latch.clone();
            let seen = sink::collector();
            let queue = seen.clone().inspect(move |_| stuck.pass()).queued();
            let broadcaster = Broadcaster::new();
            broadcaster.add(queue.clone()).unwrap();
            for event in 0..10 {
                broadcaster.write(event).unwrap();
            }
            latch.arrived(1);
            drop(queue.close());
            if found_out {
                // It is off the list, and what it accepted is still on its way.
                broadcaster.write(10).unwrap();
                assert_eq!(broadcaster.ended().count, 1);
            }
            let flushing = broadcaster.flush();
            assert!(!flushing.is_done());
            latch.open();
            flushing.wait().unwrap();
            assert_eq!(seen.len(), 10);
            broadcaster.close().wait().unwrap();
        }
    });
}

#[test]
fn a_refusal_is_counted_though_the_event_panics_when_it_is_dropped() {
    let (sink, events) = outflow::channel::unbounded();
    drop(events);
    let broadcaster = Broadcaster::new();
    broadcaster.add(sink).unwrap();
    let write = std::panic::AssertUnwindSafe(|| broadcaster.write(PanicsOnDrop));
    assert!(std::panic::catch_unwind(write).is_err(), "the destructor's panic goes on to the writer");
    assert_eq!((broadcaster.len(), broadcaster.ended().undelivered), (0, 1));
}

#[test]
fn a_sink_that_stays_has_every_event_once_while_others_come_and_go_around_it() {
    const STAY: usize = 60;

    let bus = Broadcaster::new();
    let mut stay = Vec::new();
    let mut go = Vec::new();
    // Mixed, over several chunks of the list.
    for _ in 0..STAY {
        let collector = sink::collector();
        bus.add(collector.clone()).unwrap();
        stay.push(collector);
        go.push(bus.add(sink::discard()).unwrap());
    }
    let events: Vec<u32> = (0..rounds(20_000)).collect();
    let writes = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let (bus, writes, events) = (&bus, &writes, &events);
        scope.spawn(move || {
            events.iter().for_each(|event| bus.write(*event).unwrap());
            writes.store(false, std::sync::atomic::Ordering::SeqCst);
        });
        for mine in go.chunks(STAY / 2).map(<[_]>::to_vec) {
            scope.spawn(move || {
                let mut mine = std::collections::VecDeque::from(mine);
                let mut round = 0_u32;
                while writes.load(std::sync::atomic::Ordering::SeqCst) {
                    round = round.wrapping_add(1);
                    let id = mine.pop_front().unwrap();
                    if round % 3 == 0 {
                        bus.replace(id, sink::discard()).unwrap();
                        mine.push_back(id);
                    } else {
                        assert!(bus.remove(id).is_some(), "{id} is gone");
                        // By ones and by tens.
                        let more = if round % 50 == 1 { 10 } else { 1 };
                        mine.extend(bus.extend((0..more).map(|_| sink::discard())).unwrap());
                        while mine.len() > 40 {
                            assert!(bus.remove(mine.pop_front().unwrap()).is_some());
                        }
                    }
                }
            });
        }
    });
    assert!(stay.iter().all(|collector| collector.events() == events));
    bus.close().wait().unwrap();
}
