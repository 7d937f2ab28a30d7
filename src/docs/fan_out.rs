//! One event to many: when a broadcaster, when a log, and what each costs.
//!
//! | you want | take |
//! | --- | --- |
//! | each sink its own buffer, and its own answer to a full one | a [`Broadcaster`](crate::Broadcaster) over queues |
//! | the write itself to be the delivery, on the writer's thread | a [`Broadcaster`](crate::Broadcaster) |
//! | many readers of the same events, each at its own pace | a [`Log`](crate::Log) |
//! | a backlog that is held once, however many are behind | a [`Log`](crate::Log) |
//! | thousands of subscribers without a thread each | a [`Log`](crate::Log), and its [cursors](crate::log::Cursor) |
//! | to begin with what was before, to resume, or with a snapshot | a [`Log`](crate::Log) |
//! | events that are not `Sync`, or must be moved into one sink | a [`Broadcaster`](crate::Broadcaster) |
//!
//! A broadcaster writes once for every sink: it clones for every queue under it, wakes every worker, and ten
//! dead endpoints hold ten backlogs. A log is written once, and every reader reads that by reference; ten dead
//! followers hold one backlog. A log has no bound of its own: it holds what its slowest reader has not
//! read, unless that has a [`max_lag`](crate::log::SubscribeOptions::max_lag).
//!
//! ```
//! use std::time::Duration;
//! use outflow::log::{FollowOptions, Lag, Log, LogOptions, Start};
//! use outflow::{Sink, SinkExt, sink};
//!
//! let log = Log::with(LogOptions::new().retain(100));
//! // The archive must have everything: writers wait for it when it is far behind.
//! let archive = sink::collector();
//! log.follow_with(FollowOptions::new().max_lag(10_000, Lag::Block), archive.clone())?;
//! // A dashboard may miss some.
//! let dashboard = sink::collector();
//! let options = FollowOptions::new().max_lag(1000, Lag::Skip);
//! log.follow_with(options, dashboard.clone().filter(|event: &u32| *event % 100 == 0))?;
//!
//! for event in 0..500 {
//!     log.append(event)?;
//! }
//! // A reader that comes late begins with what is retained.
//! let mut late = log.subscribe_with(Start::Oldest)?;
//! assert!(late.position() <= 400);
//!
//! log.close().within(Duration::from_secs(5))?;
//! assert_eq!((archive.len(), dashboard.len()), (500, 5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it costs
//!
//! Measured on two shared cores with `Arc` events and readers on threads, everything delivered; medians, and
//! medians of the pairwise ratios of runs in turn. `benches/peers` makes the table. Followers are threads that
//! write to a sink; cursors are read by threads of the benchmark's own. Of the peers `bus` and
//! `async-broadcast` hold 1024 events, and `tokio::sync::broadcast`, which loses events otherwise, all.
//!
//! | | unit | log | peer | ratio | held to |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 follower, against a bare crossbeam channel | ns an event | 35 | 42 | 0.72 | 1.0 |
//! | 1 cursor, against the same | ns an event | 26 | 41 | 0.64 | 1.0 |
//! | 2 followers, against `bus` | ns an event | 38 | 80 | 0.48 | 0.6 |
//! | 2 followers, against tokio | ns an event | 38 | 122 | 0.33 | 0.6 |
//! | 2 followers, against `async-broadcast` | ns an event | 38 | 321 | 0.12 | 0.6 |
//! | 2 cursors, against `bus` | ns an event | 38 | 79 | 0.51 | |
//! | 10 followers, against `bus` | ns an event | 70 | 251 | 0.27 | 0.3 |
//! | 10 followers, against tokio | ns an event | 70 | 327 | **0.21** | 0.2 |
//! | 10 followers, against `async-broadcast` | ns an event | 70 | 750 | 0.09 | 0.2 |
//! | 10 cursors, against `bus` | ns an event | 49 | 214 | 0.23 | |
//! | 100 followers | ns a delivery | 5.0 | | | 6.0 |
//! | from a write to an idle reader, against crossbeam | µs | 9.4 | 9.3 | 1.02 | 2.0 |
//! | from a write to one of 10 idle readers, against crossbeam's one | µs | 59 | 9.4 | 6.1 | |
//! | a write with 10,000 idle cursors, against with 1 | ns an event | 11 | 11 | 0.99 | 1.2 |
//! | 10,000 cursors: set up, against go-events with 10,000 queues | ms | 0.28 | 51 | 0.01 | 0.1 |
//! | 10,000 cursors: 20 writes read by all | ms | 0.76 | 88 | 0.01 | 0.1 |
//! | 10,000 cursors: close | ms | 0.34 | 16 | 0.02 | 0.1 |
//! | 10,000 cursors: memory | MB | 0.84 | 52 | 0.02 | 0.1 |
//!
//! One figure is worse than it was held to (the latency was held to for one reader). A follower claims each event with a compare-and-swap before it
//! writes it, so that an abort or a detach knows exactly which events were begun, and can spill the others
//! while a write hangs. That is about 2 of the 5 to 7 ns of a delivery: the same with a plain store in its
//! place, which would be wrong, took 53 ns at ten followers and 3.6 ns a delivery at a hundred. (Claiming two
//! at a time would do, and leave one event for each dead sink that nobody can spill.) A cursor claims nothing.
//! From run to run ten followers were between 0.24 and 0.34 of `bus`, and between 0.20 and 0.25 of tokio.
//!
//! # When to sleep
//!
//! A reader that has nothing to read spins for a moment and yields, sixteen times, before it sleeps. What was
//! tried, two cores, ns an event (a delivery at 100):
//!
//! | yields, spins before each | 1 follower | 2 | 10 | 100 |
//! | --- | --- | --- | --- | --- |
//! | 2, 64 | 31 | 45 | 73 | 5.3 |
//! | 4, none | 35 | 42 | 69 | 5.5 |
//! | 8, none | 31 | 39 | 68 | 5.5 |
//! | 8, 64 | 38 | 38 | 72 | 6.2 |
//! | 8, 256 | 35 | 44 | 69 | 6.1 |
//! | 16, 16 | 36 | 37 | 70 | 5.4 |
//! | 32, none | 37 | 40 | 72 | 5.7 |
//!
//! It matters that a reader yields at all, and hardly how often. On one core (`taskset -c 0`) it is 41 ns an
//! event with one follower (0.75 of a channel), 46 with two (0.58 of `bus`), 99 with ten (0.44 of `bus`, 0.19
//! of tokio, 0.25 of `async-broadcast`), 7.9 a delivery with a hundred, and an idle reader is as near as on
//! two (1.02 of a channel). Many idle readers are woken one after the other: one of ten has a write after 59 to
//! 73 µs on two cores, after 45 on one.
