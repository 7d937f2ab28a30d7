//! Webhook receivers of the relay's own: real HTTP servers on loopback, each with a fault.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fmt, future, process, thread};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::envelope;

/// How long a receiver that goes down stays down.
const OUTAGE: Duration = Duration::from_secs(1);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 128;

/// A webhook receiver that records the events that it is sent. Clones share.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers 503 to every third request.
    Overloaded,
    /// Goes down altogether, once: see [`Receiver::go_down_at`].
    Outage,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overloaded => "answers 503 to a third of its requests",
            Self::Outage => "goes down for a second in the middle of the run",
        })
    }
}

impl Receiver {
    pub(crate) fn start(fault: Fault) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            fault,
            requests: AtomicUsize::new(0),
            goes_down_at: AtomicUsize::new(usize::MAX),
            going_down: Notify::new(),
            arrivals: Mutex::default(),
        });
        let runtime = runtime()?;
        let listener = runtime.block_on(async { bind((Ipv4Addr::LOCALHOST, 0).into())?.listen(BACKLOG) })?;
        let address = listener.local_addr()?;

        let server = Server { runtime, listener, desk: Arc::clone(&desk) };
        thread::Builder::new().name(format!("receiver {}", address.port())).spawn(move || {
            if let Err(error) = server.run(address) {
                // Without it the relay would go on trying for ever.
                eprintln!("relay: the receiver on {address} cannot go on: {error}");
                process::exit(1);
            }
        })?;
        Ok(Self { address, desk })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn fault(&self) -> Fault {
        self.desk.fault
    }

    /// Says when [`Fault::Outage`] happens: on the arrival of event number `event`, counted from 1.
    pub(crate) fn go_down_at(&self, event: usize) {
        self.desk.goes_down_at.store(event, Ordering::Relaxed);
    }

    /// The ids of the events that arrived, in order, as often as they did.
    pub(crate) fn arrivals(&self) -> Vec<String> {
        self.desk.arrivals.lock().clone()
    }
}

/// What the requests of a receiver share.
struct Desk {
    fault: Fault,
    requests: AtomicUsize,
    goes_down_at: AtomicUsize,
    going_down: Notify,
    arrivals: Mutex<Vec<String>>,
}

impl Desk {
    async fn receive(State(desk): State<Arc<Self>>, headers: HeaderMap, body: String) -> StatusCode {
        if headers.get(header::CONTENT_TYPE).is_none_or(|media_type| media_type != envelope::MEDIA_TYPE) {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        let Ok(events) = envelope::parse(&body) else {
            return StatusCode::BAD_REQUEST;
        };
        let request = desk.requests.fetch_add(1, Ordering::Relaxed);
        if desk.fault == Fault::Overloaded && request % 3 == 2 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let arrived = {
            let mut arrivals = desk.arrivals.lock();
            arrivals.extend(events.iter().map(|event| event.id.clone()));
            arrivals.len()
        };
        if desk.fault == Fault::Outage && arrived >= desk.goes_down_at.load(Ordering::Relaxed) {
            desk.goes_down_at.store(usize::MAX, Ordering::Relaxed);
            desk.going_down.notify_one();
            // This request is cut off: its event has arrived, and the relay cannot know.
            future::pending::<()>().await;
        }
        StatusCode::OK
    }
}

/// The server of a receiver. All of it lives in `runtime`, and goes with it.
struct Server {
    runtime: Runtime,
    listener: TcpListener,
    desk: Arc<Desk>,
}

impl Server {
    fn run(self, address: SocketAddr) -> io::Result<()> {
        let Self { mut runtime, mut listener, desk } = self;
        loop {
            let router = Router::new()
                .fallback(post(Desk::receive))
                .layer(DefaultBodyLimit::disable())
                .with_state(Arc::clone(&desk));
            runtime.spawn(axum::serve(listener, router).into_future());
            runtime.block_on(desk.going_down.notified());
            // Closes the listener and every connection, whatever they were at.
            drop(runtime);

            runtime = self::runtime()?;
            listener = runtime.block_on(async {
                // Bound, but not listening: connects are refused, and nobody else gets the port.
                let socket = bind(address)?;
                tokio::time::sleep(OUTAGE).await;
                socket.listen(BACKLOG)
            })?;
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // The connections of before an outage linger on the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
