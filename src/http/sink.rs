use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::Client;
use super::error::HttpError;
use super::request::Requests;
use crate::contract::{Sink, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::scope::Scope;

/// Posts each event to one endpoint. Made by [`post`](HttpSink::post). The [module page](super) says what counts as
/// delivered, and what to do when a write fails. Its asynchronous twin is `AsyncHttpSink` (feature `http-async`).
///
/// A write makes one request on the writer's thread and waits for the answer, at most for the
/// [timeout](super::HttpSinkBuilder::timeout), which includes name resolution and handshake. Several writers make
/// requests concurrently, each over a connection of its own, which is kept for the next request. The event is encoded by
/// reference and never cloned; the encoded bytes are held until the answer is there.
///
/// A host name is looked up on a new thread, which runs on by itself if that takes longer than the timeout. If no thread
/// can be started, the write fails, transiently. An IP address needs no thread.
///
/// `close` makes later writes fail and returns at once. A request under way continues, bounded by its timeout: the
/// endpoint may have the event already, and would get it again. An abort of a queue above does not end it either, and
/// counts its event as in flight.
///
/// # Errors
///
/// A write fails with an [`HttpError`].
///
/// # Panics
///
/// A panic of the encoder, or of another closure that the sink was given, unwinds to the writer.
///
/// # Examples
///
/// ```
/// use outflow::http::HttpSink;
/// use outflow::{Sink, sink};
/// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
/// # let url = answering(&["204 No Content", "400 Bad Request"]);
///
/// #[derive(serde::Serialize)]
/// struct Push {
///     repository: &'static str,
/// }
///
/// let sink = HttpSink::post(url).build()?;
/// assert!(sink.write(Push { repository: "library/alpine" }).is_ok());
///
/// let refused = sink.write(Push { repository: "" }).unwrap_err();
/// assert_eq!(refused.error().unwrap().status(), Some(400));
/// assert!(!refused.error().unwrap().is_transient());
/// # Ok::<(), outflow::http::BuildError>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct HttpSink<E> {
    client: Client,
    requests: Requests<E>,
    /// Entered for each write, so that [`is_delivering`](crate::is_delivering) is true in it.
    scope: Scope,
    closed: AtomicBool,
}

impl<E> HttpSink<E> {
    pub(super) fn new(client: Client, requests: Requests<E>) -> Self {
        Self { client, requests, scope: Scope::new(), closed: AtomicBool::new(false) }
    }

    /// The endpoint's name as errors show it: the [name](super::HttpSinkBuilder::name) that was set, else scheme, host
    /// and port.
    pub fn endpoint(&self) -> &str {
        &self.requests.endpoint.name
    }

    fn deliver(&self, event: &E) -> Result<(), WriteError<(), HttpError>> {
        // Acquire: pairs with the release in `close`.
        if self.closed.load(Ordering::Acquire) {
            return Err(WriteError::Closed(()));
        }
        self.request(event).map_err(|error| WriteError::failed((), error))
    }

    fn request(&self, event: &E) -> Result<(), HttpError> {
        let _inside = self.scope.enter();
        let request = self.requests.make(event)?;
        let endpoint = request.endpoint.as_ref().unwrap_or(&self.requests.endpoint);
        let answer = self.client.send(endpoint, request.headers, &request.body)?;
        self.requests.judge(event, endpoint, answer)
    }
}

impl<E> Sink<E> for HttpSink<E> {
    type Error = HttpError;

    fn write(&self, event: E) -> Result<(), WriteError<E, HttpError>> {
        match self.deliver(&event) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.map_event(|()| event)),
        }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), HttpError>> {
        self.deliver(event)
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::Release);
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl<E> fmt::Debug for HttpSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink")
            .field("endpoint", &self.requests.endpoint)
            .field("signed", &self.requests.signer.is_some())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
