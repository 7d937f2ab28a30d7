//! Chapter 1: a sink.
//!
//! A [`Sink<E>`](crate::Sink) accepts events of type `E`. `E` is yours: a struct, a `String`, an `Arc` of something
//! large. A closure makes a sink:
//!
//! ```
//! use outflow::{Sink, sink};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Event {
//!     action: &'static str,
//!     repository: String,
//! }
//!
//! fn post(event: &Event) -> Result<(), String> {
//!     match event.repository.as_str() {
//!         "" => Err("400 Bad Request".to_string()),
//!         _ => Ok(()), // Here it would be posted to the webhook.
//!     }
//! }
//!
//! let webhook = sink::from_fn(post);
//! webhook.write(Event { action: "push", repository: "alpine".to_string() }).unwrap();
//!
//! // A write that fails hands back the event that it was given, with the reason.
//! let event = Event { action: "push", repository: String::new() };
//! let refused = webhook.write(event.clone()).unwrap_err();
//! assert_eq!(refused.error(), Some(&"400 Bad Request".to_string()));
//! assert_eq!(refused.into_event(), event);
//! ```
//!
//! A write takes the event and gives it back if it does not succeed, so that a caller never needs a copy to try again.
//! It runs on the caller's thread and takes as long as the closure does.
//!
//! [`sink::from_fn`](crate::sink::from_fn) is for a closure that can fail and
//! [`sink::for_each`](crate::sink::for_each) for one that cannot. [`sink::collector`](crate::sink::collector) keeps the
//! events, for tests. A type of your own implements [`Sink`](crate::Sink), which has an example.
//!
//! # Other events
//!
//! Combinators wrap a sink and are sinks themselves. They are chained as those of iterators are, with one difference:
//! events go through a chain from its end to its beginning, because each call wraps what stands before it.
//!
//! ```
//! use outflow::{Sink, SinkExt, sink};
//!
//! let posted = sink::collector();
//! let pushes = posted
//!     .clone()
//!     .map(|event: &&str| event.to_uppercase()) // second
//!     .filter(|event: &&str| event.starts_with("push")); // first
//!
//! pushes.write("push alpine").unwrap();
//! pushes.write("pull alpine").unwrap();
//! assert_eq!(posted.events(), ["PUSH ALPINE"]);
//! ```
//!
//! Next: [when it fails](super::chapter_2).
