//! Connections: how one is made, what is read from one that breaks off, and when one is used again.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use outflow::http::{HttpError, HttpSink, HttpSinkBuilder, TransportFailure};
use outflow::retry::{Breaker, Constant, RetryAfter};
use outflow::{Sink, SinkExt, sink};

use super::BuildFace;
use crate::common::{Latch, SOON, in_time};
use crate::server::{Request, Server, answer, empty};

fn bytes(url: String) -> HttpSinkBuilder<Vec<u8>, impl outflow::http::Encode<Vec<u8>> + Send + Sync> {
    HttpSink::post(url).encode(|event: &Vec<u8>| Ok::<_, Infallible>(event.clone()))
}

fn hold(mut stream: TcpStream) {
    // Until the client closes the connection.
    while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
}

#[test]
fn a_name_is_looked_up() {
    let server = Server::status("200 OK");
    let url = server.url().replace("127.0.0.1", "localhost");
    HttpSink::post(url).build_face().unwrap().write("event").unwrap();
    // RFC 6761 reserves `.invalid`, so that this name does not exist.
    let refused = HttpSink::post("http://outflow.invalid/").build_face().unwrap().write("event").unwrap_err();
    let error = refused.error().unwrap();
    assert!(
        matches!(error, HttpError::Transport { failure: TransportFailure::Resolve, .. })
            && error.is_transient(),
        "{error:?}",
    );
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Answers as soon as it has read the head, and closes the connection without reading the body.
fn refuse_the_body(stream: &mut (impl Read + Write)) {
    read_head(stream);
    stream.write_all(empty("413 Content Too Large").as_bytes()).unwrap();
}

#[test]
fn an_answer_to_a_body_that_was_not_read_is_received() {
    let server = Server::raw(|mut stream, _| refuse_the_body(&mut stream));
    let dead = sink::collector();
    let queue = bytes(server.url())
        .build_face()
        .unwrap()
        .retry(Constant::new(Duration::ZERO))
        .give_up_when(|failure| !failure.error.is_transient())
        .dead_letter(dead.clone())
        .queued();
    queue.write(vec![b'a'; 20_000_000]).unwrap();
    queue.close().within(SOON).unwrap();
    assert_eq!(dead.take()[0].error.status(), Some(413));
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_to_a_body_that_was_not_read_is_received_through_encryption() {
    let (server, builder) = super::tls::encrypted(|mut stream| {
        // Otherwise the answer would wait for the client to acknowledge the end of the handshake, and be lost when the
        // connection is closed.
        stream.sock.set_nodelay(true).unwrap();
        refuse_the_body(&mut stream);
        stream.flush().unwrap();
    });
    let sink = builder.build_face().unwrap();
    let refused = in_time("the write", move || sink.write("a".repeat(20_000_000)).unwrap_err());
    assert_eq!(refused.error().unwrap().status(), Some(413), "{refused:?}");
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_to_a_body_that_is_read_no_further_is_received_when_the_time_is_over() {
    const REFUSED: &str = "HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    fn refuse_and_stay(stream: &mut (impl Read + Write), gone: &Latch) {
        read_head(stream);
        stream.write_all(REFUSED.as_bytes()).unwrap();
        stream.flush().unwrap();
        gone.pass();
    }
    let gone = Latch::new();
    let stays = gone.clone();
    let plain = Server::raw(move |mut stream, _| refuse_and_stay(&mut stream, &stays));
    let stays = gone.clone();
    let (_encrypted, builder) = super::tls::encrypted(move |mut stream| refuse_and_stay(&mut stream, &stays));
    for builder in [HttpSink::post(plain.url()), builder] {
        let sink = builder.timeout(Duration::from_secs(1)).build_face().unwrap();
        let refused = in_time("the write", move || sink.write("a".repeat(20_000_000)).unwrap_err());
        let error = refused.error().unwrap();
        assert_eq!(
            (error.status(), error.retry_after()),
            (Some(429), Some(Duration::from_secs(7))),
            "{error}"
        );
    }
    gone.open();
}

#[test]
fn an_endpoint_that_answers_at_once_and_reads_on_gets_the_whole_body() {
    const LENGTH: usize = 5_000_000;
    for headers in [&[][..], &["connection: close"]] {
        let (sender, read) = mpsc::channel();
        let server = Server::raw(move |mut stream, _| {
            while stream.peek(&mut [0]).is_ok_and(|read| read > 0) {
                read_head(&mut stream);
                stream.write_all(answer("200 OK", headers, "read").as_bytes()).unwrap();
                // So that the client has the answer, and more than the buffers of the sockets hold is to be sent.
                thread::sleep(Duration::from_millis(100));
                let mut body = vec![0; LENGTH];
                sender.send(stream.read_exact(&mut body).map(|()| body)).unwrap();
                if !headers.is_empty() {
                    return;
                }
            }
        });
        let sink = bytes(server.url()).build_face().unwrap();
        in_time("the writes", move || {
            for byte in [b'a', b'b'] {
                sink.write(vec![byte; LENGTH]).unwrap();
                assert!(read.recv().unwrap().unwrap() == vec![byte; LENGTH]);
            }
            assert_eq!(server.connections(), 1 + headers.len());
        });
    }
}

#[test]
fn a_close_during_the_body_without_an_answer_is_a_connection_that_broke_off() {
    let server = Server::raw(|mut stream, _| stream.read_exact(&mut [0; 10]).unwrap());
    let sink = bytes(server.url()).build_face().unwrap();
    let refused = in_time("the write", move || sink.write(vec![b'a'; 20_000_000]).unwrap_err());
    let error = refused.error().unwrap();
    assert!(matches!(error, HttpError::Transport { failure: TransportFailure::Connection, .. }), "{error:?}");
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_event_at_which_an_endpoint_closes_the_connection_each_time_does_not_block_the_queue_behind_it() {
    let server = Server::raw(|mut stream, _| {
        if !read_head(&mut stream).contains("content-length: 20000000\r\n") {
            stream.read_exact(&mut [0; "small".len()]).unwrap();
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
        }
    });
    let dead = sink::collector();
    let queue = bytes(server.url())
        .build_face()
        .unwrap()
        .retry(Breaker::new(5, Duration::from_millis(1)))
        .honor_retry_after()
        .give_up_when(|failure| !failure.error.is_transient())
        .max_attempts(7)
        .dead_letter(dead.clone())
        .queued();
    queue.write(vec![b'a'; 20_000_000]).unwrap();
    queue.write(b"small".to_vec()).unwrap();
    queue.close().within(SOON).unwrap();
    let dead = dead.take();
    assert_eq!((dead.len(), dead[0].event.len()), (1, 20_000_000));
    assert!(matches!(dead[0].error, HttpError::Transport { failure: TransportFailure::Connection, .. }));
    assert_eq!(server.connections(), 8);
}

/// Makes this many connections, and leaves them idle.
fn leave_idle<S>(sink: &S, connections: usize, at_endpoint: &Latch)
where
    S: Sink<Vec<u8>> + Sync,
{
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| sink.write(b"event".to_vec()).is_ok())).collect();
        at_endpoint.arrived(connections);
        at_endpoint.open();
        assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
    });
}

