//! Law 4: every event is delivered, handed back, spilled or counted, exactly once, whatever races with it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;

use crate::common::{Batches, Census, Dest, Event, Fault, in_time, rounds, spin, wait_until};
use outflow::buffer::{Buffer, Policy};
use outflow::queue::Batch;
use outflow::{Broadcaster, CloseError, Queue, Sink, SinkExt, WriteError, channel, sink};

const WRITERS: u64 = 3;
const EVENTS: u64 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    Abort,
    /// Nobody closes but the sink itself, which ends by its fault.
    Fault,
    LastHandle,
}

/// What the writers know.
#[derive(Default)]
struct Written {
    accepted: BTreeSet<u64>,
    handed_back: BTreeSet<u64>,
}

impl Written {
    fn write<X>(&mut self, id: u64, census: &Arc<Census>, sink: &impl Sink<Event, Error = X>) {
        match sink.write(Event::new(id, census)) {
            Ok(()) => assert!(self.accepted.insert(id)),
            Err(WriteError::Closed(event) | WriteError::Failed { event, .. }) => {
                assert_eq!(event.id, id, "another event was handed back");
                assert!(self.handed_back.insert(id));
            }
        }
    }

    fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut all, part| {
            all.accepted.extend(part.accepted);
            all.handed_back.extend(part.handed_back);
            all
        })
    }
}

fn set(ids: Vec<u64>) -> BTreeSet<u64> {
    let set: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(set.len(), ids.len(), "an event came twice: {ids:?}");
    set
}

fn race_queue<P: Policy>(
    round: u32,
    end: End,
    fault: Fault,
    spills: bool,
    buffer: Buffer<Event, P>,
    make: impl FnOnce(Arc<Dest>, Buffer<Event, P>) -> Queue<Event, P>,
) {
    let census = Census::new();
    let dest = Dest::new(fault);
    let spill = Dest::new(Fault::None);
    let queue = make(Arc::clone(&dest), if spills { buffer.spill(Arc::clone(&spill)) } else { buffer });
    let closers: u32 = if matches!(end, End::Close | End::Abort) { 2 } else { 0 };
    let barrier = Barrier::new(WRITERS as usize + closers as usize);

    let written = thread::scope(|scope| {
        for closer in 0..closers {
            let (queue, barrier) = (queue.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                spin(round + 77 * closer);
                let closing = queue.close();
                assert!(queue.is_closed());
                if end == End::Abort && closer == 0 {
                    let _ = closing.abort();
                }
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (queue, barrier, census) = (queue.clone(), &barrier, &census);
                scope.spawn(move || {
                    let mut written = Written::default();
                    barrier.wait();
                    for event in 0..EVENTS {
                        written.write(writer * EVENTS + event, census, &queue);
                    }
                    written
                })
            })
            .collect();
        Written::join(writers.into_iter().map(|writer| writer.join().unwrap()))
    });

    let all: BTreeSet<u64> = (0..WRITERS * EVENTS).collect();
    assert_eq!(&written.accepted | &written.handed_back, all, "an event went nowhere");
    assert!(written.accepted.is_disjoint(&written.handed_back));

    if end == End::LastHandle {
        drop(queue);
        wait_until("the sink is closed", || dest.closes.load(Ordering::SeqCst) > 0);
    } else {
        let outcome = queue.close().wait();
        wait_until("nothing is in flight", || queue.stats().in_flight == 0);
        let stats = queue.stats();
        let (delivered, spilled) = (set(dest.ids()), set(spill.ids()));
        assert!(delivered.is_disjoint(&spilled));
        assert!((&delivered | &spilled).is_subset(&written.accepted));
        let context = format!("{stats:?} {outcome:?} {end:?} {fault:?}");
        assert_eq!(stats.pending, 0, "{context}");
        assert_eq!(stats.accepted, written.accepted.len() as u64, "{context}");
        assert_eq!(stats.delivered, delivered.len() as u64, "{context}");
        assert_eq!(stats.spilled, spilled.len() as u64, "{context}");
        let terms = stats.delivered + stats.dropped + stats.spilled + stats.lost;
        assert_eq!(stats.accepted, terms, "{context}");
        if spills {
            assert_eq!(stats.dropped, 0, "{context}");
        }
        match (end, fault) {
            (End::Close, Fault::None) => {
                assert!(outcome.is_ok(), "{context}");
                assert_eq!(stats.lost, 0);
            }
            (End::Abort, Fault::None) => assert_eq!(stats.lost, 0),
            (End::Fault, Fault::PanicAt(_)) => {
                assert!(stats.lost >= 1, "{context}");
                assert!(matches!(outcome, Err(CloseError::Panicked { .. })), "{context}");
            }
            (End::Fault, Fault::ClosedAt(_)) => {
                assert_eq!(stats.lost, 0, "{context}");
                assert!(matches!(outcome, Err(CloseError::DownstreamClosed { .. })), "{context}");
            }
            _ => {}
        }
        drop(queue);
    }
    if end != End::Abort {
        assert!(!dest.late.load(Ordering::SeqCst), "written to after its close");
    }
    assert!(!spill.late.load(Ordering::SeqCst), "spilled after the spill's close");
    if end == End::LastHandle {
        let (delivered, spilled) = (set(dest.ids()), set(spill.ids()));
        assert!(delivered.is_disjoint(&spilled));
        let everything = &delivered | &spilled;
        if spills {
            assert_eq!(everything, written.accepted);
        } else {
            assert!(everything.is_subset(&written.accepted));
        }
    }
    drop((dest, spill));
    census.assert_none_left();
}

