//! Webhooks: a sink that posts each event to an endpoint. Needs the `http` feature.
//!
//! # A sink
//!
//! A write to an [`HttpSink`] makes one request, with the event as JSON by default. If the endpoint answers with a status
//! of 2xx, the event is delivered. Everything else is an [`HttpError`], which hands the event back.
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
//! Some failures are transient: the endpoint is down, or overloaded. Others are permanent: the endpoint will never accept
//! this event, and the event must not block those behind it in a queue. [`is_transient`](HttpError::is_transient)
//! returns which it is. So this is the chain to build:
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
//!     // After five failures in a row, waits a second between requests,
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     // or as long as the endpoint asks, up to five minutes.
//!     .honor_retry_after()
//!     // Gives an event up at once at a permanent failure,
//!     .give_up_when(|failure| !failure.error.is_transient())
//!     // and after about a quarter of an hour of transient ones.
//!     .max_attempts(1_000)
//!     // Keeps events that were given up, with their errors.
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
//! A failure at which `give_up_when` gives up is due to the event and not to the endpoint, which answered. The breaker
//! counts it neither as a failure nor as a success, so that a thousand malformed events do not delay the good ones.
//!
//! `max_attempts` is there because not every refusal arrives. An endpoint that finds an event too large may close the
//! connection without an answer, or so that its answer is lost on the way. That looks as if the endpoint were down, and
//! is transient: without a limit the event would be sent forever, and none behind it. With the limit, an outage that
//! lasts longer than a quarter of an hour moves one event after the other into the dead letter. Choose it by how long
//! your endpoint may be down.
//!
//! If the answer to a request is lost, the request is made again, and the endpoint may get the event twice.
//! [`webhook_id`](HttpSinkBuilder::webhook_id) lets the endpoint recognize that. A single write may also make its
//! request twice: see [connections](#connections).
//!
//! | answer | outcome of the write |
//! | --- | --- |
//! | 2xx | delivered, as soon as the head of the answer is there: its body may stall or break off |
//! | 3xx | permanent; not followed, and the error names the host of the redirect |
//! | 408, 425, 429, 5xx | transient, with [`retry_after`](crate::retry::RetryAfter) if the answer has one |
//! | 410 | permanent, and [`is_gone`](HttpError::is_gone): the endpoint wants no more events |
//! | any other | permanent |
//! | none in time, none that can be read, or none at all | transient |
//!
//! [`accept`](HttpSinkBuilder::accept) and [`accept_when`](HttpSinkBuilder::accept_when) make other statuses than 2xx the
//! delivery. [`on_answer`](HttpSinkBuilder::on_answer) is called with each event and the status of its answer.
//!
//! A redirect is not followed because that loses events. Most clients follow a 302 with a GET in place of the POST,
//! and the status 200 of the page there would be taken for the delivery.
//!
//! # Asynchronous
//!
//! With the `http-async` feature the same builder makes an `AsyncHttpSink`
//! ([`build_async`](HttpSinkBuilder#method.build_async) in place of [`build`](HttpSinkBuilder::build)), which waits for
//! its answers without a thread: for thousands of endpoints, or where there is a tokio runtime anyway. All of this page
//! holds for it, too. Two thousand of them, each behind a queue, are posted to by the two threads of a runtime.
//!
//! # Many events, one request
//!
//! A sink of `Vec<E>` is filled by [`batched`](crate::SinkExt::batched). This posts what Docker Registry does:
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
//! An endpoint that refuses a batch refuses all of its events, though one of them is bad, or the whole is too large.
//! [`split_on`](crate::SinkExt::split_on) writes such a batch in halves, until the bad one is alone: of 500 events one is
//! refused, after 19 requests.
//!
//! ```
//! use std::time::Duration;
//! use outflow::http::HttpSink;
//! use outflow::queue::Batch;
//! use outflow::retry::Breaker;
//! use outflow::{Sink, SinkExt, sink};
//! # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
//! # let url = answering(&["422 Unprocessable Content", "200 OK", "422 Unprocessable Content"]);
//!
//! let dead = sink::collector();
//! let hooks = HttpSink::post(url)
//!     .build()?
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     .give_up_when(|failure| !failure.error.is_transient())
//!     .split_on(|error| matches!(error.status(), Some(400 | 413 | 422)))
//!     .dead_letter(dead.clone())
//!     .batched(Batch::of(2).within(Duration::from_secs(60)));
//!
//! hooks.write_all(["push library/alpine", "malformed"]).unwrap();
//! hooks.close().wait()?;
//! assert_eq!(dead.events()[0].event, ["malformed"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Signatures
//!
//! [`sign_with`](HttpSinkBuilder::sign_with) signs requests as the Standard Webhooks specification defines, so that an
//! endpoint can check the sender and the time of a request, and that it is no replay. The id and the body are the same
//! on every attempt for an event; each attempt has its own timestamp and signature.
//!
//! # URLs, headers and tokens made for each event
//!
//! [`url_with`](HttpSinkBuilder::url_with), [`header_with`](HttpSinkBuilder::header_with) and
//! [`bearer_with`](HttpSinkBuilder::bearer_with) take a closure, which is called with the event at each attempt: for a URL
//! that depends on the event, say, or for a token that is renewed from time to time.
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
//! By default a sink trusts the certificate authorities that Mozilla trusts. Once you name others, it trusts only these:
//! those of the operating system with [`system_roots`](HttpSinkBuilder::system_roots), and your own with
//! [`root_certificate`](HttpSinkBuilder::root_certificate). [`public_roots`](HttpSinkBuilder::public_roots) adds Mozilla's
//! to them.
//!
//! # Connections
//!
//! After a request its connection is kept for the next one, for at most 15 seconds. How many are kept,
//! [`idle_connections`](HttpSinkBuilder::idle_connections) says. A connection that the endpoint has closed is not used
//! again. If it closes just then, or if a firewall has dropped it without notice, that shows only when the next request
//! is written:
//!
//! - If the connection breaks before any byte of the answer came, the request is made once more, over a new connection
//!   and within the same timeout. The endpoint may have got the first request, and then gets the event twice. curl
//!   does the same. Delivery is at least once in any case, mostly nothing had arrived, and otherwise a healthy endpoint
//!   would be counted as failing.
//! - If nothing comes until the timeout, the write fails. The other kept connections are not used again either, so that
//!   the next attempt makes a new one.
//!
//! # In a logger
//!
//! The HTTP client logs, and so does a retry. A logger that writes its lines to this sink would thus cause new lines
//! without end. [`is_delivering`](crate::is_delivering) returns `true` in a write of this sink and on the worker of a
//! queue, so that the logger can leave out what it causes itself:
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
//! Header values, the bearer token, signing secrets, keys, and the user info, path and query of the URL are secret, also
//! where a closure makes them: no `Debug` output, no error and no source of an error shows them. An endpoint is shown by
//! its [name](HttpSinkBuilder::name), or by scheme, host and port. Nor does an error show what the endpoint sent, since
//! an endpoint may send back what it got.
//!
//! The blocking client, ureq, logs through the `log` facade. At level `debug` it shows the host and some headers of the
//! answer. At level `trace` it shows paths and every byte of a head, secrets included: keep the targets `ureq`
//! and `ureq_proto` at `debug` or above.
//!
//! # Odd endpoints
//!
//! At most 64 KiB of an answer are read: 16 KiB of head, 24 KiB of body, and what is left in a buffer. The
//! [timeout](HttpSinkBuilder::timeout) bounds all of it, however slowly it arrives. The body is read for at most a
//! second of that time, and only so that the connection can be used again. No redirect is followed, no cookie is kept,
//! and no proxy is used unless you [ask for it](HttpSinkBuilder::proxy_from_env).
//!
//! Errors in the form of an answer do not make a delivered event fail. All that counts is `HTTP/1.x` and a status: with a
//! space before a header's colon, a folded header, `http/1.1`, a bad `Content-Length`, or a head longer than what is
//! read, the status still decides. Only the connection is not used again then. Interim answers (1xx) are
//! skipped. An answer without a status in its first 16 KiB, interim answers included, cannot be read: it is a
//! [`TransportFailure::Protocol`], and transient. So is an answer whose head breaks off.
//!
//! An endpoint may answer before it has read the whole body. If it then closes the connection, its answer is read where
//! the operating system keeps what had arrived, as Linux does. If it stops reading instead, its answer is read when the
//! timeout is over. If it closes the connection without an answer, that looks like a broken connection and is
//! transient; [`max_attempts`](crate::retry::Retry::max_attempts) limits the attempts.
//!
//! A sink does not check whether a URL leads into the internal network. If you post to URLs that strangers provide, check
//! them yourself, or use a proxy that does.

mod answer;
mod build_error;
mod builder;
mod client;
#[cfg(feature = "http-async")]
mod client_async;
mod client_options;
mod connect;
#[cfg(feature = "http-async")]
mod connect_async;
#[cfg(feature = "http-async")]
mod defaults;
mod encode;
mod endpoint;
mod error;
mod failure;
mod fault;
mod head;
mod headers;
mod per_event;
#[cfg(feature = "http-async")]
mod pool;
mod proxy;
mod redirect;
mod request;
mod resolve;
mod retry_after;
mod sign;
mod sink;
#[cfg(feature = "http-async")]
mod sink_async;
#[cfg(feature = "http-async")]
mod socket;
mod tls;
#[cfg(feature = "http-async")]
mod tls_async;
mod trust;
mod wall_clock;
#[cfg(feature = "http-async")]
mod wire;

pub use self::build_error::BuildError;
pub use self::builder::HttpSinkBuilder;
pub use self::encode::{Encode, EncodeWith, Json};
pub use self::error::{HttpError, TransportFailure};
pub use self::sink::HttpSink;
#[cfg(feature = "http-async")]
pub use self::sink_async::AsyncHttpSink;
