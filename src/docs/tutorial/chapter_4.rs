//! Chapter 4: many of them, and stopping.
//!
//! A [`Broadcaster`](crate::Broadcaster) is a sink that writes every event to each of its sinks. They must be reliable,
//! and should be queued, so that none holds up the others. A [`Subscription`](crate::Subscription) is for a reader in
//! the same program.
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Broadcaster, Buffer, Sink, SinkExt, retry::Breaker, sink};
//!
//! let broadcaster = Broadcaster::new();
//! for name in ["mirror", "audit"] {
//!     let webhook = sink::from_fn(move |event: &&str| Ok::<(), std::io::Error>(println!("{name}: {event}")))
//!         .retry(Breaker::new(5, Duration::from_secs(1)))
//!         .queued_with(Buffer::bounded(1000));
//!     broadcaster.add_named(name, webhook)?;
//! }
//! let watcher = broadcaster.subscribe(Buffer::bounded(100).drop_oldest());
//!
//! broadcaster.write("push alpine").unwrap();
//! broadcaster.close().within(Duration::from_secs(5))?;
//! assert_eq!(watcher.into_iter().collect::<Vec<_>>(), ["push alpine"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sinks can be [added](crate::Broadcaster::add) and [removed](crate::Broadcaster::remove) at any time. One that closes
//! by itself is removed, and the others miss nothing for it. If many readers follow the same events, look at a
//! [`Log`](crate::Log): [`docs::fan_out`](crate::docs::fan_out) says when.
//!
//! # Stopping
//!
//! [`close`](crate::Sink::close) begins the end of a whole chain, down to the last sink, and returns at once. What it
//! returns waits: [`wait`](crate::Closing::wait) until everything is delivered,
//! [`within`](crate::Closing::within) at most so long. When the time is up, what is left goes into the spills or is
//! counted, and the error says how many events of which sink were not delivered:
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Broadcaster, Sink, SinkExt, retry::Breaker, sink};
//!
//! let dead = sink::from_fn(|_: &&str| Err("no route to host"));
//! let broadcaster = Broadcaster::new();
//! broadcaster.add_named("mirror", dead.retry(Breaker::new(5, Duration::from_secs(60))).queued())?;
//! broadcaster.write("push alpine").unwrap();
//!
//! let error = broadcaster.close().within(Duration::from_millis(50)).unwrap_err();
//! assert_eq!(error.undelivered(), 1);
//! assert!(error.to_string().starts_with("mirror: "));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that ends without a close loses what its queues hold. In `main`,
//! [`close_on_drop`](crate::SinkExt::close_on_drop) sees to that. More is in [`docs::shutdown`](crate::docs::shutdown);
//! what is promised is in [`docs::guarantees`](crate::docs::guarantees).