fn each_policy(count: u32, end: End, fault: impl Fn(u32) -> Fault + Copy) {
    fn queued<P: Policy>(dest: Arc<Dest>, buffer: Buffer<Event, P>) -> Queue<Event, P> {
        dest.queued_with(buffer)
    }
    let short = std::time::Duration::from_micros(50);
    for round in 0..rounds(count) {
        let spills = round % 2 == 0;
        let fault = fault(round);
        race_queue(round, end, fault, spills, Buffer::unbounded(), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3).reject(), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3).block_for(short), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3).drop_oldest(), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3).drop_newest(), queued);
        race_queue(round, end, fault, spills, Buffer::bounded(3), |dest, buffer| {
            Batches(dest).batched_with(Batch::of(5), buffer)
        });
        race_queue(round, end, fault, spills, Buffer::bounded(2).drop_oldest(), |dest, buffer| {
            let waiting = Batch::of(4).within(std::time::Duration::from_millis(1));
            Batches(dest).batched_with(waiting, buffer)
        });
    }
}

#[test]
fn of_a_queue_that_is_closed_while_it_is_written_to() {
    each_policy(300, End::Close, |_| Fault::None);
}

#[test]
fn of_a_queue_whose_close_is_aborted() {
    each_policy(200, End::Abort, |_| Fault::None);
}

#[test]
fn of_a_queue_whose_sink_panics() {
    each_policy(100, End::Fault, |round| Fault::PanicAt((round % 2) as usize));
}

#[test]
fn of_a_queue_whose_sink_closes_itself() {
    each_policy(100, End::Fault, |round| Fault::ClosedAt((round % 2) as usize));
}

#[test]
fn of_a_queue_whose_last_handle_is_dropped() {
    each_policy(300, End::LastHandle, |_| Fault::None);
}

#[test]
fn of_a_queue_whose_close_is_aborted_while_its_sink_panics() {
    each_policy(80, End::Abort, |round| Fault::PanicAt((round % 40) as usize));
}

#[test]
fn stats_add_up_at_every_moment() {
    let queue = sink::for_each(|_: u64| {}).queued_with(Buffer::bounded(4).drop_oldest());
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for event in 0..200_000u64 {
                queue.write(event).unwrap();
            }
        });
        let mut before = queue.stats();
        while !writer.is_finished() {
            let s = queue.stats();
            assert_eq!(s.accepted, s.delivered + s.dropped + s.spilled + s.lost + s.pending + s.in_flight);
            let grew = s.delivered >= before.delivered && s.dropped >= before.dropped;
            assert!(grew, "{before:?}, {s:?}");
            before = s;
        }
    });
    queue.close().wait().unwrap();
    assert_eq!(queue.stats().accepted, 200_000);
}

#[derive(Clone, Copy, PartialEq)]
enum Reader {
    ToTheEnd,
    DropsMidWay,
}

