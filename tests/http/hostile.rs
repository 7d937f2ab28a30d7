//! Whatever an endpoint does, a write ends when its time is over, and the next write is not affected.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::Sink;
use outflow::http::{HttpError, HttpSink, TransportFailure};
use outflow::retry::RetryAfter;

use super::{BuildFace, Face};
use crate::common::in_time;
use crate::server::{Server, empty};

const TIMEOUT: Duration = Duration::from_millis(400);

/// How much longer than its timeout a write may take on a machine that is busy with other tests.
const SLACK: Duration = Duration::from_secs(3);

fn sink(url: String) -> Face<Vec<u8>> {
    HttpSink::post(url)
        .timeout(TIMEOUT)
        .encode(|event: &Vec<u8>| Ok::<_, Infallible>(event.clone()))
        .build_face()
        .unwrap()
}

/// The outcome of one write to this endpoint, and how long it took.
fn write_to(server: &Server) -> (Result<(), HttpError>, Duration) {
    let sink = sink(server.url());
    in_time("the write", move || {
        let begun = Instant::now();
        let outcome = sink.write(b"event".to_vec()).map_err(|refused| refused.error().unwrap().clone());
        (outcome, begun.elapsed())
    })
}

fn times_out(server: &Server) {
    let (outcome, took) = write_to(server);
    assert!(matches!(outcome, Err(HttpError::Timeout { timeout: TIMEOUT, .. })), "{outcome:?}");
    assert!(took >= TIMEOUT && took < TIMEOUT + SLACK, "{took:?}");
}

fn fails(server: &Server, expected: TransportFailure) {
    let (outcome, took) = write_to(server);
    let Err(error @ HttpError::Transport { failure, .. }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*failure, expected, "{error}");
    assert!(error.is_transient());
    assert!(took < TIMEOUT + SLACK, "{took:?}");
}

fn hold(stream: TcpStream) {
    let mut stream = stream;
    // Until the client closes the connection.
    let _ = stream.read(&mut [0]);
}

/// Writes without end, as fast as it is read or with a pause after each write, and counts the bytes written.
fn pour(mut stream: TcpStream, bytes: &[u8], pause: Duration, taken: &AtomicU64) {
    while stream.write_all(bytes).is_ok() {
        taken.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

/// An endpoint that answers a request with `first`, and then `again` without end.
fn pouring(first: &'static str, again: &'static str, pause: Duration) -> (Server, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let server = Server::after_request(move |mut stream, _| {
        if stream.write_all(first.as_bytes()).is_ok() {
            pour(stream, again.as_bytes(), pause, &counted);
        }
    });
    (server, taken)
}

const AT_ONCE: Duration = Duration::ZERO;
const DRIP: Duration = Duration::from_millis(20);

#[test]
fn silence_times_out() {
    times_out(&Server::after_request(|stream, _| hold(stream)));
}

#[test]
fn half_a_head_times_out() {
    for half in [
        "H",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
    ] {
        times_out(&Server::after_request(move |mut stream, _| {
            stream.write_all(half.as_bytes()).unwrap();
            hold(stream);
        }));
    }
}

#[test]
fn a_head_that_drips_in_does_not_outlast_the_time() {
    times_out(&pouring("HTTP/1.1 200 OK\r\nx-slow: ", "a", DRIP).0);
    times_out(&pouring("HTTP/1.1 200 OK\r\n", "x-a: b\r\n", DRIP).0);
}

#[test]
fn interim_answers_without_end_do_not_outlast_the_time() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\nx-a: b\r\n\r\n"] {
        times_out(&pouring("", interim, DRIP).0);
        // As with a head without end, reading stops at the limit.
        fails(&pouring("", interim, AT_ONCE).0, TransportFailure::Protocol);
    }
}

