use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use ureq::Proxy;

use super::BuildError;
use super::endpoint::Endpoint;
use super::headers::{self, HeaderFault};

pub(super) type TextOf<E> = Box<dyn Fn(&E) -> String + Send + Sync>;

/// The parts of a request that closures make for each event.
pub(super) struct PerEvent<E> {
    pub(super) url: Option<TextOf<E>>,
    pub(super) bearer: Option<TextOf<E>>,
    pub(super) headers: Vec<(HeaderName, TextOf<E>)>,
    /// The rules for the URL of an event.
    pub(super) rules: Rules,
}

/// The rules by which the sink's own URL was checked when it was built, for the URLs of events.
pub(super) struct Rules {
    pub(super) name: Option<String>,
    pub(super) encrypted: bool,
    pub(super) allow_plaintext: bool,
    pub(super) proxy: Option<Proxy>,
}

/// Why a value that was made for an event cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Header(#[from] HeaderFault),
    #[error(transparent)]
    Url(#[from] BuildError),
    #[error("its URL is of another scheme than the sink's own")]
    Scheme,
}

impl<E> PerEvent<E> {
    /// The endpoint of an event; `None` for the sink's own.
    pub(super) fn endpoint(&self, event: &E) -> Result<Option<Endpoint>, Unfit> {
        let Some(url_of) = &self.url else { return Ok(None) };
        let endpoint = Endpoint::parse(&url_of(event), self.rules.name.as_deref())?;
        if endpoint.is_encrypted() != self.rules.encrypted {
            return Err(Unfit::Scheme);
        }
        Ok(Some(endpoint))
    }

    /// Adds an event's headers, and the credentials of its URL, to those that every request has.
    pub(super) fn add_headers(
        &self,
        event: &E,
        endpoint: Option<&Endpoint>,
        headers: &mut HeaderMap,
    ) -> Result<(), Unfit> {
        for (name, text_of) in &self.headers {
            headers.append(name, headers::secret(name.as_str(), &text_of(event))?);
        }
        if let Some(token_of) = &self.bearer {
            headers.append(AUTHORIZATION, headers::bearer(&token_of(event))?);
        }
        let Some(endpoint) = endpoint else { return Ok(()) };
        if let Some(credentials) = &endpoint.credentials {
            headers.append(AUTHORIZATION, credentials.clone());
        }
        headers::check_once(headers)?;
        self.rules.check(endpoint, headers.contains_key(AUTHORIZATION))?;
        Ok(())
    }
}

impl Rules {
    /// Refuses credentials that would be sent unencrypted, unless that is allowed.
    pub(super) fn check(&self, endpoint: &Endpoint, credentials: bool) -> Result<(), BuildError> {
        let proxied = self.proxy.as_ref().is_some_and(|proxy| !proxy.is_no_proxy(&endpoint.url));
        let can_be_read = !endpoint.is_encrypted() && (proxied || !endpoint.is_loopback());
        if can_be_read && credentials && !self.allow_plaintext {
            return Err(BuildError::Plaintext { endpoint: endpoint.name.to_string() });
        }
        Ok(())
    }
}