fn race_channel<P: Policy>(round: u32, reader: Reader, spills: bool, buffer: Buffer<Event, P>) {
    let census = Census::new();
    let spill = Dest::new(Fault::None);
    let buffer = if spills { buffer.spill(Arc::clone(&spill)) } else { buffer };
    let (sink, events) = channel::with(buffer);
    let closers = if reader == Reader::ToTheEnd { 2 } else { 0 };
    let barrier = Barrier::new(WRITERS as usize + closers);
    let (written, read) = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let read = match reader {
                Reader::ToTheEnd => events.iter().map(|event| event.id).collect::<Vec<_>>(),
                Reader::DropsMidWay => {
                    events.iter().take(round as usize % 12).map(|event| event.id).collect()
                }
            };
            drop(events);
            read
        });
        for closer in 0..closers {
            let (sink, barrier) = (sink.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                spin(round + 31 * closer as u32);
                drop(sink.close());
                assert!(sink.write(Event::new(u64::MAX, &Census::new())).is_err());
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (sink, barrier, census) = (sink.clone(), &barrier, &census);
                scope.spawn(move || {
                    let mut written = Written::default();
                    barrier.wait();
                    for event in 0..EVENTS {
                        written.write(writer * EVENTS + event, census, &sink);
                    }
                    written
                })
            })
            .collect();
        let written = Written::join(writers.into_iter().map(|writer| writer.join().unwrap()));
        // The reader may be waiting for more than was accepted.
        drop(sink.close());
        (written, reading.join().unwrap())
    });
    sink.close().wait().unwrap();
    let (read, spilled) = (set(read), set(spill.ids()));
    assert_eq!(written.accepted.len() + written.handed_back.len(), (WRITERS * EVENTS) as usize);
    assert!(read.is_disjoint(&spilled));
    assert!((&read | &spilled).is_subset(&written.accepted));
    let known = (read.len() + spilled.len()) as u64;
    assert_eq!(known + sink.dropped(), written.accepted.len() as u64);
    if spills {
        assert_eq!(sink.dropped(), 0);
    }
    assert!(!spill.late.load(Ordering::SeqCst), "spilled after the spill's close");
    drop((sink, spill));
    census.assert_none_left();
}

fn each_channel(count: u32, reader: Reader) {
    let short = std::time::Duration::from_micros(50);
    for round in 0..rounds(count) {
        let spills = round % 2 == 0;
        race_channel(round, reader, spills, Buffer::unbounded());
        race_channel(round, reader, spills, Buffer::bounded(3));
        race_channel(round, reader, spills, Buffer::bounded(3).reject());
        race_channel(round, reader, spills, Buffer::bounded(3).block_for(short));
        race_channel(round, reader, spills, Buffer::bounded(3).drop_oldest());
        race_channel(round, reader, spills, Buffer::bounded(3).drop_newest());
    }
}

#[test]
fn of_a_channel_that_is_closed_while_it_is_written_to() {
    each_channel(300, Reader::ToTheEnd);
}

#[test]
fn of_a_channel_whose_events_are_dropped_mid_way() {
    each_channel(200, Reader::DropsMidWay);
}

#[test]
fn of_a_rendezvous_that_is_closed_while_it_is_written_to() {
    for round in 0..rounds(500) {
        let census = Census::new();
        let (sink, events) = channel::rendezvous();
        let (written, read) = thread::scope(|scope| {
            let reading = scope.spawn(move || events.into_iter().map(|event: Event| event.id).collect());
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (sink, census) = (&sink, &census);
                    scope.spawn(move || {
                        let mut written = Written::default();
                        for event in 0..EVENTS {
                            written.write(writer * EVENTS + event, census, sink);
                        }
                        written
                    })
                })
                .collect();
            spin(round);
            drop(sink.close());
            let written = Written::join(writers.into_iter().map(|writer| writer.join().unwrap()));
            (written, reading.join().unwrap())
        });
        assert_eq!(set(read), written.accepted);
        census.assert_none_left();
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Close,
    Abort,
    LastHandle,
}

