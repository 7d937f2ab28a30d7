use std::sync::Arc;

use http::Uri;
use http::{HeaderMap, header::LOCATION};

/// The host of the `Location` of an answer, without the rest of the URL. `own` is the host that answered, to which a
/// `Location` without a host refers. `None` if there is no `Location` that can be read.
pub(super) fn host(headers: &HeaderMap, own: &str) -> Option<Arc<str>> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    if let Some(rest) = location.strip_prefix("//") {
        return host_of(&format!("http://{rest}"));
    }
    match location.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && rest.starts_with("//") => host_of(location),
        // An absolute URL without a host.
        Some((scheme, _)) if is_scheme(scheme) => None,
        _ => Some(own.into()),
    }
}

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn host_of(url: &str) -> Option<Arc<str>> {
    let url: Uri = url.parse().ok()?;
    // No longer than a name in DNS, so that an endpoint cannot fill a log.
    url.host().filter(|host| !host.is_empty() && host.len() <= 253).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_in(location: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        host(&headers, "own.example").map(|host| host.to_string())
    }

    #[test]
    fn names_the_host_and_only_the_host() {
        assert_eq!(host_in("https://user:pw@new.example:8443/a?b=c#d").as_deref(), Some("new.example"));
        assert_eq!(host_in("//other.example/a").as_deref(), Some("other.example"));
        assert_eq!(host_in("http://[::1]:80/").as_deref(), Some("[::1]"));
        assert_eq!(host_in("/login?to=a://b").as_deref(), Some("own.example"));
        assert_eq!(host_in("login").as_deref(), Some("own.example"));
        for location in ["login?to=https://b/", "a/https://b/", "login#https://b/", "?to=https://b/", ":80"] {
            assert_eq!(host_in(location).as_deref(), Some("own.example"), "{location}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_named() {
        assert_eq!(host_in("https://"), None);
        assert_eq!(host_in("https://a b/"), None);
        assert_eq!(host_in("mailto:someone@b.example"), None);
        assert_eq!(host_in("own.example:8080"), None);
        assert_eq!(host(&HeaderMap::new(), "own.example"), None);
        let long = format!("https://{}.example/", "a".repeat(300));
        let headers = HeaderMap::from_iter([(LOCATION, long.parse().unwrap())]);
        assert_eq!(host(&headers, "own.example"), None);
    }
}
