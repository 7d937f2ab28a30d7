//! A task that reads a log is woken by every write and by every way in which the log can end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::common::{Census, Count, Event, PanicsOnWake, in_time, poll, rounds};
use futures::executor::{ThreadPool, block_on};
use futures::stream::FusedStream;
use futures::task::SpawnExt;
use futures::{Stream, StreamExt};
use outflow::log::{Lag, Log, LogOptions, Numbered, RecvError, Start, SubscribeOptions};
use outflow::{Sink, sink};

#[test]
fn every_write_wakes_a_task_that_is_going_to_sleep() {
    in_time("the tasks", || {
        // Two logs, one event: each side sleeps until the other has answered, so a wake-up that is lost hangs.
        let (there, back) = (Log::new(), Log::new());
        let (mut at_there, mut at_back) = (there.subscribe(), back.subscribe());
        let echo = thread::spawn(move || {
            block_on(async {
                while let Some(event) = at_there.next().await {
                    back.write(event).unwrap();
                }
            });
        });
        block_on(async {
            for event in 0..rounds(20_000_u64) {
                there.write(event).unwrap();
                assert_eq!(at_back.next().await, Some(event));
            }
        });
        drop(there);
        echo.join().unwrap();
        assert_eq!(block_on(at_back.next()), None);
    });
}

#[test]
fn the_first_poll_races_the_first_write_and_the_close() {
    in_time("the tasks", || {
        for round in 0..rounds(20_000_u64) {
            let log = Log::new();
            let cursor = log.subscribe();
            let writer = thread::spawn(move || {
                (0..round % 3).for_each(|event| log.write(event).unwrap());
                if round % 2 == 0 { drop(log.close()) } else { drop(log) }
            });
            let read: Vec<u64> = block_on(cursor.collect());
            assert_eq!(read, (0..round % 3).collect::<Vec<_>>());
            writer.join().unwrap();
        }
    });
}

