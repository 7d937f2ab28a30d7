use std::env;

use ureq::{Proxy, ProxyProtocol};

use super::BuildError;

/// The variables that ureq reads, in this order.
const VARIABLES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// The proxy that the environment names, if any. One that cannot be used is an error; ureq would use none instead.
pub(super) fn from_env() -> Result<Option<Proxy>, BuildError> {
    let asked_for = VARIABLES.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    match Proxy::try_from_env() {
        None if asked_for => Err(BuildError::Proxy("what stands there is no URL of a proxy")),
        None => Ok(None),
        Some(proxy) => match proxy.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https => Ok(Some(proxy)),
            _ => Err(BuildError::Proxy("it is neither http nor https")),
        },
    }
}
