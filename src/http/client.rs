use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, Proxy};

use super::endpoint::Endpoint;
use super::{HttpError, TransportFailure, redirect, retry_after};

// Of an answer at most 64 KiB are read: its head, its body, and what the buffer has taken beyond.
const LONGEST_HEAD: usize = 16 * 1024;
const LONG_HEAD: &str =
    "its head is longer than 16 KiB, or that much came at once with an interim answer (1xx)";
const LONGEST_BODY: u64 = 24 * 1024;
const READ_BUFFER: usize = 24 * 1024;

/// How much is handed to the socket at once. The time is looked at in between. ureq puts each line of a head
/// into it in one piece, so that none can be longer.
pub(super) const WRITE_BUFFER: usize = 16 * 1024;

/// How long the body of an answer may take. It is read only so that the connection serves the next request.
const DRAIN: Duration = Duration::from_secs(1);

/// How many connections to the endpoint are kept: as many writers find one of their own.
const IDLE_CONNECTIONS: usize = 16;

/// Makes requests to one endpoint, and tells no secret of what went wrong.
pub(super) struct Client {
    agent: Agent,
    method: Method,
    headers: HeaderMap,
    timeout: Duration,
    pub(super) endpoint: Endpoint,
}

impl Client {
    pub(super) fn new(
        endpoint: Endpoint,
        method: Method,
        headers: HeaderMap,
        timeout: Duration,
        tls: TlsConfig,
        proxy: Option<Proxy>,
    ) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("outflow/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .tls_config(tls)
            .timeout_global(Some(timeout))
            .timeout_recv_body(Some(DRAIN))
            .max_response_header_size(LONGEST_HEAD)
            .input_buffer_size(READ_BUFFER)
            .output_buffer_size(WRITE_BUFFER)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .build();
        Self { agent: config.into(), method, headers, timeout, endpoint }
    }

    pub(super) fn send(
        &self,
        body: &[u8],
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<(), HttpError> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.endpoint.url.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().extend(headers);

        let mut response = self.agent.run(request).map_err(|error| self.failed(error))?;
        // What comes after the head changes nothing: a 2xx is the delivery, and an endpoint that stalls after
        // it has the event.
        drain(&mut response);
        if response.status().is_success() {
            return Ok(());
        }
        let redirect = response.status().is_redirection();
        let redirect = redirect.then(|| redirect::host(response.headers(), self.endpoint.host())).flatten();
        Err(HttpError::Status {
            endpoint: Arc::clone(&self.endpoint.name),
            code: response.status().as_u16(),
            retry_after: retry_after::read(response.headers()),
            redirect,
        })
    }

    /// Says what happened without the texts of ureq's errors: some have the URL in them, others what the
    /// endpoint sent, which may be what it was sent.
    fn failed(&self, error: ureq::Error) -> HttpError {
        let endpoint = Arc::clone(&self.endpoint.name);
        let (failure, detail) = match error {
            ureq::Error::Timeout(_) => return HttpError::Timeout { endpoint, timeout: self.timeout },
            ureq::Error::Io(error) => of_io(&error),
            ureq::Error::Rustls(error) => (TransportFailure::Tls, of_tls(&error).into()),
            ureq::Error::Tls(_) | ureq::Error::TlsRequired => (TransportFailure::Tls, "".into()),
            ureq::Error::HostNotFound => (TransportFailure::Resolve, "".into()),
            ureq::Error::ConnectionFailed => (TransportFailure::Connect, "".into()),
            ureq::Error::ConnectProxyFailed(_) => (TransportFailure::Proxy, "".into()),
            ureq::Error::Protocol(error) => match of_protocol(&error) {
                Side::Request(reason) => return unsendable(endpoint, reason),
                Side::Answer(detail) => (TransportFailure::Protocol, detail.into()),
            },
            ureq::Error::LargeResponseHeader(..) => (TransportFailure::Protocol, LONG_HEAD.into()),
            ureq::Error::BadUri(_) => return unsendable(endpoint, "its URL has no host, or no such scheme"),
            _ => (TransportFailure::Other, "".into()),
        };
        HttpError::Transport { endpoint, failure, detail }
    }
}

