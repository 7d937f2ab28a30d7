use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use tokio::runtime::Handle;

use super::client_async::Client;
use super::defaults::Defaults;
use super::encode::Encode;
use super::error::HttpError;
use super::request::Requests;
use super::{BuildError, HttpSinkBuilder};
use crate::contract::{AsyncSink, ClosedFlag, WriteError};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::scope::Scope;

/// Posts each event to one endpoint, and waits for the answer without a thread. Made by
/// [`build_async`](HttpSinkBuilder::build_async). Needs the `http-async` feature.
///
/// It is [`HttpSink`](super::HttpSink) for a program with many endpoints, or with a runtime: what counts as delivered,
/// errors, signatures, timeouts, connections and odd endpoints are [the same](super), and so is the builder.
///
/// # The runtime
///
/// A sink belongs to the tokio runtime that it was built on, which needs its I/O enabled and has to run. Its
/// writes may be polled by any executor, a [pool](crate::Workers) of this crate included; the worker of a queue does best
/// on the same runtime (`QueueOptions::on`).
///
/// A write makes one request. It polls its connection itself: no task is spawned, and when the future of a write is
/// dropped, its event and its connection are dropped with it. The endpoint may have got the event or not. When the
/// runtime is shut down, a write that is polled elsewhere fails and hands its event back. One that is polled there is
/// dropped with its task, which the [close of the
/// queue](crate::docs::async_sinks#an-abort-and-a-runtime-that-is-shut-down) reports.
///
/// A host name is looked up on a thread for blocking calls of the runtime, of which there may be 512: where many
/// endpoints have names, set [`max_blocking_threads`](tokio::runtime::Builder::max_blocking_threads). A look-up that
/// takes longer than the timeout keeps its thread until it ends. An IP address needs no thread.
///
/// `close` makes later writes fail and returns at once. A request under way continues, bounded by its timeout.
///
/// # Errors
///
/// A write fails with an [`HttpError`].
///
/// # Panics
///
/// A panic of the encoder, or of another closure that the sink was given, is a panic in a poll of the write. So it is
/// if the runtime has no I/O, or cannot start a thread to look up a name.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::http::HttpSink;
/// use outflow::queue::QueueOptions;
/// use outflow::retry::Breaker;
/// use outflow::{AsyncSinkExt, Sink, sink};
/// use tokio::runtime::Handle;
/// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
/// # let url = answering(&["503 Service Unavailable", "200 OK", "422 Unprocessable Content"]);
///
/// # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
/// # let _entered = runtime.enter();
/// let dead = sink::collector();
/// let hooks = HttpSink::post(url)
///     .build_async()?
///     .retry(Breaker::new(5, Duration::from_secs(1)))
///     .honor_retry_after()
///     .give_up_when(|failure| !failure.error.is_transient())
///     .max_attempts(1_000)
///     .dead_letter(dead.clone())
///     .queued_with(QueueOptions::default().on(Handle::current()));
///
/// hooks.write("push library/alpine").unwrap(); // 503, then 200
/// hooks.write("malformed").unwrap(); // 422
/// hooks.close().wait()?; // In an `async` function: `hooks.close().await?`
/// assert_eq!(dead.events()[0].event, "malformed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "sinks do nothing unless written to"]
pub struct AsyncHttpSink<E> {
    client: Client,
    requests: Requests<E>,
    defaults: Defaults,
    /// The one that the connections belong to.
    runtime: Handle,
    /// Entered for each poll, so that [`is_delivering`](crate::is_delivering) is true in it.
    scope: Scope,
    closed: ClosedFlag,
}

impl<E, C> HttpSinkBuilder<E, C> {
    /// Builds an asynchronous sink, which belongs to the tokio runtime that is entered. Needs the `http-async` feature.
    /// No connection is made before the first event.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] for the first thing that is wrong, as [`build`](HttpSinkBuilder::build) does;
    /// [`BuildError::NoRuntime`] outside of a runtime.
    pub fn build_async(self) -> Result<AsyncHttpSink<E>, BuildError>
    where
        C: Encode<E> + Send + Sync + 'static,
    {
        let (mut requests, client) = self.check()?;
        let client = Client::new(&client, requests.endpoint.is_encrypted())?;
        let defaults = Defaults::add_to(&mut requests);
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        Ok(AsyncHttpSink {
            client,
            requests,
            defaults,
            runtime,
            scope: Scope::new(),
            closed: ClosedFlag::default(),
        })
    }
}

impl<E> AsyncHttpSink<E> {
    /// The endpoint's name as errors show it: the [name](HttpSinkBuilder::name) that was set, else scheme, host and
    /// port.
    pub fn endpoint(&self) -> &str {
        &self.requests.endpoint.name
    }

    async fn request(&self, event: E) -> Result<(), WriteError<E, HttpError>> {
        let mut request = match self.requests.make(&event) {
            Ok(request) => request,
            Err(error) => return Err(WriteError::failed(event, error)),
        };
        self.defaults.set(&mut request.headers, request.endpoint.as_ref(), request.body.len());
        let endpoint = request.endpoint.as_ref().unwrap_or(&self.requests.endpoint);
        let answer = self.client.send(endpoint, request.headers, request.body).await;
        match answer.and_then(|answer| self.requests.judge(&event, endpoint, answer)) {
            Ok(()) => Ok(()),
            Err(error) => Err(WriteError::failed(event, error)),
        }
    }
}

impl<E> AsyncSink<E> for AsyncHttpSink<E>
where
    E: Send,
{
    type Error = HttpError;

    async fn write(&self, event: E) -> Result<(), WriteError<E, HttpError>> {
        if self.closed.is_set() {
            return Err(WriteError::Closed(event));
        }
        let mut request = pin!(self.request(event));
        poll_fn(|context| {
            let _runtime = self.runtime.enter();
            let _inside = self.scope.enter();
            request.as_mut().poll(context)
        })
        .await
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.set();
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.closed.is_set()
    }
}

impl<E> fmt::Debug for AsyncHttpSink<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncHttpSink")
            .field("endpoint", &self.requests.endpoint)
            .field("signed", &self.requests.signer.is_some())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
