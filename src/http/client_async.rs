//! The asynchronous client: hyper's connections, kept for later requests.
//!
//! A connection is polled by the write that uses it, and by no task of its own. When a write is dropped, its connection
//! goes with it; an idle one is looked at when it is about to be used again.
//!
//! The timers are this crate's: one of tokio's panics when its runtime is shut down.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use parking_lot::Mutex;
use tokio::task::yield_now;

use super::answer::Answer;
use super::client_options::{ClientOptions, DRAIN, LONGEST_BODY};
use super::connect_async::Connector;
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::head::Head;
use super::pool::Pool;
use super::socket::Stream;
use super::wire::{Exchange, READ, Whole, Wire};
use super::{BuildError, HttpError, TransportFailure};
use crate::sync::timer::timeout_at;

/// A connection that was used so recently is not looked at anew before it is used again.
const LOOKED_AT: Duration = Duration::from_millis(1);

/// Makes requests. Its errors contain no secret.
pub(super) struct Client {
    connector: Connector,
    pool: Pool<Box<Link>>,
    method: Method,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(options: &ClientOptions, encrypted: bool) -> Result<Self, BuildError> {
        Ok(Self {
            connector: Connector::new(options, encrypted)?,
            pool: Pool::new(options.idle_connections),
            method: options.method.clone(),
            timeout: options.timeout,
        })
    }

    /// Makes one request, and returns the answer. A connection that breaks when it is used again is treated as the
    /// blocking client does.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, HttpError> {
        let deadline = Instant::now() + self.timeout;
        let body = Bytes::from(body);
        self.send_before(endpoint, headers, body, deadline)
            .await
            .map_err(|fault| fault.into_error(endpoint, self.timeout))
    }

    async fn send_before(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        let (kept, mut generation) = self.open_link(&endpoint.url).await;
        if let Some(link) = kept {
            match self.over(link, generation, endpoint, headers.clone(), body.clone(), deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.came => return Err(failure.fault),
                Err(failure) => {
                    // The other kept connections are likely to be broken, too.
                    generation = self.pool.forget(generation);
                    if !failure.broken {
                        return Err(failure.fault);
                    }
                }
            }
        }
        let link = Link::new(self.connector.connect(&endpoint.url, deadline).await?).await?;
        self.over(link, generation, endpoint, headers, body, deadline).await.map_err(|failure| failure.fault)
    }

    /// A kept connection that is open, and the generation of one that is made now.
    async fn open_link(&self, url: &Uri) -> (Option<Box<Link>>, u64) {
        loop {
            let (kept, generation) = self.pool.take(url);
            let Some((mut link, since)) = kept else { return (None, generation) };
            // The runtime knows nothing of what came to its sockets while it did something else. So that it looks:
            if since.elapsed() >= LOOKED_AT {
                yield_now().await;
            }
            if link.is_open() {
                return (Some(link), generation);
            }
        }
    }

    /// Makes a request over this connection, and keeps it if it can be used again.
    async fn over(
        &self,
        mut link: Box<Link>,
        generation: u64,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let request = self.request(endpoint, headers, Whole::begin(body, &link.exchange));
        let (head, body) = link.exchange(request, deadline).await?;
        if let Some(body) = body {
            if link.drain(body, deadline).await && link.is_idle() {
                self.pool.put(&endpoint.url, generation, link);
            }
        }
        Ok(Answer::of_head(endpoint, head))
    }

    fn request(&self, endpoint: &Endpoint, headers: HeaderMap, body: Whole) -> Request<Whole> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        let target = endpoint.url.path_and_query().cloned();
        *request.uri_mut() = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
        *request.headers_mut() = headers;
        request
    }
}

/// Why no answer came over a connection.
struct Failure {
    fault: Fault,
    /// Whether a part of an answer came.
    came: bool,
    /// Whether the connection is broken.
    broken: bool,
}

/// A connection to an endpoint.
struct Link {
    sender: SendRequest<Whole>,
    /// `None` when it has ended.
    connection: Option<Connection<Wire, Whole>>,
    exchange: Arc<Mutex<Exchange>>,
}

impl Link {
    async fn new(stream: Stream) -> Result<Box<Self>, Fault> {
        let exchange = Arc::<Mutex<Exchange>>::default();
        let wire = Wire::new(stream, Arc::clone(&exchange));
        let (sender, connection) = Builder::new()
            // A longer head ends its connection, but is known from the exchange.
            .read_buf_exact_size(Some(READ))
            .handshake(wire)
            .await
            .map_err(|_| Fault::transport(TransportFailure::Other, ""))?;
        Ok(Box::new(Self { sender, connection: Some(connection), exchange }))
    }

    /// Sends a request, and returns the head of its answer. Without a body the connection is of no more use.
    async fn exchange(
        &mut self,
        request: Request<Whole>,
        deadline: Instant,
    ) -> Result<(Head, Option<Incoming>), Failure> {
        let mut response = pin!(self.sender.send_request(request));
        let connection = &mut self.connection;
        let answered = poll_fn(|context| {
            drive(connection, context);
            // The answer comes from the connection. A waker of this task would only have it polled once more.
            response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        let answered = timeout_at(deadline, answered).await;

        let mut exchange = self.exchange.lock();
        if let Some(head) = exchange.head.take() {
            return Ok((head, answered.and_then(Result::ok).map(Response::into_body)));
        }
        let (fault, broken) = match (answered, exchange.failure.take()) {
            (None, _) => (Fault::Timeout, false),
            (Some(_), Some(failure)) => failure,
            // It had ended before anything was read or written.
            (Some(_), None) => (Fault::transport(TransportFailure::Connection, ""), true),
        };
        Err(Failure { fault, came: exchange.came, broken })
    }

    /// Reads the body of an answer. Returns whether that ended.
    ///
    /// The body changes nothing: with a head of 2xx the endpoint has the event, even if it stalls afterwards.
    async fn drain(&mut self, mut body: Incoming, deadline: Instant) -> bool {
        if body.is_end_stream() {
            return true;
        }
        let mut length = 0;
        let ended = poll_fn(|context| {
            loop {
                let mut frame = Pin::new(&mut body).poll_frame(context);
                if frame.is_pending() {
                    // Now that hyper knows that the body is wanted.
                    drive(&mut self.connection, context);
                    frame = Pin::new(&mut body).poll_frame(context);
                }
                match ready!(frame) {
                    Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
                    end => return Poll::Ready(end.is_none()),
                }
                if length > LONGEST_BODY {
                    return Poll::Ready(false);
                }
            }
        });
        let until = deadline.min(Instant::now() + DRAIN);
        timeout_at(until, ended).await == Some(true)
    }

    /// Whether another request can be sent: the endpoint has neither closed the connection nor sent more than answers.
    fn is_open(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether another request can be sent, as far as hyper knows.
    fn is_idle(&mut self) -> bool {
        self.connection.is_some() && (self.sender.is_ready() || self.is_open())
    }
}

fn drive(connection: &mut Option<Connection<Wire, Whole>>, context: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(context).is_ready()) {
        *connection = None;
    }
}
