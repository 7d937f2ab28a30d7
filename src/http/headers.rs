use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::BuildError;

/// The longest line of a head that a client can write, in bytes.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

/// The most headers that may be set. Many servers accept only 100. A `HeaderMap` panics at far more.
const MOST_HEADERS: usize = 1_000;

/// How many bytes of a name are shown.
const SHOWN: usize = 64;

const TOO_LONG: &str = "its line does not fit in 16 KiB";

/// Headers that frame a request, which the client sets, and headers that a method of the builder sets.
const RESERVED: [(&str, &str); 11] = [
    ("content-length", "the client sets it"),
    ("transfer-encoding", "the client sets it"),
    ("connection", "the client sets it"),
    ("te", "the client sets it"),
    ("trailer", "the client sets it"),
    ("upgrade", "the client sets it"),
    ("expect", "the client would wait for an answer before the body"),
    ("content-type", "`content_type` sets it"),
    ("webhook-id", "`webhook_id` sets it"),
    ("webhook-timestamp", "`sign_with` sets it"),
    ("webhook-signature", "`sign_with` sets it"),
];

/// The headers that a sink was given.
pub(super) struct Given<'a> {
    pub(super) content_type: &'a str,
    /// For every request.
    pub(super) headers: &'a [(String, String)],
    pub(super) bearer: Option<&'a str>,
    pub(super) credentials: Option<HeaderValue>,
    /// The names of those that are made for each event.
    pub(super) per_event: &'a [String],
    /// Whether a bearer is made for each event.
    pub(super) bearer_per_event: bool,
}

/// Why a header cannot be sent. Its value is not shown.
#[derive(Debug, thiserror::Error)]
#[error("the header {name:?} cannot be sent: {reason}")]
pub(super) struct HeaderFault {
    name: String,
    reason: &'static str,
}

impl From<HeaderFault> for BuildError {
    fn from(HeaderFault { name, reason }: HeaderFault) -> Self {
        Self::Header { name, reason }
    }
}

impl Given<'_> {
    /// The headers of every request, and the names of those that are made for each event, in order. All values are
    /// marked as secret.
    pub(super) fn collect(self) -> Result<(HeaderMap, Vec<HeaderName>), HeaderFault> {
        let mut collected = HeaderMap::new();
        collected.insert(CONTENT_TYPE, value("content-type", self.content_type)?);
        let mut count = 0;
        for (name, text) in self.headers {
            let name = named(name, &mut count)?;
            let value = secret(name.as_str(), text)?;
            collected.append(name, value);
        }
        if let Some(token) = self.bearer {
            collected.append(AUTHORIZATION, bearer(token)?);
        }
        if let Some(credentials) = self.credentials {
            if !fits("authorization", credentials.len()) {
                return Err(refuse("authorization", TOO_LONG));
            }
            collected.append(AUTHORIZATION, credentials);
        }
        let per_event =
            self.per_event.iter().map(|name| named(name, &mut count)).collect::<Result<Vec<_>, _>>()?;

        // With as many values for each name as a request will have.
        let mut all = collected.clone();
        let bearer = self.bearer_per_event.then_some(AUTHORIZATION);
        for name in per_event.iter().cloned().chain(bearer) {
            all.append(name, HeaderValue::from_static(""));
        }
        check_once(&all)?;
        Ok((collected, per_event))
    }
}

/// The name of the next header, if it may be sent.
fn named(name: &str, count: &mut usize) -> Result<HeaderName, HeaderFault> {
    let parsed: HeaderName = name.parse().map_err(|_| refuse(shown(name), "that is no name of a header"))?;
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| parsed == *reserved) {
        return Err(refuse(parsed.as_str(), reason));
    }
    *count += 1;
    if *count > MOST_HEADERS {
        return Err(refuse(parsed.as_str(), "a request has at most 1000 of them"));
    }
    Ok(parsed)
}

/// The value of a header, marked as secret.
pub(super) fn secret(name: &str, text: &str) -> Result<HeaderValue, HeaderFault> {
    let mut value = value(name, text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The value of `Authorization` with a bearer token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, HeaderFault> {
    if !is_token(token) {
        return Err(refuse("authorization", "the bearer has a character that RFC 6750 does not allow"));
    }
    secret("authorization", &format!("Bearer {token}"))
}

/// Refuses several values of a header that a request has only once.
pub(super) fn check_once(headers: &HeaderMap) -> Result<(), HeaderFault> {
    for (name, reason) in [
        (AUTHORIZATION, "it is given more than once: as a header, a bearer or in the URL"),
        (HOST, "it is given more than once"),
    ] {
        if headers.get_all(&name).iter().count() > 1 {
            return Err(refuse(name.as_str(), reason));
        }
    }
    Ok(())
}

/// Whether the line of a header, and the empty line that may follow it, fit in the buffer.
pub(super) fn fits(name: &str, value: usize) -> bool {
    name.len() + ": ".len() + value + "\r\n\r\n".len() <= LONGEST_LINE
}

fn value(name: &str, text: &str) -> Result<HeaderValue, HeaderFault> {
    if !fits(name, text.len()) {
        return Err(refuse(name, TOO_LONG));
    }
    HeaderValue::from_str(text)
        .map_err(|_| refuse(name, "its value has a character that is not visible ASCII"))
}

fn refuse(name: &str, reason: &'static str) -> HeaderFault {
    // Names, and what `shown` returns, are ASCII, so that any byte is a boundary.
    HeaderFault { name: name[..name.len().min(SHOWN)].to_string(), reason }
}

/// The part of a name that is valid in one. A caller may have put name and value together.
fn shown(name: &str) -> &str {
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    &name[..end.unwrap_or(name.len())]
}

/// `b64token` of RFC 6750.
fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
