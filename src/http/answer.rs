use std::sync::Arc;
use std::time::Duration;

use super::HttpError;
use super::endpoint::Endpoint;

/// What an endpoint said.
pub(super) struct Answer {
    pub(super) status: u16,
    /// When to come back.
    pub(super) retry_after: Option<Duration>,
    /// The host that a 3xx points to.
    pub(super) redirect: Option<Arc<str>>,
}

impl Answer {
    /// The failure that it is if its status is not accepted.
    pub(super) fn into_failure(self, endpoint: &Endpoint) -> HttpError {
        let Self { status, retry_after, redirect } = self;
        HttpError::Status { endpoint: Arc::clone(&endpoint.name), code: status, retry_after, redirect }
    }
}
