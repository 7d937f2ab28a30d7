//! What is asked of the service, and what it answers.

use std::fmt::Display;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, Uri};
use tokio::time;

use crate::args::{TOKEN, Token};
use crate::envelope::{self, Event, MEDIA_TYPE, Malformed};
use crate::metrics::Metrics;
use crate::relay::{Admission, Relay};

/// When a registry that was told that there is no room may come again.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

/// How much of a body is read only so that its client gets to see why it is refused.
const FORGOTTEN: usize = 4 << 20;

/// Where what is asked for goes.
pub(crate) struct Door {
    pub(crate) relay: Arc<Relay>,
    pub(crate) metrics: Metrics,
    pub(crate) token: Option<Token>,
    pub(crate) max_body: usize,
}

/// A request, and how long its body may take.
pub(crate) struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Incoming,
    timeout: Duration,
}

impl Request {
    pub(crate) fn new(request: hyper::Request<Incoming>, timeout: Duration) -> Self {
        let (head, body) = request.into_parts();
        Self { method: head.method, uri: head.uri, headers: head.headers, body, timeout }
    }
}

/// An answer that says no, with the reason as its body.
struct Refusal {
    status: StatusCode,
    reason: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Display) -> Self {
        Self { status, reason: reason.to_string(), header: None }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }
}

type Answer = Response<Full<Bytes>>;

impl Door {
    pub(crate) async fn answer(&self, mut request: Request) -> Answer {
        let answer = match self.grant(&mut request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let Request { headers, body, timeout, .. } = &mut request;
                if refusal.status != StatusCode::REQUEST_TIMEOUT && !headers.contains_key(EXPECT) {
                    // Who is still sending does not see the answer: the rest, up to a point, is let in and
                    // forgotten.
                    let _ = time::timeout(*timeout, forget(body)).await;
                }
                let Refusal { status, reason, header } = refusal;
                let mut answer = text(status, reason + "\n");
                answer.headers_mut().extend(header);
                answer
            }
        };
        self.metrics.count_answer(answer.status());
        answer
    }

    async fn grant(&self, request: &mut Request) -> Result<Answer, Refusal> {
        if request.uri.path() == "/healthz" {
            // It tells nothing, and whoever starts the relay asks for it.
            return self.health(request);
        }
        self.allow_client(request)?;
        match request.uri.path() {
            "/events" => self.events(request).await,
            "/metrics" => self.metrics(request),
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there are /events, /metrics and /healthz")),
        }
    }

    /// Who brings the token is no page in somebody's browser; without one, who may be one is refused.
    ///
    /// A page can have a name of its own resolve to loopback. Then it posts here as to where it came from, any
    /// type of content, and nobody asks us first; but its browser says in `Host` by which name it came, and in
    /// `Origin` that a page posts.
    fn allow_client(&self, request: &Request) -> Result<(), Refusal> {
        let Request { headers, uri, .. } = request;
        match &self.token {
            Some(token) if !brings(headers, token) => {
                return Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "bring the token, as Authorization: Bearer",
                )
                .with(WWW_AUTHENTICATE, "Bearer"));
            }
            Some(_) => {}
            None => {
                let hosts =
                    headers.get_all(HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok());
                let mut hosts = hosts.chain(uri.authority().cloned().map(Some));
                // Without any, as in HTTP/1.0, it is no browser.
                if !hosts.all(|host| host.is_some_and(|host| is_loopback(host.host()))) {
                    let reason = format_args!(
                        "without {TOKEN} this is for loopback alone, and the Host is another: \
                         come to 127.0.0.1, [::1] or localhost, or bring a token"
                    );
                    return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason));
                }
            }
        }
        if headers.contains_key(ORIGIN) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "an Origin: this is not for pages in a browser"));
        }
        Ok(())
    }

    /// Takes an envelope.
    async fn events(&self, request: &mut Request) -> Result<Answer, Refusal> {
        let Request { method, headers, body, timeout, .. } = request;
        allow(method, &[Method::POST], "POST")?;
        let compressed = check_headers(headers)?;
        let read = time::timeout(*timeout, self.read(headers, body, compressed)).await;
        let late = || {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, format_args!("the body took longer than {timeout:?}"))
        };
        self.admit(&read.unwrap_or_else(|_| Err(late()))?)
    }

    fn admit(&self, envelope: &[u8]) -> Result<Answer, Refusal> {
        let events = parse(envelope)?;
        let unavailable = |reason: String| {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
            Refusal { header: Some((RETRY_AFTER, COME_BACK)), ..refusal }
        };
        match self.relay.admit(events) {
            Admission::Queued => Ok(text(StatusCode::ACCEPTED, String::new())),
            Admission::Full(endpoint) => {
                Err(unavailable(format!("the backlog of {endpoint} is at its limit")))
            }
            Admission::Broken(endpoint) => Err(unavailable(format!("the queue of {endpoint} has ended"))),
            Admission::Stopped => Err(unavailable("the relay is being stopped".to_string())),
            Admission::TooMany => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "an envelope with more events than a backlog holds: raise --backlog",
            )),
        }
    }

    /// The envelope's bytes, decompressed: as many as it may have, and no more.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut Incoming,
        compressed: bool,
    ) -> Result<Vec<u8>, Refusal> {
        let too_long = || {
            let reason = format_args!("the body has more than {} bytes: raise --max-body", self.max_body);
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
        };
        // One that says so beforehand is not read, unless that is how the client comes to see the answer.
        if body.size_hint().lower() > self.max_body as u64 && headers.contains_key(EXPECT) {
            return Err(too_long());
        }
        let bytes = match Limited::new(body, self.max_body).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_long()),
            Err(_) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body breaks off")),
        };
        if !compressed {
            return Ok(bytes.into());
        }
        let mut envelope = Vec::new();
        let most = (self.max_body as u64).saturating_add(1);
        match MultiGzDecoder::new(&bytes[..]).take(most).read_to_end(&mut envelope) {
            Ok(length) if length > self.max_body => Err(too_long()),
            Ok(_) => Ok(envelope),
            Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is not gzip")),
        }
    }

    /// Whether events are taken, and relayed once they are. An endpoint that is down is no illness of the
    /// relay.
    fn health(&self, request: &Request) -> Result<Answer, Refusal> {
        allow(&request.method, &[Method::GET, Method::HEAD], "GET, HEAD")?;
        match self.relay.broken() {
            None => Ok(text(StatusCode::OK, "ok\n".to_string())),
            Some(endpoint) => {
                let reason = format_args!("the queue of {endpoint} has ended");
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
            }
        }
    }

    fn metrics(&self, request: &Request) -> Result<Answer, Refusal> {
        allow(&request.method, &[Method::GET, Method::HEAD], "GET, HEAD")?;
        let mut answer = text(StatusCode::OK, self.metrics.render(&self.relay));
        let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, prometheus);
        Ok(answer)
    }
}

