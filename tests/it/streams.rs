//! A task that reads events is woken by every write and by every way in which they can end, on any executor; and
//! a sink whose writes never wait is a `futures::Sink`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::common::{
    Census, Count, Event, Latch, PanicsOnWake, in_time, planned_panic, poll, rounds, spin_for, wait_until,
};
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::stream::FusedStream;
use futures::task::{LocalSpawnExt, SpawnExt};
use futures::{FutureExt, SinkExt as _, Stream, StreamExt};
use outflow::adapter::IntoFuturesError;
use outflow::buffer::{Buffer, Policy};
use outflow::channel::{self, ChannelSink, Events};
use outflow::{Broadcaster, CloseError, Closing, FlushError, Sink, SinkExt, sink};

/// Threads that wait for each other without sleeping, so that they start within nanoseconds.
struct Start(AtomicUsize);

impl Start {
    fn of(threads: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(threads)))
    }

    fn line_up(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.load(Ordering::SeqCst) > 0 {
            spins += 1;
            // There may be fewer processors than threads.
            if spins % 100 == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Writers that write `each` events to a new channel, and keep it open, while a task reads them: nothing but the
/// writes can wake it.
#[track_caller]
fn race_fresh<P: Policy>(
    count: usize,
    writers: usize,
    each: usize,
    make: impl Fn() -> (ChannelSink<usize, P>, Events<usize>) + Send + 'static,
) {
    in_time("a task that reads", move || {
        let rounds = rounds(count);
        type Job<P> = (Arc<Start>, ChannelSink<usize, P>);
        let (done, is_done) = mpsc::channel();
        let threads: Vec<mpsc::Sender<Job<P>>> = (0..writers)
            .map(|writer| {
                let (jobs, job) = mpsc::channel::<Job<P>>();
                let done = done.clone();
                thread::spawn(move || {
                    for (start, sink) in job {
                        start.line_up();
                        for event in 0..each {
                            assert!(sink.write(writer * each + event).is_ok());
                        }
                        done.send(()).unwrap();
                    }
                });
                jobs
            })
            .collect();
        for round in 0..rounds {
            let (sink, events) = make();
            let start = Start::of(writers + 1);
            for thread in &threads {
                thread.send((Arc::clone(&start), sink.clone())).unwrap();
            }
            start.line_up();
            spin_for(round % 64);
            let mut read: Vec<usize> = block_on(events.take(writers * each).collect());
            for writer in 0..writers {
                is_done.recv().unwrap();
                let own = read.iter().copied().filter(|event| event / each == writer);
                assert!(own.eq(writer * each..(writer + 1) * each), "out of order: {read:?}");
            }
            read.sort_unstable();
            assert!(read.into_iter().eq(0..writers * each));
            drop(sink);
        }
    });
}

#[test]
fn the_first_poll_races_the_first_write() {
    race_fresh(20_000, 1, 1, channel::unbounded);
}

#[test]
fn the_first_poll_races_writes_that_wait_for_room() {
    race_fresh(5_000, 3, 2, || channel::bounded(1));
}

#[test]
fn the_first_poll_races_writers_at_a_rendezvous() {
    race_fresh(5_000, 1, 1, channel::rendezvous);
    race_fresh(2_000, 3, 2, channel::rendezvous);
}

#[test]
fn the_first_poll_races_many_writers() {
    race_fresh(3_000, 3, 5, channel::unbounded);
}

/// A task reads an event and answers it before the next is written, so that it goes to sleep before each.
#[track_caller]
fn ping_pong<P: Policy>(
    count: usize,
    make: impl FnOnce() -> (ChannelSink<usize, P>, Events<usize>) + Send + 'static,
) {
    in_time("a task that answers each event", move || {
        let rounds = rounds(count);
        let (sink, mut events) = make();
        let (answer, answered) = mpsc::channel();
        let writer = thread::spawn(move || {
            for round in 0..rounds {
                assert!(sink.write(round).is_ok());
                assert_eq!(answered.recv(), Ok(round));
                // As long as it takes to go to sleep, more or less.
                spin_for(round % 512);
            }
            sink
        });
        block_on(async {
            for round in 0..rounds {
                assert_eq!(events.next().await, Some(round));
                answer.send(round).unwrap();
            }
        });
        drop(writer.join().unwrap());
    });
}

#[test]
fn every_write_wakes_a_task_that_is_going_to_sleep() {
    ping_pong(20_000, channel::unbounded);
    ping_pong(20_000, || channel::bounded(1));
    ping_pong(20_000, || channel::with(Buffer::bounded(1).drop_oldest()));
}

#[test]
fn the_last_of_the_events_that_evict_each_other_is_read() {
    in_time("a task that reads what is left", || {
        const BURST: usize = 3;
        let (sink, mut events) = channel::with(Buffer::bounded(1).drop_oldest());
        let (answer, answered) = mpsc::channel();
        let rounds = rounds(30_000);
        let writer = thread::spawn(move || {
            for round in 0..rounds {
                for event in 0..BURST {
                    sink.write(round * BURST + event).unwrap();
                }
                answered.recv().unwrap();
                spin_for(round % 512);
            }
            sink
        });
        block_on(async {
            for round in 0..rounds {
                while events.next().await != Some(round * BURST + BURST - 1) {}
                answer.send(()).unwrap();
            }
        });
        drop(writer.join().unwrap());
    });
}

#[test]
fn every_write_at_a_rendezvous_finds_a_task_that_is_going_to_sleep() {
    ping_pong(10_000, channel::rendezvous);
}

#[test]
fn a_stream_reads_all_that_was_accepted_in_order_under_backpressure() {
    for capacity in [0, 1, 7] {
        in_time("a stream over a small channel", move || {
            let (sink, events) = channel::bounded(capacity);
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let sink = sink.clone();
                    thread::spawn(move || (0..2_000).for_each(|event| sink.write((writer, event)).unwrap()))
                })
                .collect();
            drop(sink);
            let read: Vec<(usize, usize)> = block_on(events.collect());
            assert_eq!(read.len(), 6_000);
            for writer in 0..3 {
                let own = read.iter().filter(|(by, _)| *by == writer).map(|(_, event)| *event);
                assert!(own.eq(0..2_000));
            }
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        });
    }
}

