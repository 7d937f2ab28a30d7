use std::time::Duration;

use http::Method;
use ureq::Proxy;

use super::trust::Trust;

// At most 64 KiB of an answer are read: its head, its body, and what is left in a buffer.
pub(super) const LONGEST_BODY: usize = 24 * 1024;

/// How long reading the body of an answer may take. It is read only so that the connection can be used again.
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// How long an idle connection is kept. Most servers and load balancers keep one for longer.
pub(super) const IDLE: Duration = Duration::from_secs(15);

pub(super) const USER_AGENT: &str = concat!("outflow/", env!("CARGO_PKG_VERSION"));

/// The options of a client, the same for all requests, and for the blocking client as for the asynchronous one.
pub(super) struct ClientOptions {
    pub(super) method: Method,
    pub(super) timeout: Duration,
    /// How many idle connections are kept.
    pub(super) idle_connections: usize,
    pub(super) trust: Trust,
    /// The chain and its key, in PEM.
    pub(super) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) proxy: Option<Proxy>,
}
