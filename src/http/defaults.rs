use std::mem;

use http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client_options;
use super::endpoint::Endpoint;
use super::request::Requests;

/// The headers that a client sets, in whose place a sink may set others. ureq has its own.
pub(super) struct Defaults {
    /// Whether the sink sets no `Host`.
    host: bool,
}

impl Defaults {
    /// Adds them to those of every request, and makes room for the length of the body.
    pub(super) fn add_to<E>(requests: &mut Requests<E>) -> Self {
        let made = |name: HeaderName| requests.per_event.headers.iter().any(|(other, _)| *other == name);
        let given = mem::take(&mut requests.headers);
        let defaults = Self { host: !given.contains_key(HOST) && !made(HOST) };
        let mut headers = HeaderMap::new();
        if let Some(host) = host(&requests.endpoint).filter(|_| defaults.host) {
            headers.insert(HOST, host);
        }
        if !made(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(client_options::USER_AGENT));
        }
        if !made(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        headers.extend(given);
        requests.headers = headers;
        defaults
    }

    /// Sets those of a request, which goes to `endpoint` and not to the sink's own if that is given.
    pub(super) fn set(&self, headers: &mut HeaderMap, endpoint: Option<&Endpoint>, length: usize) {
        headers.insert(CONTENT_LENGTH, length.into());
        if let Some(host) = endpoint.filter(|_| self.host).and_then(host) {
            headers.insert(HOST, host);
        }
    }
}

fn host(endpoint: &Endpoint) -> Option<HeaderValue> {
    HeaderValue::from_str(endpoint.url.authority()?.as_str()).ok()
}
