use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::BuildError;

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
    for (name, text) in headers {
        let parsed: HeaderName =
            name.parse().map_err(|_| refuse(shown(name), "that is no name of a header"))?;
        if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| parsed == *reserved) {
            return Err(refuse(parsed.as_str(), reason));
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
    if collected.get_all(AUTHORIZATION).iter().count() > 1 {
        return Err(refuse(
            "authorization",
            "it is given more than once: as a header, a bearer or in the URL",
        ));
    }
    Ok(collected)
}

fn value(name: &str, text: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(text)
        .map_err(|_| refuse(name, "its value has a character that is not visible ASCII"))
}

fn refuse(name: &str, reason: &'static str) -> BuildError {
    BuildError::Header { name: name.to_string(), reason }
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
