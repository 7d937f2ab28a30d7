use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use http::Uri;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::failure::OwnError;

/// How many addresses of a name are tried.
pub(super) const MOST_ADDRESSES: usize = 16;

/// Host and port of a URL, to be looked up.
pub(super) fn target(url: &Uri) -> Option<String> {
    let default_port = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some(format!("{}:{}", url.host()?, url.port_u16().unwrap_or(default_port)))
}

/// Looks up the host of a URL: an address at once, and a name on a new thread, since the operating system has no timeout
/// for that. ureq's resolver would use a thread for an address too, and panics if none can be started.
#[derive(Debug)]
pub(super) struct Lookup;

impl Resolver for Lookup {
    fn resolve(
        &self,
        url: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let target = target(url).ok_or(ureq::Error::HostNotFound)?;
        let mut addresses = self.empty();
        if let Ok(address) = target.parse::<SocketAddr>() {
            addresses.push(address);
            return Ok(addresses);
        }
        let (sender, answer) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("outflow-resolve".to_string())
            // The receiver is gone if the result comes too late.
            .spawn(move || _ = sender.send(target.to_socket_addrs()))
            .map_err(OwnError::NoThread)?;
        match answer.recv_timeout(*timeout.after) {
            Ok(Ok(found)) => found.take(MOST_ADDRESSES).for_each(|address| addresses.push(address)),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => return Err(ureq::Error::Timeout(timeout.reason)),
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}