#[test]
fn a_stream_may_be_read_in_between_by_blocking_calls() {
    let (sink, mut events) = channel::unbounded();
    let (count, waker) = Count::new();
    assert!(poll(&mut events, &waker).is_pending());
    sink.write_all(0..4).unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(events.recv(), Ok(0));
    assert_eq!(poll(&mut events, &waker), Poll::Ready(Some(1)));
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [2, 3]);
    assert!(poll(&mut events, &waker).is_pending());
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once_and_no_other() {
    let (sink, mut events) = channel::unbounded();
    let (first, first_waker) = Count::new();
    let (second, second_waker) = Count::new();
    for _ in 0..3 {
        assert!(poll(&mut events, &first_waker).is_pending());
    }
    assert!(poll(&mut events, &second_waker).is_pending());
    sink.write_all([1, 2, 3]).unwrap();
    assert_eq!((first.get(), second.get()), (0, 1));

    for event in [1, 2, 3] {
        assert_eq!(poll(&mut events, &second_waker), Poll::Ready(Some(event)));
    }
    assert!(poll(&mut events, &first_waker).is_pending());
    drop(sink.close());
    assert_eq!((first.get(), second.get()), (1, 1));
    assert_eq!(poll(&mut events, &first_waker), Poll::Ready(None));
}

#[test]
fn a_waker_is_not_kept_when_the_events_are_dropped() {
    let (sink, mut events) = channel::unbounded::<u32>();
    let (count, waker) = Count::new();
    assert!(poll(&mut events, &waker).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 2);
    drop(events);
    assert_eq!(Arc::strong_count(&count), 1);
    assert!(sink.write(1).unwrap_err().is_closed());
    assert_eq!(count.get(), 0);
}

