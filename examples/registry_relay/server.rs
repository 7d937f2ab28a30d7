//! The HTTP server: who is connected, and for how long.
//!
//! hyper itself, since what it takes for a client that is slow, or means harm, is set there and nowhere
//! above: axum's `serve` lets a client take for ever, and takes any number of them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time;

use crate::door::{Door, Request};

/// The head of a request: the most that a client can make us hold before it says who it is.
const LONGEST_HEAD: usize = 16 * 1024;

/// How long the answers under way get when the service stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long to wait when no connection can be accepted, as when there are too many open files.
const NO_ACCEPT: Duration = Duration::from_millis(100);

/// What each connection knows of the server.
#[derive(Clone)]
struct Server {
    door: Arc<Door>,
    client_timeout: Duration,
    /// Whether every seat is taken, so that others may be waiting for one.
    crowded: Arc<AtomicBool>,
    stop: watch::Receiver<bool>,
}

/// Serves until `stop` says so, and then until the answers under way are given.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    max_connections: usize,
    client_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let seats = Arc::new(Semaphore::new(max_connections));
    let crowded = Arc::new(AtomicBool::new(false));
    let server = Server { door, client_timeout, crowded: Arc::clone(&crowded), stop: stop.clone() };
    let accept = async {
        loop {
            // Those for whom there is no seat wait in the listener's backlog.
            crowded.store(seats.available_permits() == 0, Ordering::Relaxed);
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            crowded.store(false, Ordering::Relaxed);
            match listener.accept().await {
                Ok((connection, _)) => _ = tokio::spawn(server.clone().attend(connection, seat)),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    crate::say(format_args!("no connection can be accepted: {error}"));
                    time::sleep(NO_ACCEPT).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    let everyone = u32::try_from(max_connections).unwrap_or(u32::MAX);
    let _ = time::timeout(LAST_WORDS, seats.acquire_many(everyone)).await;
}

impl Server {
    async fn attend(self, connection: TcpStream, _seat: OwnedSemaphorePermit) {
        let _ = connection.set_nodelay(true);
        let (told, mut answered) = watch::channel(());
        let told = Arc::new(told);
        let mut stop = self.stop.clone();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let server = self.clone();
            let told = Arc::clone(&told);
            async move {
                let mut answer = server.door.answer(Request::new(request, server.client_timeout)).await;
                // Everybody is let go after an answer when others may be waiting: they get their turn.
                if server.crowded.load(Ordering::Relaxed) {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                told.send_replace(());
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            // Counted from the end of the last answer, so that it bounds idling, too.
            .header_read_timeout(self.client_timeout)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(connection), service);
        let mut serving = std::pin::pin!(serving);

        // The head takes one timeout at most, the body another; who needs a third does not read the answers.
        let longest = self.client_timeout * 3;
        loop {
            tokio::select! {
                _ = serving.as_mut() => return,
                changed = time::timeout(longest, answered.changed()) => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        serving.as_mut().graceful_shutdown();
        let _ = time::timeout(longest, serving).await;
    }
}

/// Whether a client was gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