/// A request that ureq does not write, and never will.
#[derive(Debug, thiserror::Error)]
#[error("the client cannot write its request: {0}")]
struct Unsendable(&'static str);

fn unsendable(endpoint: Arc<str>, reason: &'static str) -> HttpError {
    HttpError::Encode { endpoint, source: Arc::new(Unsendable(reason)) }
}

/// Which of the two is not as HTTP/1.1 has it, and why.
enum Side {
    Request(&'static str),
    Answer(&'static str),
}

/// ureq does not export the type of these errors, so that they go by the names of its variants.
///
/// What `build` lets through has none that is the request's. Should one come nevertheless, it comes each time.
fn of_protocol(error: &impl fmt::Debug) -> Side {
    let variant = format!("{error:?}");
    match variant.split('(').next().unwrap_or_default() {
        "OutputOverflow" => Side::Request("a line of its head does not fit in 16 KiB"),
        "TooManyHostHeaders" => Side::Request("it has more than one Host"),
        "BadHeader" | "BadHostHeader" | "BadAuthorizationHeader" => {
            Side::Request("a header has a character that is not visible ASCII")
        }
        "MethodVersionMismatch" | "BodyNotAllowed" => Side::Request("its method carries no event"),
        "HttpParseFail" | "UnsupportedVersion" => Side::Answer("it is not HTTP/1.1"),
        "HttpParseTooManyHeaders" => {
            Side::Answer("its head has more than 128 headers, or more than 20 if it is a proxy's")
        }
        "HeadersWith100" => Side::Answer("it is a 100 Continue with headers"),
        "BadContentLengthHeader" | "TooManyContentLengthHeaders" => {
            Side::Answer("its content-length is no number, or is several")
        }
        _ => Side::Answer(""),
    }
}

fn drain(response: &mut Response<Body>) {
    let _ = io::copy(&mut response.body_mut().as_reader().take(LONGEST_BODY), &mut io::sink());
}

fn of_io(error: &io::Error) -> (TransportFailure, Cow<'static, str>) {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return (TransportFailure::Tls, of_tls(error).into());
    }
    let failure = match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => TransportFailure::Connect,
        // The standard library gives what the resolver says no kind, only this text.
        _ if error.to_string().starts_with("failed to lookup address") => {
            return (TransportFailure::Resolve, "".into());
        }
        _ => TransportFailure::Connection,
    };
    // The text of the operating system, else that of the kind: nothing that somebody put together.
    let detail = match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    };
    (failure, detail.into())
}

fn of_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => {
                "the certificate is not of an authority that is trusted here: name it with `root_certificate`"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            CertificateError::BadSignature => "the certificate is not signed by the authority that it names",
            CertificateError::Revoked => "the certificate was revoked",
            _ => "the certificate is not valid",
        },
        rustls::Error::AlertReceived(_) => {
            "the endpoint ended the handshake, as one that wants a client certificate does"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::http::tls;

    /// What a client says that got past `build` with what `build` refuses. `HERE` is where somebody listens.
    fn refused(method: &str, url: &str, headers: &[(&'static str, &[u8])]) -> HttpError {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let mut endpoint = Endpoint::parse("http://hooks.example/", Some("hooks")).unwrap();
        endpoint.url = url.replace("HERE", &here).parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let tls = tls::config(&[], None).unwrap();
        let client = Client::new(endpoint, method.parse().unwrap(), map, Duration::from_secs(10), tls, None);
        client.send(b"event", []).unwrap_err()
    }

    #[test]
    fn a_request_that_cannot_be_written_fails_for_good_and_says_why() {
        let long = "a".repeat(20_000);
        for (error, reason) in [
            (refused("POST", &format!("http://HERE/{long}"), &[]), "does not fit in 16 KiB"),
            (refused("POST", "http://HERE/", &[("x-a", long.as_bytes())]), "does not fit in 16 KiB"),
            (refused("POST", "http://HERE/", &[("host", b"a"), ("host", b"b")]), "more than one Host"),
            (refused("POST", "http://HERE/", &[("host", b"\xff")]), "not visible ASCII"),
            (refused("POST", "http://HERE/", &[("authorization", b"\xff")]), "not visible ASCII"),
            (refused("PROPFIND", "http://HERE/", &[]), "its method"),
            (refused("POST", "/", &[]), "its URL"),
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "the event cannot be encoded for hooks: the client cannot write its request: "
                ),
                "{text}"
            );
            assert!(text.contains(reason), "{text}");
            assert!(matches!(error, HttpError::Encode { .. }) && !error.is_transient(), "{error:?}");
        }
    }
}
