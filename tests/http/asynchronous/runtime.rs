//! What an asynchronous sink has of its own: a runtime, and futures that can be dropped.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use outflow::http::{AsyncHttpSink, BuildError, HttpError, HttpSink};
use outflow::retry::Constant;
use outflow::{AsyncSink, AsyncSinkExt, Sink, is_delivering};
use tokio::runtime::{Builder, Runtime};

use crate::common::{Latch, SOON, in_time, rounds};
use crate::server::{Request, Server, empty};

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn build(runtime: &Runtime, server: &Server) -> AsyncHttpSink<String> {
    let _entered = runtime.enter();
    HttpSink::post(server.url()).build_async().unwrap()
}

fn event() -> String {
    "event".to_string()
}

#[test]
fn without_a_runtime_no_sink_is_built() {
    let refused = HttpSink::<String>::post("http://hooks.example/").build_async().unwrap_err();
    assert_eq!(refused, BuildError::NoRuntime);
    assert!(refused.to_string().contains("within `Handle::enter`"), "{refused}");
}

#[test]
fn its_writes_may_be_polled_by_any_executor() {
    let server = Server::status("200 OK");
    let runtime = two_threads();
    // On the pool of this crate, and as a future of another executor.
    let queue = build(&runtime, &server).lossy().queued();
    (0..100).for_each(|_| queue.write(event()).unwrap());
    queue.close().within(SOON).unwrap();
    futures::executor::block_on(build(&runtime, &server).write(event())).unwrap();
    assert_eq!(server.requests().len(), 101);
    assert_eq!(queue.stats().delivered, 100);
}

#[test]
fn when_its_runtime_is_shut_down_a_write_that_is_polled_elsewhere_hands_its_event_back() {
    let latch = Latch::new();
    let at_endpoint = latch.clone();
    let server = Server::after_request(move |_, _| at_endpoint.pass());
    let runtime = two_threads();
    let sink = Arc::new(build(&runtime, &server));
    let (sender, outcomes) = std::sync::mpsc::channel();
    let writing = Arc::clone(&sink);
    std::thread::spawn(move || sender.send(futures::executor::block_on(writing.write(event()))).unwrap());
    latch.arrived(1);
    runtime.shutdown_background();
    for refused in [
        outcomes.recv_timeout(SOON).unwrap().unwrap_err(),
        in_time("the write", move || futures::executor::block_on(sink.write(event())).unwrap_err()),
    ] {
        let error = refused.error().unwrap();
        assert!(matches!(error, HttpError::Transport { .. }) && error.is_transient(), "{error:?}");
        assert_eq!(refused.into_event(), "event");
    }
    latch.open();
}

#[test]
fn what_a_shut_down_runtime_drops_is_counted() {
    let latch = Latch::new();
    let at_endpoint = latch.clone();
    let server = Server::after_request(move |_, _| at_endpoint.pass());
    let runtime = two_threads();
    let options = outflow::queue::QueueOptions::default().on(runtime.handle().clone());
    let queue = build(&runtime, &server).lossy().queued_with(options);
    (0..3).for_each(|_| queue.write(event()).unwrap());
    latch.arrived(1);
    runtime.shutdown_background();
    let failed = queue.close().within(SOON).unwrap_err();
    assert_eq!(failed.undelivered(), 3, "{failed:?}");
    latch.open();
}

#[test]
fn a_write_that_is_dropped_takes_its_connection_with_it_and_leaves_the_sink_usable() {
    let (sender, closed) = std::sync::mpsc::channel();
    let server = Server::after_request(move |mut stream, connection| {
        if connection == 0 {
            sender.send(stream.read(&mut [0])).unwrap();
        } else {
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
        }
    });
    let runtime = two_threads();
    let sink = build(&runtime, &server);
    let given_up = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(300), sink.write(event())).await.is_err()
    });
    assert!(given_up);
    assert_eq!(closed.recv_timeout(SOON).unwrap().unwrap(), 0);
    runtime.block_on(sink.write(event())).unwrap();
}

