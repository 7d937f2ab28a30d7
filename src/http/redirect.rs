use std::sync::Arc;

use ureq::http::Uri;
use ureq::http::{HeaderMap, header::LOCATION};

/// The host that an answer points to, and nothing else of where. `own` is the host that answered: a
/// `Location` without a host stays there. `None` if there is none that can be read.
pub(super) fn host(headers: &HeaderMap, own: &str) -> Option<Arc<str>> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    if let Some(rest) = location.strip_prefix("//") {
        return host_of(&format!("http://{rest}"));
    }
    if location.contains("://") && !location.starts_with(['/', '?', '#']) {
        return host_of(location);
    }
    Some(own.into())
}

fn host_of(url: &str) -> Option<Arc<str>> {
    let url: Uri = url.parse().ok()?;
    // The longest name that DNS knows: whoever answers does not get to fill a log.
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
    }

    #[test]
    fn what_cannot_be_read_is_not_named() {
        assert_eq!(host_in("https://"), None);
        assert_eq!(host_in("https://a b/"), None);
        assert_eq!(host(&HeaderMap::new(), "own.example"), None);
        let long = format!("https://{}.example/", "a".repeat(300));
        let headers = HeaderMap::from_iter([(LOCATION, long.parse().unwrap())]);
        assert_eq!(host(&headers, "own.example"), None);
    }
}
