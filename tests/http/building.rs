//! `build` refuses what is wrong, and its error names it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use outflow::Sink;
use outflow::http::{BuildError, HttpSink, HttpSinkBuilder};

use super::BuildFace;
use crate::server::{NO_SERVER, Request, Server, in_a_process_of_its_own, report};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn refused(builder: HttpSinkBuilder<String>) -> BuildError {
    builder.build_face().unwrap_err()
}

fn hooks() -> HttpSinkBuilder<String> {
    HttpSink::post("https://hooks.example/")
}

#[test]
fn a_bad_url_is_named_by_its_scheme_and_what_is_wrong() {
    assert_eq!(
        refused(HttpSink::post("ftp://hooks.example/s3cr3t")).to_string(),
        "the URL ftp://... is no endpoint: its scheme is neither http nor https",
    );
    assert_eq!(
        refused(HttpSink::post("hooks.example/s3cr3t")).to_string(),
        "the URL is no endpoint: it does not begin with http:// or https://",
    );
}

#[test]
fn a_bad_method_is_named() {
    for method in ["GET", "HEAD", "DELETE", "CONNECT", "post", "", "PO ST", "POST\r\nx: y"] {
        assert_eq!(refused(hooks().method(method)), BuildError::Method(method.to_string()));
    }
}

#[test]
fn a_bad_header_is_named() {
    let name = |builder: HttpSinkBuilder<String>| match refused(builder) {
        BuildError::Header { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(name(hooks().header("x-a", "b\r\nx-c: d")), "x-a");
    assert_eq!(name(hooks().header("x-a", "b\0")), "x-a");
    assert_eq!(name(hooks().header("x a", "b")), "x");
    assert_eq!(name(hooks().header("x-a: s3cr3t", "b")), "x-a");
    assert_eq!(name(hooks().header("", "b")), "");
    assert_eq!(name(hooks().content_type("a\nb")), "content-type");
    for token in ["", "a b", "a\nb", "ä", "=", "a=b"] {
        assert_eq!(name(hooks().bearer(token)), "authorization", "{token:?}");
    }
    for reserved in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "expect",
        "te",
        "trailer",
        "upgrade",
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "Webhook-Signature",
    ] {
        assert_eq!(name(hooks().header(reserved, "1")), reserved.to_ascii_lowercase());
        assert_eq!(name(hooks().header_with(reserved, String::clone)), reserved.to_ascii_lowercase());
    }
    assert_eq!(name(hooks().header_with("x a", String::clone)), "x");
    // Twice is refused, wherever the two come from.
    assert_eq!(name(hooks().bearer("a").bearer_with(String::clone)), "authorization");
    assert_eq!(name(hooks().bearer_with(String::clone).header("authorization", "b")), "authorization");
    assert_eq!(name(hooks().bearer("a").header_with("Authorization", String::clone)), "authorization");
    assert_eq!(name(hooks().header("host", "a").header_with("Host", String::clone)), "host");
    assert_eq!(
        name(HttpSink::post("https://u:p@hooks.example/").bearer_with(String::clone)),
        "authorization"
    );
    assert_eq!(name(hooks().bearer("a").header("authorization", "b")), "authorization");
    assert_eq!(name(HttpSink::post("https://u:p@hooks.example/").bearer("a")), "authorization");
    assert_eq!(name(hooks().header("host", "a").header("Host", "b")), "host");
    assert!(hooks().header("x-a", "1").header("x-a", "2").build_face().is_ok());
    // Only the beginning of a long name is shown.
    assert_eq!(name(hooks().header("x".repeat(20_000), "1")), "x".repeat(64));
    assert_eq!(name(hooks().header("x".repeat(70_000), "1")), "x".repeat(64));
}

/// The longest line of a head that the client can write.
const LONGEST_LINE: usize = 16 * 1024 - "\r\n".len();

#[test]
fn a_line_of_a_head_that_cannot_be_written_is_refused_and_the_longest_that_can_is_sent() {
    let server = Server::status("200 OK");
    let post = || HttpSink::<String>::post(server.url());
    let room = |line: &str| "a".repeat(LONGEST_LINE - line.len());
    let header = |value| post().header("x-a", value);
    let (other, bearer, content_type) =
        (room("x-a: \r\n"), room("authorization: Bearer \r\n"), room("content-type: \r\n"));
    for builder in
        [header(&other), post().bearer(bearer.as_str()), post().content_type(content_type.as_str())]
    {
        builder.build_face().unwrap().write("event".to_string()).unwrap();
    }
    // The last header of a request is followed by an empty line, which must fit too.
    assert!(server.requests()[0].head.ends_with(&format!("x-a: {other}\r\n\r\n")));

    for (builder, name) in [
        (header(&format!("{other}a")), "x-a"),
        (post().header("x".repeat(LONGEST_LINE), ""), &"x".repeat(64)),
        (post().bearer(bearer + "a"), "authorization"),
        (post().header("authorization", "a".repeat(20_000)), "authorization"),
        (post().content_type(content_type + "a"), "content-type"),
        (HttpSink::post(format!("http://{}@127.0.0.1/", "a".repeat(15_000))), "authorization"),
    ] {
        assert_eq!(
            refused(builder).to_string(),
            format!("the header {name:?} cannot be sent: its line does not fit in 16 KiB"),
        );
    }
}

#[test]
fn a_url_has_16_000_bytes_at_most_and_is_posted_to_with_as_many() {
    let server = Server::status("200 OK");
    let url = |length: usize| {
        let url = server.url() + "?";
        let room = length - url.len();
        url + &"a".repeat(room)
    };
    let patch = HttpSink::post(url(16_000)).method("PATCH").build_face().unwrap();
    patch.write("event").unwrap();
    let line =
        format!("PATCH {} HTTP/1.1", &url(16_000)["http://".len() + server.address.to_string().len()..]);
    assert_eq!(server.requests()[0].line(), line);
    for length in [16_001, 70_000] {
        assert_eq!(
            refused(HttpSink::post(url(length))).to_string(),
            "the URL http://... is no endpoint: it is longer than 16000 bytes",
        );
    }
}

#[test]
fn a_thousand_headers_are_sent_and_one_more_is_refused() {
    let server = Server::status("200 OK");
    let with = |count: usize| {
        let post = HttpSink::post(server.url()).bearer("a").webhook_id(String::clone).sign_with(SECRET);
        (0..count).fold(post, |post, number| post.header(format!("x-{number}"), "1"))
    };
    with(1_000).build_face().unwrap().write("event".to_string()).unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.head.matches("\r\nx-").count(), 1_000);
    assert!(request.header("webhook-signature").is_some() && request.header("authorization").is_some());
    for count in [1_001, 40_000] {
        assert_eq!(
            refused(with(count)).to_string(),
            "the header \"x-1000\" cannot be sent: a request has at most 1000 of them",
        );
    }
    // Also if all have the same name.
    let same = (0..40_000).fold(hooks(), |hooks, _| hooks.header("x-a", "1"));
    assert!(matches!(refused(same), BuildError::Header { name, .. } if name == "x-a"));
}