#[test]
fn a_waker_that_panics_does_not_harm_the_writer() {
    let (sink, mut events) = channel::unbounded();
    let waker = PanicsOnWake::waker();
    assert!(poll(&mut events, &waker).is_pending());
    sink.write(1).unwrap();
    assert_eq!(poll(&mut events, &waker), Poll::Ready(Some(1)));
    assert!(poll(&mut events, &waker).is_pending());
    sink.close().wait().unwrap();
    assert_eq!(poll(&mut events, &waker), Poll::Ready(None));
}

#[test]
fn a_stream_is_fused_and_promises_nothing_before_its_end() {
    let (sink, mut events) = channel::unbounded();
    let (_, waker) = Count::new();
    sink.write(1).unwrap();
    drop(sink.close());
    assert_eq!(events.size_hint(), (0, None));
    assert_eq!(poll(&mut events, &waker), Poll::Ready(Some(1)));
    assert!(!events.is_terminated());
    for _ in 0..3 {
        assert_eq!(poll(&mut events, &waker), Poll::Ready(None));
        assert!(events.is_terminated());
        assert_eq!(events.size_hint(), (0, Some(0)));
    }
}

/// Ends the events in every way there is, while a task goes to sleep over them.
#[test]
fn every_end_wakes_the_task() {
    type End = fn(ChannelSink<u32>) -> Option<ChannelSink<u32>>;
    let ends: [(&str, End); 4] = [
        ("a close", |sink| {
            drop(sink.close());
            Some(sink)
        }),
        ("an abort", |sink| {
            let _ = sink.close().abort();
            Some(sink)
        }),
        ("the drop of the last sink", |sink| {
            drop(sink);
            None
        }),
        ("the last write out", |sink| {
            // The last to leave is one of these two, and either must wake the task.
            let other = sink.clone();
            let writer = thread::spawn(move || other.write(2).is_ok());
            drop(sink.close());
            writer.join().unwrap();
            Some(sink)
        }),
    ];
    for (what, end) in ends {
        in_time(what, move || {
            for round in 0..rounds(1_000) {
                let (sink, mut events) = channel::unbounded();
                let start = Start::of(2);
                let started = Arc::clone(&start);
                let ender = thread::spawn(move || {
                    started.line_up();
                    sink.write(1).unwrap();
                    // Kept alive, so that nothing but the end wakes the task.
                    end(sink)
                });
                start.line_up();
                spin_for(round % 64);
                block_on(async {
                    assert_eq!(events.next().await, Some(1));
                    while let Some(event) = events.next().await {
                        assert_eq!(event, 2);
                    }
                });
                ender.join().unwrap();
            }
        });
    }
}

#[test]
fn every_end_of_a_subscription_wakes_the_task() {
    in_time("a task that watches", || {
        for round in 0..rounds(2_000) {
            let broadcaster = Broadcaster::new();
            let mut watcher = broadcaster.subscribe(Buffer::bounded(1));
            let ender = {
                let (broadcaster, id) = (broadcaster.clone(), watcher.id());
                thread::spawn(move || {
                    for event in 0..3 {
                        broadcaster.write(event).unwrap();
                    }
                    match round % 3 {
                        0 => drop(broadcaster.close()),
                        1 => drop(broadcaster.remove(id)),
                        _ => drop(broadcaster.close().abort()),
                    }
                })
            };
            let read = block_on(async {
                let mut read = Vec::new();
                while let Some(event) = watcher.next().await {
                    read.push(event);
                }
                read
            });
            assert_eq!(read, [0, 1, 2]);
            assert!(watcher.is_terminated());
            ender.join().unwrap();
        }
    });
}

