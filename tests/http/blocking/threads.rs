//! A host name is looked up on a thread.

use std::thread;

use outflow::Sink;
use outflow::http::{HttpError, HttpSink, TransportFailure};

use crate::server::{Server, in_a_process_of_its_own, report};

#[test]
fn without_a_thread_to_look_up_a_name_a_write_fails_for_now_and_an_address_needs_none() {
    let server = Server::status("200 OK");
    let port = server.address.port().to_string();
    // A stack larger than the address space, so that no thread can be started.
    let environment = [("OUTFLOW_TEST_NO_THREADS", port.as_str()), ("RUST_MIN_STACK", "140737488355328")];
    let outcome = in_a_process_of_its_own(
        concat!(module_path!(), "::writes_where_no_thread_can_be_started"),
        &environment,
    );
    assert_eq!(outcome, "as it should be");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn writes_where_no_thread_can_be_started() {
    let Ok(port) = std::env::var("OUTFLOW_TEST_NO_THREADS") else { return };
    assert!(thread::Builder::new().spawn(|| ()).is_err(), "a thread can be started");
    HttpSink::post(format!("http://127.0.0.1:{port}/")).build().unwrap().write("event").unwrap();

    let refused =
        HttpSink::post(format!("http://localhost:{port}/")).build().unwrap().write("event").unwrap_err();
    let error = refused.error().unwrap();
    assert!(error.is_transient(), "{error}");
    let HttpError::Transport { failure: TransportFailure::Other, .. } = error else { panic!("{error:?}") };
    let text = error.to_string();
    assert!(text.contains("no thread could be started to look up the host's name"), "{text}");
    report("as it should be");
}
