//! With an answer of 2xx an event is delivered. Everything else is an error that hands the event back.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use outflow::http::{HttpError, HttpSink, TransportFailure};
use outflow::queue::Batch;
use outflow::retry::{Breaker, Constant, RetryAfter};
use outflow::{CloseError, Sink, SinkExt, WriteError, sink};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BuildFace, CLONES, Face};
use crate::common::{Census, Event, Latch, SOON, in_time, planned_panic, wait_until};
use crate::server::{NO_SERVER, Server, answer, empty};

fn text(server: &Server) -> Face<String> {
    HttpSink::post(server.url())
        .encode(|event: &String| Ok::<_, Infallible>(event.clone().into_bytes()))
        .build_face()
        .unwrap()
}

fn failure(server: &Server) -> HttpError {
    match text(server).write("event".to_string()) {
        Err(WriteError::Failed { event, error }) => {
            assert_eq!(event, "event");
            error
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_is_a_request() {
    #[derive(Serialize)]
    struct Push {
        repository: &'static str,
        size: u64,
    }
    let server = Server::status("202 Accepted");
    let sink =
        HttpSink::post(format!("{}?a=b&c", server.url())).header("x-tenant", "7").build_face().unwrap();
    sink.write(Push { repository: "library/alpine", size: u64::MAX }).map_err(drop).unwrap();

    let request = &server.requests()[0];
    assert_eq!(request.line(), "POST /hook?a=b&c HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-tenant"), Some("7"));
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
    assert!(request.header("user-agent").unwrap().starts_with("outflow/"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("webhook-id"), None);
    assert_eq!(request.text(), r#"{"repository":"library/alpine","size":18446744073709551615}"#);
}

#[test]
fn method_content_type_bearer_and_encoder_are_the_ones_given() {
    let server = Server::status("200 OK");
    for (builder, method) in
        [(HttpSink::put(server.url()), "PUT"), (HttpSink::post(server.url()).method("PATCH"), "PATCH")]
    {
        let sink = builder
            .encode(|event: &&str| Ok::<_, Infallible>(event.as_bytes().to_vec()))
            .content_type("text/plain; charset=utf-8")
            .bearer("a.b-c_d~e+f/g==")
            .build_face()
            .unwrap();
        sink.write("ä\n").unwrap();
        let request = server.requests().pop().unwrap();
        assert!(request.line().starts_with(method), "{}", request.line());
        assert_eq!(request.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(request.header("authorization"), Some("Bearer a.b-c_d~e+f/g=="));
        assert_eq!(request.text(), "ä\n");
    }
}

#[test]
fn user_info_in_the_url_is_basic_authentication_and_does_not_stand_in_the_request_line() {
    let server = Server::status("200 OK");
    let url = format!("http://Aladdin:open%20sesame@{}/hook", server.address);
    HttpSink::post(url).build_face().unwrap().write("event").unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!(request.line(), "POST /hook HTTP/1.1");
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
}

#[test]
fn a_header_of_ones_own_takes_the_place_of_the_clients() {
    let server = Server::status("200 OK");
    let sink = HttpSink::post(server.url())
        .header("Host", "virtual.example")
        .header("User-Agent", "registry/3")
        .header("Accept", "text/plain")
        .build_face()
        .unwrap();
    sink.write("event").unwrap();
    let request = &server.requests()[0];
    for (name, value) in [("host", "virtual.example"), ("user-agent", "registry/3"), ("accept", "text/plain")]
    {
        assert_eq!(request.header(name), Some(value));
    }
}

#[test]
fn an_empty_body_is_a_body() {
    let server = Server::status("200 OK");
    text(&server).write(String::new()).unwrap();
    let request = &server.requests()[0];
    assert_eq!((request.header("content-length"), request.text()), (Some("0"), ""));
}

#[test]
fn a_large_body_arrives_whole() {
    let server = Server::status("200 OK");
    let event: String = (0..1_000_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    text(&server).write(event.clone()).unwrap();
    assert!(server.requests()[0].text() == event);
}

#[test]
fn every_2xx_is_success() {
    let server = Server::answering(|number, _| empty(&format!("{} Whatever", 200 + number)));
    let sink = text(&server);
    for code in 200..300 {
        assert!(sink.write_ref(&"event".to_string()).is_ok(), "{code}");
    }
}

#[test]
fn every_other_status_is_an_error_with_its_code() {
    let codes: Vec<u16> = vec![
        101, 300, 304, 400, 401, 403, 404, 408, 410, 413, 422, 425, 429, 451, 500, 502, 503, 599, 600, 999,
    ];
    for code in codes {
        let error = failure(&Server::answering(move |_, _| empty(&format!("{code} Whatever"))));
        assert_eq!(error.status(), Some(code));
        let transient = matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 599);
        assert_eq!((error.is_transient(), error.is_gone()), (transient, code == 410), "{code}");
    }
}

#[test]
fn a_redirect_is_not_followed_and_names_the_host_that_it_points_to() {
    for code in [301, 302, 303, 307, 308] {
        let target = Server::status("200 OK");
        let location = format!("location: http://s3cr3t@{}/s3cr3t?s3cr3t", target.address);
        let server = Server::answering(move |_, _| answer(&format!("{code} Moved"), &[&location], "moved"));
        let error = failure(&server);
        let HttpError::Status { redirect, .. } = &error else { panic!("{error}") };
        assert_eq!(redirect.as_deref(), Some("127.0.0.1"));
        assert!(!error.is_transient());
        assert!(error.to_string().contains("127.0.0.1, which is not followed"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        assert_eq!(target.connections(), 0, "{code} was followed");
    }
}

#[test]
fn a_redirect_may_point_far() {
    let location = format!("location: http://elsewhere.example/{}", "a".repeat(10_000));
    let server = Server::answering(move |_, _| answer("302 Found", &[&location], "moved"));
    let sink = text(&server);
    for _ in 0..2 {
        let refused = sink.write("event".to_string()).unwrap_err();
        let Some(HttpError::Status { code: 302, redirect, .. }) = refused.error() else {
            panic!("{refused:?}")
        };
        assert_eq!(redirect.as_deref(), Some("elsewhere.example"));
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_redirect_without_a_host_stays_on_the_endpoints_own_wherever_it_leads_then() {
    for location in ["/login", "login?to=https://elsewhere.example/", "#https://elsewhere.example/"] {
        let server =
            Server::answering(move |_, _| answer("302 Found", &[&format!("location: {location}")], "moved"));
        let error = failure(&server).to_string();
        assert!(error.contains("302, a redirect to 127.0.0.1,"), "{error}");
    }
}

#[test]
fn an_error_has_the_wait_that_the_endpoint_asks_for() {
    let asks = |headers: &'static [&'static str]| {
        failure(&Server::answering(move |_, _| answer("503 Unavailable", headers, "later"))).retry_after()
    };
    assert_eq!(asks(&["retry-after: 120"]), Some(Duration::from_secs(120)));
    assert_eq!(
        asks(&["date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT"]),
        Some(Duration::from_secs(60)),
    );
    assert_eq!(asks(&["retry-after: soon"]), None);
    assert_eq!(asks(&[]), None);
}

#[test]
fn a_retry_waits_as_long_as_the_endpoint_asks() {
    let server = Server::answering(|number, _| match number {
        0 => answer("429 Slow Down", &["retry-after: 1"], ""),
        _ => empty("204 No Content"),
    });
    let begun = std::time::Instant::now();
    text(&server)
        .retry(Constant::new(Duration::ZERO))
        .honor_retry_after()
        .write("event".to_string())
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn one_poisoned_event_does_not_block_the_queue_behind_it() {
    let server = Server::answering(|number, request| match (request.text(), number) {
        ("poisoned", _) => empty("400 Bad Request"),
        (_, 0) => empty("503 Unavailable"),
        _ => empty("200 OK"),
    });
    let dead = sink::collector();
    let queue = text(&server)
        .retry(Breaker::new(5, Duration::from_millis(1)))
        .honor_retry_after()
        .give_up_when(|failure| !failure.error.is_transient())
        .dead_letter(dead.clone())
        .queued();
    for event in ["first", "poisoned", "last"] {
        queue.write(event.to_string()).unwrap();
    }
    queue.close().within(SOON).unwrap();
    let bodies: Vec<String> = server.requests().iter().map(|request| request.text().to_string()).collect();
    assert_eq!(bodies, ["first", "first", "poisoned", "last"]);
    let dead = dead.take();
    assert_eq!((dead.len(), dead[0].event.as_str(), dead[0].error.status()), (1, "poisoned", Some(400)));
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::answering(|number, _| match number % 3 {
        0 => answer("200 OK", &[], "a body that is read to its end"),
        1 => answer("500 Oops", &[], &"a page that explains nothing ".repeat(500)),
        _ => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_string(),
    });
    let sink = text(&server);
    for _ in 0..30 {
        let _ = sink.write("event".to_string());
    }
    assert_eq!((server.requests().len(), server.connections()), (30, 1));
}

#[test]
fn many_writers_make_requests_at_the_same_time() {
    in_time("the writers", || {
        let latch = Latch::new();
        let at_endpoint = latch.clone();
        let server = Server::answering(move |_, _| {
            at_endpoint.pass();
            empty("200 OK")
        });
        let sink = text(&server);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let sink = &sink;
                        move || sink.write(n.to_string())
                    })
                })
                .collect();
            latch.arrived(8);
            latch.open();
            writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
        });
        assert_eq!(server.requests().len(), 8);
    });
}

#[test]
fn refuses_at_once_when_closed_and_lets_the_request_under_way_finish() {
    in_time("the close", || {
        let latch = Latch::new();
        let at_endpoint = latch.clone();
        let server = Server::answering(move |_, _| {
            at_endpoint.pass();
            empty("200 OK")
        });
        let sink = Arc::new(text(&server));
        let (sender, answers) = mpsc::channel();
        let writing = Arc::clone(&sink);
        thread::spawn(move || sender.send(writing.write("first".to_string())).unwrap());
        latch.arrived(1);
        sink.close().wait().unwrap();
        assert!(sink.is_closed());
        assert_eq!(sink.write("second".to_string()).unwrap_err().into_event(), "second");
        assert!(sink.write_ref(&"third".to_string()).unwrap_err().is_closed());
        latch.open();
        assert!(answers.recv_timeout(SOON).unwrap().is_ok());
        assert_eq!(server.requests().len(), 1);
    });
}

#[test]
fn an_abort_does_not_wait_for_the_request_under_way_and_counts_it() {
    let latch = Latch::new();
    let at_endpoint = latch.clone();
    let server = Server::answering(move |_, _| {
        at_endpoint.pass();
        empty("200 OK")
    });
    let (queue, closed) = in_time("the abort", move || {
        let queue = text(&server).retry(Constant::new(Duration::ZERO)).queued();
        queue.write("first".to_string()).unwrap();
        queue.write("second".to_string()).unwrap();
        latch.arrived(1);
        let closed = queue.close().within(Duration::from_millis(50));
        latch.open();
        (queue, closed)
    });
    let refused = closed.unwrap_err();
    assert!(matches!(refused, CloseError::Undelivered { events: 1, in_flight: 1, .. }), "{refused:?}");
    // It arrived all the same.
    wait_until("the answer is back", || queue.stats().in_flight == 0);
    assert_eq!(queue.stats().delivered, 1);
}

#[test]
fn clones_nothing_and_hands_back_the_event_itself() {
    let census = Census::new();
    let server = Server::answering(|number, _| empty(if number < 2 { "200 OK" } else { "500 Oops" }));
    let sink = HttpSink::post(server.url())
        .encode(|event: &Event| Ok::<_, Infallible>(event.id.to_string().into_bytes()))
        .build_face()
        .unwrap();
    sink.write(Event::new(1, &census)).unwrap();
    sink.write_ref(&Event::new(2, &census)).unwrap();
    assert!(sink.write_ref(&Event::new(3, &census)).is_err());
    assert_eq!(sink.write(Event::new(4, &census)).unwrap_err().into_event().id, 4);
    assert_eq!(census.clones(), 2 * CLONES);
    census.assert_none_left();
}

#[test]
fn an_event_that_cannot_be_encoded_is_no_request_and_no_reason_to_try_again() {
    let server = Server::status("200 OK");
    let sink = HttpSink::post(server.url())
        .encode(|event: &u32| if *event == 0 { Err("zero") } else { Ok(vec![]) })
        .build_face()
        .unwrap();
    let refused = sink.write(0).unwrap_err();
    let error = refused.error().unwrap();
    assert!(matches!(error, HttpError::Encode { .. }) && !error.is_transient());
    assert_eq!(std::error::Error::source(error).unwrap().to_string(), "zero");
    assert_eq!(server.connections(), 0);

    // In JSON, a list cannot be a key.
    let json = HttpSink::post(server.url()).build_face().unwrap();
    let refused = json.write(std::collections::BTreeMap::from([(vec![1], 2)])).unwrap_err();
    assert!(matches!(refused.error(), Some(HttpError::Encode { .. })));
}

#[test]
fn a_panic_of_the_encoder_unwinds_to_the_writer_and_leaves_the_sink_usable() {
    let server = Server::status("200 OK");
    let sink = HttpSink::post(server.url())
        .encode(|event: &u32| {
            if *event == 0 {
                planned_panic();
            }
            Ok::<_, Infallible>(vec![])
        })
        .build_face()
        .unwrap()
        .catch_panic();
    assert_eq!(sink.write(0).unwrap_err().into_event(), 0);
    sink.write(1).unwrap();
}

#[test]
fn no_connection_is_a_transport_error() {
    let sink = HttpSink::post(format!("http://{}/", NO_SERVER)).build_face().unwrap();
    let refused = sink.write("event").unwrap_err();
    let error = refused.error().unwrap();
    assert!(matches!(error, HttpError::Transport { failure: TransportFailure::Connect, .. }), "{error:?}");
    assert!(error.is_transient());
}

/// What a registry sent: 251 envelopes with one event each.
const NOTIFICATIONS: &str = include_str!("../../examples/data/registry-notifications.ndjson");
const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

#[test]
fn one_request_carries_many_events_in_the_registrys_own_envelope() {
    #[derive(serde::Deserialize, Serialize)]
    struct Envelope<E> {
        events: Vec<E>,
    }
    type Notification = Arc<RawValue>;

    // The endpoint refuses every third request, and then gets the same envelope again.
    let server =
        Server::answering(|number, _| empty(if number % 3 == 1 { "503 Unavailable" } else { "200 OK" }));
    let queue = HttpSink::post(server.url())
        .content_type(MEDIA_TYPE)
        .encode(|events: &Vec<Notification>| {
            serde_json::to_vec(&Envelope { events: events.iter().map(|event| &**event).collect() })
        })
        .build_face()
        .unwrap()
        .retry(Constant::new(Duration::ZERO))
        .batched(Batch::of(100).within(Duration::from_millis(50)));

    let mut sent = Vec::new();
    for line in NOTIFICATIONS.lines() {
        let envelope: Envelope<Box<RawValue>> = serde_json::from_str(line).unwrap();
        for event in envelope.events {
            sent.push(event.get().to_string());
            queue.write(Arc::from(event)).unwrap();
        }
    }
    queue.close().within(SOON).unwrap();

    let mut arrived = Vec::new();
    let requests = server.requests();
    for (number, request) in requests.iter().enumerate() {
        assert_eq!(request.header("content-type"), Some(MEDIA_TYPE));
        if number % 3 == 1 {
            assert_eq!(request.body, requests[number + 1].body);
            continue;
        }
        let envelope: Envelope<Box<RawValue>> = serde_json::from_str(request.text()).unwrap();
        assert!((1..=100).contains(&envelope.events.len()));
        arrived.extend(envelope.events.iter().map(|event| event.get().to_string()));
    }
    assert_eq!(sent.len(), 251);
    assert!(arrived == sent, "not the same events in the same order, byte for byte");
    assert!(requests.len() < 20, "{} requests", requests.len());
    wait_until("all is delivered", || queue.stats().delivered == 251);
}

#[test]
fn of_a_batch_of_which_the_endpoint_refuses_an_event_the_others_are_delivered_in_few_requests() {
    let server = Server::answering(|number, request| {
        let events: Vec<u32> = serde_json::from_slice(&request.body).unwrap();
        match () {
            () if events.len() > 300 => empty("413 Content Too Large"),
            () if number == 3 => empty("503 Service Unavailable"),
            () if events.contains(&377) => empty("422 Unprocessable Content"),
            () => empty("200 OK"),
        }
    });
    let dead = sink::collector();
    let queue = HttpSink::post(server.url())
        .build_face()
        .unwrap()
        .retry(Constant::new(Duration::ZERO))
        .give_up_when(|failure| !failure.error.is_transient())
        .split_on(|error| matches!(error.status(), Some(400 | 413 | 422)))
        .dead_letter(dead.clone())
        .batched(Batch::of(500).within(SOON));
    queue.write_all(0..500).unwrap();
    queue.close().wait().unwrap();

    let letters = dead.take();
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].event, letters[0].error.status()), (&vec![377], Some(422)));
    let bodies: Vec<Vec<u32>> =
        server.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert!(bodies.len() <= 20, "{} requests, one of them again after a 503", bodies.len());
    let delivered: Vec<u32> = bodies
        .iter()
        .enumerate()
        .filter(|(number, events)| *number != 3 && events.len() <= 300 && !events.contains(&377))
        .flat_map(|(_, events)| events.iter().copied())
        .collect();
    assert_eq!(delivered, (0..500).filter(|event| *event != 377).collect::<Vec<_>>());
}
