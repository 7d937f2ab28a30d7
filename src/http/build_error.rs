/// What is wrong with a sink that was to be built, named without what may be secret in it.
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
    /// The URL.
    #[error("the URL{} is no endpoint: {reason}", shown(scheme.as_deref()))]
    #[non_exhaustive]
    Url {
        /// What stands before `://`, if that looks like a scheme.
        scheme: Option<String>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The method: only POST, PUT and PATCH carry an event.
    #[error("the method {0:?} does not carry an event: use POST, PUT or PATCH")]
    Method(String),
    /// A header. Its value is not shown.
    #[error("the header {name:?} cannot be sent: {reason}")]
    #[non_exhaustive]
    Header {
        /// Its name; if that is none, as far as it could be one. At most 64 bytes of it.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Credentials would go over the network in the open.
    #[error(
        "credentials would go to {endpoint} in the open: use https, or `allow_plaintext` if that is meant"
    )]
    #[non_exhaustive]
    Plaintext {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The timeout.
    #[error(
        "a request cannot be given that time: the timeout is to be a millisecond at least and a day at most"
    )]
    Timeout,
    /// The statuses that are accepted.
    #[error("no answer would be accepted: none has a status in the range that `accept` was given")]
    Accept,
    /// A signing secret.
    #[error("signing secret {number} is none: {reason}")]
    #[non_exhaustive]
    Secret {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Signed webhooks carry an id, and nothing says where it comes from.
    #[error("a signed webhook carries an id: say where it comes from with `webhook_id`")]
    NoWebhookId,
    /// A root certificate.
    #[error("root certificate {number} is none: {reason}")]
    #[non_exhaustive]
    RootCertificate {
        /// Which call of `root_certificate`, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificates that the operating system trusts.
    #[error("the roots of the operating system cannot be used: {0}")]
    SystemRoots(&'static str),
    /// The certificates that Mozilla trusts.
    #[error("the public roots cannot be used: {0}")]
    PublicRoots(&'static str),
    /// The client certificate or its key.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(&'static str),
    /// The proxy that the environment asks for.
    #[error("the proxy that the environment asks for cannot be used: {0}")]
    Proxy(&'static str),
}

fn shown(scheme: Option<&str>) -> String {
    scheme.map(|scheme| format!(" {scheme}://...")).unwrap_or_default()
}
