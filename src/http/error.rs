use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::retry::RetryAfter;

/// Why an event was not delivered.
///
/// The message shows the endpoint's name, and nothing else of its URL, of the headers, of the signing keys or of the
/// answer. An error of the encoder is shown as it is.
///
/// # Examples
///
/// ```
/// use outflow::http::{HttpError, HttpSink, TransportFailure};
/// use outflow::Sink;
///
/// // No server listens there.
/// let sink = HttpSink::post("http://127.0.0.1:1/s3cr3t").name("audit").build()?;
/// let refused = sink.write("push").unwrap_err();
///
/// let error = refused.error().unwrap();
/// assert!(matches!(error, HttpError::Transport { failure: TransportFailure::Connect, .. }));
/// assert!(error.is_transient());
/// assert_eq!((error.endpoint(), error.status()), ("audit", None));
/// # Ok::<(), outflow::http::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// No request could be made of the event: the encoder failed, or the webhook id, a header, the bearer or the URL
    /// that was made for it is not valid. Nothing was sent.
    #[non_exhaustive]
    Encode {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The encoder's error, or what is wrong with the value that was made for the event.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The endpoint answered with a status that is not accepted. By default 2xx is.
    #[non_exhaustive]
    Status {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The status.
        code: u16,
        /// How long to wait before the next attempt, if the endpoint said so.
        retry_after: Option<Duration>,
        /// The host that a 3xx points to. The rest of the URL is left out.
        redirect: Option<Arc<str>>,
    },
    /// The request took longer than its timeout.
    #[non_exhaustive]
    Timeout {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The timeout.
        timeout: Duration,
    },
    /// The request could not be sent, or no answer came that could be read.
    #[non_exhaustive]
    Transport {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// Where it failed.
        failure: TransportFailure,
        /// More about the cause, and empty if nothing more is known. It has nothing in it that came from the endpoint.
        detail: Cow<'static, str>,
    },
}

/// The step at which a request failed that got no answer, or none that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportFailure {
    /// The host's name has no address.
    Resolve,
    /// No connection could be made.
    Connect,
    /// The proxy made no connection: it cannot be reached, does not answer, or refused.
    Proxy,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The connection broke off.
    Connection,
    /// The answer cannot be read: it is not HTTP/1.1, or it has no status in its first 16 KiB, [interim
    /// answers](super#odd-endpoints) included. The endpoint may have taken the event.
    Protocol,
    /// Another cause: no thread could be started to look up the host's name, for example.
    Other,
}

impl HttpError {
    /// Whether the same request may succeed later: after a timeout, a transport error, or one of the statuses 408, 425,
    /// 429 and 5xx. After any other error it will fail again, and retrying it would only block the events behind it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Encode { .. } => false,
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..=599),
            Self::Timeout { .. } | Self::Transport { .. } => true,
        }
    }

    /// Whether the status is 410, Gone: the endpoint wants no more events.
    pub fn is_gone(&self) -> bool {
        self.status() == Some(410)
    }

    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The endpoint's name: the one that was set, else scheme, host and port.
    pub fn endpoint(&self) -> &str {
        match self {
            Self::Encode { endpoint, .. }
            | Self::Status { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Transport { endpoint, .. } => endpoint,
        }
    }
}

impl RetryAfter for HttpError {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode { endpoint, source } => {
                write!(f, "the event cannot be encoded for {endpoint}: {source}")
            }
            Self::Status { endpoint, code, retry_after, redirect } => {
                write!(f, "{endpoint} answered {code}")?;
                if let Some(host) = redirect {
                    write!(f, ", a redirect to {host}, which is not followed: give the new URL")?;
                }
                if let Some(wait) = retry_after {
                    write!(f, ", come back in {wait:?}")?;
                }
                Ok(())
            }
            Self::Timeout { endpoint, timeout } => {
                write!(f, "the request to {endpoint} was not answered within {timeout:?}")
            }
            Self::Transport { endpoint, failure, detail } => {
                write!(f, "the request to {endpoint} failed: {failure}")?;
                if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
            }
        }
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl fmt::Display for TransportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the host's name has no address",
            Self::Connect => "no connection",
            Self::Proxy => "the proxy made no connection",
            Self::Tls => "no encryption",
            Self::Connection => "the connection broke off",
            Self::Protocol => "the answer cannot be read",
            Self::Other => "the client failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_transient_and_the_rest_is_not() {
        let transient = |code| {
            HttpError::Status { endpoint: "a".into(), code, retry_after: None, redirect: None }.is_transient()
        };
        let expected: Vec<u16> = [408, 425, 429].into_iter().chain(500..600).collect();
        let found: Vec<u16> = (100..1000).filter(|code| transient(*code)).collect();
        assert_eq!(found, expected);
    }
}
