//! What is asked of the service, and what it answers.

use std::fmt::Display;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, Uri};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::{task, time};

use crate::args::{TOKEN, Token};
use crate::envelope::{self, Event, MEDIA_TYPE, Malformed};
use crate::metrics::Metrics;
use crate::notes::Notes;
use crate::relay::{Admission, Relay};

/// When a registry that was told that there is no room may come again.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

/// How much of a body is read only so that its client gets to see why it is refused.
const FORGOTTEN: usize = 4 << 20;

/// In bytes, of an event's id.
const LONGEST_ID: usize = 256;

/// How large a body may be that is written down because it cannot be relayed: more than an event of a registry can
/// come to. Of what a client has to do with it, a head of 1 MiB and a manifest of 4 MiB are the most, and each byte
/// of them is six at most as JSON.
const LARGEST_PARKED: usize = 32 << 20;

/// Where what is asked for goes.
pub(crate) struct Door {
    relay: Arc<Relay>,
    metrics: Metrics,
    token: Option<Token>,
    max_body: usize,
    /// One body at a time is larger than that in memory.
    large: Semaphore,
    refused: Notes,
    parked: Notes,
    not_parked: Notes,
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

    /// The reason, for those who are not to see what was posted.
    fn without_content(&self) -> &str {
        if self.status == StatusCode::BAD_REQUEST { "it is no whole envelope" } else { &self.reason }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, HeaderValue::from_static(value))), ..self }
    }
}

type Answer = Response<Full<Bytes>>;

/// What was posted.
struct Posted<'a> {
    /// Decompressed, unless that failed.
    body: Vec<u8>,
    /// Whether that failed.
    garbled: bool,
    /// Held while there is a body that is larger than what is relayed.
    _large: Option<SemaphorePermit<'a>>,
}

impl Door {
    pub(crate) fn new(relay: Arc<Relay>, metrics: Metrics, token: Option<Token>, max_body: usize) -> Self {
        let [refused, parked, not_parked] = [(); 3].map(|()| Notes::default());
        Self { relay, metrics, token, max_body, large: Semaphore::new(1), refused, parked, not_parked }
    }

