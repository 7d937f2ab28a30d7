use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

use super::BuildError;

/// The longest URL, in bytes. Method, target and version are one line of a request's head, which must fit in the client's
/// buffer of 16 KiB.
const LONGEST_URL: usize = 16_000;

/// The longest name in DNS, and the full stop that may end it.
const LONGEST_HOST: usize = 254;

/// Where a sink posts to, and the name to show for it.
pub(super) struct Endpoint {
    /// Without the user info, which is sent in a header.
    pub(super) url: Uri,
    /// The user info as the value of an `Authorization` header.
    pub(super) credentials: Option<HeaderValue>,
    /// The name that was set, else scheme, host and port. `Debug` shows only this.
    pub(super) name: Arc<str>,
}

impl Endpoint {
    pub(super) fn parse(text: &str, name: Option<&str>) -> Result<Self, BuildError> {
        let refuse = |reason| BuildError::Url { scheme: scheme_of(text), reason };

        if !text.contains("://") {
            return Err(refuse("it does not begin with http:// or https://"));
        }
        if text.len() > LONGEST_URL {
            return Err(refuse("it is longer than 16000 bytes"));
        }
        let url: Uri = text.parse().map_err(|_| refuse("it is not a URL"))?;
        let (scheme, default_port) = match url.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => ("http", 80),
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => ("https", 443),
            _ => return Err(refuse("its scheme is neither http nor https")),
        };
        let authority = url.authority().ok_or_else(|| refuse("it has no host"))?.as_str();
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it has no host"))?;
        let rest = host_and_port.strip_prefix(host).ok_or_else(|| refuse("it is not a URL"))?;
        let port = port(rest, default_port).map_err(refuse)?;
        if host.starts_with('[') && format!("{host}:{port}").parse::<SocketAddr>().is_err() {
            return Err(refuse("what stands in brackets is no IPv6 address"));
        }
        if host.len() > LONGEST_HOST {
            return Err(refuse("its host is longer than a name can be"));
        }
        if scheme == "https" && ServerName::try_from(bare(host)).is_err() {
            return Err(refuse("its host is not one that a certificate can name"));
        }
        let credentials = user.map(basic).transpose().map_err(refuse)?;

        let target = url.path_and_query().map_or("/", |target| target.as_str());
        // It becomes the `Host` header, which leaves out the default port.
        let authority = if port == default_port { host.to_string() } else { format!("{host}:{port}") };
        let stripped = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(target)
            .build()
            .map_err(|_| refuse("it is not a URL"))?;
        let name = name.map_or_else(|| format!("{scheme}://{host}:{port}").into(), Arc::from);
        Ok(Self { url: stripped, credentials, name })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    pub(super) fn host(&self) -> &str {
        // `parse` refuses a URL without a host.
        self.url.host().unwrap_or_default()
    }

