//! Where events are posted to, and how much of that may be shown.

use std::error::Error;
use std::fmt;

use ureq::http::Uri;

/// A webhook. It prints as scheme, host and port alone: the rest of its URL is often its secret.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: Uri,
    name: String,
}

impl Endpoint {
    /// Parses what was given with `--to`. Those that would print alike are numbered.
    pub(crate) fn parse_all<S>(urls: &[S]) -> Result<Vec<Self>, NotAnEndpoint>
    where
        S: AsRef<str>,
    {
        let mut endpoints = Vec::new();
        for (number, url) in (1..).zip(urls) {
            endpoints.push(Self::parse(number, url.as_ref())?);
        }
        let names: Vec<String> = endpoints.iter().map(Self::to_string).collect();
        for (number, endpoint) in (1..).zip(&mut endpoints) {
            if names.iter().filter(|name| **name == endpoint.name).count() > 1 {
                endpoint.name += &format!(" ({number})");
            }
        }
        Ok(endpoints)
    }

    fn parse(number: usize, text: &str) -> Result<Self, NotAnEndpoint> {
        let refuse = |reason| NotAnEndpoint { number, scheme: scheme_of(text), reason };

        let url: Uri = text.parse().map_err(|_| refuse("it is not a URL"))?;
        let (scheme, default_port) = match url.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            Some(_) => return Err(refuse("its scheme is neither http nor https")),
            None => return Err(refuse("it does not begin with http:// or https://")),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it has no host"))?;
        let port = match port_of(&url) {
            Some("") => default_port,
            Some(port) => match port.parse::<u16>() {
                Ok(port @ 1..) => port,
                _ => return Err(refuse("its port is not between 1 and 65535")),
            },
            None => return Err(refuse("what follows its host is no port")),
        };
        let name = format!("{scheme}://{host}:{port}");
        Ok(Self { url, name })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// What stands behind the host, if that is a port and nothing else. `Uri` answers `None` for a port that is no
/// number, as if there were none, and passes over what stands between an address in brackets and its port.
fn port_of(url: &Uri) -> Option<&str> {
    let authority = url.authority()?.as_str();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_user, rest)| rest);
    let rest = host_and_port.strip_prefix(url.host()?)?;
    let port = if rest.is_empty() { rest } else { rest.strip_prefix(':')? };
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

/// Whether this is to be taken for a URL, and so not to be shown: also one that lacks a slash.
pub(crate) fn is_like_a_url(text: &str) -> bool {
    let begins_with = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme))
    };
    text.contains("://") || begins_with("http:") || begins_with("https:")
}

/// Whether a message about the command line has a URL in it.
pub(crate) fn shows_a_url(message: &str) -> bool {
    message.split(|between: char| between.is_whitespace() || "'\"=".contains(between)).any(is_like_a_url)
}

/// What precedes `://`, which is no secret.
fn scheme_of(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let short = (1..=8).contains(&scheme.len());
    (short && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| scheme.to_string())
}

/// A `--to` that is no endpoint, named without what may be secret in it.
#[derive(Debug)]
pub(crate) struct NotAnEndpoint {
    number: usize,
    scheme: Option<String>,
    reason: &'static str,
}

impl fmt::Display for NotAnEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--to number {}", self.number)?;
        if let Some(scheme) = &self.scheme {
            write!(f, ", {scheme}://...,")?;
        }
        write!(f, " is no endpoint: {}", self.reason)
    }
}

impl Error for NotAnEndpoint {}
