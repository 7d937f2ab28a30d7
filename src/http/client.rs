use std::io::{self, Read};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, Proxy};

use super::HttpError;
use super::answer::Answer;
use super::connect;
use super::endpoint::Endpoint;
use super::failure::{answered, was_dead};
use super::fault::Fault;
use super::head::LONGEST_HEAD;
use super::headers::LONGEST_LINE;
use super::resolve::Lookup;

// At most 64 KiB of an answer are read: its head, its body, and what is left in the buffer.
const LONGEST_BODY: u64 = 24 * 1024;
const READ_BUFFER: usize = 24 * 1024;

/// How long reading the body of an answer may take. It is read only so that the connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How long an idle connection is kept. Most servers and load balancers keep one for longer.
const IDLE: Duration = Duration::from_secs(15);

/// The options of the client, the same for all requests.
pub(super) struct ClientOptions {
    pub(super) timeout: Duration,
    /// How many idle connections are kept.
    pub(super) idle_connections: usize,
    pub(super) tls: TlsConfig,
    pub(super) proxy: Option<Proxy>,
}

/// Makes requests. Its errors contain no secret.
pub(super) struct Client {
    agent: Agent,
    method: Method,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(method: Method, options: ClientOptions) -> Self {
        let ClientOptions { timeout, idle_connections, tls, proxy } = options;
        let proxied = proxy.is_some();
        let config = Agent::config_builder()
            .user_agent(concat!("outflow/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .tls_config(tls)
            .timeout_global(Some(timeout))
            .timeout_recv_body(Some(DRAIN))
            .max_response_header_size(LONGEST_HEAD)
            .input_buffer_size(READ_BUFFER)
            // How much is written to the socket at once; the timeout is checked after each piece. ureq puts each line
            // of a head into this buffer as a whole.
            .output_buffer_size(LONGEST_LINE)
            .max_idle_connections(idle_connections)
            .max_idle_connections_per_host(idle_connections)
            .max_idle_age(IDLE)
            .build();
        Self { agent: Agent::with_parts(config, connect::connector(proxied), Lookup), method, timeout }
    }

    /// Makes one request, and returns the answer.
    ///
    /// A kept connection may turn out to be broken when the request is written to it: the endpoint closed it just then,
    /// or a firewall dropped it. If not a byte of an answer came, the request is made once more, over a new connection
    /// and within the same timeout. The endpoint may have got the first request, and then gets the event twice. A retry
    /// would do the same, and would count a failure of the endpoint; curl does the same too.
    pub(super) fn send(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        body: &[u8],
    ) -> Result<Answer, HttpError> {
        let begun = Instant::now();
        let request = |headers| {
            let mut request = Request::new(body);
            *request.method_mut() = self.method.clone();
            *request.uri_mut() = endpoint.url.clone();
            *request.headers_mut() = headers;
            request
        };
        let response = match self.agent.run(request(headers.clone())) {
            Err(error) if was_dead(&error) => {
                let remaining = self.timeout.saturating_sub(begun.elapsed());
                let again = self.agent.configure_request(request(headers)).timeout_global(Some(remaining));
                self.agent.run(again.build())
            }
            answer => answer,
        };
        let mut response = match response {
            Ok(response) => response,
            Err(error) => {
                let head =
                    answered(error).map_err(|error| Fault::from(error).into_error(endpoint, self.timeout))?;
                return Ok(Answer::of_head(endpoint, head));
            }
        };
        // The body changes nothing: with a head of 2xx the endpoint has the event, even if it stalls afterwards.
        drain(&mut response);
        Ok(Answer::new(endpoint, response.status().as_u16(), response.headers()))
    }
}

fn drain(response: &mut Response<Body>) {
    let _ = io::copy(&mut response.body_mut().as_reader().take(LONGEST_BODY), &mut io::sink());
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use http::HeaderValue;

    use super::*;
    use crate::http::tls;
    use crate::http::trust::Trust;

    /// The error for a request that `build` would refuse. `HERE` in the URL stands for an address with a listener.
    fn refused(method: &str, url: &str, headers: &[(&'static str, &[u8])]) -> HttpError {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let mut endpoint = Endpoint::parse("http://hooks.example/", Some("hooks")).unwrap();
        endpoint.url = url.replace("HERE", &here).parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let options = ClientOptions {
            timeout: Duration::from_secs(10),
            idle_connections: 1,
            tls: tls::config(&Trust::default(), None).unwrap(),
            proxy: None,
        };
        let client = Client::new(method.parse().unwrap(), options);
        client.send(&endpoint, map, b"event").map(|answer| panic!("{}", answer.status)).unwrap_err()
    }

    #[test]
    fn a_request_that_cannot_be_written_fails_for_good_and_says_why() {
        let long = "a".repeat(20_000);
        for (error, reason) in [
            (refused("POST", &format!("http://HERE/{long}"), &[]), "does not fit in 16 KiB"),
            (refused("POST", "http://HERE/", &[("x-a", long.as_bytes())]), "does not fit in 16 KiB"),
            (refused("POST", "http://HERE/", &[("host", b"a"), ("host", b"b")]), "more than one Host"),
            (refused("POST", "http://HERE/", &[("host", b"\xff")]), "not visible ASCII"),
            (refused("POST", "http://HERE/", &[("authorization", b"\xff")]), "not visible ASCII"),
            (refused("PROPFIND", "http://HERE/", &[]), "its method"),
            (refused("POST", "/", &[]), "its URL"),
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "the event cannot be encoded for hooks: the client cannot write its request: "
                ),
                "{text}"
            );
            assert!(text.contains(reason), "{text}");
            assert!(matches!(error, HttpError::Encode { .. }) && !error.is_transient(), "{error:?}");
        }
    }
}
