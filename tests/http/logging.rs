//! A logger that writes to a sink can leave out the lines that it causes itself.

use std::sync::OnceLock;

use outflow::http::HttpSink;
use outflow::{Queue, Sink, SinkExt, is_delivering, sink};

use super::BuildFace;
use crate::common::SOON;
use crate::server::{Server, in_a_process_of_its_own, report};

static LINES: OnceLock<Queue<String>> = OnceLock::new();

/// Sends each line to an endpoint, except those that the sending causes.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if !is_delivering() {
            LINES.get().unwrap().write(record.args().to_string()).unwrap();
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_that_writes_to_a_queued_sink_does_not_feed_itself() {
    let outcome = in_a_process_of_its_own(
        concat!(module_path!(), "::logs_to_an_endpoint"),
        &[("OUTFLOW_TEST_LOGGER", "a queue")],
    );
    assert_eq!(outcome, "[\"\\\"a line\\\"\", \"\\\"another\\\"\"]");
}

#[test]
fn logs_to_an_endpoint() {
    if std::env::var_os("OUTFLOW_TEST_LOGGER").is_none() {
        return;
    }
    let server = Server::status("200 OK");
    let dead = sink::collector();
    let queue = HttpSink::post(server.url()).build_face().unwrap().dead_letter(dead.clone()).queued();
    LINES.set(queue).unwrap();
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    log::info!("a line");
    log::info!("another");
    // Lines that the first two cause would be in the queue when these are delivered.
    for _ in 0..2 {
        LINES.get().unwrap().flush().within(SOON).unwrap();
    }
    let lines: Vec<_> = server.requests().iter().map(|request| request.text().to_string()).collect();
    report(&format!("{lines:?}"));
}

#[test]
fn a_thread_is_delivering_in_a_write_with_no_queue_above_and_not_after() {
    let server = Server::status("200 OK");
    let sink = HttpSink::post(server.url())
        .on_answer(|_: &&str, _| assert!(is_delivering()))
        .encode(|event| {
            assert!(is_delivering());
            Ok::<_, std::convert::Infallible>(event.as_bytes().to_vec())
        })
        .build_face()
        .unwrap();
    assert!(!is_delivering());
    sink.write("event").unwrap();
    assert!(!is_delivering());
}
