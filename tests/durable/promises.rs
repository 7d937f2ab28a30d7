//! What `outflow::durable` promises, beside the laws.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::durable::{CommitError, Durable, DurableOptions, OpenError, Sync, inspect};
use outflow::retry::Constant;
use outflow::testing::Latch;
use outflow::{
    Broadcaster, Buffer, CloseError, Closing, FlushError, Flushing, PendingFlush, Sink, SinkExt, WriteError,
    sink,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::eventually;
use crate::scratch::Scratch;

fn options<E>(scratch: &Scratch) -> DurableOptions<E>
where
    E: Serialize + serde::de::DeserializeOwned,
{
    DurableOptions::new(scratch.store()).sync(Sync::Os)
}

/// A queue before a sink that accepts nothing until it is closed.
fn dead<E>(options: DurableOptions<E>) -> Durable<E>
where
    E: Clone + Send + std::marker::Sync + 'static,
{
    let dead = sink::from_fn(|_: &E| Err("no route to host"));
    dead.retry(Constant::new(Duration::from_secs(3600))).durable_with(options).unwrap()
}

#[test]
fn what_was_written_is_delivered_when_it_is_opened_again() {
    let scratch = Scratch::new();
    let queue = dead::<u32>(options(&scratch));
    queue.write_all(0..100).unwrap();
    drop(queue);

    let delivered = sink::collector::<u32>();
    let queue = delivered.clone().durable_with(options(&scratch)).unwrap();
    assert_eq!(queue.recovered().pending, 100);
    queue.write(100).unwrap();
    queue.flush().wait().unwrap();
    assert_eq!(delivered.events(), (0..101).collect::<Vec<_>>());
    queue.close().wait().unwrap();
    let stats = queue.stats();
    assert_eq!((stats.pending, stats.delivered, stats.acknowledged, stats.next), (0, 101, 101, 101));

    // The handle is still there, and the store is free.
    let queue = delivered.clone().durable_with(options(&scratch)).unwrap();
    assert_eq!(queue.recovered().pending, 0);
}

#[test]
fn a_store_is_open_once_at_a_time() {
    let scratch = Scratch::new();
    let queue = dead::<u32>(options(&scratch));
    let again = || sink::discard::<u32>().durable_with(options(&scratch));
    assert!(matches!(again(), Err(OpenError::Locked { .. })));
    drop(queue.clone());
    assert!(matches!(again(), Err(OpenError::Locked { .. })));
    drop(queue);
    assert!(again().is_ok());
}

#[test]
fn another_schema_and_another_file_are_not_touched() {
    let scratch = Scratch::new();
    drop(dead::<u32>(options(&scratch).schema("push/1")));
    let error = sink::discard::<u32>().durable_with(options(&scratch).schema("push/2")).unwrap_err();
    assert!(
        matches!(error, OpenError::OtherSchema { found, wanted, .. } if found == "push/1" && wanted == "push/2")
    );
    assert_eq!(inspect(scratch.store()).unwrap().schema, "push/1");

    let file = scratch.path().join("notes");
    fs::write(&file, "of a user").unwrap();
    assert!(sink::discard::<u32>().durable(&file).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "of a user");
}

/// Accepts everything at once, and says that it is flushed when a test does.
#[derive(Clone, Default)]
struct Flushed {
    written: Arc<Mutex<Vec<u32>>>,
    flushes: Arc<Mutex<Vec<PendingFlush>>>,
}

impl Flushed {
    #[track_caller]
    fn next(&self) -> PendingFlush {
        eventually(|| !self.flushes.lock().is_empty());
        self.flushes.lock().remove(0)
    }
}

impl Sink<u32> for Flushed {
    type Error = std::convert::Infallible;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, Self::Error>> {
        self.written.lock().push(event);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        let (flushing, pending) = Flushing::pending();
        self.flushes.lock().push(pending);
        flushing
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn nothing_is_acknowledged_before_a_flush_that_began_after_it() {
    let scratch = Scratch::new();
    let below = Flushed::default();
    let queue = below.clone().durable_with(options(&scratch).unconfirmed(4)).unwrap();
    queue.write_all(0..10).unwrap();
    // Two flushes of two events; no more are delivered before the first comes through.
    let first = below.next();
    eventually(|| below.written.lock().len() == 4);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(*below.written.lock(), [0, 1, 2, 3]);
    assert_eq!((queue.stats().pending, queue.stats().unconfirmed), (10, 4));
    first.finish(Ok(()));
    eventually(|| queue.stats().pending == 8);
    let second = below.next();
    drop(queue);

    // Too late: what was not acknowledged comes again.
    second.finish(Ok(()));
    let delivered = sink::collector::<u32>();
    let queue = delivered.clone().durable_with(options(&scratch)).unwrap();
    queue.close().wait().unwrap();
    assert_eq!(delivered.events(), (2..10).collect::<Vec<_>>());
}

#[test]
fn a_flush_that_fails_brings_its_events_back_in_order_and_one_by_one() {
    let scratch = Scratch::new();
    let below = Flushed::default();
    let queue = below.clone().durable_with(options(&scratch)).unwrap();
    queue.write_all(0..3).unwrap();
    below.next().finish(Err(FlushError::other("the disk of the sink")));
    eventually(|| queue.stats().failed_flushes == 1);
    // It waits for what is delivered once more.
    let flushing = queue.flush();
    for events in [&[0, 1, 2, 0][..], &[0, 1, 2, 0, 1], &[0, 1, 2, 0, 1, 2]] {
        let flush = below.next();
        assert_eq!((&below.written.lock()[..], flushing.is_done()), (events, false));
        flush.finish(Ok(()));
    }
    let closing = queue.close();
    while !closing.is_done() {
        below.flushes.lock().drain(..).for_each(|flush| flush.finish(Ok(())));
    }
    closing.wait().unwrap();
    flushing.wait().unwrap();
    assert_eq!(queue.left_on_disk(), 0);
    assert_eq!(below.written.lock().len(), 6);
}

/// As of a file whose sync failed: the next says `Ok`, and knows nothing of what is gone.
#[test]
fn a_flush_that_was_asked_for_above_and_failed_confirms_nothing() {
    let scratch = Scratch::new();
    let below = Flushed::default();
    let latch = Latch::new();
    let stuck = latch.clone();
    let slow = below.clone().inspect(move |_| stuck.pass());
    let queue = slow.durable_with(options(&scratch)).unwrap();
    queue.write(0).unwrap();
    latch.arrived(1);
    // Asked for before anything is delivered, so it is the first.
    let flushing = queue.flush();
    latch.open();
    below.next().finish(Err(FlushError::other("the disk of the sink")));
    assert!(flushing.wait().is_err());
    below.next().finish(Ok(()));
    eventually(|| queue.stats().failed_flushes == 1 && below.written.lock().len() == 2);
    assert_eq!(queue.left_on_disk(), 1);
    below.next().finish(Ok(()));
    eventually(|| queue.left_on_disk() == 0);
    assert_eq!(*below.written.lock(), [0, 0]);
}

/// One event comes again, and ever more seldom.
#[test]
fn a_flush_that_fails_for_good_brings_back_one_event_until_it_is_given_up() {
    let scratch = Scratch::new();
    let below = Flushed::default();
    let letters = sink::collector();
    let options = options(&scratch).max_attempts(2).dead_letter(letters.clone());
    let queue = below.clone().durable_with(options).unwrap();
    queue.write_all(0..3).unwrap();
    let start = Instant::now();
    // That of all three is of none; then 0 has two attempts, and so on. A letter needs no flush of the sink.
    for failed in 1..=7 {
        below.next().finish(Err(FlushError::other("the disk of the sink")));
        eventually(|| queue.stats().failed_flushes == failed);
        if failed == 3 {
            // 100 and 200 ms, and it goes on.
            assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
            eventually(|| letters.events() == [0]);
        }
    }
    eventually(|| queue.left_on_disk() == 0);
    assert_eq!(letters.events(), [0, 1, 2]);
    assert_eq!(*below.written.lock(), [0, 1, 2, 0, 0, 1, 1, 2, 2]);
    assert_eq!((queue.stats().dead_lettered, queue.stats().passed_over), (3, 0));
}

/// Without a sink for them, events that are given up stay, and are counted once.
#[test]
fn what_is_given_up_for_its_flushes_is_passed_over_once() {
    let scratch = Scratch::new();
    let below = Flushed::default();
    let queue = below.clone().durable_with(options(&scratch).max_attempts(1)).unwrap();
    queue.write_all(0..2).unwrap();
    for failed in 1..=3 {
        below.next().finish(Err(FlushError::other("the disk of the sink")));
        eventually(|| queue.stats().failed_flushes == failed);
    }
    eventually(|| queue.stats().passed_over == 2);
    queue.write(2).unwrap();
    below.next().finish(Ok(()));
    queue.close().wait().unwrap();
    assert_eq!((queue.stats().passed_over, queue.left_on_disk()), (2, 2));
    assert_eq!(*below.written.lock(), [0, 1, 0, 1, 2]);
}

/// A buffer below may shed what it likes: that is not acknowledged, and comes again, one by one.
#[test]
fn what_a_buffer_below_drops_or_spills_stays_and_is_delivered() {
    for (spills, deep) in [(false, false), (true, false), (false, true), (true, true)] {
        let scratch = Scratch::new();
        let (delivered, spill) = (sink::collector::<u32>(), sink::collector::<u32>());
        let slow = delivered.clone().inspect(|_| thread::sleep(Duration::from_micros(200)));
        let buffer = Buffer::bounded(2).drop_oldest();
        let buffer = if spills { buffer.spill(spill.clone()) } else { buffer };
        let shedding = slow.queued_with(buffer);
        let watched = shedding.clone();
        let options = options(&scratch).unconfirmed(64);
        let queue = if deep {
            let broadcaster = Broadcaster::new();
            broadcaster.add(sink::discard()).unwrap();
            broadcaster.add(shedding.queued()).unwrap();
            broadcaster.queued().durable_with(options)
        } else {
            shedding.durable_with(options)
        }
        .unwrap();
        queue.write_all(0..200).unwrap();
        eventually(|| queue.left_on_disk() == 0);
        queue.close().wait().unwrap();
        let (shed, stats) = (watched.stats(), queue.stats());
        assert!(shed.dropped + shed.spilled > 0, "{shed:?}");
        assert_eq!((shed.spilled > 0, shed.spilled as usize), (spills, spill.len()));
        assert!(stats.failed_flushes > 0, "{stats:?}");
        let mut all = delivered.events();
        all.sort_unstable();
        all.dedup();
        assert!(all.into_iter().eq(0..200));
    }
}

#[test]
fn what_a_buffer_below_sheds_is_acknowledged_if_that_is_asked_for() {
    let scratch = Scratch::new();
    let latch = Latch::new();
    let stuck = latch.clone();
    let shedding = sink::for_each(move |_: u32| stuck.pass()).queued_with(Buffer::bounded(1).drop_newest());
    let watched = shedding.clone();
    let queue = shedding.durable_with(options(&scratch).acknowledge_shed()).unwrap();
    queue.write(0).unwrap();
    latch.arrived(1);
    queue.write_all(1..10).unwrap();
    eventually(|| queue.stats().delivered == 10);
    latch.open();
    eventually(|| queue.left_on_disk() == 0);
    assert_eq!((watched.stats().dropped, queue.stats().failed_flushes), (8, 0));
}

#[test]
fn a_close_that_is_aborted_leaves_the_rest_on_disk_and_that_is_no_loss() {
    let scratch = Scratch::new();
    let queue = dead::<u32>(options(&scratch));
    queue.write_all(0..5).unwrap();
    assert!(queue.close().within(Duration::from_millis(20)).is_ok());
    assert_eq!(queue.left_on_disk(), 5);
    assert!(matches!(queue.write(5), Err(WriteError::Closed(5))));
    let delivered = sink::collector::<u32>();
    delivered.clone().durable_with(options(&scratch)).unwrap().close().wait().unwrap();
    assert_eq!(delivered.events(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_sink_that_closes_ends_it_and_loses_nothing() {
    let scratch = Scratch::new();
    let below = sink::collector();
    let queue = below.clone().durable_with(options(&scratch)).unwrap();
    below.close().wait().unwrap();
    queue.write(1).unwrap();
    eventually(|| queue.is_closed());
    let error = queue.close().wait().unwrap_err();
    assert!(matches!(error, CloseError::DownstreamClosed { events: 0 }), "{error}");
    assert_eq!(queue.left_on_disk(), 1);
}

#[test]
fn an_event_that_panics_is_tried_again_after_each_restart_until_it_is_given_up() {
    let scratch = Scratch::new();
    let tries = Arc::new(AtomicU64::new(0));
    let given_up = sink::collector();
    let delivered = sink::collector::<u32>();
    let open = || {
        let (tries, delivered) = (Arc::clone(&tries), delivered.clone());
        let below = sink::for_each(move |event: u32| {
            if event == 1 {
                tries.fetch_add(1, Ordering::Relaxed);
                panic!("this one again");
            }
            delivered.write(event).unwrap();
        });
        let options = options(&scratch).max_attempts(3).dead_letter(given_up.clone().keep_open());
        below.durable_with(options).unwrap()
    };
    let queue = open();
    queue.write_all(0..3).unwrap();
    for attempt in 1..=3 {
        let queue = if attempt == 1 { queue.clone() } else { open() };
        let error = queue.close().wait().unwrap_err();
        assert!(matches!(error, CloseError::Panicked { events: 0, .. }), "{error}");
        assert_eq!(tries.load(Ordering::Relaxed), attempt);
        assert!(queue.left_on_disk() >= 2);
    }
    let queue = open();
    queue.close().wait().unwrap();
    assert_eq!((tries.load(Ordering::Relaxed), given_up.events()), (3, vec![1]));
    assert_eq!((queue.stats().dead_lettered, queue.left_on_disk()), (1, 0));
    let mut events = delivered.events();
    events.dedup();
    assert_eq!(events, [0, 2]);
}

#[test]
fn max_bytes_hands_back_a_run_and_works_again_once_there_is_room() {
    let scratch = Scratch::new();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let below =
        sink::from_fn(move |_: &String| if is_up.load(Ordering::Relaxed) { Ok(()) } else { Err("down") });
    let below = below.retry(Constant::new(Duration::from_millis(1)));
    let queue = below.durable_with(options(&scratch).max_bytes(64 << 10)).unwrap();
    let event = "x".repeat(1000);
    let mut written = 0;
    let error = loop {
        match queue.write(event.clone()) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!((20..=64).contains(&written), "{written}");
    assert!(matches!(error.error(), Some(CommitError::MaxBytes { max_bytes: 65536 })));
    assert_eq!(error.into_event(), event);
    let error = queue.write_all(vec![event.clone(); 10]).unwrap_err();
    assert_eq!((error.refused.into_event(), error.rest.count()), (event.clone(), 9));
    assert_eq!(queue.left_on_disk(), written);

    up.store(true, Ordering::Relaxed);
    queue.flush().wait().unwrap();
    eventually(|| queue.write(event.clone()).is_ok());
    queue.close().wait().unwrap();
    assert!(inspect(scratch.store()).unwrap().bytes < 64 << 10);
}

#[test]
fn fields_may_be_added_removed_and_renamed_and_what_cannot_be_read_is_kept_as_bytes() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Old {
        name: String,
        size: u32,
        gone: bool,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        added: Option<u64>,
        #[serde(rename = "repository", alias = "name")]
        renamed: String,
        size: u8,
    }

    let scratch = Scratch::new();
    let queue = dead::<Old>(options(&scratch));
    // The second does not fit into the type that the field has now.
    for size in [1, 1000, 2] {
        queue.write(Old { name: format!("alpine {size}"), size, gone: true }).unwrap();
    }
    drop(queue);

    // Without a sink for it, it blocks nothing and stays.
    let delivered = sink::collector::<New>();
    let queue = delivered.clone().keep_open().durable_with(options(&scratch)).unwrap();
    queue.close().wait().unwrap();
    let new = |size| New { added: None, renamed: format!("alpine {size}"), size };
    assert_eq!(delivered.take(), [new(1), new(2)]);
    assert_eq!((queue.left_on_disk(), queue.stats().passed_over), (1, 1));

    let kept = sink::collector();
    let queue = delivered.clone().durable_with(options(&scratch).undecodable(kept.clone())).unwrap();
    queue.close().wait().unwrap();
    assert_eq!((queue.left_on_disk(), delivered.len()), (0, 0));
    let [letter] = &kept.events()[..] else { panic!("{kept:?}") };
    assert_eq!(letter.number, 1);
    let old: Old = rmp_serde::from_slice(&letter.bytes).unwrap();
    assert_eq!((old.name.as_str(), old.size, old.gone), ("alpine 1000", 1000, true));
    assert!(kept.is_closed());
}

#[test]
fn damage_costs_its_record_and_is_reported_by_number() {
    let scratch = Scratch::new();
    let queue = dead::<String>(options(&scratch));
    queue.write_all((0..5).map(|number| format!("event number {number}"))).unwrap();
    drop(queue);
    let segment = fs::read_dir(scratch.store()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(14).position(|window| window == b"event number 2").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let delivered = sink::collector::<String>();
    let queue = delivered.clone().durable_with(options(&scratch)).unwrap();
    assert_eq!(queue.recovered().damage.len(), 1);
    assert_eq!(queue.recovered().damage[0].events, 2..3);
    queue.close().wait().unwrap();
    assert_eq!(delivered.events(), [0, 1, 3, 4].map(|number| format!("event number {number}")));
    assert!(!inspect(scratch.store()).unwrap().aside.is_empty());
}

/// An event whose encoding fails for odd ones.
#[derive(Clone, Debug, Deserialize)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => serializer.serialize_newtype_struct("Even", &self.0),
            _ => Err(serde::ser::Error::custom("odd")),
        }
    }
}

#[test]
fn what_cannot_be_encoded_is_handed_back_and_what_was_before_it_is_written() {
    let scratch = Scratch::new();
    let queue = dead::<Even>(options(&scratch));
    let error = queue.write_all([0, 2, 3, 4].map(Even)).unwrap_err();
    assert!(matches!(error.refused.error(), Some(CommitError::Encoding(_))));
    assert_eq!(
        (error.refused.into_event().0, error.rest.map(|even| even.0).collect::<Vec<_>>()),
        (3, vec![4])
    );
    assert_eq!(queue.left_on_disk(), 2);
}

#[test]
fn ages_and_numbers_go_on_after_a_restart() {
    let scratch = Scratch::new();
    let queue = dead::<u32>(options(&scratch));
    queue.write_all(0..3).unwrap();
    drop(queue);
    thread::sleep(Duration::from_millis(50));
    let queue = dead::<u32>(options(&scratch));
    // At once, whether the worker has begun or not.
    let stats = queue.stats();
    assert!(stats.oldest.unwrap() >= Duration::from_millis(50), "{stats:?}");
    eventually(|| queue.stats().unconfirmed == 1);
    let stats = queue.stats();
    assert_eq!((stats.pending, stats.next, stats.unconfirmed), (3, 3, 1));
}

/// Each write that was answered `Ok` is delivered or on disk, whatever a close, an abort or a drop does meanwhile.
#[test]
fn writes_race_with_the_end() {
    for round in 0..400 {
        let scratch = Scratch::new();
        let delivered = sink::collector::<u32>();
        let queue = delivered.clone().keep_open().durable_with(options(&scratch).unconfirmed(4)).unwrap();
        let mut written: Vec<u32> = thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let queue = queue.clone();
                    scope.spawn(move || {
                        let numbers = (0..20).map(|n| 100 * writer + n);
                        numbers.take_while(|n| queue.write(*n).is_ok()).collect::<Vec<_>>()
                    })
                })
                .collect();
            match round % 4 {
                0 => drop(queue),
                1 => queue.close().wait().unwrap(),
                2 => queue.close().abort().unwrap(),
                _ => {
                    queue.flush().wait().unwrap();
                    drop(queue.close());
                    queue.close().wait().unwrap();
                }
            }
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        let before = delivered.len();
        let queue = delivered.clone().durable_with(options(&scratch));
        let queue = queue.unwrap_or_else(|error| panic!("in round {round}: {error}"));
        if round % 2 == 1 {
            assert_eq!(queue.recovered().pending, 0, "in round {round}");
        }
        queue.close().wait().unwrap();
        let mut there = delivered.events();
        assert!(before + written.len() + 4 >= there.len());
        there.sort_unstable();
        there.dedup();
        written.sort_unstable();
        assert_eq!(there, written, "in round {round}");
    }
}
