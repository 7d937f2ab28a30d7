//! What a user can choose about a request and its answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow::http::{HttpError, HttpSink, HttpSinkBuilder};
use outflow::retry::Constant;
use outflow::{Sink, SinkExt};

use super::BuildFace;
use crate::common::planned_panic;
use crate::server::{NO_SERVER, Server, empty};

fn post(server: &Server) -> HttpSinkBuilder<String> {
    HttpSink::post(server.url())
}

#[test]
fn an_event_is_delivered_with_the_accepted_statuses_and_no_others() {
    let accepted = |accept: &dyn Fn(HttpSinkBuilder<String>) -> HttpSinkBuilder<String>| -> Vec<u16> {
        let codes = [200, 204, 299, 300, 304, 399, 400, 404, 409, 500, 999];
        let server = Server::answering(move |number, _| empty(&format!("{} Whatever", codes[number])));
        let sink = accept(post(&server)).build_face().unwrap();
        codes
            .into_iter()
            .filter(|code| match sink.write("event".to_string()) {
                Ok(()) => true,
                Err(refused) => {
                    assert_eq!(refused.error().unwrap().status(), Some(*code));
                    false
                }
            })
            .collect()
    };
    assert_eq!(accepted(&|sink| sink), [200, 204, 299]);
    assert_eq!(accepted(&|sink| sink.accept(200..400)), [200, 204, 299, 300, 304, 399]);
    assert_eq!(accepted(&|sink| sink.accept(204..=204)), [204]);
    assert_eq!(accepted(&|sink| sink.accept_when(|status| matches!(status, 200 | 409))), [200, 409]);
    assert_eq!(accepted(&|sink| sink.accept(..)).len(), 11);
}

