//! No secret is shown: not by a builder, a sink, an error or its sources, and not in what the client logs.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::time::Duration;

use outflow::http::{HttpError, HttpSink, HttpSinkBuilder};
use outflow::retry::Constant;
use outflow::{Broadcaster, DeadLetter, Sink, SinkExt, sink};

use super::{BuildFace, LOGS};
use crate::logs::logged;
use crate::server::{NO_SERVER, Request, Server};

// Something to find in every place that is secret.
const USER: &str = "pl4nted-user";
const PASSWORD: &str = "pl4nted-password";
const PATH: &str = "pl4nted-path";
const QUERY: &str = "pl4nted-query";
const HEADER: &str = "pl4nted-header";
const BEARER: &str = "pl4nted-bearer";
const SIGNING: &str = "whsec_pl4ntedsigningsecret00000000000000000000";
const ID: &str = "pl4nted.id";

/// The texts by which these are found. (The base64 of user and password begins with that of the user.)
const PLANTED: [&str; 2] = ["pl4nted", "cGw0bnRlZC11c2Vy"];

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    for planted in PLANTED {
        assert!(!text.to_lowercase().contains(&planted.to_lowercase()), "{what} shows {planted}: {text}");
    }
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

/// Everything that an error and its sources print.
fn printed(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        writeln!(text, "{error} {error:#} {error:?} {error:#?}").unwrap();
        next = error.source();
    }
    text
}

fn with_user(url: &str) -> HttpSinkBuilder<String> {
    let url = url.replace("://", &format!("://{USER}:{PASSWORD}@"));
    HttpSink::post(format!("{url}/{PATH}?{QUERY}"))
}

/// Every secret that a sink can have: user info, bearer, and what is made for each request.
fn planted(url: &str) -> [HttpSinkBuilder<String>; 3] {
    let whole = format!("{url}/{PATH}?{QUERY}");
    [
        with_user(url),
        HttpSink::post(whole.as_str()).bearer(BEARER),
        HttpSink::post(url).bearer_with(|_| BEARER.to_string()).url_with(move |_| whole.clone()),
    ]
    .map(|builder| {
        builder
            .header("x-api-key", HEADER)
            .header("cookie", HEADER)
            .header_with("x-made", |_| HEADER.to_string())
            .sign_with(SIGNING)
            .webhook_id(|event| event.clone())
            .timeout(Duration::from_millis(300))
            .allow_plaintext()
    })
}

/// Sends back what it got, in another part of the answer for each connection.
fn echo() -> Server {
    Server::raw(|mut stream, connection| {
        let Ok(Some(request)) = Request::read(&mut stream) else { return };
        let said = request.head.replace("\r\n", " ");
        let answer = match connection % 8 {
            0 => format!("HTTP/1.1 400 {said}\r\n\r\n{said}"),
            1 => format!(
                "HTTP/1.1 302 Moved\r\nlocation: http://{USER}:{PASSWORD}@elsewhere.example/{said}\r\n\r\n"
            ),
            2 => format!("HTTP/1.1 302 Moved\r\nlocation: /{PATH}?{QUERY}\r\ncontent-length: 0\r\n\r\n"),
            3 => format!("HTTP/1.1 503 Unavailable\r\nretry-after: {HEADER}\r\ndate: {BEARER}\r\n\r\n"),
            4 => format!("HTTP/1.1 500 Oops\r\n{said}\r\n\r\n"),
            5 => format!("{said}\r\n\r\n"),
            6 => format!("HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n{said}"),
            _ => format!("HTTP/1.1 500 Oops\r\ncontent-length: {PATH}\r\n\r\n{said}"),
        };
        let _ = stream.write_all(answer.as_bytes());
    })
}