#[test]
fn a_write_that_was_never_polled_sends_nothing() {
    let server = Server::status("200 OK");
    let runtime = two_threads();
    let sink = build(&runtime, &server);
    drop(sink.write(event()));
    let late = sink.write(event());
    sink.close().wait().unwrap();
    assert!(runtime.block_on(late).unwrap_err().is_closed());
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_thread_is_delivering_in_a_poll_and_not_between_two() {
    let server = Server::after_request(|mut stream, _| {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(empty("200 OK").as_bytes()).unwrap();
    });
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let sink = {
        let _entered = runtime.enter();
        HttpSink::post(server.url()).on_answer(|_: &&str, _| assert!(is_delivering())).build_async().unwrap()
    };
    runtime.block_on(async {
        let mut write = pin!(sink.write("event"));
        let mut pending = 0;
        poll_fn(|context| {
            let polled = write.as_mut().poll(context);
            assert!(!is_delivering());
            pending += usize::from(polled.is_pending());
            polled
        })
        .await
        .unwrap();
        assert!(pending > 0);
    });
}

#[test]
fn an_endpoint_of_several_addresses_is_reached_on_the_one_that_listens() {
    // `localhost` may be ::1, too, where nobody listens.
    let server = Server::status("200 OK");
    let runtime = two_threads();
    let sink: AsyncHttpSink<String> = {
        let _entered = runtime.enter();
        HttpSink::post(server.url().replace("127.0.0.1", "localhost")).build_async().unwrap()
    };
    for _ in 0..3 {
        runtime.block_on(sink.write(event())).unwrap();
    }
    assert_eq!(server.connections(), 1);
}

/// Tasks write over one sink, and some of their futures are dropped on the way, to an endpoint that closes connections
/// after an answer, before one, and in the middle of one. Whatever a write says was delivered has arrived.
#[test]
fn what_many_tasks_wrote_over_one_sink_has_arrived_whatever_becomes_of_its_connections() {
    const TASKS: usize = 8;
    let each = rounds(1_000) as usize;
    let arrived = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let seen = Arc::clone(&arrived);
    let count = AtomicUsize::new(0);
    let server = Server::raw(move |mut stream, _| {
        while let Ok(Some(request)) = Request::read(&mut stream) {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let (answer, last) = match number % 11 {
                3 => return,
                4 => ("HTTP/1.1 20".to_string(), true),
                other => (empty("200 OK"), other == 5),
            };
            if number % 11 != 4 {
                seen.lock().unwrap().insert(request.text().to_string());
            }
            if stream.write_all(answer.as_bytes()).is_err() || last {
                return;
            }
        }
    });
    let runtime = two_threads();
    let sink = {
        let _entered = runtime.enter();
        let sink = HttpSink::post(server.url())
            .encode(|event: &String| Ok::<_, std::convert::Infallible>(event.clone().into_bytes()))
            .timeout(Duration::from_secs(20))
            .idle_connections(TASKS / 2)
            .build_async()
            .unwrap();
        Arc::new(sink)
    };
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let sink = Arc::clone(&sink);
            runtime.spawn(async move {
                let mut delivered = Vec::new();
                for number in 0..each {
                    let event = format!("{task}-{number}");
                    let mut write = pin!(sink.write(event.clone()));
                    let polls = AtomicUsize::new(0);
                    let outcome = poll_fn(|context| {
                        // Every tenth is dropped after its second poll.
                        if number % 10 == 9 && polls.fetch_add(1, Ordering::Relaxed) == 2 {
                            return Poll::Ready(None);
                        }
                        write.as_mut().poll(context).map(Some)
                    })
                    .await;
                    match outcome {
                        Some(Ok(())) => delivered.push(event),
                        Some(Err(refused)) => {
                            let error = refused.error().unwrap();
                            assert!(matches!(error, HttpError::Transport { .. }), "{error:?}");
                            assert_eq!(refused.into_event(), event);
                        }
                        None => {}
                    }
                }
                delivered
            })
        })
        .collect();
    let mut delivered = Vec::new();
    for task in tasks {
        delivered.extend(runtime.block_on(task).unwrap());
    }
    let arrived = arrived.lock().unwrap();
    assert!(delivered.len() > TASKS * each / 4, "{}", delivered.len());
    assert!(delivered.iter().all(|event| arrived.contains(event)));
}

#[test]
fn a_retry_above_it_waits_without_a_thread_and_a_close_ends_that() {
    let server = Server::status("503 Unavailable");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let retry = {
        let _entered = runtime.enter();
        let sink = HttpSink::post(server.url()).build_async().unwrap();
        Arc::new(sink.retry(Constant::new(Duration::from_secs(3_600))))
    };
    let closed = AtomicBool::new(false);
    runtime.block_on(async {
        let mut write = pin!(retry.write("event"));
        let refused = poll_fn(|context| {
            let polled = write.as_mut().poll(context);
            if polled.is_pending() && !server.requests().is_empty() && !closed.swap(true, Ordering::Relaxed) {
                let retry = Arc::clone(&retry);
                std::thread::spawn(move || retry.close());
            }
            context.waker().wake_by_ref();
            polled
        });
        let refused = tokio::time::timeout(SOON, refused).await.unwrap().unwrap_err();
        assert!(refused.is_closed());
    });
    assert_eq!(server.requests().len(), 1);
}
