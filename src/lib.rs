//! Composable event sinks: hand events from one place to many without losing one unseen.
//!
//! A [`Sink`] accepts events. Combinators wire sinks into retries, queues, filters and broadcasts, chained as
//! iterators are:
//!
//! ```text
//!                      ┌ filter ─ queue ─▶ worker thread ─ retry ─▶ webhook
//! write ─▶ broadcaster ┤
//!                      └ subscription ─▶ a watcher in this process
//! ```
//!
//! The idea to hold on to: **losing an event is visible, in the types where it can be.** A write that fails
//! hands its event back. A sink that can fail does not compile behind a queue until the code says what
//! happens to what fails. Nothing is dropped unless that was asked for by name, and what is dropped is
//! counted.
//!
//! # A sink
//!
//! A closure is enough to begin with; [`sink`] has the others, and [`Sink`] shows how to write one.
//!
//! ```
//! use outflow::{Sink, sink};
//!
//! let http = sink::from_fn(|event: &String| {
//!     if event.is_empty() { Err("refused") } else { Ok(()) }
//! });
//! assert!(http.write("push".to_string()).is_ok());
//!
//! // A write that fails hands its event back.
//! let refused = http.write(String::new()).unwrap_err();
//! assert_eq!(refused.error(), Some(&"refused"));
//! assert_eq!(refused.into_event(), "");
//! ```
//!
//! # Retry
//!
//! [`retry`](SinkExt::retry) writes until the sink accepts, as a strategy says: a
//! [`Breaker`](retry::Breaker) that leaves a failing endpoint alone for a while, or
//! [`ExponentialBackoff`](retry::ExponentialBackoff). One that never gives up makes the sink *reliable*: its
//! error is `Infallible`.
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, retry::Breaker, sink};
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! let attempts = AtomicU32::new(0);
//! let flaky = sink::from_fn(|_: &&str| match attempts.fetch_add(1, Ordering::SeqCst) {
//!     0..3 => Err("service unavailable"),
//!     _ => Ok(()),
//! });
//! let reliable = flaky.retry(Breaker::new(5, Duration::from_millis(10)));
//! assert!(reliable.write("push").is_ok());
//! assert_eq!(attempts.load(Ordering::SeqCst), 4);
//! ```
//!
//! # Queue
//!
//! [`queued`](SinkExt::queued) puts a queue and a worker thread before a reliable sink, so that its writers
//! do not wait for it. A [`Buffer`] bounds it and says what happens when it is full.
//!
//! ```
//! use outflow::{Buffer, Sink, SinkExt, sink};
//!
//! let delivered = sink::collector();
//! let queue = delivered.clone().queued_with(Buffer::bounded(1024));
//! queue.write("push").unwrap();
//! queue.close().wait()?;
//! assert_eq!(delivered.events(), ["push"]);
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! A sink that can fail does not get there:
//!
//! ```compile_fail,E0277
//! # use outflow::{SinkExt, sink};
//! sink::from_fn(|_: &u32| Err("refused")).queued(); // what happens to an event that fails?
//! ```
//!
//! # Broadcast
//!
//! A [`Broadcaster`] writes every event to each of its sinks, without a lock.
//! [`subscribe`](Broadcaster::subscribe) gives a watcher in the same process a channel of its own.
//!
//! ```
//! use outflow::{Broadcaster, Buffer, Sink, SinkExt, sink};
//!
//! let pushes = sink::collector();
//! let broadcaster = Broadcaster::new();
//! broadcaster.add(pushes.clone().queued().filter(|event: &&str| event.starts_with("push")))?;
//! let watcher = broadcaster.subscribe(Buffer::unbounded());
//!
//! broadcaster.write("push alpine").unwrap();
//! broadcaster.write("pull alpine").unwrap();
//! broadcaster.close().wait()?;
//!
//! assert_eq!(pushes.events(), ["push alpine"]);
//! assert_eq!(watcher.iter().count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Log
//!
//! A [`Log`] is written once and followed by many readers, each at its own pace and by reference: threads that
//! write to a sink, and [cursors](log::Cursor) without a thread. They may begin with what was before. When to
//! take which: [`docs::fan_out`].
//!
//! ```
//! use outflow::{Log, Sink, log::{LogOptions, Start}, sink};
//!
//! let log = Log::with(LogOptions::new().retain(100));
//! log.write("push alpine").unwrap();
//!
//! let delivered = sink::collector();
//! log.follow(delivered.clone());
//! let mut watcher = log.subscribe_with(Start::Oldest)?;
//! log.write("pull alpine").unwrap();
//! log.close().wait()?;
//!
//! assert_eq!(delivered.events(), ["pull alpine"]);
//! assert_eq!(watcher.iter().collect::<Vec<_>>(), ["push alpine", "pull alpine"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When something goes wrong
//!
//! | you want | write |
//! | --- | --- |
//! | to try again, for ever | [`.retry(strategy)`](SinkExt::retry) |
//! | to give up after some attempts | [`.retry(strategy).max_attempts(8)`](retry::Retry::max_attempts) |
//! | what fails elsewhere, with the error | [`.dead_letter(sink)`](SinkExt::dead_letter) |
//! | another sink to take over | [`.fallback(sink)`](SinkExt::fallback) |
//! | what fails dropped, and counted | [`.lossy()`](SinkExt::lossy) |
//! | to go on after a panic | [`.catch_panic()`](SinkExt::catch_panic) |
//! | to see what happens | [`.metered(&meter)`](SinkExt::metered), [`.inspect(f)`](SinkExt::inspect) |
//!
//! # Stopping
//!
//! [`close`](Sink::close) begins, and what it returns waits: [`docs::shutdown`]. What is promised about order
//! and delivery: [`docs::guarantees`]. For those who know go-events: [`docs::go_events`].
//!
//! # Features
//!
//! None is on by default.
//!
//! - `futures`: [`Closing`] and [`Flushing`] can be awaited, [`Events`](channel::Events), [`Subscription`] and
//!   [`Cursor`](log::Cursor) are `Stream`s, and `into_futures` makes a `futures::Sink` of a sink whose writes
//!   never wait. Brings `futures-core` and `futures-sink`.
//! - `http`: the module `http`, a sink that posts events to webhooks. Brings ureq with rustls, ring and serde.
//! - `metrics`: what meters and queues count, published through the `metrics` facade. See
//!   [`docs::observability`].
//! - `testing`: the test kit, for sinks of your own: sinks that fail, wait and panic on command, a clock that
//!   a test moves, and a check of the laws. Brings no dependency.
//! - `tracing`: what goes wrong, told to `tracing`. See [`docs::observability`].

pub mod adapter;
mod broadcast;
pub mod buffer;
pub mod channel;
mod contract;
pub mod docs;
mod ext;
#[cfg(feature = "http")]
pub mod http;
mod leaf;
mod lifecycle;
pub mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
mod pipe;
pub mod queue;
pub mod retry;
pub mod sink;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod worker;

pub use self::adapter::{CatchPanicError, CloseGuard, Counter, DeadLetter, Meter, MeterSnapshot};
pub use self::broadcast::{AddError, Broadcaster, Subscription, SubscriptionIntoIter, WeakBroadcaster};
pub use self::buffer::Buffer;
pub use self::contract::{Never, SharedSink, Sink, WriteError};
pub use self::ext::{SinkExt, WriteAllError};
pub use self::lifecycle::{
    CloseError, Closing, Ended, EndedSink, FlushError, Flushing, PendingClose, PendingFlush,
};
pub use self::log::Log;
pub use self::queue::Queue;
pub use self::sync::{SinkId, clock, is_delivering};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
