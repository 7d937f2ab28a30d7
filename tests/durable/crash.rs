//! A process that writes numbered events is killed at a random moment, again and again.
//!
//! It prints a number once its write has returned, and its sink appends what it gets to a file, with a line for each start.
//! `OUTFLOW_TEST_KILLS` says how often it is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use outflow::durable::{CommitError, DurableOptions, Sync};
use outflow::queue::QueueOptions;
use outflow::{AsyncSinkExt, Sink, SinkExt, sink};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::scratch::Scratch;

const WRITERS: u64 = 3;
const UNCONFIRMED: u64 = 16;

#[derive(Clone, Serialize, Deserialize)]
struct Event {
    writer: u64,
    sequence: u64,
    /// So that records differ in length, and segments fill.
    padding: String,
}

fn options(directory: &Path, sync: Sync) -> DurableOptions<Event> {
    // Segments of 16 KiB, so that many are begun and removed.
    let options = DurableOptions::new(directory.join("store")).schema("event/1").sync(sync);
    options.max_bytes(128 << 10).unconfirmed(UNCONFIRMED)
}

/// What the child does: `DIRECTORY ROUND FIRST`, where `FIRST` is the first sequence of each writer.
fn child(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (directory, round) = (Path::new(arguments[0]), arguments[1].parse::<u64>().unwrap());
    let first: u64 = arguments[2].parse().unwrap();
    let sync = if round % 2 == 0 { Sync::Always } else { Sync::Os };
    let is_up = round % 3 > 0;

    let mut delivered =
        OpenOptions::new().create(true).append(true).open(directory.join("delivered")).unwrap();
    delivered.write_all(b"start\n").unwrap();
    let mut deliver = move |event: &Event| {
        let line = format!("{} {}\n", event.writer, event.sequence);
        delivered.write_all(line.as_bytes())
    };
    let between = round % 4 < 2;
    let options = options(directory, sync);
    println!("opening");
    // By turns synchronous, asynchronous on the pool, and on a runtime.
    let queue = match round / 4 % 3 {
        0 => {
            let sink = sink::from_fn_mut(move |event: &Event| {
                if !is_up {
                    thread::sleep(Duration::from_secs(3600));
                }
                deliver(event)
            })
            .lossy();
            if between { sink.queued().durable_with(options) } else { sink.durable_with(options) }
        }
        turn => {
            let deliver = Arc::new(Mutex::new(deliver));
            let sink = sink::from_async_fn(move |event: Event| {
                let deliver = Arc::clone(&deliver);
                async move {
                    tokio::task::yield_now().await;
                    if !is_up {
                        // Something could wake it, or its worker would be dropped.
                        poll_fn(|context| {
                            std::mem::forget(context.waker().clone());
                            Poll::<()>::Pending
                        })
                        .await;
                    }
                    (deliver.lock())(&event)
                }
            })
            .lossy();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let on_runtime = {
                let handle = runtime.handle().clone();
                move |worker| drop(handle.spawn(worker))
            };
            // It lives as long as this process.
            std::mem::forget(runtime);
            match (between, turn) {
                (false, 1) => sink.durable_with(options),
                (false, _) => sink.durable_with(options.on(on_runtime)),
                (true, 1) => sink.queued().durable_with(options),
                (true, _) => sink.queued_with(QueueOptions::default().on(on_runtime)).durable_with(options),
            }
        }
    }
    .unwrap();
    println!("open");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let queue = &queue;
            scope.spawn(move || {
                for sequence in first.. {
                    let padding = "x".repeat((sequence % 7 * 40) as usize);
                    match queue.write(Event { writer, sequence, padding }) {
                        Ok(()) => println!("wrote {writer} {sequence}"),
                        Err(full) => {
                            if !matches!(full.error(), Some(CommitError::MaxBytes { .. })) {
                                println!("refused {full}");
                            }
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                }
            });
        }
    });
    loop {
        thread::park();
    }
}

/// Starts the child and kills it. Returns what it had written by then.
fn kill_one(directory: &Path, round: u64, first: u64) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::what_is_written_survives_kills", "--nocapture", "--test-threads=1"])
        .env("OUTFLOW_DURABLE_CHILD", format!("{} {round} {first}", directory.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut text) = (String::new(), String::new());
    // Every fifth is killed while it opens.
    let until = if round % 5 == 4 { "opening\n" } else { "open\n" };
    while !line.ends_with(until) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child of round {round} ended: {text}");
        text.push_str(&line);
    }
    let micros = if round % 5 == 4 { 2_000 } else { 40_000 };
    thread::sleep(Duration::from_micros(fastrand::u64(0..micros)));
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    let mut written = Vec::new();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        assert!(!line.starts_with("refused"), "in round {round}: {line}");
        if let Some((writer, sequence)) = line.strip_prefix("wrote ").and_then(|line| line.split_once(' ')) {
            written.push((writer.parse().unwrap(), sequence.parse().unwrap()));
        }
    }
    written
}

