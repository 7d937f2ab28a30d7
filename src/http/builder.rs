use std::error::Error;
use std::fmt;
use std::ops::{RangeBounds, RangeInclusive};
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;

use super::client::Client;
use super::client_options::ClientOptions;
use super::encode::{Encode, EncodeWith, Json};
use super::endpoint::Endpoint;
use super::headers::Given;
use super::per_event::{PerEvent, Rules, TextOf};
use super::request::{Accepts, IdOf, OnAnswer, Requests};
use super::sign::Signer;
use super::trust::Trust;
use super::{BuildError, HttpSink, proxy, tls};

/// The default timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A shorter timeout is refused as a mistake: it would be over before the connection is begun, and ureq takes a
/// remaining time of zero for no limit.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// A longer timeout is refused as a mistake.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many idle connections are kept by default.
const IDLE_CONNECTIONS: usize = 32;

/// The statuses that an answer can have. 100 is only that of an interim answer.
const STATUSES: RangeInclusive<u16> = 101..=999;

/// Builds an [`HttpSink`], or an `AsyncHttpSink` (feature `http-async`). Made by [`HttpSink::post`] and
/// [`HttpSink::put`]. Its methods check nothing; [`build`](HttpSinkBuilder::build) and `build_async` check everything.
///
/// Where it says that a closure runs on the writer's thread, that of an asynchronous sink runs in a poll of the write.
///
/// Its `Debug` output shows the endpoint's name, and nothing that is secret.
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