fn race_broadcaster(round: u32, ends: Ends) {
    let census = Census::new();
    let broadcaster = Broadcaster::new();
    let direct = Dest::new(Fault::None);
    let below = Dest::new(Fault::None);
    let queue = Arc::clone(&below).queued_with(Buffer::bounded(3));
    let direct_id = broadcaster.add(Arc::clone(&direct)).unwrap();
    let queue_id = broadcaster.add(queue.clone()).unwrap();
    let watcher = broadcaster.subscribe(Buffer::bounded(2).drop_oldest());
    let closers = if ends == Ends::LastHandle { 0 } else { 2 };
    let barrier = Barrier::new(WRITERS as usize + closers);
    let (written, watched, told) = thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let watched: Vec<u64> = watcher.iter().map(|event| event.id).collect();
            (watched, watcher.dropped())
        });
        for closer in 0..closers {
            let (broadcaster, barrier) = (broadcaster.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                spin(round + 13 * closer as u32);
                let closing = broadcaster.close();
                if ends == Ends::Abort && closer == 0 {
                    let _ = closing.abort();
                }
            });
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (broadcaster, barrier, census) = (broadcaster.clone(), &barrier, &census);
                scope.spawn(move || {
                    let mut written = Written::default();
                    barrier.wait();
                    for event in 0..EVENTS {
                        written.write(writer * EVENTS + event, census, &broadcaster);
                    }
                    written
                })
            })
            .collect();
        let written = Written::join(writers.into_iter().map(|writer| writer.join().unwrap()));
        let told = (ends != Ends::LastHandle).then(|| (broadcaster.close().wait(), broadcaster.ended()));
        drop(broadcaster);
        (written, watching.join().unwrap(), told)
    });
    let _ = queue.close().wait();
    wait_until("nothing is in flight", || queue.stats().in_flight == 0);
    assert_eq!(written.accepted.len() + written.handed_back.len(), (WRITERS * EVENTS) as usize);
    let accepted = written.accepted.len() as u64;
    let stats = queue.stats();
    assert!(set(direct.ids()).is_subset(&written.accepted));
    assert!(set(below.ids()).is_subset(&written.accepted));
    assert!(set(watched.0.clone()).is_subset(&written.accepted));
    assert_eq!(watched.0.len() as u64 + watched.1, accepted, "{told:?}");
    match (ends, told) {
        (Ends::Abort, Some((outcome, ended))) => {
            // On a machine so busy that a write took 100 ms the abort does not know; the list always does.
            let knows = !matches!(&outcome, Err(error) if error.to_string().ends_with("was aborted"));
            for (id, delivered) in [(direct_id, direct.ids().len()), (queue_id, below.ids().len())] {
                let missed = accepted - delivered as u64;
                let error = outcome.as_ref().err();
                let told: u64 = error
                    .into_iter()
                    .flat_map(CloseError::sinks)
                    .filter(|(sink, _)| *sink == id)
                    .map(|(_, error)| error.undelivered())
                    .sum();
                if knows {
                    assert_eq!(told, missed, "{outcome:?} {ended:?} {stats:?}");
                }
                if let Some(ended) = ended.recent.iter().find(|ended| ended.id == id) {
                    assert_eq!(ended.error.as_ref().map_or(0, CloseError::undelivered), missed, "{ended:?}");
                }
            }
        }
        (_, told) => {
            assert_eq!(set(direct.ids()), written.accepted);
            assert_eq!(set(below.ids()), written.accepted);
            assert!(!direct.late.load(Ordering::SeqCst), "written to after its close");
            if let Some((outcome, _)) = told {
                outcome.unwrap();
            }
        }
    }
    assert_eq!(stats.delivered + stats.dropped, stats.accepted);
    assert_eq!(stats.delivered, below.ids().len() as u64);
    drop((direct, below, queue));
    census.assert_none_left();
}

#[test]
fn of_a_broadcaster_that_is_closed_while_it_is_written_to() {
    in_time("the race", || (0..rounds(800)).for_each(|round| race_broadcaster(round, Ends::Close)));
}

#[test]
fn of_a_broadcaster_whose_close_is_aborted() {
    (0..rounds(1000)).for_each(|round| race_broadcaster(round, Ends::Abort));
}

#[test]
fn of_a_broadcaster_whose_last_handle_is_dropped() {
    (0..rounds(300)).for_each(|round| race_broadcaster(round, Ends::LastHandle));
}

#[test]
fn every_refusal_of_a_closed_queue_hands_the_event_back() {
    let queue = sink::discard::<Event>().queued();
    queue.close().wait().unwrap();
    let census = Census::new();
    let refused: WriteError<Event, Infallible> = queue.write(Event::new(7, &census)).unwrap_err();
    assert!(refused.is_closed());
    assert_eq!(refused.into_event().id, 7);
    census.assert_none_left();
}