#[test]
fn what_is_written_survives_kills() {
    if let Ok(arguments) = std::env::var("OUTFLOW_DURABLE_CHILD") {
        return child(&arguments);
    }
    let kills = std::env::var("OUTFLOW_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(300);
    let scratch = Scratch::new();
    let mut written = BTreeSet::new();
    let mut first = 0;
    for round in 0..kills {
        written.extend(kill_one(scratch.path(), round, first));
        // What was not answered may have been committed: no number is used twice.
        first += 1_000_000;
    }

    // What is left is delivered by this process.
    let file = scratch.path().join("delivered");
    let mut delivered = OpenOptions::new().append(true).open(&file).unwrap();
    delivered.write_all(b"start\n").unwrap();
    let sink = sink::from_fn_mut(move |event: &Event| {
        delivered.write_all(format!("{} {}\n", event.writer, event.sequence).as_bytes())
    });
    let queue = sink.lossy().durable_with(options(scratch.path(), Sync::Always)).unwrap();
    assert!(queue.recovered().damage.is_empty(), "{:?}", queue.recovered());
    queue.close().wait().unwrap();
    assert_eq!(
        queue.left_on_disk(),
        0,
        "{queue:?} {:?} {:?}",
        queue.recovered(),
        outflow::durable::inspect(scratch.store())
    );

    let mut seen = BTreeSet::new();
    let (mut again, mut in_all) = (0, 0);
    let (mut newest, mut in_run) = (BTreeMap::new(), BTreeMap::new());
    for line in fs::read_to_string(&file).unwrap().lines() {
        let Some((writer, sequence)) = line.split_once(' ') else {
            assert!(again <= UNCONFIRMED, "{again} events came again after one start");
            in_all += again;
            again = 0;
            in_run = BTreeMap::new();
            continue;
        };
        let event: (u64, u64) = (writer.parse().unwrap(), sequence.parse().unwrap());
        let before = in_run.insert(event.0, event.1);
        assert!(before.is_none_or(|before| before < event.1), "{event:?} came after {before:?}");
        if !seen.insert(event) {
            again += 1;
            continue;
        }
        let before = newest.insert(event.0, event.1);
        assert!(before.is_none_or(|before| before < event.1), "{event:?} came first after {before:?}");
    }
    let lost = written.difference(&seen);
    assert_eq!(
        lost.clone().next(),
        None,
        "the first of {} that were written and not delivered",
        lost.count()
    );
    assert!(written.len() > kills as usize, "only {} events in {kills} runs", written.len());
    println!("{} written, {} delivered, {in_all} again, in {kills} runs", written.len(), seen.len());
}

/// Ends the process at event 7, some time after the queue between has accepted it.
fn poisoned(directory: &str) {
    let directory = Path::new(directory);
    let file = |name| OpenOptions::new().create(true).append(true).open(directory.join(name)).unwrap();
    let (mut delivered, mut given_up) = (file("delivered"), file("given-up"));
    let below = sink::from_fn_mut(move |event: &u64| {
        if *event == 7 {
            std::process::abort();
        }
        delivered.write_all(format!("{event}\n").as_bytes())
    });
    let letters = sink::from_fn_mut(move |event: &u64| given_up.write_all(format!("{event}\n").as_bytes()));
    let options = DurableOptions::new(directory.join("store")).sync(Sync::Os).unconfirmed(16);
    let options = options.max_attempts(2).dead_letter(letters.lossy());
    let queue = below.lossy().queued().durable_with(options).unwrap();
    if queue.stats().next == 0 {
        queue.write_all(0..50).unwrap();
    }
    queue.close().wait().unwrap();
    assert_eq!(queue.left_on_disk(), 0);
}

/// No other event pays for one that ends the process, also if a queue is between, and others are with the sink, too.
#[test]
fn an_event_that_ends_the_process_is_given_up_and_no_other() {
    if let Ok(directory) = std::env::var("OUTFLOW_DURABLE_POISONED") {
        return poisoned(&directory);
    }
    let scratch = Scratch::new();
    let mut ends = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "crash::an_event_that_ends_the_process_is_given_up_and_no_other"]);
        let output = child.env("OUTFLOW_DURABLE_POISONED", scratch.path()).output().unwrap();
        if output.status.success() {
            break;
        }
        ends += 1;
        assert!(ends < 10, "{}", String::from_utf8_lossy(&output.stderr));
    }
    let numbers = |name| -> Vec<u64> {
        let text = fs::read_to_string(scratch.path().join(name)).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    // Once in a group, of which it is not known which it was, and twice alone.
    assert_eq!((ends, numbers("given-up")), (3, vec![7]));
    let mut delivered = numbers("delivered");
    delivered.sort_unstable();
    delivered.dedup();
    assert!(delivered.into_iter().eq((0..50).filter(|event| *event != 7)));
}