#[test]
fn connections_that_went_silent_while_idle_cost_an_event_one_attempt_together() {
    const IDLE: usize = 8;
    let latch = Latch::new();
    let at_endpoint = latch.clone();
    let server = Server::after_request(move |mut stream, connection| {
        if connection < IDLE {
            at_endpoint.pass();
        }
        stream.write_all(empty("200 OK").as_bytes()).unwrap();
        // Later requests are not read.
        hold(stream);
    });
    let sink = bytes(server.url()).timeout(Duration::from_secs(1)).build_face().unwrap();
    in_time("the writes", move || {
        leave_idle(&sink, IDLE, &latch);
        let sink = sink.retry(Constant::new(Duration::ZERO)).max_attempts(2);
        sink.write(b"event".to_vec()).unwrap();
        assert_eq!(server.connections(), IDLE + 1);
    });
}

#[test]
fn a_connection_that_was_closed_when_it_was_used_again_costs_no_attempt() {
    const IDLE: usize = 8;
    let latch = Latch::new();
    let at_endpoint = latch.clone();
    let server = Server::raw(move |mut stream, connection| {
        Request::read(&mut stream).unwrap();
        if connection < IDLE {
            at_endpoint.pass();
        }
        stream.write_all(empty("200 OK").as_bytes()).unwrap();
        // It closes the connection at the first byte of the next request.
        let _ = stream.read(&mut [0]);
    });
    let sink = bytes(server.url()).build_face().unwrap();
    in_time("the writes", move || {
        leave_idle(&sink, IDLE, &latch);
        // A body that fits in the buffers of the socket, and one that does not.
        sink.write(b"event".to_vec()).unwrap();
        assert_eq!(server.connections(), IDLE + 1);
        sink.write(vec![b'a'; 20_000_000]).unwrap();
        assert_eq!(server.connections(), IDLE + 2);
    });
}

