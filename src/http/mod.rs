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
//!     // what fails for a quarter of an hour then,
//!     .max_attempts(1_000)
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
//! A failure that `give_up_when` gives up says something of the event, and not of the endpoint, which answered: the
//! breaker neither counts it nor takes it for a success. A thousand malformed events hold up none of the good ones.
//!
//! The bound on attempts is there because not every refusal can be heard. An endpoint that finds an event too large
//! may hang up without an answer, or so hard that its answer is lost on the way. That looks as if the endpoint were
//! down, and is transient: without a bound such an event would be sent for ever, and nothing behind it. With the
//! bound, an outage that is longer than a quarter of an hour sends one event after the other into the dead letter.
//! Set it by how long your endpoint may be down.
//!
//! A request whose answer was lost is made again, so that an endpoint may get an event twice:
//! [`webhook_id`](HttpSinkBuilder::webhook_id) lets it tell. A single write may do so, too: see
//! [connections](#connections).
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
//! [`accept`](HttpSinkBuilder::accept) and [`accept_when`](HttpSinkBuilder::accept_when) say which statuses are the
//! delivery, if not 2xx. [`on_answer`](HttpSinkBuilder::on_answer) sees each answer with its event.
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
//! # Made for each event
//!
//! [`header_with`](HttpSinkBuilder::header_with), [`bearer_with`](HttpSinkBuilder::bearer_with) and
//! [`url_with`](HttpSinkBuilder::url_with) take a closure, which is called with the event at each attempt: for a URL
//! that is a template, and for a token that is renewed now and then.
//!
//! ```
//! use outflow::http::HttpSink;
//! use outflow::Sink;
//! # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
//! # let url = answering(&["200 OK"]);
//! # let template = url.clone();
//!
//! #[derive(serde::Serialize)]
//! struct Push {
//!     tenant: u32,
//! }
//!
//! let hooks = HttpSink::post(url)
//!     .url_with(move |push: &Push| format!("{template}tenants/{}", push.tenant))
//!     .header_with("x-tenant", |push| push.tenant.to_string())
//!     .build()?;
//! assert!(hooks.write(Push { tenant: 7 }).is_ok());
//! # Ok::<(), outflow::http::BuildError>(())
//! ```
//!
//! # Trusted authorities
//!
//! The authorities that Mozilla trusts; those of the operating system with
//! [`system_roots`](HttpSinkBuilder::system_roots); your own with
//! [`root_certificate`](HttpSinkBuilder::root_certificate), which then is the only one, or stands beside Mozilla's
//! with [`public_roots`](HttpSinkBuilder::public_roots).
//!
//! # Connections
//!
//! A connection is kept for the next request, for 15 seconds at most, and
//! [as many](HttpSinkBuilder::idle_connections) as were asked for. Before one is used again it is looked at, and one
//! that was closed is not used. What closes in that very moment, or was forgotten by something between, shows only
//! when the request is written. Then
//!
//! - if it breaks off before a byte of the answer came, the request is made once more, over a new connection and
//!   within the same time. The endpoint may have got the first one, and gets the event twice. That is chosen, as it
//!   is in curl: a delivery is made at least once anyway, mostly nothing had arrived, and otherwise a healthy
//!   endpoint would be counted as failing;
//! - if it stays silent until the time is over, that is a failure, and of those that were kept beside it none is
//!   used again: the next attempt makes a new one.
//!
//! # In a logger
//!
//! The client logs, and so does a retry. A logger that writes to this sink would be fed by its own lines without
//! end. [`is_delivering`](crate::is_delivering) tells it what to keep out, on the worker of a queue and in a write
//! of this sink alike:
//!
//! ```
//! use outflow::{Queue, Sink, is_delivering};
//!
//! struct Logger(Queue<String>);
//!
//! impl log::Log for Logger {
//!     fn enabled(&self, _: &log::Metadata<'_>) -> bool {
//!         true
//!     }
//!
//!     fn log(&self, record: &log::Record<'_>) {
//!         let line = record.args().to_string();
//!         if is_delivering() || self.0.write(line).is_err() {
//!             eprintln!("{}", record.args());
//!         }
//!     }
//!
//!     fn flush(&self) {}
//! }
//! # let delivered = outflow::sink::collector();
//! # let logger = Logger(outflow::SinkExt::queued(delivered.clone()));
//! # log::Log::log(&logger, &log::Record::builder().args(format_args!("a line")).build());
//! # logger.0.close().wait()?;
//! # assert_eq!(delivered.events(), ["a line"]);
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! # Secrets
//!
//! Header values, the bearer, the signing secrets, keys, user info, path and query of the URL, and what closures
//! make of any of them, are secret: no `Debug`, no error and none of an error's sources shows them. An endpoint is
//! called by its [name](HttpSinkBuilder::name), or by scheme, host and port. Nor does an error show what the
//! endpoint sent, which may be what it was sent.
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
//! No event is posted again because of how an answer is written. What counts is `HTTP/1.x` and a status: with a
//! space before a header's colon, a folded header, `http/1.1`, a bad `Content-Length`, or more of a head than is
//! read, an answer is what its status says. Only its connection is not used again then. Interim answers (1xx) are
//! passed over. An answer that has no status, or none within the first 16 KiB, interim answers included, cannot be
//! read, [`TransportFailure::Protocol`], and is transient; so is one whose head breaks off.
//!
//! An endpoint that answers before it has read the body is heard: when it hangs up, if the operating system keeps
//! what came before a connection broke off, as Linux does, and if it reads no further, when the time is over. One
//! that hangs up without an answer looks like a broken connection, which is transient:
//! [`max_attempts`](crate::retry::Retry::max_attempts) ends that.
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
