use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::endpoint::Endpoint;
use super::head::Head;
use super::{HttpError, redirect, retry_after};

/// The answer of an endpoint.
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long to wait before the next attempt, if the endpoint said so.
    pub(super) retry_after: Option<Duration>,
    /// The host of a redirect.
    pub(super) redirect: Option<Arc<str>>,
}

impl Answer {
    pub(super) fn new(endpoint: &Endpoint, status: u16, headers: &HeaderMap) -> Self {
        let redirect = (300..400).contains(&status);
        Self {
            status,
            retry_after: retry_after::read(headers),
            redirect: redirect.then(|| redirect::host(headers, endpoint.host())).flatten(),
        }
    }

    /// The answer with a head that did not pass through the client.
    pub(super) fn of_head(endpoint: &Endpoint, head: Head) -> Self {
        let header =
            |(name, value): (_, String)| Some((HeaderName::from_static(name), value.try_into().ok()?));
        Self::new(endpoint, head.status, &head.kept.into_iter().filter_map(header).collect())
    }

    /// The error of a write whose answer has a status that is not accepted.
    pub(super) fn into_failure(self, endpoint: &Endpoint) -> HttpError {
        let Self { status, retry_after, redirect } = self;
        HttpError::Status { endpoint: Arc::clone(&endpoint.name), code: status, retry_after, redirect }
    }
}