#[test]
fn a_reader_that_is_dropped_frees_a_writer_that_waits() {
    for capacity in [0, 1] {
        in_time("a writer without a reader", move || {
            for _ in 0..rounds(500) {
                let census = Census::new();
                let (sink, mut events) = channel::bounded(capacity);
                let writer = {
                    let census = Arc::clone(&census);
                    thread::spawn(move || {
                        let mut id = 0;
                        loop {
                            if let Err(refused) = sink.write(Event::new(id, &census)) {
                                assert_eq!(refused.into_event().id, id, "another event came back");
                                return (id, sink);
                            }
                            id += 1;
                        }
                    })
                };
                let read = block_on(async { events.next().await.map(|event| event.id) });
                assert_eq!(read, Some(0));
                drop(events);
                let (written, sink) = writer.join().unwrap();
                assert_eq!(written, 1 + sink.dropped());
                census.assert_none_left();
            }
        });
    }
}

#[test]
fn a_writer_that_waits_at_a_rendezvous_is_found_by_a_task_that_comes_later() {
    in_time("a late task", || {
        let (sink, mut events) = channel::rendezvous();
        let writer = thread::spawn(move || sink.write("handed over").is_ok());
        let (count, waker) = Count::new();
        // Nothing while the writer is on its way, but each poll that finds nothing is followed by another.
        loop {
            let woken = count.get();
            match poll(&mut events, &waker) {
                Poll::Ready(event) => {
                    assert_eq!(event, Some("handed over"));
                    break;
                }
                Poll::Pending => wait_until("it is woken", || count.get() > woken),
            }
        }
        assert!(writer.join().unwrap());
    });
}

#[test]
fn an_eviction_wakes_the_task_before_its_spill_waits() {
    in_time("a task beside a spill that waits", || {
        for _ in 0..rounds(500) {
            let latch = Latch::new();
            let spill = {
                let latch = latch.clone();
                sink::for_each(move |_: u32| latch.pass())
            };
            let (sink, mut events) = channel::with(Buffer::bounded(1).drop_oldest().spill(spill));
            sink.write(0).unwrap();
            let writer = {
                let sink = sink.clone();
                thread::spawn(move || sink.write(1).unwrap())
            };
            // Reads what is there, whichever that is, and goes to sleep while the spill holds up the writer.
            let first = block_on(events.next()).unwrap();
            if first == 0 {
                assert_eq!(block_on(events.next()), Some(1));
            } else {
                latch.arrived(1);
            }
            let other = {
                let sink = sink.clone();
                thread::spawn(move || sink.write(2).unwrap())
            };
            assert_eq!(block_on(events.next()), Some(2));
            latch.open();
            writer.join().unwrap();
            other.join().unwrap();
        }
    });
}

#[test]
fn a_task_that_moves_between_threads_reads_everything() {
    in_time("a task on tokio's threads", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        let (sink, mut events) = channel::bounded(2);
        let writer = thread::spawn(move || (0..5_000).for_each(|event| sink.write(event).unwrap()));
        runtime.block_on(async {
            // Each task reads a few and hands the events on to the next.
            let mut next = 0;
            loop {
                let reader = tokio::spawn(async move {
                    let mut read = Vec::new();
                    for _ in 0..7 {
                        match events.next().await {
                            Some(event) => read.push(event),
                            None => break,
                        }
                        tokio::task::yield_now().await;
                    }
                    (events, read)
                });
                let (back, read) = reader.await.unwrap();
                events = back;
                assert!(read.iter().copied().eq(next..next + read.len()));
                next += read.len();
                if read.is_empty() {
                    assert_eq!(next, 5_000);
                    break;
                }
            }
        });
        writer.join().unwrap();
    });
}

async fn sum(events: Events<usize>) -> usize {
    events.fold(0, |sum, event| async move { sum + event }).await
}