fn brings(headers: &HeaderMap, token: &Token) -> bool {
    let brought = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    brought
        .split_at_checked("Bearer ".len())
        .is_some_and(|(scheme, brought)| scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(brought))
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address: Result<IpAddr, _> = address.parse();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
}

/// Reads the rest of a body, unless that is a lot.
async fn forget(body: &mut Incoming) {
    let mut left = FORGOTTEN;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

fn allow(method: &Method, allowed: &[Method], names: &'static str) -> Result<(), Refusal> {
    if allowed.contains(method) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format_args!("use {names}")).with(ALLOW, names))
}

/// Whether the body is compressed, unless it is of no kind that is taken.
///
/// Nor is it one that a page in somebody's browser can post to another server without being asked.
fn check_headers(headers: &HeaderMap) -> Result<bool, Refusal> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if ![MEDIA_TYPE, "application/json"].iter().any(|taken| media_type.eq_ignore_ascii_case(taken)) {
        let reason = format_args!("the Content-Type has to be {MEDIA_TYPE}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(encoding) if encoding.eq_ignore_ascii_case(b"identity") => Ok(false),
        Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => Ok(true),
        Some(_) => {
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the only Content-Encoding taken is gzip")
                .with(ACCEPT_ENCODING, "gzip"))
        }
    }
}

fn parse(envelope: &[u8]) -> Result<Vec<Event>, Refusal> {
    let refuse = |byte: usize, reason: &str| {
        Refusal::new(StatusCode::BAD_REQUEST, format_args!("this is no envelope: at byte {byte}, {reason}"))
    };
    let text = std::str::from_utf8(envelope)
        .map_err(|error| refuse(error.valid_up_to() + 1, "this is not UTF-8"))?;
    let events = envelope::parse(text).map_err(|Malformed { column, reason }| refuse(column, &reason))?;
    if let Some(event) = events.iter().find(|event| !is_webhook_id(&event.id)) {
        let reason = format_args!("the event id {:?} is not visible ASCII without a full stop", event.id);
        return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
    }
    Ok(events)
}

/// Whether a webhook can have this id: an event with another one could never be delivered.
fn is_webhook_id(id: &str) -> bool {
    id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
