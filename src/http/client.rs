use std::io::{self, Read};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::HttpError;
use super::answer::Answer;
use super::client_options::{ClientOptions, DRAIN, IDLE, LONGEST_BODY, USER_AGENT};
use super::connect;
use super::endpoint::Endpoint;
use super::failure::{answered, was_dead};
use super::fault::Fault;
use super::head::LONGEST_HEAD;
use super::headers::LONGEST_LINE;
use super::resolve::Lookup;

/// How many bytes are read from a connection at once.
const READ_BUFFER: usize = 24 * 1024;

/// Makes requests. Its errors contain no secret.
pub(super) struct Client {
    agent: Agent,
    method: Method,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(options: ClientOptions, tls: TlsConfig) -> Self {
        let ClientOptions { method, timeout, idle_connections, proxy, .. } = options;
        let proxied = proxy.is_some();
        let config = Agent::config_builder()
            .user_agent(USER_AGENT)
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
    let _ = io::copy(&mut response.body_mut().as_reader().take(LONGEST_BODY as u64), &mut io::sink());
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
            method: method.parse().unwrap(),
            timeout: Duration::from_secs(10),
            idle_connections: 1,
            trust: Trust::default(),
            client_certificate: None,
            proxy: None,
        };
        let tls = tls::config(&options.trust, None).unwrap();
        let client = Client::new(options, tls);
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