#[test]
fn a_timeout_is_a_millisecond_to_a_day() {
    let day = Duration::from_secs(24 * 60 * 60);
    let millisecond = Duration::from_millis(1);
    let nanosecond = Duration::from_nanos(1);
    for timeout in [Duration::ZERO, millisecond - nanosecond, day + nanosecond, Duration::MAX] {
        assert_eq!(refused(hooks().timeout(timeout)), BuildError::Timeout);
    }
    assert!(hooks().timeout(millisecond).build_face().is_ok());
    assert!(hooks().timeout(day).build_face().is_ok());
}

#[test]
fn a_range_of_statuses_that_no_answer_has_is_refused() {
    assert_eq!(refused(hooks().accept(1000..)), BuildError::Accept);
    assert_eq!(refused(hooks().accept(..=100)), BuildError::Accept);
    assert_eq!(refused(hooks().accept(300..300)), BuildError::Accept);
    assert!(hooks().accept(300..300).accept(200..=200).build_face().is_ok());
    assert!(hooks().accept(300..300).accept_when(|status| status == 200).build_face().is_ok());
}

#[test]
fn credentials_do_not_go_over_the_network_in_the_open() {
    let endpoints = ["http://hooks.example/", "http://10.0.0.1/", "http://localhost.example/"];
    for url in endpoints {
        let with_user = url.replace("http://", "http://user:s3cr3t@");
        for builder in [
            HttpSink::<String>::post(url).bearer("s3cr3t"),
            HttpSink::post(url).header("Authorization", "s3cr3t"),
            HttpSink::post(with_user),
            HttpSink::post(url).bearer_with(String::clone),
            HttpSink::post(url).header_with("authorization", String::clone),
        ] {
            let error = refused(builder);
            assert!(matches!(error, BuildError::Plaintext { .. }), "{error}");
        }
        assert!(HttpSink::<String>::post(url).bearer("s3cr3t").allow_plaintext().build_face().is_ok());
        assert!(HttpSink::<String>::post(url).build_face().is_ok());
    }
    for url in ["http://localhost/", "http://127.0.0.1:5056/", "http://[::1]/", "https://hooks.example/"] {
        assert!(HttpSink::<String>::post(url).bearer("s3cr3t").build_face().is_ok(), "{url}");
    }
}