#[test]
fn each_answer_is_seen_with_its_event() {
    let server = Server::answering(|number, _| {
        empty(["503 Unavailable", "404 Not Found", "200 OK", "201 Created"][number])
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::clone(&seen);
    let sink = post(&server)
        .on_answer(|_, _| panic!("the last one counts"))
        .on_answer(move |event, status| answers.lock().unwrap().push((event.clone(), status)))
        .build_face()
        .unwrap()
        .retry(Constant::new(Duration::ZERO))
        .max_attempts(3);
    sink.write("first".to_string()).unwrap();
    sink.write("second".to_string()).unwrap();
    let expected = [("first", 503), ("first", 404), ("first", 200), ("second", 201)];
    let expected = expected.map(|(event, status)| (event.to_string(), status));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn no_answer_is_not_seen() {
    let sink = HttpSink::post(format!("http://{NO_SERVER}/"))
        .on_answer(|_: &&str, status| panic!("{status}"))
        .build_face()
        .unwrap();
    assert!(sink.write("event").is_err());
}

#[test]
fn a_panic_of_a_closure_unwinds_to_the_writer_and_leaves_the_sink_usable() {
    fn planned(event: &String) -> String {
        if event == "poisoned" {
            planned_panic();
        }
        event.clone()
    }
    let server = Server::status("200 OK");
    let url = server.url();
    for builder in [
        post(&server).header_with("x-a", planned),
        post(&server).bearer_with(planned),
        post(&server).url_with(move |event| format!("{url}?{}", planned(event))),
        post(&server).on_answer(|event, _| drop(planned(event))),
        post(&server).webhook_id(planned),
    ] {
        let sink = builder.build_face().unwrap().catch_panic();
        assert_eq!(sink.write("poisoned".to_string()).unwrap_err().into_event(), "poisoned");
        assert!(!outflow::is_delivering());
        sink.write("event".to_string()).unwrap();
    }
}

#[test]
fn header_bearer_and_url_are_made_for_each_request() {
    let server = Server::answering(|number, _| empty(if number == 0 { "503 Unavailable" } else { "200 OK" }));
    let token = Arc::new(Mutex::new(0));
    let url = server.url();
    let sink = post(&server)
        .header("x-kind", "static")
        .header_with("x-event", |event: &String| format!("<{event}>"))
        .header_with("x-kind", |_| "made".to_string())
        .bearer_with(move |_| {
            let mut token = token.lock().unwrap();
            *token += 1;
            format!("token-{token}")
        })
        .url_with(move |event| format!("{url}/{event}?a=b"))
        .build_face()
        .unwrap()
        .retry(Constant::new(Duration::ZERO));
    sink.write("push".to_string()).unwrap();
    sink.write("pull".to_string()).unwrap();

    let requests = server.requests();
    let made: Vec<_> = requests
        .iter()
        .map(|request| {
            (request.line(), request.header("x-event").unwrap(), request.header("authorization").unwrap())
        })
        .collect();
    assert_eq!(
        made,
        [
            ("POST /hook/push?a=b HTTP/1.1", "<push>", "Bearer token-1"),
            ("POST /hook/push?a=b HTTP/1.1", "<push>", "Bearer token-2"),
            ("POST /hook/pull?a=b HTTP/1.1", "<pull>", "Bearer token-3"),
        ]
    );
    let head = requests[0].head.to_lowercase();
    assert!(head.contains("x-kind: static\r\nx-kind: made\r\n"), "{head}");
}

#[test]
fn a_header_that_is_made_takes_the_place_of_the_clients() {
    let server = Server::status("200 OK");
    let sink = post(&server)
        .header_with("user-agent", |event| format!("registry/{event}"))
        .header_with("accept", |_| "text/plain".to_string())
        .header_with("host", |event| format!("{event}.example"))
        .build_face()
        .unwrap();
    sink.write("3".to_string()).unwrap();
    let request = &server.requests()[0];
    for (name, value) in [("user-agent", "registry/3"), ("accept", "text/plain"), ("host", "3.example")] {
        assert_eq!(request.header(name), Some(value));
    }
}

#[test]
fn an_event_may_go_to_another_host_and_an_error_names_that() {
    let (one, other) = (Server::status("200 OK"), Server::status("404 Not Found"));
    let url = other.url();
    let sink = post(&one).url_with(move |_| url.replace("://", "://user:password@")).build_face().unwrap();
    let refused = sink.write("event".to_string()).unwrap_err();
    let error = refused.error().unwrap();
    assert_eq!(error.to_string(), format!("http://{} answered 404", other.address));
    assert_eq!(other.requests()[0].header("authorization"), Some("Basic dXNlcjpwYXNzd29yZA=="));
    assert_eq!(sink.endpoint(), format!("http://{}", one.address));
    assert_eq!(one.connections(), 0);
}

#[test]
fn what_is_made_for_an_event_and_cannot_be_sent_fails_for_good_and_says_why() {
    let server = Server::status("200 OK");
    let with_url = |url: &'static str| post(&server).bearer("s3cr3t").url_with(move |_| url.to_string());
    let many = "s3cr3t".repeat(5_000);
    for (builder, reason) in [
        (
            post(&server).header_with("x-a", |_| "s3cr3t\n".to_string()),
            "\"x-a\" cannot be sent: its value has",
        ),
        (
            post(&server).header_with("x-a", move |_| many.clone()),
            "\"x-a\" cannot be sent: its line does not fit",
        ),
        (post(&server).bearer_with(|_| "s3cr3t s3cr3t".to_string()), "the bearer has a character"),
        (with_url("http://127.0.0.1:99999/s3cr3t"), "its port is not between 1 and 65535"),
        (with_url("https://127.0.0.1/s3cr3t"), "of another scheme than the sink's own"),
        (
            with_url("http://hooks.example/s3cr3t"),
            "credentials would go to http://hooks.example:80 in the open",
        ),
        (
            with_url("http://user:s3cr3t@127.0.0.1/"),
            "\"authorization\" cannot be sent: it is given more than once",
        ),
        (post(&server).url_with(|_| "http://user:s3cr3t@hooks.example/".to_string()), "in the open"),
    ] {
        let refused = builder.build_face().unwrap().write("event".to_string()).unwrap_err();
        let error = refused.error().unwrap();
        assert!(matches!(error, HttpError::Encode { .. }) && !error.is_transient(), "{error:?}");
        assert_eq!(error.endpoint(), format!("http://{}", server.address));
        let text = format!("{error} {error:?}");
        assert!(text.contains(reason) && !text.contains("s3cr3t"), "{text}");
    }
    assert_eq!(server.connections(), 0);
}
