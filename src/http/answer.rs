use std::sync::Arc;
use std::time::Duration;

use super::HttpError;
use super::endpoint::Endpoint;

/// The answer of an endpoint.
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long to wait before the next attempt, if the endpoint said so.
    pub(super) retry_after: Option<Duration>,
    /// The host of a redirect.
    pub(super) redirect: Option<Arc<str>>,
}

impl Answer {
    /// The error of a write whose answer has a status that is not accepted.
    pub(super) fn into_failure(self, endpoint: &Endpoint) -> HttpError {
        let Self { status, retry_after, redirect } = self;
        HttpError::Status { endpoint: Arc::clone(&endpoint.name), code: status, retry_after, redirect }
    }
}