#[test]
fn a_certificate_that_is_none_is_refused() {
    for (pem, reason) in [
        ("", "no certificate"),
        ("-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n", "not X.509"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "not PEM"),
    ] {
        let error = refused(hooks().root_certificate(pem)).to_string();
        assert!(error.contains(reason), "{error}");
        let error = refused(hooks().client_certificate(pem, pem));
        assert!(matches!(error, BuildError::ClientCertificate(_)), "{error}");
    }
    let plain = || HttpSink::<String>::post("http://127.0.0.1/");
    assert_eq!(refused(plain().system_roots()), BuildError::SystemRoots("the URL is not https"));
    assert_eq!(refused(plain().public_roots()), BuildError::PublicRoots("the URL is not https"));
    assert!(matches!(refused(plain().root_certificate("")), BuildError::RootCertificate { .. }));
    assert!(matches!(refused(plain().client_certificate("", "")), BuildError::ClientCertificate(_)));
}

#[test]
fn a_signed_webhook_has_an_id() {
    assert_eq!(refused(hooks().sign_with(SECRET)), BuildError::NoWebhookId);
    let with_id = || hooks().webhook_id(String::clone);
    assert!(with_id().sign_with(SECRET).build_face().is_ok());
    assert!(matches!(refused(with_id().sign_with("s3cr3t")), BuildError::Secret { number: 1, .. }));
    assert!(matches!(
        refused(with_id().sign_with(SECRET).sign_with(&SECRET[..20])),
        BuildError::Secret { number: 2, .. }
    ));
}

#[test]
fn as_many_secrets_as_have_room_in_a_header_sign_and_one_more_is_refused() {
    let server = Server::status("200 OK");
    let with = |count: usize| {
        let post = HttpSink::post(server.url()).webhook_id(String::clone);
        (0..count).fold(post, |post, _| post.sign_with(SECRET))
    };
    with(340).build_face().unwrap().write("event".to_string()).unwrap();
    let signatures = server.requests()[0].header("webhook-signature").unwrap().split(' ').count();
    assert_eq!(signatures, 340);
    assert_eq!(
        refused(with(341)).to_string(),
        "signing secret 341 is none: the signatures of so many do not fit in a header",
    );
}

/// The environment of this process cannot be changed safely, so the test runs in a new process.
fn in_environment(variables: &[(&str, &str)], proxied: &str, endpoint: &str) -> String {
    let own = [("OUTFLOW_TEST_PROXY", proxied), ("OUTFLOW_TEST_ENDPOINT", endpoint)];
    in_a_process_of_its_own(
        concat!(module_path!(), "::writes_through_the_proxy_of_its_environment"),
        &[variables, &own].concat(),
    )
}

#[test]
fn writes_through_the_proxy_of_its_environment() {
    let Ok(endpoint) = std::env::var("OUTFLOW_TEST_ENDPOINT") else { return };
    let mut builder = HttpSink::post(endpoint).timeout(Duration::from_secs(2));
    builder = match std::env::var("OUTFLOW_TEST_PROXY").unwrap().as_str() {
        "asked for" => builder.proxy_from_env().bearer("s3cr3t"),
        "asked for, in the open" => builder.proxy_from_env(),
        _ => builder,
    };
    let outcome = match builder.build_face() {
        Ok(sink) => {
            format!("{:?}", sink.write("event").map_err(|refused| refused.error().unwrap().to_string()))
        }
        Err(error) => error.to_string(),
    };
    report(&outcome);
}