#[test]
fn many_streams_share_an_executor() {
    const STREAMS: usize = 200;
    const EVENTS: usize = 50;
    let channels = || -> (Vec<_>, Vec<_>) {
        (0..STREAMS).map(|i| if i % 3 == 0 { channel::rendezvous() } else { channel::bounded(i % 3) }).unzip()
    };
    let write = |sinks: Vec<ChannelSink<usize, _>>| {
        thread::spawn(move || {
            for event in 0..EVENTS {
                for sink in &sinks {
                    sink.write(event).unwrap();
                }
            }
        })
    };
    let expected = EVENTS * (EVENTS - 1) / 2;

    in_time("streams on one thread of tokio", move || {
        let (sinks, streams) = channels();
        let writer = write(sinks);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let tasks: Vec<_> = streams.into_iter().map(|events| tokio::spawn(sum(events))).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), expected);
            }
        });
        writer.join().unwrap();
    });
    in_time("streams on a local pool", move || {
        let (sinks, streams) = channels();
        let writer = write(sinks);
        let mut pool = LocalPool::new();
        let through = std::rc::Rc::new(std::cell::Cell::new(0));
        for events in streams {
            let through = std::rc::Rc::clone(&through);
            pool.spawner()
                .spawn_local(async move {
                    assert_eq!(sum(events).await, expected);
                    through.set(through.get() + 1);
                })
                .unwrap();
        }
        pool.run();
        assert_eq!(through.get(), STREAMS);
        writer.join().unwrap();
    });
    in_time("streams on a thread pool", move || {
        let (sinks, streams) = channels();
        let writer = write(sinks);
        let pool = ThreadPool::builder().pool_size(2).create().unwrap();
        let tasks: Vec<_> =
            streams.into_iter().map(|events| pool.spawn_with_handle(sum(events)).unwrap()).collect();
        for task in tasks {
            assert_eq!(block_on(task), expected);
        }
        writer.join().unwrap();
    });
}

#[test]
fn events_and_a_close_are_awaited_side_by_side() {
    in_time("a select", || {
        for round in 0..rounds(500) {
            let (sink, mut events) = channel::bounded(4);
            let writer = {
                let sink = sink.clone();
                thread::spawn(move || (0..10).take_while(|event| sink.write(*event).is_ok()).count())
            };
            let read = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                let mut read = Vec::new();
                let mut closing: Option<Closing> = None;
                loop {
                    tokio::select! {
                        event = events.next() => match event {
                            Some(event) => read.push(event),
                            None => return read,
                        },
                        outcome = async { closing.clone().unwrap().await }, if closing.is_some() => {
                            outcome.unwrap();
                            // Through: what is left is in the channel.
                            read.extend(events.by_ref().collect::<Vec<_>>().await);
                            return read;
                        }
                    }
                    if read.len() == 1 + round % 8 {
                        closing = Some(sink.close());
                    }
                }
            });
            let written = writer.join().unwrap();
            assert!(read.into_iter().eq(0..written));
        }
    });
}

#[test]
fn a_fused_stream_is_selected_on_the_second_executor() {
    in_time("a select", || {
        let (left, mut lefts) = channel::rendezvous();
        let (right, mut rights) = channel::bounded(1);
        let writer = thread::spawn(move || {
            for event in 0..1_000 {
                left.write(event).unwrap();
                right.write(event).unwrap();
            }
        });
        let (mut left, mut right) = (0, 0);
        block_on(async {
            loop {
                futures::select! {
                    event = lefts.next() => if let Some(event) = event { assert_eq!(event, left); left += 1 },
                    event = rights.next() => if let Some(event) = event { assert_eq!(event, right); right += 1 },
                    complete => break,
                }
            }
        });
        assert_eq!((left, right), (1_000, 1_000));
        writer.join().unwrap();
    });
}

#[test]
fn a_stream_is_forwarded_into_a_sink() {
    let run = |block_on: &dyn Fn(futures::future::LocalBoxFuture<'_, ()>)| {
        let delivered = sink::collector();
        let (sink, events) = channel::bounded(3);
        let writer = thread::spawn(move || (0..1_000).for_each(|event| sink.write(event).unwrap()));
        let queue = delivered.clone().queued().filter(|event: &u32| event % 2 == 0).into_futures();
        block_on(Box::pin(async {
            events.map(Ok).forward(queue).await.unwrap();
        }));
        // Forwarding closes the sink, and a close is through when everything is delivered.
        assert!(delivered.events().into_iter().eq((0..1_000).step_by(2)));
        assert!(delivered.is_closed());
        writer.join().unwrap();
    };
    run(&|future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future));
    run(&|future| block_on(future));
}