/// Everything but the encoder.
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
    /// Begins to build a sink that POSTs to `url`, of http or https. [`build`](HttpSinkBuilder::build) checks it.
    ///
    /// User info in the URL is sent as Basic authentication. A fragment is not sent. A URL may have at most 16,000
    /// bytes.
    pub fn post<U>(url: U) -> HttpSinkBuilder<E>
    where
        U: Into<String>,
    {
        HttpSinkBuilder::new("POST", url.into())
    }

    /// As [`post`](HttpSink::post), for a sink that PUTs.
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
    /// Sets the endpoint's name, which errors show. Default: scheme, host and port of the URL.
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.options.name = Some(name.into());
        self
    }

    /// Sets the method: POST, PUT or PATCH. `build` refuses any other.
    pub fn method<M>(mut self, method: M) -> Self
    where
        M: Into<String>,
    {
        self.options.method = method.into();
        self
    }

    /// Adds a header to every request. May be called several times, with the same name too. The value is treated as
    /// secret.
    ///
    /// `build` refuses headers that frame a request, such as `Content-Length`, headers that another method of this
    /// builder sets, and a second `Host`. There may be at most 1000 headers, and each line, that of the bearer included,
    /// must fit in 16 KiB.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// Sends `Authorization: Bearer ...` with every request (RFC 6750). The token is treated as secret.
    pub fn bearer<T>(mut self, token: T) -> Self
    where
        T: Into<String>,
    {
        self.options.bearer = Some(token.into());
        self
    }

    /// Adds a header whose value is made for each request, as one that depends on the event or changes with time. The
    /// rules are those of [`header`](HttpSinkBuilder::header). The [module page](super) has an example.
    ///
    /// The closure runs for each attempt, on the writer's thread. If its value cannot be sent, the write fails with
    /// [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    pub fn header_with<N, F>(mut self, name: N, value_of: F) -> Self
    where
        N: Into<String>,
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.headers_of.push((name.into(), Box::new(value_of)));
        self
    }

    /// Sends `Authorization: Bearer ...` with a token that is read for each request: for one that is renewed from time to
    /// time.
    ///
    /// The closure runs for each attempt, on the writer's thread. It should return at once: the
    /// [timeout](HttpSinkBuilder::timeout) does not cover its time. If RFC 6750 does not allow the token, the write fails
    /// with [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    pub fn bearer_with<F>(mut self, token_of: F) -> Self
    where
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.bearer_of = Some(Box::new(token_of));
        self
    }

    /// Makes the URL for each event, for events that go to different URLs. The sink's own URL is not posted to then; it
    /// only names the sink. The [module page](super) has an example.
    ///
    /// The URL must have the scheme of the sink's own URL, and is checked as that is. If it is refused, the write fails
    /// with [`HttpError::Encode`](super::HttpError::Encode), which is permanent. The closure has to percent-encode what
    /// it puts into the URL. All headers, the bearer included, are sent to whatever host the URL names: never take the
    /// host from an event that is not trusted.
    ///
    /// The closure runs for each attempt, on the writer's thread.
    pub fn url_with<F>(mut self, url_of: F) -> Self
    where
        F: Fn(&E) -> String + Send + Sync + 'static,
    {
        self.options.url_of = Some(Box::new(url_of));
        self
    }

    /// Sets the statuses with which an event counts as delivered. Default: `200..300`. Of several calls, those of
    /// [`accept_when`](HttpSinkBuilder::accept_when) included, the last one counts.
    ///
    /// If the status of a redirect is accepted, the event is delivered. The redirect is not followed.
    pub fn accept<R>(mut self, statuses: R) -> Self
    where
        R: RangeBounds<u16> + Send + Sync + 'static,
    {
        self.options.accepts_nothing = !STATUSES.into_iter().any(|status| statuses.contains(&status));
        self.options.accepts = Box::new(move |status| statuses.contains(&status));
        self
    }

    /// As [`accept`](HttpSinkBuilder::accept), for statuses that are no range.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["409 Conflict"]);
    ///
    /// // An endpoint that answers 409 Conflict to an event that it has already.
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

    /// Calls `f` with the event and the status of each answer, accepted or not. Of several calls the last one
    /// counts.
    ///
    /// It runs on the writer's thread, before the write returns, for every attempt that gets an answer.
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

    /// How many idle connections are kept for later requests. Default: 32. With 0 every request makes a new one.
    ///
    /// It does not limit the connections in use: a writer that finds no idle one makes a new one. If it is less than the
    /// number of threads that write at the same time, connections are closed and made anew all the time. An idle
    /// connection is kept for 15 seconds, and holds up to 100 KiB; that of an asynchronous sink about 20 KiB.
    pub fn idle_connections(mut self, connections: usize) -> Self {
        self.options.idle_connections = connections;
        self
    }

    /// Allows credentials to be sent over plain http to another machine.
    ///
    /// Without it `build` refuses a bearer, an `Authorization` header or user info in an http URL whose host is not this
    /// machine, since they could be read on the way. Signing is allowed in any case: the secret does not leave the
    /// process, and a signature that is read on the way can neither be forged nor used again, once the few minutes are
    /// over in which endpoints accept it.
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

    /// Sets how long a request may take: a millisecond to a day, or `build` refuses it. Default: 10 s.
    ///
    /// This covers a whole attempt: name resolution, connection, handshake, sending, and the head of the answer. The body
    /// of the answer is read within this time too, for at most a second, and does not affect the outcome.
    ///
    /// There are three exceptions. Connecting to an address may take at least 10 ms. If name resolution ends just when
    /// the time is over, connecting takes as long as the operating system allows, which may be minutes if the host
    /// does not respond. If the endpoint stops reading in the middle of a body that is larger than the socket's buffers,
    /// a write may take up to twice this time, since a system call that was partly done is repeated once. An asynchronous
    /// sink has none of these.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets the `Content-Type` of every request. Default: `application/json`, whatever the encoder.
    pub fn content_type<T>(mut self, content_type: T) -> Self
    where
        T: Into<String>,
    {
        self.options.content_type = content_type.into();
        self
    }

    /// Sets the encoder, which makes the body of a request. Default: JSON, of an event that is `serde::Serialize`. If it
    /// fails, the write fails with [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    ///
    /// The encoder runs for each attempt, on the writer's thread, and has to return the same bytes for the same event,
    /// since an endpoint may compare them. If yours does not, or is costly, encode once instead, with
    /// [`map`](crate::SinkExt::map) before the queue.
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

    /// Signs every request as the [Standard Webhooks] specification defines, with a secret `whsec_...`: base64
    /// of 24 to 64 bytes. With several calls, each request has a signature for each secret: while a secret is being
    /// replaced, an endpoint accepts either. At most 340 signatures fit in a header.
    ///
    /// It needs a [`webhook_id`](HttpSinkBuilder::webhook_id), where there is an example. The timestamp is the machine's
    /// time of day at the attempt.
    ///
    /// [Standard Webhooks]: https://www.standardwebhooks.com
    pub fn sign_with<T>(mut self, secret: T) -> Self
    where
        T: Into<String>,
    {
        self.options.secrets.push(secret.into());
        self
    }

    /// Sends a `webhook-id` with each event, signed or not, by which endpoints recognize an event that they have
    /// already.
    ///
    /// The closure runs for each attempt, and has to return the same id for the same event. An id is 1 to 256 bytes of
    /// visible ASCII without a full stop; with any other the write fails with
    /// [`HttpError::Encode`](super::HttpError::Encode), which is permanent.
    ///
    /// An endpoint drops a request whose id it has seen, whatever is in it. So where several events go into one request,
    /// its id has to identify all of them. The id of the first event is not enough if events may be batched differently
    /// later, as after a restart: the first event would come with new ones, under an id that the endpoint has seen, and
    /// the new ones would be lost.
    ///
    /// # Examples
    ///
    /// Batches of events with consecutive numbers, identified by the first number and the last:
    ///
    /// ```
    /// use outflow::http::HttpSink;
    /// use outflow::Sink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["200 OK"]);
    ///
    /// let sink = HttpSink::post(url)
    ///     .webhook_id(|numbers: &Vec<u64>| format!("{}-{}", numbers[0], numbers[numbers.len() - 1]))
    ///     .sign_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
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

    /// Trusts the certificate authorities in this PEM. May be called several times. `build` refuses it with an http URL.
    ///
    /// By default a sink trusts the authorities that Mozilla trusts, as of the `webpki-roots` that it was built with. If
    /// this method, [`public_roots`](HttpSinkBuilder::public_roots) or [`system_roots`](HttpSinkBuilder::system_roots) is
    /// called, it trusts the authorities that these calls add, and no others.
    pub fn root_certificate<P>(mut self, pem: P) -> Self
    where
        P: Into<Vec<u8>>,
    {
        self.options.trust.own.push(pem.into());
        self
    }

    /// Trusts the authorities that Mozilla trusts, as of the `webpki-root-certs` that it was built with, in addition to
    /// the [others](HttpSinkBuilder::root_certificate). `build` refuses it with an http URL.
    pub fn public_roots(mut self) -> Self {
        self.options.trust.public = true;
        self
    }

    /// Trusts the authorities that the operating system trusts when the sink is built, in addition to the
    /// [others](HttpSinkBuilder::root_certificate). The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` replace
    /// those of the system. `build` refuses it with an http URL.
    pub fn system_roots(mut self) -> Self {
        self.options.trust.system = true;
        self
    }

    /// Sends this client certificate to an endpoint that asks for one. `chain` is a PEM of the certificate and the
    /// intermediate ones, `key` a PEM of its private key (PKCS#8, PKCS#1 or SEC1, not encrypted). `build` refuses it with
    /// an http URL.
    pub fn client_certificate<P, K>(mut self, chain: P, key: K) -> Self
    where
        P: Into<Vec<u8>>,
        K: Into<Vec<u8>>,
    {
        self.options.client_certificate = Some((chain.into(), key.into()));
        self
    }

    /// Uses the proxy that the environment names when the sink is built: the first of `ALL_PROXY`, `HTTPS_PROXY` and
    /// `HTTP_PROXY`, whatever the URL's scheme, except for the hosts in `NO_PROXY`. It has to be an http or https proxy
    /// that supports CONNECT. By default these variables are ignored.
    pub fn proxy_from_env(mut self) -> Self {
        self.options.proxy_from_env = true;
        self
    }

    /// Builds the sink. No connection is made before the first event.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] for the first thing that is wrong. [`BuildError`] has an example.
    pub fn build(self) -> Result<HttpSink<E>, BuildError>
    where
        C: Encode<E> + Send + Sync + 'static,
    {
        let (requests, client) = self.check()?;
        let tls = tls::config(&client.trust, client.client_certificate.as_ref())?;
        Ok(HttpSink::new(Client::new(client, tls), requests))
    }

    /// Checks everything but the certificates.
    pub(super) fn check(self) -> Result<(Requests<E>, ClientOptions), BuildError>
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
            // A caller that sets one of these takes the connection for encrypted.
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
            method,
            timeout: options.timeout,
            idle_connections: options.idle_connections,
            trust: options.trust,
            client_certificate: options.client_certificate,
            proxy,
        };
        Ok((requests, client))
    }
}

impl<E, C> fmt::Debug for HttpSinkBuilder<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpSinkBuilder");
        // An invalid URL is not shown, even in part.
        if let Ok(endpoint) = Endpoint::parse(&self.options.url, self.options.name.as_deref()) {
            debug.field("endpoint", &endpoint);
        }
        debug
            .field("method", &self.options.method)
            .field("timeout", &self.options.timeout)
            .finish_non_exhaustive()
    }
}
