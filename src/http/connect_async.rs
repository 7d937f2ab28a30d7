//! How the asynchronous client makes a connection.

use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use ureq::{Proxy, ProxyProtocol};

use super::client_options::{ClientOptions, USER_AGENT};
use super::endpoint::bare;
use super::fault::{Fault, NO_TUNNEL, of_io, of_proxy};
use super::head::{HeadReader, Step};
use super::resolve::{MOST_ADDRESSES, target};
use super::socket::{Socket, Stream};
use super::{BuildError, TransportFailure, tls_async};
use crate::sync::timer::timeout_at;

/// Makes connections.
pub(super) struct Connector {
    /// `None` where nothing is encrypted. It takes some memory, which a thousand sinks need not have.
    tls: Option<TlsConnector>,
    proxy: Option<Proxy>,
}

impl Connector {
    /// For URLs that are all of https, or all of http.
    pub(super) fn new(options: &ClientOptions, encrypted: bool) -> Result<Self, BuildError> {
        let proxy = options.proxy.clone();
        let by_https = proxy.as_ref().is_some_and(|proxy| proxy.protocol() == ProxyProtocol::Https);
        let tls = (encrypted || by_https)
            .then(|| tls_async::connector(&options.trust, options.client_certificate.as_ref()))
            .transpose()?;
        Ok(Self { tls, proxy })
    }

    /// Makes a connection to where `url` leads, before the deadline.
    pub(super) async fn connect(&self, url: &Uri, deadline: Instant) -> Result<Stream, Fault> {
        let stream = match self.proxy.as_ref().filter(|proxy| !proxy.is_no_proxy(url)) {
            None => dial(url, deadline).await?,
            Some(proxy) => self
                .tunnel(proxy, url, deadline)
                .await
                .map_err(|fault| Fault::Transport(TransportFailure::Proxy, of_proxy(fault)))?,
        };
        if url.scheme_str() == Some("https") { self.encrypt(url, stream, deadline).await } else { Ok(stream) }
    }

    /// Has the proxy make a connection.
    async fn tunnel(&self, proxy: &Proxy, url: &Uri, deadline: Instant) -> Result<Stream, Fault> {
        let mut stream = dial(proxy.uri(), deadline).await?;
        if proxy.protocol() == ProxyProtocol::Https {
            stream = self.encrypt(proxy.uri(), stream, deadline).await?;
        }
        let target = target(url).ok_or(Fault::transport(TransportFailure::Resolve, ""))?;
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {USER_AGENT}\r\n");
        if proxy.username().is_some() || proxy.password().is_some() {
            let (user, password) =
                (proxy.username().unwrap_or_default(), proxy.password().unwrap_or_default());
            let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
            head += &format!("Proxy-Authorization: Basic {credentials}\r\n");
        }
        head += "\r\n";
        let tunneled = async {
            stream.write_all(head.as_bytes()).await.map_err(|error| of_io(&error))?;
            stream.flush().await.map_err(|error| of_io(&error))?;
            answers_200(&mut stream).await
        };
        timeout_at(deadline, tunneled).await.ok_or(Fault::Timeout)??;
        Ok(stream)
    }

    async fn encrypt(&self, url: &Uri, stream: Stream, deadline: Instant) -> Result<Stream, Fault> {
        let name = ServerName::try_from(bare(url.host().unwrap_or_default()).to_string());
        let (Ok(name), Some(tls)) = (name, &self.tls) else {
            return Err(Fault::transport(TransportFailure::Tls, ""));
        };
        match timeout_at(deadline, tls.connect(name, stream)).await {
            Some(Ok(encrypted)) => Ok(Box::new(encrypted)),
            Some(Err(error)) => Err(of_io(&error)),
            None => Err(Fault::Timeout),
        }
    }
}

/// Connects to the host of a URL, on one of its addresses. Each gets half of the time that is left, the last all of it.
async fn dial(url: &Uri, deadline: Instant) -> Result<Stream, Fault> {
    let unknown = || Fault::transport(TransportFailure::Resolve, "");
    let target = target(url).ok_or_else(unknown)?;
    let found = timeout_at(deadline, lookup_host(target)).await.ok_or(Fault::Timeout)?;
    let addresses: Vec<_> = found.map_err(|_| unknown())?.take(MOST_ADDRESSES).collect();
    let mut failed = unknown();
    for (address, behind) in addresses.iter().zip((0..addresses.len()).rev()) {
        let now = Instant::now();
        let until = if behind == 0 { deadline } else { now + deadline.saturating_duration_since(now) / 2 };
        failed = match timeout_at(until, TcpStream::connect(address)).await {
            Some(Ok(stream)) => {
                // Otherwise a body might wait for the head to be acknowledged.
                stream.set_nodelay(true).map_err(|error| of_io(&error))?;
                return Ok(Box::new(Socket::new(stream)));
            }
            Some(Err(error)) => of_io(&error),
            None => Fault::Timeout,
        };
    }
    Err(failed)
}

/// Reads the answer of a proxy to CONNECT. Nothing may come after it: a client speaks first.
async fn answers_200(stream: &mut Stream) -> Result<(), Fault> {
    let refused = || Fault::transport(TransportFailure::Proxy, NO_TUNNEL);
    let (mut input, mut reader) = (Vec::new(), HeadReader::default());
    loop {
        match reader.look(&input) {
            Step::Head(head) if head.status == 200 && head.length == input.len() => return Ok(()),
            Step::Skip(length) => drop(input.drain(..length)),
            Step::Head(_) | Step::Unreadable(_) => return Err(refused()),
            Step::More => match stream.read_buf(&mut input).await {
                Ok(0) => return Err(refused()),
                Ok(_) => {}
                Err(error) => return Err(of_io(&error)),
            },
        }
    }
}
