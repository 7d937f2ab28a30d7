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
//! A broadcaster writes once for every sink: it clones the event for every queue under it and wakes every worker, and
//! ten dead endpoints hold ten backlogs. A log is written once, and all readers read that by reference: ten dead
//! followers hold one backlog. A log has no bound of its own. It holds what its slowest reader has not read, unless
//! that reader has a [`max_lag`](crate::log::SubscribeOptions::max_lag).
//!
//! A [follower](crate::log::Log::follow) of a log has a [worker](super::workers) that writes to its sink, as a queue has; a
//! cursor is read by whatever thread asks it for the next event.
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
//! # Order
//!
//! All readers of a log see one order: that of the numbers that it gives its events. A broadcaster has no such order
//! across its sinks, neither of concurrent writers nor of a write from within a write; a queue before it has. See
//! [order across sinks](super::guarantees#order-across-sinks).
//!
//! # What each costs
//!
//! An event with two readers costs some 40 ns in a log and some 85 ns in a broadcaster over two queued retries; with
//! ten, 70 ns in a log. 10,000 cursors that wait add nothing to a write. All figures, and how they were measured, are
//! in [`docs::speed`](super::speed).