#[test]
fn a_flush_covers_what_was_sent_since_it_began() {
    in_time("a flush", || {
        let latches = [Latch::new(), Latch::new(), Latch::new()];
        let queue = {
            let latches = latches.clone();
            sink::for_each(move |event: usize| latches[event].pass()).queued()
        };
        let mut sender = queue.into_futures();
        block_on(sender.feed(0)).unwrap();
        block_on(sender.feed(1)).unwrap();
        assert!(sender.flush().now_or_never().is_none());
        latches[0].open();
        latches[1].arrived(1);
        // The queue knows of the flush. What is sent now is not for that one to wait for.
        block_on(sender.feed(2)).unwrap();
        latches[1].open();
        // Arrived here, it has answered it.
        latches[2].arrived(1);
        assert!(sender.flush().now_or_never().is_none());
        latches[2].open();
        block_on(sender.flush()).unwrap();
        assert_eq!(sender.get_ref().stats().delivered, 3);
    });
}

#[test]
fn a_closed_sink_hands_the_event_back() {
    let (sink, events) = channel::unbounded();
    let mut sender = sink.into_futures();
    block_on(sender.feed(1)).unwrap();
    // `poll_ready` finds it open; then it is closed.
    assert!(sender.poll_ready_unpin(&mut Context::from_waker(Waker::noop())).is_ready());
    drop(events);
    assert_eq!(sender.start_send_unpin(2).unwrap_err().into_event(), Some(2));
    match block_on(sender.feed(3)) {
        Err(IntoFuturesError::Closed(None)) => {}
        other => panic!("{other:?}"),
    }
    assert!(block_on(sender.close()).is_ok());
}

#[test]
fn a_close_of_what_is_kept_open_is_a_flush() {
    in_time("a close", || {
        for events in 0..200 {
            let delivered = sink::collector();
            let queue = delivered.clone().queued();
            let mut sender = queue.clone().keep_open().into_futures();
            block_on(async {
                for event in 0..events {
                    sender.feed(event).await.unwrap();
                }
                sender.close().await.unwrap();
            });
            assert_eq!(delivered.len(), events);
            assert!(!queue.is_closed());
        }
    });
}

#[test]
fn a_flush_or_close_that_could_not_deliver_says_so() {
    let queue = sink::for_each(|_: u32| planned_panic()).queued();
    let mut sender = queue.into_futures();
    block_on(sender.feed(1)).unwrap();
    let flushed = block_on(sender.flush()).unwrap_err();
    assert!(matches!(
        flushed,
        IntoFuturesError::Flush(FlushError::NotDelivered(CloseError::Panicked { .. }))
    ));
    let closed = block_on(sender.close()).unwrap_err();
    assert!(matches!(closed, IntoFuturesError::Close(CloseError::Panicked { events: 1, .. })));
}

#[test]
fn every_policy_that_never_waits_can_be_sent_to() {
    fn send<S>(sink: S)
    where
        S: sink::ImmediateSink<u32>,
        S::Error: outflow::Never,
    {
        let mut sender = sink.into_futures();
        for event in 0..10 {
            assert!(matches!(sender.feed(event).now_or_never(), Some(Ok(()))));
        }
    }
    let full = || Buffer::bounded(2);
    let slow = Latch::new();
    let stuck = || {
        let slow = slow.clone();
        sink::for_each(move |_: u32| slow.pass())
    };
    send(stuck().queued());
    send(stuck().queued_with(full().drop_oldest()));
    send(stuck().queued_with(full().drop_newest()));
    send(stuck().queued_with(full().reject()).lossy());
    send(stuck().queued_with(full().reject()).fallback(sink::discard()));
    send(stuck().queued_with(full().reject()).dead_letter(sink::collector()));
    send(stuck().queued().map(|event: &u32| event + 1).tee(sink::discard()).keep_open().closeable());
    send(Arc::new(stuck().queued()));
    slow.open();
}

