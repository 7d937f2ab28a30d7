use std::error::Error;
use std::fmt;
use std::ops::{RangeBounds, RangeInclusive};
use std::time::Duration;

use ureq::http::Method;
use ureq::http::header::AUTHORIZATION;

use super::client::{Client, ClientOptions};
use super::encode::{Encode, EncodeWith, Json};
use super::endpoint::Endpoint;
use super::headers::Given;
use super::per_event::{PerEvent, Rules, TextOf};
use super::request::{Accepts, IdOf, OnAnswer, Requests};
use super::sign::Signer;
use super::tls::{self, Trust};
use super::{BuildError, HttpSink, proxy};

/// How long a request may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Less than this is a mistake: it is over before there is an address to connect to, and ureq, asked to connect
/// in no time, takes all the time there is.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// More than this is a mistake.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many connections are kept unless told otherwise.
const IDLE_CONNECTIONS: usize = 32;

/// The statuses that an answer can have: those below are interim.
const STATUSES: RangeInclusive<u16> = 101..=999;

/// An [`HttpSink`] in the making. Made by [`HttpSink::post`] and [`HttpSink::put`]; whatever is wrong,
/// [`build`](HttpSinkBuilder::build) says so.
///
/// It prints the endpoint's name and nothing that is secret.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::http::HttpSink;
///
/// let sink = HttpSink::post("https://hooks.example/registry")
///     .name("hooks")
///     .header("x-tenant", "7")
///     .bearer("s3cr3t")
///     .timeout(Duration::from_secs(5))
///     .content_type("text/plain; charset=utf-8")
///     .encode(|line: &String| Ok::<_, std::convert::Infallible>(line.clone().into_bytes()))
///     .build()?;
/// assert_eq!(sink.endpoint(), "hooks");
/// assert!(!format!("{sink:?}").contains("s3cr3t"));
/// # Ok::<(), outflow::http::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct HttpSinkBuilder<E, C = Json> {
    options: Options<E>,
    encoder: C,
}

/// All but the encoder.
struct Options<E> {
    method: String,
    url: String,
    url_of: Option<TextOf<E>>,
    name: Option<String>,
    headers: Vec<(String, String)>,
    headers_of: Vec<(String, TextOf<E>)>,
    bearer: Option<String>,
    bearer_of: Option<TextOf<E>>,
    content_type: String,
    timeout: Duration,
    accepts: Accepts,
    accepts_nothing: bool,
    on_answer: Option<OnAnswer<E>>,
    id_of: Option<IdOf<E>>,
    secrets: Vec<String>,
    trust: Trust,
    client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    idle_connections: usize,
    proxy_from_env: bool,
    allow_plaintext: bool,
}

impl<E> HttpSink<E> {
    /// Begins a sink that POSTs to `url`, http or https. Nothing is looked at before
    /// [`build`](HttpSinkBuilder::build).
    ///
    /// User info in the URL is sent as Basic authentication; a fragment is not sent. A URL has at most 16,000
    /// bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/events").build()?;
    /// assert_eq!(sink.endpoint(), "https://hooks.example:443");
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn post<U>(url: U) -> HttpSinkBuilder<E>
    where
        U: Into<String>,
    {
        HttpSinkBuilder::new("POST", url.into())
    }

    /// Begins a sink that PUTs to `url`; otherwise as [`post`](HttpSink::post).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::put("https://hooks.example/last-event").build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn put<U>(url: U) -> HttpSinkBuilder<E>
    where
        U: Into<String>,
    {
        HttpSinkBuilder::new("PUT", url.into())
    }
}

