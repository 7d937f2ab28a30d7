use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ureq::http::Method;
use ureq::http::header::AUTHORIZATION;

use super::client::Client;
use super::encode::{Encode, EncodeWith, Json};
use super::endpoint::Endpoint;
use super::sign::Signer;
use super::sink::IdOf;
use super::{BuildError, HttpSink, headers, proxy, tls};

/// How long a request may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Less than this is a mistake: it is over before there is an address to connect to, and ureq, asked to connect
/// in no time, takes all the time there is.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// More than this is a mistake.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

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
    method: String,
    url: String,
    name: Option<String>,
    headers: Vec<(String, String)>,
    bearer: Option<String>,
    content_type: String,
    timeout: Duration,
    encoder: C,
    id_of: Option<IdOf<E>>,
    secrets: Vec<String>,
    roots: Vec<Vec<u8>>,
    client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    proxy_from_env: bool,
    allow_plaintext: bool,
    event: PhantomData<fn(E)>,
}

impl<E> HttpSinkBuilder<E> {
    pub(super) fn new(method: &str, url: String) -> Self {
        Self {
            method: method.to_string(),
            url,
            name: None,
            headers: Vec::new(),
            bearer: None,
            content_type: "application/json".to_string(),
            timeout: TIMEOUT,
            encoder: Json,
            id_of: None,
            secrets: Vec::new(),
            roots: Vec::new(),
            client_certificate: None,
            proxy_from_env: false,
            allow_plaintext: false,
            event: PhantomData,
        }
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
        self.name = Some(name.into());
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
        self.method = method.into();
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
        self.headers.push((name.into(), value.into()));
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
        self.bearer = Some(token.into());
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
        self.allow_plaintext = true;
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
        self.timeout = timeout;
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
        self.content_type = content_type.into();
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
        HttpSinkBuilder {
            method: self.method,
            url: self.url,
            name: self.name,
            headers: self.headers,
            bearer: self.bearer,
            content_type: self.content_type,
            timeout: self.timeout,
            encoder: EncodeWith(f),
            id_of: self.id_of,
            secrets: self.secrets,
            roots: self.roots,
            client_certificate: self.client_certificate,
            proxy_from_env: self.proxy_from_env,
            allow_plaintext: self.allow_plaintext,
            event: PhantomData,
        }
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
        self.secrets.push(secret.into());
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
        self.id_of = Some(Box::new(id_of));
        self
    }

    /// Trusts the authorities in this PEM, and no others; may be called again. Default: those that Mozilla
    /// trusts, as of the `webpki-roots` that this was built with. Not for http.
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
        self.roots.push(pem.into());
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
        self.client_certificate = Some((chain.into(), key.into()));
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
        self.proxy_from_env = true;
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
        let endpoint = Endpoint::parse(&self.url, self.name.as_deref())?;
        let method = match self.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            _ => return Err(BuildError::Method(self.method)),
        };
        if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&self.timeout) {
            return Err(BuildError::Timeout);
        }
        let credentials = endpoint.credentials.clone();
        let headers =
            headers::collect(&self.headers, self.bearer.as_deref(), credentials, &self.content_type)?;

        let proxy = if self.proxy_from_env { proxy::from_env()? } else { None };
        let stays_here =
            endpoint.is_loopback() && proxy.as_ref().is_none_or(|proxy| proxy.is_no_proxy(&endpoint.url));
        let in_the_open = !endpoint.is_encrypted() && !stays_here;
        if in_the_open && headers.contains_key(AUTHORIZATION) && !self.allow_plaintext {
            return Err(BuildError::Plaintext { endpoint: endpoint.name.to_string() });
        }

        if !endpoint.is_encrypted() {
            // Who gives one takes the connection for encrypted.
            if !self.roots.is_empty() {
                return Err(BuildError::RootCertificate { number: 1, reason: "the URL is not https" });
            }
            if self.client_certificate.is_some() {
                return Err(BuildError::ClientCertificate("the URL is not https"));
            }
        }
        let tls = tls::config(&self.roots, self.client_certificate.as_ref())?;

        let signer = match &self.secrets[..] {
            [] => None,
            _ if self.id_of.is_none() => return Err(BuildError::NoWebhookId),
            secrets => Some(Signer::new(secrets)?),
        };
        let encoder = self.encoder;
        let encode = Box::new(move |event: &E| encoder.encode(event));
        let client = Client::new(endpoint, method, headers, self.timeout, tls, proxy);
        Ok(HttpSink::new(client, encode, self.id_of, signer))
    }
}

impl<E, C> fmt::Debug for HttpSinkBuilder<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpSinkBuilder");
        // A URL that is none cannot be shown in part.
        if let Ok(endpoint) = Endpoint::parse(&self.url, self.name.as_deref()) {
            debug.field("endpoint", &endpoint);
        }
        debug.field("method", &self.method).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