#[test]
fn proxy_variables_are_ignored_unless_asked_for() {
    let proxy = Server::status("407 Proxy Authentication Required");
    let endpoint = Server::status("200 OK");
    let nowhere = format!("http://{}", NO_SERVER);
    let variables: Vec<(&str, &str)> = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "http_proxy"]
        .map(|name| (name, nowhere.as_str()))
        .into();
    assert_eq!(in_environment(&variables, "", &endpoint.url()), "Ok(())");

    // Through a proxy, a bearer for loopback leaves this machine.
    let url = format!("http://user:pr0xys3cr3t@{}", proxy.address);
    let refused = in_environment(&[("ALL_PROXY", &url)], "asked for", &endpoint.url());
    assert!(refused.contains("in the open"), "{refused}");
    let direct =
        in_environment(&[("ALL_PROXY", &url), ("NO_PROXY", "127.0.0.1")], "asked for", &endpoint.url());
    assert_eq!(direct, "Ok(())");
    assert_eq!((endpoint.requests().len(), proxy.requests().len()), (2, 0));

    let asked = in_environment(&[("ALL_PROXY", &url)], "asked for", "https://hooks.example/hook");
    assert!(asked.contains("the proxy made no connection"), "{asked}");
    assert!(!asked.contains("pr0xys3cr3t"), "{asked}");
    assert_eq!(proxy.requests()[0].line(), "CONNECT hooks.example:443 HTTP/1.1");

    let dead = in_environment(&[("ALL_PROXY", &nowhere)], "asked for", "https://hooks.example/hook");
    assert!(dead.contains("the proxy made no connection: Connection refused"), "{dead}");
    let unknown = [("ALL_PROXY", "http://proxy.outflow.invalid:1")];
    let unknown = in_environment(&unknown, "asked for", "https://hooks.example/hook");
    assert!(unknown.contains("the proxy made no connection: its name has no address"), "{unknown}");
    let silent = Server::after_request(|mut stream, _| _ = stream.read(&mut [0]));
    let silent = [("ALL_PROXY", format!("http://{}", silent.address))];
    let silent = silent.each_ref().map(|(name, value)| (*name, value.as_str()));
    let silent = in_environment(&silent, "asked for", "https://hooks.example/hook");
    assert!(silent.contains("the proxy made no connection: it did not answer in time"), "{silent}");

    for bad in ["socks5://127.0.0.1:1", "http://"] {
        let refused = in_environment(&[("ALL_PROXY", bad)], "asked for", &endpoint.url());
        assert!(refused.contains("proxy that the environment asks for"), "{bad}: {refused}");
    }
}

/// A proxy that makes a tunnel to wherever it is asked to, and reports what it was asked.
fn tunneling() -> (Server, mpsc::Receiver<Request>) {
    let (sender, asked) = mpsc::channel();
    let proxy = Server::raw(move |mut client, _| {
        let request = Request::read(&mut client).unwrap().unwrap();
        let mut target = TcpStream::connect(request.line().split(' ').nth(1).unwrap()).unwrap();
        sender.send(request).unwrap();
        // As some do, with headers, and in two parts.
        client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: a").unwrap();
        client.write_all(b" proxy\r\n\r\n").unwrap();
        let (mut from_target, mut to_client) = (target.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from_target, &mut to_client));
        _ = io::copy(&mut client, &mut target);
    });
    (proxy, asked)
}

#[test]
fn events_go_through_the_tunnel_of_a_proxy() {
    let (proxy, asked) = tunneling();
    let endpoint = Server::status("200 OK");
    let url = format!("http://user:pr0xys3cr3t@{}", proxy.address);
    let outcome = in_environment(&[("ALL_PROXY", &url)], "asked for, in the open", &endpoint.url());
    assert_eq!(outcome, "Ok(())");
    let connect = asked.try_recv().unwrap();
    assert_eq!(connect.line(), format!("CONNECT {} HTTP/1.1", endpoint.address));
    assert_eq!(connect.header("host"), Some(endpoint.address.to_string().as_str()));
    assert_eq!(connect.header("proxy-authorization"), Some("Basic dXNlcjpwcjB4eXMzY3IzdA=="));
    let request = &endpoint.requests()[0];
    assert_eq!((request.line(), request.header("proxy-authorization")), ("POST /hook HTTP/1.1", None));
}
