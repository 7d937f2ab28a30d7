//! Two thousand endpoints in one process, some of them dead and some that never answer.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use outflow::http::HttpSink;
use outflow::queue::QueueOptions;
use outflow::retry::ExponentialBackoff;
use outflow::{AsyncSinkExt, Broadcaster, CloseError, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use crate::common::wait_until;
use crate::server::{NO_SERVER, in_a_process_of_its_own, report};

const ENDPOINTS: usize = 2_000;
const EVENTS: usize = 10;

/// The bar.
const THREADS: usize = 8;

/// What becomes of an event at an endpoint: of 20, one is dead, and one never answers.
enum Kind {
    Dead,
    Silent,
    Good,
}

fn kind(endpoint: usize) -> Kind {
    match endpoint % 20 {
        0 => Kind::Dead,
        1 => Kind::Silent,
        _ => Kind::Good,
    }
}

type Received = Arc<Mutex<HashMap<String, Vec<usize>>>>;

/// Answers 200 to every request, except to those for `/silent`.
async fn serve(mut stream: TcpStream, received: Received) {
    let mut input = Vec::new();
    loop {
        let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            let Ok(1..) = stream.read_buf(&mut input).await else { return };
            continue;
        };
        let head = String::from_utf8(input[..end].to_vec()).unwrap();
        let length: usize =
            head.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
        while input.len() < end + 4 + length {
            let Ok(1..) = stream.read_buf(&mut input).await else { return };
        }
        let event = std::str::from_utf8(&input[end + 4..][..length]).unwrap().parse().unwrap();
        input.drain(..end + 4 + length);
        let path = head.split(' ').nth(1).unwrap();
        if path == "/silent" {
            // Until the client closes the connection.
            while let Ok(1..) = stream.read_buf(&mut input).await {}
            return;
        }
        received.lock().unwrap().entry(path.to_string()).or_default().push(event);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

#[test]
fn of_two_thousand_endpoints_those_that_answer_get_every_event_in_order_with_eight_threads_at_most() {
    let received = Received::default();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let kept = Arc::clone(&received);
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&kept)));
        }
    });
    // The threads of this process, and of its other tests, are not counted.
    let outcome = in_a_process_of_its_own(
        concat!(module_path!(), "::posts_to_two_thousand_endpoints"),
        &[("OUTFLOW_TEST_MANY", &port)],
    );
    println!("{outcome}");

    let received = received.lock().unwrap();
    let good = (0..ENDPOINTS).filter(|endpoint| matches!(kind(*endpoint), Kind::Good));
    assert_eq!(received.len(), good.clone().count());
    for endpoint in good {
        let mut events = received[&format!("/{endpoint}")].clone();
        // A request whose answer comes too late, on a machine that is busy, is made again.
        events.dedup();
        assert_eq!(events, (0..EVENTS).collect::<Vec<_>>(), "{endpoint}");
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// In KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[test]
fn posts_to_two_thousand_endpoints() {
    let Ok(port) = std::env::var("OUTFLOW_TEST_MANY") else { return };
    let empty = memory();
    // Some endpoints have names, and a look-up takes a thread.
    let runtime =
        Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let broadcaster = Broadcaster::new();
    let mut queues = Vec::new();
    for endpoint in 0..ENDPOINTS {
        let host = if endpoint % 10 == 9 { "localhost" } else { "127.0.0.1" };
        let url = match kind(endpoint) {
            Kind::Dead => format!("http://{NO_SERVER}/"),
            Kind::Silent => format!("http://{host}:{port}/silent"),
            Kind::Good => format!("http://{host}:{port}/{endpoint}"),
        };
        let queue = HttpSink::post(url)
            .build_async()
            .unwrap()
            .retry(ExponentialBackoff::default())
            .queued_with(QueueOptions::default().on(Handle::current()));
        broadcaster.add(queue.clone()).unwrap();
        if matches!(kind(endpoint), Kind::Good) {
            queues.push(queue);
        }
    }
    let built = memory();
    for event in 0..EVENTS {
        broadcaster.write(event).unwrap();
    }
    let most = Cell::new(0);
    wait_until("all are delivered that can be", || {
        // Leaves the processors to the runtime.
        thread::sleep(Duration::from_millis(5));
        most.set(most.get().max(threads()));
        queues.iter().all(|queue| queue.stats().delivered == EVENTS as u64)
    });
    let delivered = memory();
    let failed = broadcaster.close().within(Duration::from_millis(500)).unwrap_err();
    let most = most.get().max(threads());

    // Of the two hundred others each has all its events left, one of them perhaps in a request.
    assert_eq!(failed.undelivered(), (ENDPOINTS / 10 * EVENTS) as u64, "{failed:?}");
    assert!(matches!(&failed, CloseError::Several(errors) if errors.len() == ENDPOINTS / 10));
    if cfg!(target_os = "linux") {
        assert!((4..=THREADS).contains(&most), "{most} threads");
    }
    report(&format!(
        "{most} threads; {empty} KiB before, {built} with {ENDPOINTS} queues, {delivered} with a connection each"
    ));
}
