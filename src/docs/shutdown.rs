//! How to stop: begin everywhere, wait where you like, and learn what was not delivered.
//!
//! [`close`](crate::Sink::close) begins and returns at once, so it can be called from anywhere: a
//! destructor, a sink in the middle of a write, a signal handler's thread. What it returns is the wait.
//!
//! | | |
//! | --- | --- |
//! | [`wait()`](crate::Closing::wait) | until everything is delivered, for as long as that takes |
//! | [`within(timeout)`](crate::Closing::within) | the same, and when the time is up, an abort |
//! | [`abort()`](crate::Closing::abort) | ends the drain now: about 100 ms, and what the spills take |
//! | [`is_done()`](crate::Closing::is_done) | does not wait |
//! | `.await`, with the feature `futures` | as `wait()`, of a task; put a timeout around it and `abort()` after |
//! | dropped | the drain goes on by itself; events die with the process |
//!
//! The last handle of a queue, a broadcaster or a log that is dropped begins a close too, and waits for nothing.
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
//! let id = broadcaster.add(dead.retry(Breaker::new(5, Duration::from_secs(60))).queued())?;
//! broadcaster.write(1).unwrap();
//!
//! // The healthy sink is drained, the dead one is given up after the grace period.
//! if let Err(error) = broadcaster.close().within(Duration::from_millis(50)) {
//!     assert_eq!(error.undelivered(), 1);
//!     for (sink, error) in error.sinks() {
//!         assert_eq!(sink, id);
//!         eprintln!("{sink} did not get {} events", error.undelivered());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In `main`
//!
//! [`close_on_drop`](crate::SinkExt::close_on_drop) makes a guard that closes when it goes out of scope, in an
//! early return or a panic too, and waits as long as it was told. Who is told what was left over is said there:
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
//! # What the close of each waits for
//!
//! | | |
//! | --- | --- |
//! | a [`Queue`](crate::Queue) | its worker to have written everything, then its sink's close and its spill's |
//! | a [channel](crate::channel) | its writers; what it holds is still to be read |
//! | a [`Broadcaster`](crate::Broadcaster) | the writes under way, then the close of every sink, those that had ended included |
//! | a [`Log`](crate::Log) | every follower to have written what is in the log, then its sink's close; no cursor |
//!
//! # Keeping what is left
//!
//! A [`spill`](crate::Buffer::spill) gets what a queue gives up, one event at a time, on the thread that
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
//! let _ = queue.close().within(Duration::from_millis(10));
//! assert_eq!(undelivered.len(), 3);
//! ```
//!
//! # Waiting from within
//!
//! A thread that is inside what it would wait for (a queue's worker, a broadcaster's write, a spill) is told
//! [`WouldDeadlock`](crate::CloseError::WouldDeadlock) at once; nothing is aborted, and others still get the
//! outcome. Waiting there for a sink further *up* can still hang when a bounded buffer lies between: the
//! drain above is blocked on this very thread and has not come far enough to be seen. `within` ends that.
//!
//! # A write that never comes back
//!
//! Nothing can end a user's write that does not return. An abort gives it 100 ms, then tells it as in
//! flight and goes on; its thread stays. Give your sink a timeout of its own.