#[test]
fn a_request_is_made_again_once_and_within_the_same_time() {
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    let server = Server::after_request(|mut stream, connection| {
        if connection == 0 {
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
            Request::read(&mut stream).unwrap();
            thread::sleep(TIMEOUT - Duration::from_millis(100));
        } else {
            hold(stream);
        }
    });
    let sink = bytes(server.url()).timeout(TIMEOUT).build_face().unwrap();
    in_time("the writes", move || {
        sink.write(b"event".to_vec()).unwrap();
        let begun = Instant::now();
        let refused = sink.write(b"event".to_vec()).unwrap_err();
        assert!(matches!(refused.error(), Some(HttpError::Timeout { .. })), "{refused:?}");
        assert!(begun.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn an_answer_that_breaks_off_is_no_reason_to_make_the_request_again() {
    let (sender, requests) = mpsc::channel();
    let server = Server::raw(move |mut stream, _| {
        for answer in [empty("200 OK").as_str(), "HTTP/1.1 200"] {
            Request::read(&mut stream).unwrap();
            sender.send(()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let sink = bytes(server.url()).build_face().unwrap();
    in_time("the writes", move || {
        sink.write(b"event".to_vec()).unwrap();
        sink.write(b"event".to_vec()).unwrap_err();
        assert_eq!((requests.try_iter().count(), server.connections()), (2, 1));
    });
}

#[test]
fn as_many_threads_as_connections_are_kept_make_no_more() {
    const THREADS: usize = 32;
    let (first, second) = (Latch::new(), Latch::new());
    let at_endpoint = [first.clone(), second.clone()];
    let server = Server::answering(move |number, _| {
        if let Some(latch) = at_endpoint.get(number / THREADS) {
            latch.pass();
        }
        empty("200 OK")
    });
    let sink = bytes(server.url()).build_face().unwrap();
    in_time("the writers", move || {
        // First all at the same time, then in any order.
        leave_idle(&sink, THREADS, &first);
        leave_idle(&sink, THREADS, &second);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..20).for_each(|_| sink.write(b"event".to_vec()).unwrap()));
            }
        });
        assert_eq!(server.connections(), THREADS);
    });
}

#[test]
fn as_many_idle_connections_are_kept_as_asked_for() {
    const WRITERS: usize = 4;
    for kept in [0, 1, 3] {
        let (first, second) = (Latch::new(), Latch::new());
        let at_endpoint = [first.clone(), second.clone()];
        let server = Server::answering(move |number, _| {
            at_endpoint[number / WRITERS].pass();
            empty("200 OK")
        });
        let sink = bytes(server.url()).idle_connections(kept).build_face().unwrap();
        in_time("the writers", move || {
            leave_idle(&sink, WRITERS, &first);
            assert_eq!(server.connections(), WRITERS);
            leave_idle(&sink, WRITERS, &second);
            assert_eq!(server.connections(), 2 * WRITERS - kept, "{kept}");
        });
    }
}
