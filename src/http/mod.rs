//! Webhooks: a sink that posts each event to an endpoint. Needs the `http` feature.
//!
//! # A sink
//!
//! An [`HttpSink`] writes an event as one request, JSON by default, and an answer of 2xx is the delivery.
//! Everything else is an [`HttpError`], with the event handed back.
//!
//! ```
//! use outflow::http::HttpSink;
//! use outflow::Sink;
//! # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
//! # let url = answering(&["200 OK", "503 Service Unavailable"]);
//!
//! let hooks = HttpSink::post(url).bearer("s3cr3t").build()?;
//! assert!(hooks.write("push library/alpine").is_ok());
//!
//! let refused = hooks.write("push library/redis").unwrap_err();
//! assert_eq!(refused.error().unwrap().status(), Some(503));
//! assert_eq!(refused.into_event(), "push library/redis");
//! # Ok::<(), outflow::http::BuildError>(())
//! ```
//!
//! # What to do when it fails
//!
//! Some failures pass: the endpoint is down, or overloaded. Others do not: it does not want this event, ever,
//! and one such event must not block the queue behind it. [`is_transient`](HttpError::is_transient) tells
//! them apart. So this is the chain to build:
//!
//! ```
//! use std::time::Duration;
//! use outflow::http::HttpSink;
//! use outflow::retry::Breaker;
//! use outflow::{Buffer, DeadLetter, Sink, SinkExt, sink};
//! # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
//! # let url = answering(&["503 Service Unavailable", "200 OK", "422 Unprocessable Content", "200 OK"]);
//!
//! let dead = sink::collector();
//! let hooks = HttpSink::post(url)
//!     .build()?
//!     // Five failures in a row, and the endpoint is left alone for a second,
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     // or for as long as it asks itself, up to five minutes.
//!     .honor_retry_after()
//!     // What will fail again is given up at once,
//!     .give_up_when(|failure| !failure.error.is_transient())
//!     // and is kept elsewhere, with the reason.
//!     .dead_letter(dead.clone())
//!     .queued_with(Buffer::bounded(10_000));
//!
//! hooks.write("push library/alpine").unwrap(); // 503, then 200
//! hooks.write("malformed").unwrap(); // 422
//! hooks.write("push library/redis").unwrap(); // 200
//! hooks.close().wait()?;
//!
//! let dead: Vec<DeadLetter<_, _>> = dead.take();
//! assert_eq!(dead.len(), 1);
//! assert_eq!((dead[0].event, dead[0].error.status()), ("malformed", Some(422)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A request whose answer was lost is made again, so that an endpoint may get an event twice:
//! [`webhook_id`](HttpSinkBuilder::webhook_id) lets it tell.
//!
//! | answer | |
//! | --- | --- |
//! | 2xx | delivered, as soon as the head is there: what follows may stall or break off |
//! | 3xx | permanent, and not followed; the error names the host that it points to |
//! | 408, 425, 429, 5xx | transient, with [`retry_after`](crate::retry::RetryAfter) if the answer has one |
//! | 410 | permanent, and [`is_gone`](HttpError::is_gone): the endpoint wants nothing any more |
//! | any other | permanent |
//! | none in time, none that can be read, or none at all | transient |
//!
//! A redirect is not followed, since a client that makes a GET of a POST answered 302, as most do, and takes
//! that page's 200 for the delivery, loses the event.
//!
//! # Many events, one request
//!
//! A sink of `Vec<E>` goes behind [`batched`](crate::SinkExt::batched). This is what Docker Registry posts:
//!
//! ```
//! use std::time::Duration;
//! use outflow::http::HttpSink;
//! use outflow::queue::Batch;
//! use outflow::retry::Breaker;
//! use outflow::{Sink, SinkExt};
//! use serde::Serialize;
//! # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
//! # let url = answering(&["200 OK"]);
//!
//! #[derive(Serialize)]
//! struct Event {
//!     id: String,
//!     action: &'static str,
//! }
//!
//! #[derive(Serialize)]
//! struct Envelope<'a> {
//!     events: &'a [Event],
//! }
//!
//! let hooks = HttpSink::post(url)
//!     .content_type("application/vnd.docker.distribution.events.v1+json")
//!     .encode(|events: &Vec<Event>| serde_json::to_vec(&Envelope { events }))
//!     .build()?
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     .batched(Batch::of(100).within(Duration::from_millis(50)));
//!
//! for action in ["push", "pull"] {
//!     hooks.write(Event { id: format!("{action}-1"), action }).map_err(drop).unwrap();
//! }
//! hooks.close().wait()?;
//! assert_eq!(hooks.stats().delivered, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Signed
//!
//! [`sign_with`](HttpSinkBuilder::sign_with) signs as the Standard Webhooks specification says, so that an
//! endpoint knows who sent it, when, and that it has not been sent before. The id is the event's and the body
//! is the encoder's, both the same on every attempt; the timestamp and the signature are those of the
//! attempt.
//!
//! # Secrets
//!
//! Header values, the bearer, the signing secrets, keys, and user info, path and query of the URL are secret:
//! no `Debug`, no error and none of an error's sources shows them. An endpoint is called by its
//! [name](HttpSinkBuilder::name), or by scheme, host and port. Nor does an error show what the endpoint sent,
//! which may be what it was sent.
//!
//! The client, ureq, writes to the `log` facade. At `debug` it shows the host, and some headers of the
//! answer. At `trace` it shows paths and every byte of a head, secrets among them: keep the targets `ureq`
//! and `ureq_proto` above that.
//!
//! # Odd endpoints
//!
//! Of an answer at most 64 KiB are read: 16 KiB of head, 24 KiB of body, and what a buffer took beyond. The
//! [timeout](HttpSinkBuilder::timeout) holds over all of it, however slowly it drips in; the body gets a
//! second of it, since it is read only to use the connection again. No redirect is followed, no cookie kept,
//! no proxy used that was not [asked for](HttpSinkBuilder::proxy_from_env).
//!
//! Interim answers (1xx) are passed over, with two exceptions: a `100 Continue` that has headers, which nobody
//! asks for here, since no `Expect` is sent; and one with which more than 16 KiB came at once, in which a flood
//! of them ends. Either makes the answer one that cannot be read,
//! [`TransportFailure::Protocol`], and so does a head that has more than 128 headers, however short it is. That
//! is transient, also where the status, which nobody gets to see, is 2xx: the endpoint has the event, and gets
//! it again with every attempt. Where endpoints are like that,
//! [`max_attempts`](crate::retry::Retry::max_attempts) ends it.
//!
//! An endpoint that refuses a body before it has read it, and hangs up at once, looks like a broken
//! connection, which is transient. Where events may be too large for an endpoint, `max_attempts` ends that as
//! well.
//!
//! It does not keep a URL from naming a host of the inner network. Who posts to URLs that strangers gave
//! checks them, or goes through a proxy that does.

mod answer;
mod build_error;
mod builder;
mod client;
mod connect;
mod encode;
mod endpoint;
mod error;
mod failure;
mod head;
mod headers;
mod per_event;
mod proxy;
mod redirect;
mod request;
mod resolve;
mod retry_after;
mod sign;
mod sink;
mod tls;
mod wall_clock;

pub use self::build_error::BuildError;
pub use self::builder::HttpSinkBuilder;
pub use self::encode::{Encode, EncodeWith, Json};
pub use self::error::{HttpError, TransportFailure};
pub use self::sink::HttpSink;