#[test]
fn many_tasks_on_an_executor_and_threads_read_the_same_log() {
    in_time("the tasks", || {
        const TASKS: usize = 50;
        const EVENTS: u64 = 2000;
        let pool = ThreadPool::builder().pool_size(2).create().unwrap();
        let log = Log::new();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| pool.spawn_with_handle(log.subscribe().collect::<Vec<u64>>()).unwrap())
            .collect();
        let followed = sink::collector();
        let _follower = log.follow(followed.clone());
        let reader = {
            let mut cursor = log.subscribe();
            thread::spawn(move || cursor.iter().collect::<Vec<u64>>())
        };
        (0..EVENTS).for_each(|event| log.write(event).unwrap());
        log.close().wait().unwrap();
        let expected: Vec<u64> = (0..EVENTS).collect();
        for task in tasks {
            assert_eq!(block_on(task), expected);
        }
        assert_eq!(reader.join().unwrap(), expected);
        assert_eq!(followed.events(), expected);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once_and_no_other() {
    let log = Log::new();
    let mut cursor = log.subscribe();
    let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
    for _ in 0..3 {
        assert!(poll(&mut cursor, &first_waker).is_pending());
    }
    assert!(poll(&mut cursor, &second_waker).is_pending());
    log.write(1).unwrap();
    log.write(2).unwrap();
    assert_eq!((first.get(), second.get()), (0, 1));
    assert_eq!(poll(&mut cursor, &second_waker), Poll::Ready(Some(1)));
    assert_eq!(poll(&mut cursor, &second_waker), Poll::Ready(Some(2)));
    assert!(poll(&mut cursor, &first_waker).is_pending());
    drop(log.close());
    assert_eq!((first.get(), second.get()), (1, 1));
    assert_eq!(poll(&mut cursor, &first_waker), Poll::Ready(None));
    assert!(cursor.is_terminated());
    assert_eq!(cursor.size_hint(), (0, Some(0)));
}

#[test]
fn a_waker_is_not_kept_when_the_cursor_is_dropped() {
    let log = Log::<u32>::new();
    let (count, waker) = Count::new();
    let mut cursor = log.subscribe();
    assert!(poll(&mut cursor, &waker).is_pending());
    drop(waker);
    drop(cursor);
    assert_eq!(Arc::strong_count(&count), 1);
    log.write(1).unwrap();
    assert_eq!(count.get(), 0);
}

#[test]
fn a_waker_that_panics_harms_neither_the_writer_nor_other_tasks() {
    let log = Log::new();
    let (mut first, mut second) = (log.subscribe(), log.subscribe());
    let (count, waker) = Count::new();
    assert!(poll(&mut first, &PanicsOnWake::waker()).is_pending());
    assert!(poll(&mut second, &waker).is_pending());
    log.write(1).unwrap();
    assert_eq!(count.get(), 1);
}

#[test]
fn a_waker_may_call_the_log() {
    struct Writes(Log<u32>);
    impl Wake for Writes {
        fn wake(self: Arc<Self>) {
            self.0.write(2).unwrap();
        }
    }
    let log = Log::new();
    let mut cursor = log.subscribe();
    let waker = Waker::from(Arc::new(Writes(log.clone())));
    assert!(poll(&mut cursor, &waker).is_pending());
    log.write(1).unwrap();
    assert_eq!((cursor.recv(), cursor.recv()), (Ok(1), Ok(2)));
}

#[test]
fn a_stream_that_skips_goes_on_and_one_that_is_closed_ends() {
    for lag in [Lag::Skip, Lag::Close] {
        let log = Log::new();
        let mut cursor = log.subscribe_with(SubscribeOptions::new().max_lag(2, lag)).unwrap();
        let (_, waker) = Count::new();
        assert!(poll(&mut cursor, &waker).is_pending());
        (0..5).for_each(|event| log.write(event).unwrap());
        match lag {
            Lag::Skip => {
                assert_eq!(poll(&mut cursor, &waker), Poll::Ready(Some(3)));
                assert_eq!(cursor.missed(), 3);
                assert!(!cursor.is_terminated());
            }
            _ => {
                assert_eq!(poll(&mut cursor, &waker), Poll::Ready(None));
                assert!(cursor.is_terminated());
            }
        }
    }
}

#[test]
fn a_task_that_reads_releases_a_writer_that_waits_for_it() {
    in_time("the writer", || {
        let log = Log::new();
        let cursor = log.subscribe_with(SubscribeOptions::new().max_lag(1, Lag::Block)).unwrap();
        let writer = thread::spawn(move || (0..2000_u64).for_each(|event| log.write(event).unwrap()));
        let read: Vec<u64> = block_on(cursor.collect());
        writer.join().unwrap();
        assert_eq!(read, (0..2000).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_begins_where_it_was_asked_to_and_leaks_nothing() {
    let census = Census::new();
    let log = Log::with(LogOptions::new().retain(3));
    (0..5).for_each(|id| log.write(Event::new(id, &census)).unwrap());
    let cursor = log.subscribe_with(Start::At(2)).unwrap();
    drop(log.close());
    drop(log);
    let read: Vec<u64> = block_on(cursor.map(|event| event.id).collect());
    assert_eq!(read, [2, 3, 4]);
    census.assert_none_left();
}

#[test]
fn a_stream_that_is_cancelled_wakes_its_task_and_says_why_it_ended() {
    let log = Log::new();
    let mut cursor = log.subscribe();
    let handle = cursor.handle();
    let (count, waker) = Count::new();
    let mut numbered = cursor.numbered();
    let poll = |numbered: &mut Numbered<u32>| Pin::new(numbered).poll_next(&mut Context::from_waker(&waker));
    log.write(7).unwrap();
    assert_eq!(poll(&mut numbered), Poll::Ready(Some((0, 7))));
    assert!(poll(&mut numbered).is_pending());
    handle.cancel();
    assert_eq!(count.get(), 1);
    assert_eq!(poll(&mut numbered), Poll::Ready(None));
    assert_eq!(numbered.get_ref().end_reason(), Some(RecvError::Cancelled));
    assert!(numbered.is_terminated());
}

#[test]
fn a_cancel_races_a_task_that_goes_to_sleep() {
    in_time("the tasks", || {
        for _ in 0..rounds(5_000) {
            let log = Log::<u32>::new();
            let mut cursor = log.subscribe();
            let handle = cursor.handle();
            let cancels = thread::spawn(move || handle.cancel());
            assert_eq!(block_on(cursor.next()), None);
            cancels.join().unwrap();
        }
    });
}
