//! Composable event sinks: hand events to several consumers, and know of every one that was not delivered.
//!
//! A [`Sink`] accepts events. Combinators wire sinks into retries, queues, filters and broadcasts, chained as iterators
//! are:
//!
//! ```text
//!                      ┌ filter ─ queue ─▶ worker ─ retry ─▶ webhook
//! write ─▶ broadcaster ┤
//!                      └ subscription ─▶ a watcher in this process
//! ```
//!
//! One idea is behind it: **losing an event is visible, in the types where it can be.** A write that fails hands its
//! event back. A sink that can fail does not compile behind a queue until the code says what happens to an event that
//! fails. No event is dropped unless that was asked for by name, and what is dropped is counted.
//!
//! New here? The [tutorial](docs::tutorial) has four short chapters. All pages are listed in [`docs`].
//!
//! # A sink
//!
//! A closure is enough to begin with. The module [`sink`] has the others, and [`Sink`] shows how to write one.
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
//! # A chain
//!
//! In a chain the last call is the outermost and sees an event first: here the filter, then the queue, then, on the
//! queue's worker, the retry.
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Buffer, Sink, SinkExt, retry::Breaker, sink};
//!
//! let delivered = sink::collector();
//! let endpoint = delivered.clone();
//! let http = sink::from_fn(move |event: &&str| match endpoint.write(*event) {
//!     Ok(()) => Ok(()),
//!     Err(_) => Err("no route to host"),
//! });
//!
//! let events = http
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     .queued_with(Buffer::bounded(1024))
//!     .filter(|event: &&str| event.starts_with("push"));
//! events.write("push alpine").unwrap();
//! events.write("pull alpine").unwrap();
//!
//! events.close().within(Duration::from_secs(5))?;
//! assert_eq!(delivered.events(), ["push alpine"]);
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! [`retry`](SinkExt::retry) writes until the sink accepts, as a strategy says. [`queued_with`](SinkExt::queued_with)
//! puts a queue and a worker before a sink, so that its writers do not wait for it; a [`Buffer`] bounds the queue and
//! says what a write into a full one does. A sink that can fail does not get there:
//!
//! ```compile_fail,E0277
//! # use outflow::{SinkExt, sink};
//! sink::from_fn(|_: &u32| Err("refused")).queued(); // What happens to an event that fails?
//! ```
//!
//! A large event (64 KiB and more by value) belongs in an `Arc` or a `Box` there: see
//! [large events](docs::tutorial::chapter_3#large-events).
//!
//! # One event to many
//!
//! A [`Broadcaster`] writes every event to each of its sinks, without a lock. [`subscribe`](Broadcaster::subscribe)
//! gives a watcher in the same process a channel of its own.
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
//! assert_eq!(watcher.into_iter().count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Log`] is written once and followed by many readers, each at its own pace and by reference: threads that write to
//! a sink, and [cursors](log::Cursor) without a thread. They may begin with what was before. When to take which:
//! [`docs::fan_out`].
//!
//! # Stopping
//!
//! [`close`](Sink::close) begins the end of a whole chain and returns at once; what it returns waits. In `main`,
//! [`close_on_drop`](SinkExt::close_on_drop) makes a guard: without a close, what is queued when the process ends is
//! lost. See [`docs::shutdown`].
//!
//! # All combinators
//!
#![doc = include_str!("docs/combinators.md")]
//!
//! # Features
//!
//! None is on by default.
//!
//! - `durable`: the module `durable`, a queue whose events survive the process. Asks for Rust 1.89, where the crate asks
//!   for 1.85. Brings `crc32fast`, `serde`, `rmp-serde` and, on Unix, `libc`. See `docs::durable`.
//! - `futures`: [`Closing`] and [`Flushing`] can be awaited, [`Events`](channel::Events), [`Subscription`] and
//!   [`Cursor`](log::Cursor) are `Stream`s, and `into_futures` makes a `futures::Sink` of a sink whose writes
//!   never wait. Brings `futures-core` and `futures-sink`.
//! - `http`: the module `http`, a sink that posts events to webhooks. Brings ureq with rustls, ring and serde.
//! - `http-async`: an asynchronous webhook sink beside it, by the same builder. Brings hyper and tokio-rustls; asks for
//!   `http` and `tokio`.
//! - `metrics`: what meters and queues count, published through the `metrics` facade. See
//!   [`docs::observability`].
//! - `testing`: the test kit, for sinks of your own: sinks that fail, wait and panic on command, a clock that
//!   a test moves, and a check of the laws. Brings no dependency.
//! - `tokio`: workers of asynchronous sinks run on a tokio runtime, by its `Handle`. Brings tokio with `rt` alone.
//! - `tower`: `sink::from_service` makes an asynchronous sink of a `tower::Service`. Brings `tower-service`.
//! - `tracing`: what goes wrong is logged to `tracing`. See [`docs::observability`].

pub mod adapter;
mod broadcast;
pub mod buffer;
pub mod channel;
mod contract;
pub mod docs;
#[cfg(feature = "durable")]
pub mod durable;
mod ext;
mod ext_async;
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

pub use self::adapter::{
    CatchPanicError, CloseGuard, Counter, DeadLetter, ExpireError, Meter, MeterSnapshot, TimeoutError,
};
pub use self::broadcast::{AddError, Broadcaster, Subscription, SubscriptionIntoIter, WeakBroadcaster};
pub use self::buffer::Buffer;
pub use self::contract::{AsyncSink, Never, SharedAsyncSink, SharedSink, Sink, WriteAllError, WriteError};
pub use self::ext::SinkExt;
pub use self::ext_async::AsyncSinkExt;
pub use self::lifecycle::{
    CloseError, Closing, Ended, EndedSink, FlushError, Flushing, PendingClose, PendingFlush,
};
pub use self::log::Log;
pub use self::queue::Queue;
pub use self::sync::{Rate, SinkId, clock, is_delivering};
pub use self::worker::{AsyncOnly, Executor, MayBlock, WorkerFuture, Workers, WorkersBuilder, WorkersStats};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