impl<E> HttpSinkBuilder<E> {
    pub(super) fn new(method: &str, url: String) -> Self {
        let options = Options {
            method: method.to_string(),
            url,
            url_of: None,
            name: None,
            headers: Vec::new(),
            headers_of: Vec::new(),
            bearer: None,
            bearer_of: None,
            content_type: "application/json".to_string(),
            timeout: TIMEOUT,
            accepts: Box::new(|status| (200..300).contains(&status)),
            accepts_nothing: false,
            on_answer: None,
            id_of: None,
            secrets: Vec::new(),
            trust: Trust::default(),
            client_certificate: None,
            idle_connections: IDLE_CONNECTIONS,
            proxy_from_env: false,
            allow_plaintext: false,
        };
        Self { options, encoder: Json }
    }
}

impl<E, C> HttpSinkBuilder<E, C> {
    /// What the endpoint is called in errors. Default: scheme, host and port of the URL.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/s3cr3t").name("audit").build()?;
    /// assert_eq!(sink.endpoint(), "audit");
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.options.name = Some(name.into());
        self
    }

    /// The method: POST, PUT or PATCH.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::{BuildError, HttpSink};
    ///
    /// let refused = HttpSink::<u32>::post("https://hooks.example/").method("GET").build().unwrap_err();
    /// assert_eq!(refused, BuildError::Method("GET".to_string()));
    /// ```
    pub fn method<M>(mut self, method: M) -> Self
    where
        M: Into<String>,
    {
        self.options.method = method.into();
        self
    }

    /// A header of every request; may be called again, for the same name too. Its value is taken for a
    /// secret.
    ///
    /// Those that say how a request is framed are refused, and those that have a method here; so is a second
    /// `Host`. There may be 1000, and each line, that of the bearer too, has to fit in 16 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").header("X-Team", "registry").build()?;
    /// assert!(HttpSink::<u32>::post("https://hooks.example/").header("a name", "1").build().is_err());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// `Authorization: Bearer ...` on every request (RFC 6750).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").bearer("s3cr3t").build()?;
    /// assert!(!format!("{sink:?}").contains("s3cr3t"));
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn bearer<T>(mut self, token: T) -> Self
    where
        T: Into<String>,
    {
        self.options.bearer = Some(token.into());
        self
    }

    /// A header whose value is made for each request: what tells of the event, or changes with time. May be called
    /// again, and stands beside [`header`](HttpSinkBuilder::header), of which all else is true.
    ///
    /// The closure runs for each attempt, on the writer's thread. A value that cannot be sent fails the write as
    /// [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["200 OK"]);
    ///
    /// let sink = HttpSink::post(url).header_with("x-action", |event: &&str| event.to_string()).build()?;
    /// assert!(sink.write("push").is_ok()); // x-action: push
    /// assert!(sink.write("two\nlines").is_err());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn header_with<N, F>(mut self, name: N, value_of: F) -> Self
    where
        N: Into<String>,
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.headers_of.push((name.into(), Box::new(value_of)));
        self
    }

    /// `Authorization: Bearer ...` with a token that is asked for at each request, as one that is renewed now and
    /// then has to be.
    ///
    /// The closure runs for each attempt, on the writer's thread, and is to have the token at hand: what it waits
    /// for is not within the [timeout](HttpSinkBuilder::timeout). A token that RFC 6750 does not allow fails the
    /// write as [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use outflow::http::HttpSink;
    ///
    /// let token = Arc::new(Mutex::new("first".to_string()));
    /// let current = Arc::clone(&token);
    /// let sink = HttpSink::<u32>::post("https://hooks.example/")
    ///     .bearer_with(move |_| current.lock().unwrap().clone())
    ///     .build()?;
    /// *token.lock().unwrap() = "second".to_string();
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn bearer_with<F>(mut self, token_of: F) -> Self
    where
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.bearer_of = Some(Box::new(token_of));
        self
    }

    /// Where an event is posted to, if not all go to one URL. The sink's own URL is not posted to then; it is what
    /// the sink is called by where no event is at hand.
    ///
    /// The URL has the scheme of the sink's own, and all else that is asked of that one is asked of it. One that
    /// is none fails the write as [`HttpError::Encode`](super::HttpError::Encode), which is permanent. What is put
    /// into a URL has to be percent-encoded before. Every header goes along, the bearer too, wherever the URL
    /// leads: take no host from an event that somebody else made.
    ///
    /// The closure runs for each attempt, on the writer's thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Push {
    ///     tenant: u32,
    /// }
    ///
    /// let sink = HttpSink::post("https://hooks.example/")
    ///     .url_with(|push: &Push| format!("https://hooks.example/tenants/{}", push.tenant))
    ///     .build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn url_with<F>(mut self, url_of: F) -> Self
    where
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.url_of = Some(Box::new(url_of));
        self
    }

    /// The statuses that are the delivery, in place of `200..300`. Called again, or with
    /// [`accept_when`](HttpSinkBuilder::accept_when), the last one counts.
    ///
    /// A redirect whose status is accepted is the delivery, and is not followed.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["303 See Other"]);
    ///
    /// let sink = HttpSink::post(url).accept(200..400).build()?; // An endpoint that answers 303 See Other.
    /// assert!(sink.write("push").is_ok());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn accept<R>(mut self, statuses: R) -> Self
    where
        R: RangeBounds<u16> + Send + Sync + 'static,
    {
        self.options.accepts_nothing = !STATUSES.into_iter().any(|status| statuses.contains(&status));
        self.options.accepts = Box::new(move |status| statuses.contains(&status));
        self
    }

    /// Whether a status is the delivery, in place of `200..300`. Called again, or with
    /// [`accept`](HttpSinkBuilder::accept), the last one counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["409 Conflict"]);
    ///
    /// // An endpoint that answers 409 Conflict to what it has already.
    /// let sink = HttpSink::post(url).accept_when(|status| matches!(status, 200..300 | 409)).build()?;
    /// assert!(sink.write("push").is_ok());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn accept_when<F>(mut self, accepts: F) -> Self
    where
        F: Fn(u16) -> bool + Send + Sync + 'static,
    {
        self.options.accepts_nothing = false;
        self.options.accepts = Box::new(accepts);
        self
    }

    /// Calls a closure with each answer: the event and the status, accepted or not. Called again, the last one
    /// counts.
    ///
    /// It runs on the writer's thread, before the write returns. What gets no answer is seen in the error only. Of a
    /// request that is retried it sees every attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU16, Ordering};
    /// use std::sync::Arc;
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["202 Accepted"]);
    ///
    /// let last = Arc::new(AtomicU16::new(0));
    /// let seen = Arc::clone(&last);
    /// let sink = HttpSink::post(url)
    ///     .on_answer(move |_: &&str, status| seen.store(status, Ordering::SeqCst))
    ///     .build()?;
    /// assert!(sink.write("push").is_ok());
    /// assert_eq!(last.load(Ordering::SeqCst), 202);
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn on_answer<F>(mut self, f: F) -> Self
    where
        F: Fn(&E, u16) + Send + Sync + 'static,
    {
        self.options.on_answer = Some(Box::new(f));
        self
    }

    /// How many connections are kept that no writer uses. Default: 32. With 0 each request makes one of its own.
    ///
    /// A writer that finds none makes one, however many there are, so that this is no bound. With fewer than there
    /// are threads that write at the same time, connections are closed and made anew all the time. One is kept for
    /// 15 seconds, and holds up to 100 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").idle_connections(200).build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn idle_connections(mut self, connections: usize) -> Self {
        self.options.idle_connections = connections;
        self
    }

    /// Sends credentials over plain http, to a host that is not this machine.
    ///
    /// Without it, a bearer, an `Authorization` header or user info in the URL is refused there: everybody on
    /// the way could read it. A signing secret does not leave the process, and a signature is not refused;
    /// who reads along can neither forge one nor, after the few minutes that endpoints grant, use it again.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::{BuildError, HttpSink};
    ///
    /// let sink = || HttpSink::<String>::post("http://hooks.example/").bearer("s3cr3t");
    /// assert!(matches!(sink().build(), Err(BuildError::Plaintext { .. })));
    /// assert!(sink().allow_plaintext().build().is_ok());
    /// ```
    pub fn allow_plaintext(mut self) -> Self {
        self.options.allow_plaintext = true;
        self
    }

    /// How long a request may take: a millisecond to a day. Default: 10 s.
    ///
    /// It is the whole of an attempt: the name's resolution, the connection, the handshake, sending, and the
    /// answer's head. An answer's body is read for a second at most and within this time, and does not
    /// matter.
    ///
    /// A connection to an address is given 10 ms at least. If the name is resolved in the very moment in which
    /// the time is over, it is given as long as the operating system takes, which for a host that does not
    /// answer may be minutes.
    ///
    /// An endpoint that stops reading in the middle of a body that is larger than the socket's buffers can
    /// hold a write for up to twice this long: one call of the operating system that was partly done is made
    /// once more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::http::{BuildError, HttpSink};
    ///
    /// let post = || HttpSink::<u32>::post("https://hooks.example/");
    /// assert!(post().timeout(Duration::from_secs(1)).build().is_ok());
    /// assert_eq!(post().timeout(Duration::ZERO).build().unwrap_err(), BuildError::Timeout);
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// The `Content-Type` of every request. Default: `application/json`, whatever the encoder.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let envelope = "application/vnd.docker.distribution.events.v1+json";
    /// let sink = HttpSink::<Vec<u32>>::post("https://hooks.example/").content_type(envelope).build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn content_type<T>(mut self, content_type: T) -> Self
    where
        T: Into<String>,
    {
        self.options.content_type = content_type.into();
        self
    }

    /// How an event becomes the body of a request. Default: JSON, for an event that is `serde::Serialize`.
    ///
    /// The encoder runs for each attempt, on the writer's thread, and is to answer the same bytes for the
    /// same event: a webhook that was received and is sent again is compared by them. One that cannot, or
    /// that is costly, runs once if it stands before the queue instead, as [`map`](crate::SinkExt::map) to
    /// the bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    ///
    /// let sink = HttpSink::post("https://hooks.example/")
    ///     .encode(|event: &&str| match *event {
    ///         "" => Err("an empty line"),
    ///         line => Ok(line.as_bytes().to_vec()),
    ///     })
    ///     .build()?;
    /// let refused = sink.write("").unwrap_err();
    /// assert!(!refused.error().unwrap().is_transient());
    /// assert_eq!(
    ///     refused.error().unwrap().to_string(),
    ///     "the event cannot be encoded for https://hooks.example:443: an empty line",
    /// );
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn encode<F, X>(self, f: F) -> HttpSinkBuilder<E, EncodeWith<F>>
    where
        F: Fn(&E) -> Result<Vec<u8>, X>,
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        HttpSinkBuilder { options: self.options, encoder: EncodeWith(f) }
    }

    /// Signs every request as the [Standard Webhooks] specification says, with a secret `whsec_...`: base64
    /// of 24 to 64 bytes. Called again, it signs with that secret, too: while secrets are being changed, an
    /// endpoint accepts either.
    ///
    /// There may be 340 secrets, whose signatures fit in a header.
    ///
    /// Needs [`webhook_id`](HttpSinkBuilder::webhook_id). The timestamp is the machine's time of day at the
    /// attempt.
    ///
    /// [Standard Webhooks]: https://www.standardwebhooks.com
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// struct Push {
    ///     id: u64,
    /// }
    ///
    /// let sink = HttpSink::post("https://hooks.example/")
    ///     .sign_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    ///     .webhook_id(|push: &Push| format!("push-{}", push.id))
    ///     .encode(|push| Ok::<_, std::fmt::Error>(push.id.to_string().into_bytes()))
    ///     .build();
    /// assert!(sink.is_ok());
    /// ```
    pub fn sign_with<T>(mut self, secret: T) -> Self
    where
        T: Into<String>,
    {
        self.options.secrets.push(secret.into());
        self
    }

    /// The `webhook-id` of an event, sent with it, signed or not: endpoints know by it what they have
    /// already.
    ///
    /// The closure runs for each attempt, and is to answer the same for the same event. An id is 1 to 256
    /// bytes of visible ASCII without a full stop; with any other the write fails as
    /// [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    ///
    /// An id belongs to the bytes that it is sent with: an endpoint that has seen it drops whatever comes with
    /// it again. So where several events go into one request, the id has to name all of them. That of the first
    /// is not enough where events may repeat, as after a restart: the first then comes with other events than
    /// before, under an id that the endpoint has seen, and they are dropped unseen.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Push {
    ///     id: String,
    /// }
    ///
    /// let sink = HttpSink::post("https://hooks.example/").webhook_id(|push: &Push| push.id.clone()).build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    ///
    /// Of a batch of events that are numbered one after the other, the first and the last name all:
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["200 OK"]);
    ///
    /// let sink = HttpSink::post(url)
    ///     .webhook_id(|numbers: &Vec<u64>| format!("{}-{}", numbers[0], numbers[numbers.len() - 1]))
    ///     .build()?;
    /// assert!(sink.write(vec![7, 8, 9]).is_ok()); // webhook-id: 7-9
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn webhook_id<F>(mut self, id_of: F) -> Self
    where
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.id_of = Some(Box::new(id_of));
        self
    }

    /// Trusts the authorities in this PEM; may be called again. Not for http.
    ///
    /// Without this and the two below, a sink trusts the authorities that Mozilla trusts, as of the `webpki-roots`
    /// that this was built with. With any of them it trusts what they name and no others.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let no_pem = HttpSink::<u32>::post("https://hooks.internal/").root_certificate("not a certificate");
    /// assert!(no_pem.build().is_err());
    /// ```
    pub fn root_certificate<P>(mut self, pem: P) -> Self
    where
        P: Into<Vec<u8>>,
    {
        self.options.trust.own.push(pem.into());
        self
    }

    /// Trusts the authorities that Mozilla trusts, as of the `webpki-root-certs` that this was built with, beside the
    /// [others](HttpSinkBuilder::root_certificate) that are named. Not for http.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use outflow::http::HttpSink;
    ///
    /// let ours = std::fs::read("/etc/ssl/ours.pem")?;
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").public_roots().root_certificate(ours).build()?;
    /// # let _ = sink;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn public_roots(mut self) -> Self {
        self.options.trust.public = true;
        self
    }

    /// Trusts the authorities that the operating system trusts when the sink is built, beside the
    /// [others](HttpSinkBuilder::root_certificate) that are named. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others in
    /// their place. Not for http.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").system_roots().build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn system_roots(mut self) -> Self {
        self.options.trust.system = true;
        self
    }

    /// Shows this certificate to an endpoint that asks for one: PEM with the certificate and those between it
    /// and the authority, and PEM with its private key (PKCS#8, PKCS#1 or SEC1, not encrypted). Not for http.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let no_pem = HttpSink::<u32>::post("https://hooks.internal/").client_certificate("no chain", "no key");
    /// assert!(no_pem.build().is_err());
    /// ```
    pub fn client_certificate<P, K>(mut self, chain: P, key: K) -> Self
    where
        P: Into<Vec<u8>>,
        K: Into<Vec<u8>>,
    {
        self.options.client_certificate = Some((chain.into(), key.into()));
        self
    }

    /// Goes through the proxy that the environment names when the sink is built: the first of `ALL_PROXY`,
    /// `HTTPS_PROXY` and `HTTP_PROXY`, whatever the URL's scheme, but for the hosts in `NO_PROXY`. It is an
    /// http or https proxy, asked to CONNECT. Without this the variables are ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// let sink = HttpSink::<u32>::post("https://hooks.example/").proxy_from_env().build()?;
    /// # let _ = sink;
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn proxy_from_env(mut self) -> Self {
        self.options.proxy_from_env = true;
        self
    }

    /// The sink. No connection is made before the first event.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names what is wrong, the first of several.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    ///
    /// assert!(HttpSink::<u32>::post("https://hooks.example/").build().is_ok());
    /// let refused = HttpSink::<u32>::post("ftp://files.example/s3cr3t").build().unwrap_err();
    /// assert!(refused.to_string().starts_with("the URL ftp://... is no endpoint"));
    /// ```
    pub fn build(self) -> Result<HttpSink<E>, BuildError>
    where
        C: Encode<E> + Send + Sync + 'static,
    {
        let Self { options, encoder } = self;
        let endpoint = Endpoint::parse(&options.url, options.name.as_deref())?;
        let method = match options.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            _ => return Err(BuildError::Method(options.method)),
        };
        if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&options.timeout) {
            return Err(BuildError::Timeout);
        }
        if options.accepts_nothing {
            return Err(BuildError::Accept);
        }
        let (names, texts): (Vec<_>, Vec<_>) = options.headers_of.into_iter().unzip();
        let given = Given {
            content_type: &options.content_type,
            headers: &options.headers,
            bearer: options.bearer.as_deref(),
            credentials: endpoint.credentials.clone(),
            per_event: &names,
            bearer_per_event: options.bearer_of.is_some(),
        };
        let (headers, names) = given.collect()?;

        let proxy = if options.proxy_from_env { proxy::from_env()? } else { None };
        let rules = Rules {
            name: options.name,
            encrypted: endpoint.is_encrypted(),
            allow_plaintext: options.allow_plaintext,
            proxy: proxy.clone(),
        };
        let has_credentials = headers.contains_key(AUTHORIZATION)
            || options.bearer_of.is_some()
            || names.contains(&AUTHORIZATION);
        rules.check(&endpoint, has_credentials)?;

        if !endpoint.is_encrypted() {
            // Who gives one takes the connection for encrypted.
            const REASON: &str = "the URL is not https";
            if !options.trust.own.is_empty() {
                return Err(BuildError::RootCertificate { number: 1, reason: REASON });
            }
            if options.trust.system {
                return Err(BuildError::SystemRoots(REASON));
            }
            if options.trust.public {
                return Err(BuildError::PublicRoots(REASON));
            }
            if options.client_certificate.is_some() {
                return Err(BuildError::ClientCertificate(REASON));
            }
        }
        let tls = tls::config(&options.trust, options.client_certificate.as_ref())?;

        let signer = match &options.secrets[..] {
            [] => None,
            _ if options.id_of.is_none() => return Err(BuildError::NoWebhookId),
            secrets => Some(Signer::new(secrets)?),
        };
        let requests = Requests {
            endpoint,
            headers,
            per_event: PerEvent {
                url: options.url_of,
                bearer: options.bearer_of,
                headers: names.into_iter().zip(texts).collect(),
                rules,
            },
            encode: Box::new(move |event: &E| encoder.encode(event)),
            id_of: options.id_of,
            signer,
            accepts: options.accepts,
            on_answer: options.on_answer,
        };
        let client = ClientOptions {
            timeout: options.timeout,
            idle_connections: options.idle_connections,
            tls,
            proxy,
        };
        Ok(HttpSink::new(Client::new(method, client), requests))
    }
}

impl<E, C> fmt::Debug for HttpSinkBuilder<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpSinkBuilder");
        // A URL that is none cannot be shown in part.
        if let Ok(endpoint) = Endpoint::parse(&self.options.url, self.options.name.as_deref()) {
            debug.field("endpoint", &endpoint);
        }
        debug
            .field("method", &self.options.method)
            .field("timeout", &self.options.timeout)
            .finish_non_exhaustive()
    }
}
