//! Events that survive the process: what a durable queue promises, what it costs, and how to choose.
//!
//! A [`Queue`](crate::Queue) is in memory: what is in it dies with the process. With the feature `durable`, `durable(path)` in
//! its place keeps each event on disk, from before its write returns until the sink below has it for certain:
//!
#![cfg_attr(feature = "durable", doc = "```")]
#![cfg_attr(not(feature = "durable"), doc = "```ignore")]
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, retry::Breaker, sink};
//!
//! # let path = std::env::temp_dir().join(format!("outflow-docs-{}", std::process::id()));
//! let http = sink::from_fn(|_: &String| -> Result<(), &str> { Ok(()) });
//! let events = http.retry(Breaker::new(5, Duration::from_secs(1))).durable(&path)?;
//! for damage in &events.recovered().damage {
//!     eprintln!("lost: {damage:?}");
//! }
//! events.write("push alpine".to_string())?; // On disk from here on.
//!
//! // As long as the service manager gives it. What is left is delivered after the next start.
//! events.close().within(Duration::from_secs(5))?;
//! assert_eq!(events.left_on_disk(), 0);
//! # std::fs::remove_dir_all(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A write can fail now: the disk may be full. The event comes back with a `CommitError`, and it is for the caller to say what
//! happens: answer `503`, try again, or [`fallback`](crate::SinkExt::fallback) to another sink.
//!
//! # What is promised
//!
//! At least once, in order. An event whose write returned `Ok` is delivered, however often the process is killed meanwhile;
//! with `Sync::Always`, however often the machine is. It is done with when the sink has accepted it and a flush of the sink,
//! begun afterwards, has come through: so a queue, a batch or a broadcaster may stand between, and what is in those when the
//! process dies is delivered again. The module `durable` has the promises one by one.
//!
//! # What may come twice
//!
//! - After a crash of the process: what the sink had accepted and no acknowledgement was written for. That is at most
//!   `unconfirmed` events (1,024, or what the options say), at each start.
//! - After a power failure: up to 4,096 more, whose acknowledgement was not synced yet. With `Sync::Os` there is no bound.
//! - After a flush of the sink that failed, or a buffer below that shed: everything delivered since the last flush that came
//!   through, at most `unconfirmed` events, once; and the first of them again each time that the flush fails, after
//!   100 ms, then after twice as long each time, up to 10 s.
//! - An event whose write returned an error, or had not returned, may be delivered after a crash.
//!
//! So a receiver has to know an event again: give each one an id.
//!
//! # What may be lost
//!
//! - With `Sync::Every(time)`, in a power failure, what was written in the last `time`; with `Sync::Os`, what the system had
//!   not written yet. A crash of the process loses nothing in either.
//! - With `drop_oldest`, what had to make room. It is counted, also across restarts.
//! - What the disk damages. It is reported by number, and the bytes are kept aside.
//! - What a sink below accepts and drops because it was told to: a `lossy`, a `filter`, an `expire_after`. It has
//!   accepted the event. So has a channel or a subscription, as soon as the event is in it.
//! - What a buffer below sheds, if `acknowledge_shed` asks for that.
//!
//! # Buffers below
//!
//! A flush is done when every event before it is delivered, *or was dropped or spilled and is counted*: a queue with
//! `drop_oldest` answers it with `Ok` ([the law](super::guarantees#flushes)), since others that flush it want to know that it is at
//! rest, and no more. For a durable queue that is too little. So its flush asks each queue and each follower on its way how much
//! that has given up, and if it is more than before, nothing is acknowledged: the events stay on disk, and come again one by one,
//! which a buffer of one takes. It is so through broadcasters, logs and queues of queues, as deep as they are; a sink of
//! your own between has to pass the flush on, on the thread that calls it. If others write to the same buffer, what that
//! sheds of theirs cannot be told from the queue's own, and brings events again as well.
//!
//! If a viewer below may miss events, `broadcaster.add(viewer.queued_with(Buffer::bounded(100).drop_oldest()))`, and must not
//! have the webhooks beside it get events twice, ask for `acknowledge_shed`.
//!
//! # Events that are to blame
//!
//! An event may be the death of the process that delivers it, each time. `max_attempts` gives it up: see there for what
//! counts. Without it, a sink that panics ends the queue, and after each start it is tried again; and a sink whose flush fails
//! for good gets one event again every 10 s, without an end, told by `failed_flushes` and a warning each time.
//!
//! # When there is no room
//!
//! When the disk is full, or the store has `max_bytes`, a write is an error with its event, and works again once there is
//! room: events are delivered, and whole segments given back. The policies of a [`Buffer`](crate::Buffer) are these here:
//!
//! | of a buffer | of a durable queue |
//! | --- | --- |
//! | `reject` | the default |
//! | wait, as `bounded` does | `wait_for_room`; there is no `block_for` |
//! | `drop_oldest` | `drop_oldest`: a segment at a time, counted on disk; not what is with the sink |
//! | `drop_newest` | the default, and [`lossy`](crate::SinkExt::lossy) above, which counts |
//! | `spill` | the default, and [`fallback`](crate::SinkExt::fallback) above. What `drop_oldest` drops is not spilled |
//!
//! # Which sync
//!
//! | | survives the process | survives the machine | a write waits for |
//! | --- | --- | --- | --- |
//! | `Sync::Always` | yes | yes | a sync, shared by all writers of that moment |
//! | `Sync::Every(time)` | yes | but for the last `time` | a copy to the system |
//! | `Sync::Os` | yes | as the system likes | a copy to the system |
//!
//! Take `Always` where somebody else was told that the event is taken; it costs a sync of the disk for each write of one
//! writer, and less for each of several. `write_all` commits up to 1,024 events with one.
//!
//! # What it costs
//!
//! Strings of 256 bytes through `durable_with`, as MessagePack, against the same bytes by bare file operations or through
//! persistent-queue 0.2, in turn on the same disk: microseconds an event, and the median of the pairwise ratios of nine runs
//! each. The sink takes each event at once, so that events are read, delivered and acknowledged while others are written; in
//! the last column it is stuck on the first, as an endpoint that is down. On two cores of a shared machine, where an append and
//! `fdatasync` took 0.15 ms; bold is a bar that was missed.
//! `cargo run --release --manifest-path benches/durable/Cargo.toml -- --only=durable_with` makes the table anew.
//!
//! | | against | µs an event | ratio | was to be | sink stuck |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 writer, `Always` | append and `fdatasync` | 112 | 0.81 | 1.4 | 0.70 |
//! | 8 writers, `Always` | the same for 8 at once | 30 | 1.33 | 1.5 | 1.29 |
//! | `write_all` of 1,000, `Always` | the same for 1,000 | 0.75 | 1.66 | 2.0 | 1.56 |
//! | 1 writer, `Every` 100 ms | one `write` each | 2.5 | 2.3 | | 1.8 |
//! | 1 writer, `Os` | one `write` each | 2.1 | 1.9 to 2.1 | 2.0 | 1.75 |
//! | a backlog of 100,000 delivered | reading the same bytes | 0.15 | **8.6** | 5 | |
//! | 8 writers, `Always` | persistent-queue, its group policy | 25 | 0.38 | 0.7 | |
//! | 8 writers, `Every` 100 ms | the same | 4.6 | 0.06 | 0.7 | |
//! | 8 writers, `Os` | the same | 4.4 | 0.06 | 0.7 | |
//!
//! One writer takes less than the same done by hand, since a small commit is written with zeros behind it, which the next ones
//! overwrite: a file that does not grow is synced in two thirds of the time.
//!
//! What bounds the misses. For a backlog the bare one copies out of the system's cache, at 12 GB/s. Of the 1,700 instructions
//! that the queue's worker has for an event, beside that same copy, a quarter are the checksums, a quarter reads MessagePack
//! and checks that a string is UTF-8, a tenth allocates and frees it; the rest delivers it and keeps the books. The ratio
//! moves with the load, up to 11.5. With `Os`, the writer and the worker share a lock and the machine's two cores: half of the
//! runs met the bar.
//!
//! A million such events, written in runs of 1,000 to a sink that takes them at once (seconds; MiB that the process had
//! at most; medians of three, the same machine, load 3; `--only=million`):
//!
//! | | 100,000 | 1,000,000 | memory |
//! | --- | --- | --- | --- |
//! | in and out, `Always` | 0.31 | 2.31 | 5.9 |
//! | in and out, `Os` | 0.10 | 0.96 | 5.8 |
//! | opened with all of them waiting | 0.04 | 0.14 | 6.0 |
//! | then delivered, until the queue is closed | 0.05 | 0.46 | 5.8 |
//!
//! To open a store is linear in what is on disk, since every record is read and checked: 0.1 to 0.4 µs an event, from the
//! system's cache. Memory does not depend on how many wait.
//!
//! On disk an event is its bytes and some tens more. Space is given back by whole segments of 32 MiB; what remains when all is
//! delivered is at most 1 MiB, and while it is open with `Sync::Always` 256 KiB more, which are reserved for the next events.
//! `max_bytes` bounds it.
//!
//! # On an async runtime
//!
//! An [`AsyncSink`](crate::AsyncSink) below is awaited, and `DurableOptions::on` names what polls the worker: a pool of this
//! crate, tokio's `Handle`, or any executor. The disk knows no `await`. A write blocks its thread until the event is committed,
//! so a task has it done where it may block (`spawn_blocking`). The worker, within a poll, reads pieces of 256 KiB and appends
//! an acknowledgement for each half of `unconfirmed`, mostly to the system's cache; while a writer syncs, that waits for the
//! sync, for 2 to 4 ms on the machine below. A pool of this crate is told, and another thread takes over. Another executor is
//! not: where a few milliseconds are too long, leave the worker on the pool, which is the default for async sinks, too.
//!
//! A runtime that is shut down drops the worker. Everything that is not acknowledged stays on disk, and the store is free.
//!
//! # Versions of events
//!
//! Events are MessagePack with the names of fields, by `serde`. A program that reads what an older one wrote may have fields
//! more (with `#[serde(default)]`), fewer, and others by `#[serde(alias = "..")]`. What it cannot read goes to the sink that
//! `undecodable` names, as bytes, and blocks nothing; without one it stays on disk, for a program that can. Use `schema` to
//! say that a store is for other events altogether.
