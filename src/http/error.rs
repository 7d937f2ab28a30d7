use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::retry::RetryAfter;

/// Why an event was not delivered.
///
/// It prints the endpoint's name, and nothing of the rest of its URL, of the headers, of the signing keys or
/// of the answer; an error of the encoder's own is shown as it is.
///
/// # Examples
///
/// ```
/// use outflow::http::{HttpError, HttpSink};
/// use outflow::Sink;
///
/// // Nobody listens there.
/// let sink = HttpSink::post("http://127.0.0.1:1/s3cr3t").name("audit").build()?;
/// let refused = sink.write("push").unwrap_err();
///
/// let error = refused.error().unwrap();
/// assert!(matches!(error, HttpError::Transport { .. }));
/// assert!(error.is_transient());
/// assert_eq!(error.endpoint(), "audit");
/// # Ok::<(), outflow::http::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The event could not be made a request of: the encoder failed, or the webhook's id is none, or a header, a
    /// bearer or a URL that was made for it. Nothing was delivered.
    #[non_exhaustive]
    Encode {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// What the encoder said, or what is wrong with what was made for the event.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The endpoint answered, and not with a status that is accepted: 2xx, unless told otherwise.
    #[non_exhaustive]
    Status {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The status.
        code: u16,
        /// When to come back, as the endpoint asks.
        retry_after: Option<Duration>,
        /// The host that a 3xx points to, without the rest of where.
        redirect: Option<Arc<str>>,
    },
    /// The request took longer than it may.
    #[non_exhaustive]
    Timeout {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// How long it may take.
        timeout: Duration,
    },
    /// The request did not get through, or no answer came back that could be read.
    #[non_exhaustive]
    Transport {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// Where it failed.
        failure: TransportFailure,
        /// What is known of it beyond that; nothing that came from the endpoint.
        detail: Cow<'static, str>,
    },
}

/// Where a request failed that got no answer, or none that could be read.
///
/// # Examples
///
/// ```
/// use outflow::Sink;
/// use outflow::http::{HttpError, HttpSink, TransportFailure};
///
/// // Nobody listens there.
/// let sink = HttpSink::post("http://127.0.0.1:1/").build()?;
/// let refused = sink.write("push").unwrap_err();
/// assert!(matches!(
///     refused.error(),
///     Some(HttpError::Transport { failure: TransportFailure::Connect, .. })
/// ));
/// # Ok::<(), outflow::http::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportFailure {
    /// The host's name has no address.
    Resolve,
    /// No connection could be made.
    Connect,
    /// The proxy did not make one: it is dead, does not answer, or refused.
    Proxy,
    /// No encryption could be agreed on, or the certificate is not to be trusted.
    Tls,
    /// The connection broke off.
    Connection,
    /// What came back cannot be read: it is not HTTP/1.1, or there was no status in its first 16 KiB, [interim
    /// answers](super#odd-endpoints) included. The endpoint may have taken the event.
    Protocol,
    /// Something else, as where no thread can be started to look up the host's name.
    Other,
}

impl HttpError {
    /// Whether the same request may succeed later: timeouts, transport errors, and the statuses 408, 425, 429
    /// and 5xx. The others will fail again, so that trying again blocks the queue behind the event for
    /// nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Sink;
    /// use outflow::http::HttpSink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["503 Service Unavailable"]);
    ///
    /// let sink = HttpSink::post(url).build()?; // An endpoint that answers 503 Service Unavailable.
    /// let refused = sink.write("push").unwrap_err();
    /// assert!(refused.error().unwrap().is_transient());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Encode { .. } => false,
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500..=599),
            Self::Timeout { .. } | Self::Transport { .. } => true,
        }
    }

    /// Whether the endpoint said that it wants nothing any more: 410.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Sink;
    /// use outflow::http::HttpSink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["410 Gone"]);
    ///
    /// let sink = HttpSink::post(url).build()?; // An endpoint that answers 410 Gone.
    /// let refused = sink.write("push").unwrap_err();
    /// assert!(refused.error().unwrap().is_gone());
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn is_gone(&self) -> bool {
        self.status() == Some(410)
    }

    /// The status, if there was an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Sink;
    /// use outflow::http::HttpSink;
    /// # let answering = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/answering.rs"));
    /// # let url = answering(&["404 Not Found"]);
    ///
    /// let sink = HttpSink::post(url).build()?; // An endpoint that answers 404 Not Found.
    /// let refused = sink.write("push").unwrap_err();
    /// assert_eq!(refused.error().unwrap().status(), Some(404));
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The endpoint's name: the one given, else scheme, host and port.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::Sink;
    /// use outflow::http::HttpSink;
    ///
    /// // Nobody listens there.
    /// let sink = HttpSink::post("http://127.0.0.1:1/").build()?;
    /// let refused = sink.write("push").unwrap_err();
    /// assert_eq!(refused.error().unwrap().endpoint(), "http://127.0.0.1:1");
    /// # Ok::<(), outflow::http::BuildError>(())
    /// ```
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