    pub(crate) async fn answer(&self, mut request: Request) -> Answer {
        let answer = match self.grant(&mut request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.note(&request, &refusal);
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
        let posted = read.unwrap_or_else(|_| Err(late()))?;
        let answer = match &posted {
            Posted { garbled: true, .. } => {
                Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is not gzip"))
            }
            Posted { body, .. } if body.len() > self.max_body => {
                task::block_in_place(|| self.admit_none(body))
            }
            Posted { body, .. } => self.admit(body).await,
        };
        match answer {
            Err(refusal) if refusal.status.is_client_error() => self.park(refusal, posted),
            answer => answer,
        }
    }

    /// Every error of the client is one of what was posted: it stays one however often it is posted.
    async fn admit(&self, envelope: &[u8]) -> Result<Answer, Refusal> {
        let events = parse(envelope)?.collect::<Result<_, _>>()?;
        match self.relay.admit(events).await {
            Admission::Queued => Ok(text(StatusCode::ACCEPTED, String::new())),
            Admission::Full(endpoint) => {
                Err(unavailable(format_args!("the backlog of {endpoint} is at its limit")))
            }
            Admission::NoRoom(why) => {
                Err(unavailable(format_args!("there is no room on the disk for {why}")))
            }
            Admission::Broken(endpoint) => {
                Err(unavailable(format_args!("the queue of {endpoint} has ended")))
            }
            Admission::Stopped => Err(unavailable("the relay is being stopped")),
            Admission::TooMany => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "an envelope with more events than a backlog holds: raise --backlog",
            )),
        }
    }

    /// As [`admit`](Door::admit) of an envelope that is too large, of which nothing is relayed.
    fn admit_none(&self, envelope: &[u8]) -> Result<Answer, Refusal> {
        for event in parse(envelope)? {
            if self.relay.wants(&event?) {
                return Err(too_long(self.max_body));
            }
        }
        Ok(text(StatusCode::ACCEPTED, String::new()))
    }

    /// Writes down what cannot be relayed, and takes it: a registry posts what is refused again for ever, and
    /// nothing behind it. If there is nowhere to write it, it is refused.
    fn park(&self, refusal: Refusal, posted: Posted<'_>) -> Result<Answer, Refusal> {
        if !self.relay.can_park() {
            return Err(refusal);
        }
        let (length, why, reason) = (posted.body.len(), refusal.without_content(), &refusal.reason);
        match task::block_in_place(|| self.relay.park(reason, posted.body)) {
            Ok(()) => {
                self.parked.say(format_args!(
                    "{length} bytes that cannot be relayed are written to --undelivered: {why}"
                ));
                Ok(text(StatusCode::ACCEPTED, format!("this is not relayed, but written down: {reason}\n")))
            }
            Err(error) => {
                self.not_parked.say(format_args!(
                    "{length} bytes that cannot be relayed ({why}) cannot be written down either, and are \
                     refused until they can: {error}"
                ));
                Err(unavailable(format_args!("{reason}, and it cannot be written down: {error}")))
            }
        }
    }

    /// Tells of what a registry posts again for ever. (503 is a matter of time, and counted.)
    fn note(&self, request: &Request, refusal: &Refusal) {
        if !refusal.status.is_client_error()
            || (&request.method, request.uri.path()) != (&Method::POST, "/events")
        {
            return;
        }
        let (status, why) = (refusal.status.as_u16(), refusal.without_content());
        let remedy = match refusal.status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE if !self.relay.can_park() => {
                ", unless there is --undelivered to take it"
            }
            _ => "",
        };
        self.refused.say(format_args!(
            "what was posted is refused ({status}): {why}; a registry posts it again for ever, and nothing behind \
             it{remedy}"
        ));
    }

    /// How large a body may be.
    fn limit(&self) -> usize {
        if self.relay.can_park() { self.max_body.max(LARGEST_PARKED) } else { self.max_body }
    }

    /// What is posted, decompressed: as many bytes as are relayed or written down, and no more.
    async fn read(
        &self,
        headers: &HeaderMap,
        from: &mut Incoming,
        compressed: bool,
    ) -> Result<Posted<'_>, Refusal> {
        let limit = self.limit();
        // One that says so beforehand is not read, unless that is how the client comes to see the answer.
        if from.size_hint().lower() > limit as u64 && headers.contains_key(EXPECT) {
            return Err(too_long(limit));
        }
        let (mut body, mut large) = (Vec::new(), None);
        while let Some(frame) = from.frame().await {
            let frame = frame.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body breaks off"))?;
            let data = frame.data_ref().map_or(&b""[..], |data| data);
            let length = body.len() + data.len();
            if length > limit {
                return Err(too_long(limit));
            }
            self.make_room(length, &mut large).await;
            body.extend(data);
        }
        if !compressed {
            return Ok(Posted { body, garbled: false, _large: large });
        }
        let mut envelope = Vec::new();
        let unpacked = {
            let mut decoder = MultiGzDecoder::new(&body[..]);
            let unpacked = unpack(&mut decoder, self.max_body, &mut envelope);
            if envelope.len() > self.max_body && limit > self.max_body {
                self.make_room(envelope.len(), &mut large).await;
                task::block_in_place(|| unpack(&mut decoder, limit, &mut envelope))
            } else {
                unpacked
            }
        };
        match unpacked {
            Err(_) => Ok(Posted { body, garbled: true, _large: large }),
            Ok(_) if envelope.len() > limit => Err(too_long(limit)),
            Ok(_) => Ok(Posted { body: envelope, garbled: false, _large: large }),
        }
    }

    /// Waits for its turn, if a body is to become larger than what is relayed.
    async fn make_room<'a>(&'a self, length: usize, large: &mut Option<SemaphorePermit<'a>>) {
        if length > self.max_body && large.is_none() {
            // It is never closed.
            *large = self.large.acquire().await.ok();
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

fn too_long(most: usize) -> Refusal {
    let reason = format_args!("the body has more than {most} bytes: raise --max-body");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

/// What is no fault of what was posted, and may be over when it is posted again.
fn unavailable(reason: impl Display) -> Refusal {
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    Refusal { header: Some((RETRY_AFTER, COME_BACK)), ..refusal }
}

/// Goes on until there are more than so many bytes.
fn unpack(from: &mut impl Read, most: usize, into: &mut Vec<u8>) -> io::Result<usize> {
    let left = (most as u64).saturating_add(1).saturating_sub(into.len() as u64);
    from.take(left).read_to_end(into)
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

/// Whether this is JSON: a registry's type has the version of its events in it, and a newer one is none to refuse
/// for ever.
fn is_json(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

/// Whether the body is compressed, unless it is of no kind that is taken.
///
/// Nor is it one that a page in somebody's browser can post to another server without being asked.
fn check_headers(headers: &HeaderMap) -> Result<bool, Refusal> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !is_json(media_type) {
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

fn parse(envelope: &[u8]) -> Result<impl Iterator<Item = Result<Event, Refusal>>, Refusal> {
    let refuse = |byte: usize, reason: &str| {
        Refusal::new(StatusCode::BAD_REQUEST, format_args!("this is no envelope: at byte {byte}, {reason}"))
    };
    let malformed = move |Malformed { column, reason }| refuse(column, &reason);
    let text = std::str::from_utf8(envelope)
        .map_err(|error| refuse(error.valid_up_to() + 1, "this is not UTF-8"))?;
    let events = envelope::events(text).map_err(malformed)?;
    Ok(events.map(move |event| {
        let event = event.map_err(malformed)?;
        match &*event.id {
            id if id.len() > LONGEST_ID => {
                let reason = format_args!("an event id has more than {LONGEST_ID} bytes");
                Err(Refusal::new(StatusCode::BAD_REQUEST, reason))
            }
            id if !is_webhook_id(id) => {
                let reason = format_args!("the event id {id:?} is not visible ASCII without a full stop");
                Err(Refusal::new(StatusCode::BAD_REQUEST, reason))
            }
            _ => Ok(event),
        }
    }))
}

/// What a webhook's id can be: an event with another one could never be delivered.
fn is_webhook_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
