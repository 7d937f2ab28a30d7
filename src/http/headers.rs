use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::BuildError;
use super::client::WRITE_BUFFER;

/// Many servers stop at 100. Far from where a `HeaderMap` panics, with those that are added later.
const MOST_HEADERS: usize = 1_000;

/// How much of a name is shown.
const SHOWN: usize = 64;

/// Those that say how a request is framed, which is the client's business, and those that have a method.
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

/// The headers of every request. All values are marked as secret.
pub(super) fn collect(
    headers: &[(String, String)],
    bearer: Option<&str>,
    credentials: Option<HeaderValue>,
    content_type: &str,
) -> Result<HeaderMap, BuildError> {
    let mut collected = HeaderMap::new();
    collected.insert(CONTENT_TYPE, value("content-type", content_type)?);
    for (number, (name, text)) in (1..).zip(headers) {
        let parsed: HeaderName =
            name.parse().map_err(|_| refuse(shown(name), "that is no name of a header"))?;
        if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| parsed == *reserved) {
            return Err(refuse(parsed.as_str(), reason));
        }
        if number > MOST_HEADERS {
            return Err(refuse(parsed.as_str(), "a request has at most 1000 of them"));
        }
        let mut value = value(parsed.as_str(), text)?;
        value.set_sensitive(true);
        collected.append(parsed, value);
    }
    let bearer = match bearer {
        Some(token) if !is_token(token) => {
            return Err(refuse("authorization", "the bearer has a character that RFC 6750 does not allow"));
        }
        Some(token) => {
            let mut value = value("authorization", &format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    for value in [bearer, credentials].into_iter().flatten() {
        collected.append(AUTHORIZATION, value);
    }
    for (name, reason) in [
        (AUTHORIZATION, "it is given more than once: as a header, a bearer or in the URL"),
        (HOST, "it is given more than once"),
    ] {
        if collected.get_all(&name).iter().count() > 1 {
            return Err(refuse(name.as_str(), reason));
        }
    }
    match collected.iter().find(|(name, value)| !fits(name.as_str(), value.len())) {
        Some((name, _)) => Err(refuse(name.as_str(), "its line does not fit in 16 KiB")),
        None => Ok(collected),
    }
}

/// Whether the line of a header is one that can be written, with the empty one that may follow.
pub(super) fn fits(name: &str, value: usize) -> bool {
    name.len() + ": ".len() + value + "\r\n\r\n".len() <= WRITE_BUFFER
}

fn value(name: &str, text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text)
        .map_err(|_| refuse(name, "its value has a character that is not visible ASCII"))
}

fn refuse(name: &str, reason: &'static str) -> BuildError {
    // Names are ASCII, and so is what `shown` leaves.
    BuildError::Header { name: name[..name.len().min(SHOWN)].to_string(), reason }
}

/// A name as far as it could be one: somebody may have put name and value into one.
fn shown(name: &str) -> &str {
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)));
    &name[..end.unwrap_or(name.len())]
}

/// `b64token` of RFC 6750.
fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