#[test]
fn no_failure_shows_a_secret() {
    let echo = echo();
    let silent = Server::after_request(|mut stream, _| {
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    });
    let closing = Server::raw(|stream, _| drop(stream));
    let unencrypted = Server::raw(|mut stream, _| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    let endpoints = [
        // Each of the echo's 8 answers, to each of the three builders. (Each connection gets one.)
        vec![format!("http://{}", echo.address); 8],
        vec![
            format!("http://{}", silent.address),
            format!("http://{}", closing.address),
            format!("http://{NO_SERVER}"),
            format!("https://{}", unencrypted.address),
            // RFC 6761 reserves `.invalid`, so that this name does not exist.
            "http://outflow.invalid".to_string(),
        ],
    ]
    .concat();
    let mut kinds = std::collections::BTreeSet::new();
    for url in &endpoints {
        for builder in planted(url) {
            assert_clean("the builder", &debug(&builder));
            let sink = builder.build_face().unwrap();
            assert_clean("the sink", &debug(&sink));
            assert_clean("the endpoint", sink.endpoint());

            let (outcome, logged) = logged(LOGS, || sink.write("event".to_string()));
            // The client logs some headers of an answer, and with them what an endpoint sends back there.
            if *url != format!("http://{}", echo.address) {
                assert_clean("the log", &logged);
            }
            let refused = outcome.unwrap_err();
            assert_clean("the refusal", &printed(&refused));
            let error = refused.error().unwrap().clone();
            assert_clean("the error", &printed(&error));
            assert!(error.to_string().contains(sink.endpoint()), "{error}");
            kinds.insert(match &error {
                HttpError::Status { code, .. } => code.to_string(),
                HttpError::Transport { failure, .. } => format!("{failure:?}"),
                other => format!("{other:?}").split(' ').next().unwrap().to_string(),
            });
            assert_clean("the dead letter", &debug(&DeadLetter { event: (), error }));

            for id in [ID.to_string(), ID.repeat(2_000)] {
                let refused = sink.write(id).unwrap_err();
                assert_clean("the refusal of a bad id", &printed(&refused));
            }
        }
    }
    for kind in ["400", "302", "503", "500", "Timeout", "Connection", "Connect", "Tls", "Protocol"] {
        assert!(kinds.contains(kind), "no failure was a {kind}: {kinds:?}");
    }
}

#[test]
fn no_success_shows_a_secret() {
    let server = Server::status("200 OK");
    for builder in planted(&format!("http://{}", server.address)) {
        let sink = builder.name("audit").build_face().unwrap();
        let (outcome, logged) = logged(LOGS, || sink.write("event".to_string()));
        outcome.unwrap();
        assert_clean("the log", &logged);
        assert_eq!(sink.endpoint(), "audit");
        let chain = sink
            .retry(Constant::new(Duration::ZERO))
            .honor_retry_after()
            .give_up_when(|failure| !failure.error.is_transient())
            .dead_letter(sink::collector());
        assert_clean("the chain", &debug(&chain));
        let queue = chain.queued();
        let broadcaster = Broadcaster::new();
        broadcaster.add(queue.clone()).unwrap();
        assert_clean("the queue", &debug(&queue));
        assert_clean("the broadcaster", &debug(&broadcaster));
        broadcaster.close().wait().unwrap();
    }
    // They were sent.
    for request in &server.requests()[1..] {
        let head = &request.head;
        assert!([PATH, QUERY, HEADER, BEARER].iter().all(|planted| head.contains(planted)), "{head}");
        assert!(head.contains(&format!("x-made: {HEADER}")), "{head}");
    }
}

#[test]
fn no_error_of_the_builder_shows_a_secret() {
    let url = format!("https://hooks.example/{PATH}?{QUERY}");
    let post = || HttpSink::<String>::post(url.as_str());
    let spoilt = |change: &dyn Fn(HttpSinkBuilder<String>) -> HttpSinkBuilder<String>| change(post());
    let plain = || HttpSink::<String>::post(url.replace("https", "http"));
    for builder in [
        HttpSink::post(format!("{USER}:{PASSWORD}@hooks.example/{PATH}")),
        HttpSink::post(format!("{PATH}://hooks.example/")),
        HttpSink::post(format!("https://{USER}:{PASSWORD}@hooks.example:{PATH}/{PATH}")),
        HttpSink::post(format!("https://{USER}:{PASSWORD}%zz@hooks.example/")),
        HttpSink::post(format!("https://{USER}%3a:{PASSWORD}@hooks.example/{PATH}")),
        HttpSink::post(format!("https://hooks.example:0/{PATH}?{QUERY}")),
        HttpSink::post(format!("https:// hooks.example/{PATH}")),
        HttpSink::post(format!("ftp://{USER}@hooks.example/{PATH}")),
        HttpSink::post(format!("https://{USER}:{PASSWORD}@[::1]{PATH}/{PATH}")),
        HttpSink::post(format!("https://{USER}:{PASSWORD}@[{PATH}]/{PATH}")),
        HttpSink::post(format!("https://hooks.example/{}", PATH.repeat(2_000))),
        HttpSink::post(format!("https://{}@hooks.example/", USER.repeat(1_250))),
        HttpSink::post(format!("http://{USER}:{PASSWORD}@hooks.example/{PATH}")),
        plain().bearer(BEARER),
        plain().header("authorization", HEADER),
        spoilt(&|sink| sink.header("x-a", format!("{HEADER}\n"))),
        spoilt(&|sink| sink.header(format!("x-a: {HEADER}"), "")),
        spoilt(&|sink| sink.header("content-length", HEADER)),
        spoilt(&|sink| sink.header("host", HEADER).header("host", HEADER)),
        spoilt(&|sink| sink.header("x-a", HEADER.repeat(2_000))),
        spoilt(&|sink| sink.bearer(BEARER.repeat(2_000))),
        spoilt(&|sink| sink.bearer(format!("{BEARER}\n"))),
        spoilt(&|sink| sink.bearer(BEARER).header("authorization", HEADER)),
        spoilt(&|sink| sink.sign_with(SIGNING)),
        spoilt(&|sink| sink.webhook_id(String::clone).sign_with(&SIGNING[..30])),
        spoilt(&|sink| sink.webhook_id(String::clone).sign_with(&SIGNING[6..])),
        spoilt(&|sink| sink.root_certificate(HEADER)),
        spoilt(&|sink| sink.client_certificate(HEADER, HEADER)),
        spoilt(&|sink| sink.bearer(BEARER).header("x-a", HEADER).method("GET")),
        spoilt(&|sink| sink.bearer(BEARER).timeout(Duration::ZERO)),
    ] {
        assert_clean("the builder", &debug(&builder));
        let text =
            builder.build_face().map(|sink| panic!("{sink:?} was built")).map_err(|error| printed(&error));
        assert_clean("the error", &text.unwrap_err());
    }
}

#[test]
fn nothing_that_was_made_for_an_event_and_cannot_be_sent_is_shown() {
    let post = || HttpSink::<String>::post("http://127.0.0.1/");
    for builder in [
        post().header_with("x-a", |_| format!("{HEADER}\n")),
        post().header_with("x-a", |_| HEADER.repeat(2_000)),
        post().bearer_with(|_| format!("{BEARER} {BEARER}")),
        post().bearer_with(|_| BEARER.repeat(2_000)),
        post().url_with(|_| format!("http://{USER}:{PASSWORD}@127.0.0.1:{PATH}/{PATH}")),
        post().url_with(|_| format!("http://{USER}:{PASSWORD}@hooks.example/{PATH}?{QUERY}")),
        post().url_with(|_| format!("https://127.0.0.1/{PATH}?{QUERY}")),
        post().url_with(|_| format!("{PATH}://127.0.0.1/{PATH}?{QUERY}")),
    ] {
        assert_clean("the builder", &debug(&builder));
        let sink = builder.build_face().unwrap();
        assert_clean("the sink", &debug(&sink));
        let refused = sink.write("event".to_string()).unwrap_err();
        assert_clean("the refusal", &printed(&refused));
        assert_clean("the error", &printed(refused.error().unwrap()));
    }
}

#[test]
fn an_encoders_own_error_is_all_that_is_shown_of_an_event() {
    let sink = HttpSink::post(format!("https://hooks.example/{PATH}"))
        .encode(|event: &&str| if event.is_empty() { Err("empty") } else { Ok(vec![]) })
        .build_face()
        .unwrap();
    let refused = sink.write("").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the write failed: the event cannot be encoded for https://hooks.example:443: empty",
    );
    assert_clean("the refusal", &printed(&refused));
}