#[test]
fn a_sink_behind_a_buffer_of_futures_is_closed_without_an_error_once_all_is_delivered() {
    in_time("the close", || {
        for _ in 0..rounds(100) {
            let delivered = sink::collector();
            let (latch, inside) = (Latch::new(), delivered.clone());
            let gate = latch.clone();
            // The worker is held until the close was polled once, so that it is polled again.
            let queue = sink::for_each(move |event: u32| {
                gate.pass();
                inside.write(event).unwrap();
            })
            .queued();
            let mut sender = queue.into_futures().buffer(4);
            block_on(async {
                for event in 0..10 {
                    sender.feed(event).await.unwrap();
                }
            });
            let mut context = Context::from_waker(Waker::noop());
            assert!(futures::Sink::poll_close(Pin::new(&mut sender), &mut context).is_pending());
            assert!(
                futures::Sink::poll_close(Pin::new(&mut sender), &mut context).is_pending(),
                "asked again before it is done"
            );
            latch.open();
            block_on(sender.close()).unwrap();
            assert_eq!(delivered.events(), (0..10).collect::<Vec<_>>());

            let delivered = sink::collector();
            let sender = delivered.clone().queued().into_futures().buffer(4);
            block_on(futures::stream::iter(0..10).map(Ok).forward(sender)).unwrap();
            assert_eq!(delivered.events(), (0..10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_futures_sink_that_closes_itself_refuses_and_one_that_another_closed_is_not_ready() {
    use futures::Sink as _;

    let mut context = Context::from_waker(Waker::noop());
    let mut sender = sink::collector().into_futures();
    assert!(Pin::new(&mut sender).poll_close(&mut context).is_ready());
    assert!(matches!(Pin::new(&mut sender).poll_ready(&mut context), Poll::Ready(Ok(()))));
    assert_eq!(Pin::new(&mut sender).start_send(1).unwrap_err().into_event(), Some(1));

    let kept = sink::collector();
    let mut sender = kept.clone().into_futures();
    drop(kept.close());
    let ready = Pin::new(&mut sender).poll_ready(&mut context);
    assert!(matches!(ready, Poll::Ready(Err(IntoFuturesError::<u32>::Closed(None)))));
}

/// Reads events to their end where it is woken, on the thread that wakes it, which waits for its turn.
struct Reader {
    events: std::sync::Mutex<Option<Events<u64>>>,
    read: mpsc::Sender<u64>,
}

impl Reader {
    fn start(events: Events<u64>) -> mpsc::Receiver<u64> {
        let (read, seen) = mpsc::channel();
        Arc::new(Self { events: std::sync::Mutex::new(Some(events)), read }).wake();
        seen
    }
}

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = self.events.lock().unwrap();
        while let Some(events) = &mut *slot {
            match poll(events, &waker) {
                Poll::Ready(Some(event)) => self.read.send(event).unwrap(),
                Poll::Ready(None) => *slot = None,
                Poll::Pending => return,
            }
        }
    }
}

#[test]
fn a_rendezvous_is_read_by_a_waker_that_polls_at_once_on_the_writers_thread() {
    in_time("the writers", || {
        for writers in [1, 2, 4] {
            const EACH: u64 = 3000;
            let (sink, events) = channel::rendezvous();
            let seen = Reader::start(events);
            thread::scope(|scope| {
                for writer in 0..writers {
                    let sink = sink.clone();
                    scope.spawn(move || {
                        for n in 0..EACH {
                            sink.write(writer * EACH + n).unwrap();
                        }
                    });
                }
            });
            drop(sink);
            let seen: Vec<u64> = seen.iter().collect();
            assert_eq!(seen.len() as u64, writers * EACH);
            for writer in 0..writers {
                assert!(seen.iter().filter(|event| **event / EACH == writer).is_sorted());
            }
        }
    });
}

#[test]
fn a_waker_at_one_rendezvous_may_poll_the_events_of_another() {
    // The first channel's reader is polled where the second is written to, and the other way round.
    struct Both {
        events: std::sync::Mutex<[Option<Events<u64>>; 2]>,
        read: mpsc::Sender<u64>,
    }

    impl Wake for Both {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(Arc::clone(&self));
            let mut slots = self.events.lock().unwrap();
            for slot in &mut *slots {
                while let Some(events) = slot {
                    match poll(events, &waker) {
                        Poll::Ready(Some(event)) => self.read.send(event).unwrap(),
                        Poll::Ready(None) => *slot = None,
                        Poll::Pending => break,
                    }
                }
            }
        }
    }

    in_time("the writers", || {
        const EACH: u64 = 5000;
        let (first, events) = channel::rendezvous();
        let (second, others) = channel::rendezvous();
        let (read, seen) = mpsc::channel();
        Arc::new(Both { events: std::sync::Mutex::new([Some(events), Some(others)]), read }).wake();
        thread::scope(|scope| {
            for sink in [first, second] {
                scope.spawn(move || (0..EACH).for_each(|n| sink.write(n).unwrap()));
            }
        });
        assert_eq!(seen.iter().count() as u64, 2 * EACH);
    });
}

#[test]
fn a_rendezvous_is_read_from_within_wake_by_ref() {
    // A task that is polled again from within its own poll's `wake_by_ref`, as by an executor that runs what is woken.
    in_time("the writers", || {
        let (sink, events) = channel::rendezvous();
        let seen = Reader::start(events);
        for n in 0..1000 {
            let sink = sink.clone();
            let writes = thread::spawn(move || sink.write(n).unwrap());
            assert_eq!(seen.recv(), Ok(n));
            writes.join().unwrap();
        }
        drop(sink);
        assert!(seen.recv().is_err());
    });
}

#[test]
fn the_spill_of_a_subscription_is_not_written_to_after_its_close() {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicBool;

    #[derive(Clone, Default)]
    struct Spill(Arc<(AtomicBool, AtomicBool)>);

    impl Sink<u64> for Spill {
        type Error = Infallible;

        fn write(&self, event: u64) -> Result<(), outflow::WriteError<u64, Infallible>> {
            if self.0.0.load(Ordering::SeqCst) {
                self.0.1.store(true, Ordering::SeqCst);
                return Err(outflow::WriteError::Closed(event));
            }
            Ok(())
        }

        fn flush(&self) -> outflow::Flushing {
            outflow::Flushing::done()
        }

        fn close(&self) -> Closing {
            self.0.0.store(true, Ordering::SeqCst);
            Closing::done()
        }
    }

    in_time("the subscription", || {
        for round in 0..rounds(4000) {
            let spill = Spill::default();
            let broadcaster = Broadcaster::new();
            let watcher = broadcaster.subscribe(Buffer::bounded(1).drop_oldest().spill(spill.clone()));
            let start = Start::of(3);
            thread::scope(|scope| {
                for writer in 0..2 {
                    let (start, broadcaster) = (Arc::clone(&start), &broadcaster);
                    scope.spawn(move || {
                        start.line_up();
                        (0..20).for_each(|n| _ = broadcaster.write(writer * 100 + n));
                    });
                }
                start.line_up();
                spin_for(round % 64);
                if round % 2 == 0 {
                    drop(broadcaster.close());
                }
                drop(watcher);
            });
            broadcaster.close().wait().unwrap();
            assert!(spill.0.0.load(Ordering::SeqCst), "it is closed");
            assert!(!spill.0.1.load(Ordering::SeqCst), "it was written to after its close, in round {round}");
        }
    });
}