    /// Whether what is sent stays on this machine: the host is `localhost`, in 127.0.0.0/8, or ::1. Other spellings of
    /// these addresses do not count, to be on the safe side.
    pub(super) fn is_loopback(&self) -> bool {
        let host = bare(self.host());
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The host without the brackets that a URL has around an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The port in `rest`, the text after the host. `Uri::port` would return `None`, as for no port, also for one that is no
/// number or has no colon before it.
fn port(rest: &str, default: u16) -> Result<u16, &'static str> {
    let digits = match rest.strip_prefix(':') {
        None if rest.is_empty() => return Ok(default),
        None => return Err("what follows its host is neither a port nor a path"),
        Some("") => return Ok(default),
        Some(digits) => digits,
    };
    // `u16::parse` accepts a sign too.
    match digits.parse() {
        Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err("its port is not between 1 and 65535"),
    }
}

/// The text before `://`, which is not secret.
fn scheme_of(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let short = (1..=8).contains(&scheme.len());
    (short && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| scheme.to_string())
}

/// `user:password` of a URL as a header (RFC 7617).
fn basic(user: &str) -> Result<HeaderValue, &'static str> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let (Some(mut pair), Some(password)) = (percent_decoded(name), percent_decoded(password)) else {
        return Err("its user info has a % that two hexadecimal digits do not follow");
    };
    if pair.contains(&b':') {
        return Err("its user name has a colon in it, which Basic authentication cannot carry");
    }
    pair.push(b':');
    pair.extend(password);
    let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(value).map_err(|_| "its user info is too long for a header")?;
    value.set_sensitive(true);
    Ok(value)
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url, None).unwrap()
    }

    #[test]
    fn is_named_by_scheme_host_and_port() {
        for (url, name) in [
            ("http://hooks.example", "http://hooks.example:80"),
            ("https://hooks.example:/a", "https://hooks.example:443"),
            ("https://u:p@hooks.example:8443/a?b=c#d", "https://hooks.example:8443"),
            ("http://[::1]:5056/a", "http://[::1]:5056"),
            ("https://[::1]/", "https://[::1]:443"),
            ("http://[fe80::1%2]/", "http://[fe80::1%2]:80"),
            ("http://hooks.example:08080/", "http://hooks.example:8080"),
            ("HTTPS://hooks.example/", "https://hooks.example:443"),
        ] {
            assert_eq!(&*endpoint(url).name, name, "{url}");
        }
        assert_eq!(&*Endpoint::parse("http://a/", Some("audit")).unwrap().name, "audit");
    }

    #[test]
    fn the_path_and_query_are_posted_to_as_they_are() {
        let kept = endpoint("https://u:p@hooks.example/a%20b/?c=d&e#f").url;
        assert_eq!(kept.to_string(), "https://hooks.example/a%20b/?c=d&e");
        assert_eq!(endpoint("http://hooks.example?c=d").url.to_string(), "http://hooks.example/?c=d");
    }

    #[test]
    fn user_info_becomes_a_header() {
        // The pair of RFC 7617.
        let credentials = endpoint("http://Aladdin:open%20sesame@a/").credentials.unwrap();
        assert_eq!(credentials, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(credentials.is_sensitive());
        assert_eq!(endpoint("http://user@a/").credentials.unwrap(), "Basic dXNlcjo=");
        assert!(endpoint("http://a/").credentials.is_none());
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        for (url, reason) in [
            ("hooks.example", "does not begin with"),
            ("/a", "does not begin with"),
            ("/a://b", "neither http nor https"),
            ("ftp://hooks.example/", "neither http nor https"),
            ("http://", "not a URL"),
            ("http://a b/", "not a URL"),
            ("http://:80/", "no host"),
            ("http://a:0/", "port"),
            ("http://a:65536/", "port"),
            ("http://a:x/", "port"),
            ("http://a:+8080/", "port"),
            ("http://a:-1/", "port"),
            ("http://[::1]8080/", "neither a port nor a path"),
            ("http://[::1]x:80/", "neither a port nor a path"),
            ("http://u:p@[::1]8080/", "neither a port nor a path"),
            ("http://[::1].evil.example/", "neither a port nor a path"),
            ("http://[127.0.0.1].evil.example:80/", "neither a port nor a path"),
            ("https://[::1]x/", "neither a port nor a path"),
            ("http://[127.0.0.1]/", "IPv6"),
            ("http://[hooks.example]/", "IPv6"),
            ("http://[]/", "IPv6"),
            ("https://-/", "certificate"),
            ("http://u%zz:p@a/", "%"),
            ("http://u%3a:p@a/", "colon"),
        ] {
            let refused = Endpoint::parse(url, None).map(|_| url).unwrap_err().to_string();
            assert!(refused.contains(reason), "{url}: {refused}");
        }
    }

    #[test]
    fn a_host_is_no_longer_than_a_name_can_be() {
        let host = |length: usize| format!("{}.", "a".repeat(63)).repeat(4)[..length].to_string();
        assert_eq!(endpoint(&format!("http://{}/", host(254))).host(), host(254));
        let refused = Endpoint::parse(&format!("http://{}/", host(255)), None).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("longer than a name"), "{refused}");
    }

    #[test]
    fn loopback_is_what_stays_on_this_machine() {
        for host in
            ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::ffff:127.0.0.1]:80"]
        {
            assert!(endpoint(&format!("http://{host}/")).is_loopback(), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "10.0.0.1", "0.0.0.0", "[::]", "0x7f.1"] {
            assert!(!endpoint(&format!("http://{host}/")).is_loopback(), "{host}");
        }
    }
}