#[test]
fn an_interim_answer_is_skipped() {
    let server = Server::answering(|_, _| {
        format!("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n{}", empty("204 No Content"))
    });
    assert!(write_to(&server).0.is_ok());
    let server = Server::answering(|_, _| format!("HTTP/1.1 100 Continue\r\n\r\n{}", empty("200 OK")));
    assert!(write_to(&server).0.is_ok());
}

#[test]
fn the_error_for_an_answer_that_cannot_be_read_says_what_is_wrong_with_it() {
    for (answer, reason) in [
        ("ICY 200 OK\r\n\r\n".to_string(), "it is not HTTP/1.1"),
        (format!("HTTP/1.1{}200 OK\r\n\r\n", " ".repeat(16 * 1024)), "longer than 16 KiB"),
        ("HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000) + &empty("200 OK"), "longer than 16 KiB"),
    ] {
        let server = Server::answering(move |_, _| answer.clone());
        let (outcome, _) = write_to(&server);
        let Err(error @ HttpError::Transport { failure: TransportFailure::Protocol, .. }) = outcome else {
            panic!("{reason}: {outcome:?}")
        };
        let text = error.to_string();
        assert!(text.contains("the answer cannot be read: ") && text.contains(reason), "{text}");
        assert!(error.is_transient());
    }
}

/// Answers with this status that are not valid HTTP/1.1, or unusually long.
fn sloppy(status: &str) -> Vec<String> {
    let head = |headers: &str| format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
    let page = format!("HTTP/1.1 {status}\r\ncontent-length: 20000\r\n\r\n{}", "a".repeat(20_000));
    vec![
        head("x-a : b\r\n"),
        head("x-a: b\r\n folded\r\n"),
        head("").replace("HTTP", "http"),
        head("").replace("\r\n", "\n"),
        "\r\n".to_string() + &head(""),
        head("no colon\r\n"),
        head(": no name\r\n"),
        head("x-a: \0\r\n"),
        head("content-length: 1\r\n"),
        head("content-length: one\r\n"),
        head("content-length: -1\r\n"),
        head("content-length: 99999999999999999999999\r\n"),
        head(&"x-a: b\r\n".repeat(1_000)),
        head(&format!("x-a: {}\r\n", "a".repeat(16_000))),
        head(&format!("x-a: {}\r\n", "a".repeat(16 * 1024))),
        "HTTP/1.1 100 Continue\r\nserver: a\r\n\r\n".to_string() + &head(""),
        "http/1.1 100 Continue\r\nx-a : b\r\n\r\n".to_string() + &head(""),
        "HTTP/1.1 103 Early Hints\r\n\r\n".to_string() + &page,
        page,
    ]
}

#[test]
fn a_2xx_is_the_delivery_however_badly_its_head_is_written() {
    for answer in sloppy("200 OK") {
        let said = answer.clone();
        let server = Server::answering(move |_, _| said.clone());
        let sink = sink(server.url());
        // The rest of the first answer is not taken for the second.
        for _ in 0..2 {
            let outcome = sink.write(b"event".to_vec());
            assert!(outcome.is_ok(), "{:?}: {outcome:?}", answer.get(..100).unwrap_or(&answer));
        }
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn a_refusal_is_understood_however_badly_its_head_is_written() {
    for answer in sloppy("422 Unprocessable Content") {
        let said = answer.clone();
        let (outcome, _) = write_to(&Server::answering(move |_, _| said.clone()));
        let status = outcome.as_ref().unwrap_err().status();
        assert_eq!(status, Some(422), "{:?}: {outcome:?}", answer.get(..100).unwrap_or(&answer));
    }
    let later = "http/1.1 429 Slow Down\r\nRetry-After : 7\r\n\r\n";
    let (outcome, _) = write_to(&Server::answering(move |_, _| later.to_string()));
    assert_eq!(outcome.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
}

#[test]
fn a_connection_that_ends_before_an_answer_is_a_transport_error() {
    fails(&Server::raw(|stream, _| drop(stream)), TransportFailure::Connection);
    fails(&Server::after_request(|stream, _| drop(stream)), TransportFailure::Connection);
    fails(
        &Server::after_request(|mut stream, _| stream.write_all(b"HTTP/1.1 200 OK\r\nx-a").unwrap()),
        TransportFailure::Connection,
    );
}

#[test]
fn a_head_without_end_is_cut_off() {
    for (first, again) in [
        ("HTTP/1.1 200 OK\r\nx-long: ", "aaaaaaaaaaaaaaaa"),
        ("HTTP/1.1 200 OK\r\n", "x-many: b\r\n"),
        ("HTTP/1.1 200 ", "aaaaaaaaaaaaaaaa"),
    ] {
        // The status has come by then.
        let (outcome, took) = write_to(&pouring(first, again, AT_ONCE).0);
        assert!(outcome.is_ok() && took < TIMEOUT + SLACK, "{first:?}: {outcome:?} {took:?}");
    }
    let (outcome, _) = write_to(&pouring("HTTP/1.1 500 Oops\r\n", "x-many: b\r\n", AT_ONCE).0);
    assert_eq!(outcome.unwrap_err().status(), Some(500));
    fails(&pouring("HTTP/1.1 ", " ", AT_ONCE).0, TransportFailure::Protocol);
}

#[test]
fn what_is_not_http_is_a_transport_error() {
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 20000 OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "220 mail.example ESMTP\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    ] {
        let server = Server::after_request(move |mut stream, _| {
            stream.write_all(garbage.as_bytes()).unwrap();
        });
        let (outcome, took) = write_to(&server);
        let Err(error) = outcome else { panic!("{garbage:?} was taken for a delivery") };
        assert!(error.is_transient(), "{garbage:?}: {error}");
        assert!(took < TIMEOUT + SLACK, "{garbage:?}: {took:?}");
    }
}

#[test]
fn a_2xx_is_the_delivery_whatever_becomes_of_its_body() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n";
    for (first, again, pause) in [
        (head, "a", DRIP),
        (chunked, "1\r\na\r\n", DRIP),
        (endless, "a", DRIP),
        (head, "aaaaaaaaaaaaaaaa", AT_ONCE),
        (chunked, "f\r\naaaaaaaaaaaaaaa\r\n", AT_ONCE),
        (chunked, "this is no chunk\r\n", AT_ONCE),
        (chunked, "ffffffffffffffffffff\r\n", AT_ONCE),
        (chunked, "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa", AT_ONCE),
        (endless, "aaaaaaaaaaaaaaaa", AT_ONCE),
    ] {
        let (server, _) = pouring(first, again, pause);
        let (outcome, took) = write_to(&server);
        assert!(outcome.is_ok(), "{first:?} {again:?}: {outcome:?}");
        assert!(took < TIMEOUT + SLACK, "{first:?} {again:?}: {took:?}");
    }
    // The body breaks off in the middle, and stalls.
    assert!(
        write_to(&Server::after_request(move |mut stream, _| stream.write_all(head.as_bytes()).unwrap()))
            .0
            .is_ok()
    );
    let stalled = Server::after_request(move |mut stream, _| {
        stream.write_all(head.as_bytes()).unwrap();
        hold(stream);
    });
    let (outcome, took) = write_to(&stalled);
    assert!(outcome.is_ok() && took < TIMEOUT + SLACK, "{outcome:?} {took:?}");
}

#[test]
fn a_body_gets_a_second_at_most_however_long_the_request_may_take() {
    let (server, _) = pouring("HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n", "a", DRIP);
    let sink = HttpSink::post(server.url()).timeout(Duration::from_secs(60)).build_face().unwrap();
    let begun = Instant::now();
    assert_eq!(sink.write("event").unwrap_err().error().unwrap().status(), Some(500));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(1) + SLACK, "{took:?}");
}

#[test]
fn of_an_answer_without_end_little_is_taken() {
    const MORE: &str = include_str!("../../examples/data/registry-notifications.ndjson");
    let (server, taken) = pouring("HTTP/1.1 200 OK\r\n\r\n", MORE, AT_ONCE);
    let sink = HttpSink::post(server.url()).timeout(Duration::from_secs(60)).build_face().unwrap();
    sink.write("event").unwrap();
    // The endpoint writes until the connection is closed, so this counts what fitted in the sockets' buffers too.
    let mut before = u64::MAX;
    while before != taken.load(Ordering::SeqCst) {
        before = taken.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(before < 16 * 1024 * 1024, "{before} bytes were taken");
}

#[test]
fn what_comes_after_an_answer_is_not_taken_for_the_next() {
    // Two answers at once: the second would make the next event count as delivered.
    let server = Server::after_request(|mut stream, connection| match connection {
        0 => {
            let twice = format!("{}{}", empty("200 OK"), empty("200 OK"));
            stream.write_all(twice.as_bytes()).unwrap();
            hold(stream);
        }
        _ => stream.write_all(empty("500 Oops").as_bytes()).unwrap(),
    });
    let sink = sink(server.url());
    sink.write(vec![]).unwrap();
    assert_eq!(sink.write(vec![]).unwrap_err().error().unwrap().status(), Some(500));

    // The second comes while the connection is idle.
    let server = Server::after_request(|mut stream, connection| match connection {
        0 => {
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(100));
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
            hold(stream);
        }
        _ => stream.write_all(empty("500 Oops").as_bytes()).unwrap(),
    });
    let sink = self::sink(server.url());
    sink.write(vec![]).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(sink.write(vec![]).unwrap_err().error().unwrap().status(), Some(500));
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used_again() {
    let server = Server::after_request(|mut stream, _| {
        stream.write_all(empty("200 OK").as_bytes()).unwrap();
    });
    let sink = sink(server.url());
    for _ in 0..5 {
        sink.write(vec![]).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.connections(), 5);
}

#[test]
fn the_sink_works_after_every_fault() {
    let server = Server::after_request(|mut stream, connection| match connection % 4 {
        0 => stream.write_all(b"garbage\r\n\r\n").unwrap(),
        1 => hold(stream),
        2 => stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ngarbage").unwrap(),
        _ => stream.write_all(empty("200 OK").as_bytes()).unwrap(),
    });
    let sink = sink(server.url());
    let outcomes: Vec<bool> = (0..8).map(|_| sink.write(vec![]).is_ok()).collect();
    assert_eq!(outcomes, [false, false, true, true, false, false, true, true]);
}

#[test]
fn an_endpoint_that_stops_reading_holds_a_write_for_twice_the_time_at_most() {
    let server = Server::raw(|stream, _| {
        let mut stream = stream;
        let _ = stream.read(&mut [0; 100]);
        thread::sleep(Duration::from_secs(30));
    });
    let sink = sink(server.url());
    in_time("the write", move || {
        let begun = Instant::now();
        let refused = sink.write(vec![b'a'; 64 * 1024 * 1024]).unwrap_err();
        let took = begun.elapsed();
        assert!(matches!(refused.error(), Some(HttpError::Timeout { .. })), "{refused:?}");
        assert!(took >= TIMEOUT && took < 2 * TIMEOUT + SLACK, "{took:?}");
    });
}

#[test]
fn an_endpoint_that_reads_slowly_does_not_outlast_twice_the_time() {
    let server = Server::raw(|stream, _| {
        let mut stream = stream;
        while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let sink = sink(server.url());
    in_time("the write", move || {
        let begun = Instant::now();
        let refused = sink.write(vec![b'a'; 64 * 1024 * 1024]).unwrap_err();
        let took = begun.elapsed();
        assert!(matches!(refused.error(), Some(HttpError::Timeout { .. })), "{refused:?}");
        assert!(took < 2 * TIMEOUT + SLACK, "{took:?}");
    });
}
