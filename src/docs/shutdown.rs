//! How to stop: begin everywhere, wait where you like, and learn what was not delivered.
//!
//! [`close`](crate::Sink::close) begins a close and returns at once, so it can be called from anywhere: a destructor,
//! a sink in the middle of a write, a signal handler's thread. What it returns, a [`Closing`](crate::Closing), waits:
//!
//! | | |
//! | --- | --- |
//! | [`wait()`](crate::Closing::wait) | until everything is delivered, for as long as that takes |
//! | [`within(timeout)`](crate::Closing::within) | the same, and aborts when the time is up |
//! | [`abort()`](crate::Closing::abort) | ends the drain now: takes about 100 ms, and what the spills take |
//! | [`is_done()`](crate::Closing::is_done) | does not wait |
//! | `.await`, with the feature `futures` | as `wait()`, for a task; see [below](#in-async-code) for a time limit |
//! | dropped | the drain goes on by itself; events that are left die with the process |
//!
//! Dropping the last handle of a queue, a broadcaster or a log begins a close too, and waits for nothing.
//!
//! # In `main`
//!
//! A `main` that returns ends the process and all its threads, even if events still wait in queues.
//! [`close_on_drop`](crate::SinkExt::close_on_drop) makes a guard that closes when it goes out of scope, by an early
//! return or a panic too, and waits as long as you say. What was not delivered goes to a closure:
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, sink};
//!
//! fn main() {
//!     let events = sink::for_each(|_event: u32| {})
//!         .queued()
//!         .close_on_drop(Duration::from_secs(5))
//!         .on_error(|error| eprintln!("{} events were not delivered: {error}", error.undelivered()));
//!     events.write(1).unwrap();
//! }
//! ```
//!
//! [`std::process::exit`] runs no destructors: call [`close`](crate::CloseGuard::close) on the guard first.
//!
//! # A grace period
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Broadcaster, Sink, SinkExt, retry::Breaker, sink};
//!
//! let broadcaster = Broadcaster::new();
//! broadcaster.add(sink::for_each(|_event: u32| {}).queued())?;
//! let dead = sink::from_fn(|_: &u32| Err("no route to host"));
//! let id = broadcaster.add_named("mirror", dead.retry(Breaker::new(5, Duration::from_secs(60))).queued())?;
//! broadcaster.write(1).unwrap();
//!
//! // The healthy sink is drained. The dead one is aborted after the grace period.
//! let error = broadcaster.close().within(Duration::from_millis(50)).unwrap_err();
//! assert_eq!(error.undelivered(), 1);
//! for (sink, error) in error.sinks() {
//!     assert_eq!((sink, error.undelivered()), (id, 1));
//! }
//! assert!(error.to_string().starts_with("mirror: "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a close waits for
//!
//! | the close of | waits for |
//! | --- | --- |
//! | a [`Queue`](crate::Queue) | its worker to write everything, then the close of its sink and of its spill |
//! | a [channel](crate::channel) | its writers; its reader may still read what it holds |
//! | a [`Broadcaster`](crate::Broadcaster) | the writes under way, then the close of every sink, and of those removed because they had closed |
//! | a [`Log`](crate::Log) | every follower to write what is in the log, then the close of its sink; no cursor |
//!
//! # Keeping what is left
//!
//! A [`spill`](crate::Buffer::spill) gets what an abort takes out of a queue, one event at a time, on the thread that
//! aborts:
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Buffer, Sink, SinkExt, retry::Constant, sink};
//!
//! let undelivered = sink::collector();
//! let dead = sink::from_fn(|_: &u32| Err("no route to host"));
//! let queue = dead
//!     .retry(Constant::new(Duration::from_secs(3600)))
//!     .queued_with(Buffer::bounded(1024).spill(undelivered.clone()));
//! queue.write_all(0..3).unwrap();
//!
//! let error = queue.close().within(Duration::from_millis(10)).unwrap_err();
//! assert_eq!((error.undelivered(), undelivered.len()), (3, 3));
//! ```
//!
//! # A write that never returns
//!
//! Nothing can end a user's write that does not return. An abort waits 100 ms for it, then reports its event as in
//! flight and goes on; the thread stays. Give your sink a timeout of its own.
//!
//! # Waiting from within
//!
//! A thread may be inside what it would wait for: a queue's worker that waits for the close of that queue, a sink that
//! waits for the broadcaster that is writing to it, a spill. There [`wait`](crate::Closing::wait) returns
//! [`WouldDeadlock`](crate::CloseError::WouldDeadlock) at once. Nothing is aborted, and other callers still get the
//! outcome. A wait for a sink further *up* the chain can still hang if a bounded buffer lies between: the drain above
//! is blocked by this very thread and has not come far enough to be seen. [`within`](crate::Closing::within) ends that.
//!
//! # In async code
//!
//! A close that is awaited never answers `WouldDeadlock`, since the thread on which a task happens to run says nothing
//! of what the task depends on. So `block_on(queue.close())` inside a sink of that queue hangs, where
//! `queue.close().wait()` answers `WouldDeadlock`. Inside a sink use `wait()`, or drop the `Closing`.
//!
//! A future that is dropped by a timeout ends nothing. To give up, abort, on a thread that may block:
//!
//! ```
//! # #[cfg(feature = "futures")] {
//! # tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, retry::Constant, sink};
//!
//! let dead = sink::from_fn(|_: &u32| Err("no route to host"));
//! let queue = dead.retry(Constant::new(Duration::from_secs(3600))).queued();
//! queue.write(1).unwrap();
//!
//! let closing = queue.close();
//! let outcome = match tokio::time::timeout(Duration::from_millis(10), closing.clone()).await {
//!     Ok(outcome) => outcome,
//!     Err(_) => tokio::task::spawn_blocking(move || closing.abort()).await.unwrap(),
//! };
//! assert_eq!(outcome.unwrap_err().undelivered(), 1);
//! # });
//! # }
//! ```
//!
//! # After a fork
//!
//! The child of a `fork` has one thread, and none of the workers. Its copy of a queue accepts writes that no thread
//! will deliver, and `close().wait()` in it hangs. Fork before the first queue is made, or call
//! `exec` in the child.
