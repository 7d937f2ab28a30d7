/// Why a sink cannot be built. The message shows nothing that may be secret.
///
/// # Examples
///
/// ```
/// use outflow::http::{BuildError, HttpSink};
///
/// let refused = HttpSink::<String>::post("https://hooks.example:99999/s3cr3t").build().unwrap_err();
/// assert!(matches!(refused, BuildError::Url { .. }));
/// assert_eq!(
///     refused.to_string(),
///     "the URL https://... is no endpoint: its port is not between 1 and 65535",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is not one of an http or https endpoint.
    #[error("the URL{} is no endpoint: {reason}", shown(scheme.as_deref()))]
    #[non_exhaustive]
    Url {
        /// The text before `://`, if it looks like a scheme.
        scheme: Option<String>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The method is not POST, PUT or PATCH, which carry an event.
    #[error("the method {0:?} does not carry an event: use POST, PUT or PATCH")]
    Method(String),
    /// A header cannot be sent. Its value is not shown.
    #[error("the header {name:?} cannot be sent: {reason}")]
    #[non_exhaustive]
    Header {
        /// Its name, or the part of it that is valid in a name. At most 64 bytes.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Credentials would be sent unencrypted.
    #[error(
        "credentials would go to {endpoint} in the open: use https, or `allow_plaintext` if that is meant"
    )]
    #[non_exhaustive]
    Plaintext {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The timeout is shorter than a millisecond or longer than a day.
    #[error(
        "a request cannot be given that time: the timeout is to be a millisecond at least and a day at most"
    )]
    Timeout,
    /// No status of an answer is in the range that [`accept`](super::HttpSinkBuilder::accept) was given.
    #[error("no answer would be accepted: none has a status in the range that `accept` was given")]
    Accept,
    /// A signing secret is not valid.
    #[error("signing secret {number} is none: {reason}")]
    #[non_exhaustive]
    Secret {
        /// The number of the secret, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Webhooks are to be signed, and have no id: [`webhook_id`](super::HttpSinkBuilder::webhook_id) is missing.
    #[error("a signed webhook carries an id: say where it comes from with `webhook_id`")]
    NoWebhookId,
    /// A root certificate is not valid.
    #[error("root certificate {number} is none: {reason}")]
    #[non_exhaustive]
    RootCertificate {
        /// The number of the call of `root_certificate`, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificates that the operating system trusts cannot be used.
    #[error("the roots of the operating system cannot be used: {0}")]
    SystemRoots(&'static str),
    /// The certificates that Mozilla trusts cannot be used.
    #[error("the public roots cannot be used: {0}")]
    PublicRoots(&'static str),
    /// The client certificate or its key cannot be used.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(&'static str),
    /// An asynchronous sink was built outside of a tokio runtime.
    #[cfg(feature = "http-async")]
    #[error("an asynchronous sink belongs to a tokio runtime: build it there, or within `Handle::enter`")]
    NoRuntime,
    /// The proxy that the environment names cannot be used.
    #[error("the proxy that the environment asks for cannot be used: {0}")]
    Proxy(&'static str),
}

fn shown(scheme: Option<&str>) -> String {
    scheme.map(|scheme| format!(" {scheme}://...")).unwrap_or_default()
}
