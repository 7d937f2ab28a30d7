//! The service, from its start to its end.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use outflow::CloseError;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::args::{Args, Secrets};
use crate::door::Door;
use crate::endpoint::Endpoint;
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::{report, server};

/// Requests are answered in microseconds, and nothing waits on these threads.
const THREADS: usize = 2;

/// What a service is stopped for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    Interrupted,
    /// Nobody listens any more: the server was stopped, or it panicked.
    ServerEnded,
}

pub(crate) struct Service {
    pub(crate) relay: Arc<Relay>,
    pub(crate) address: SocketAddr,
    grace: Duration,
    runtime: Runtime,
    server: JoinHandle<Result<(), JoinError>>,
    stop: watch::Sender<bool>,
}

impl Service {
    /// Once it has returned, clients are taken. `tell` is told when none are any more.
    pub(crate) fn start(
        args: Args,
        secrets: Secrets,
        tell: Sender<Happening>,
    ) -> Result<Self, Box<dyn Error>> {
        let endpoints = Endpoint::parse_all(&args.to)?;
        let Args { listen, max_body, max_connections, client_timeout, grace, .. } = args;
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .map_err(|error| format!("--listen {listen}: {error}"))?;
        let address = listener.local_addr()?;

        let metrics = Metrics::new()?;
        let relay = Arc::new(Relay::new(args, endpoints, &secrets, &metrics.publisher)?);
        runtime.spawn(metrics.clone().keep());
        let door = Arc::new(Door::new(Arc::clone(&relay), metrics, secrets.token, max_body));
        let (stop, stopped) = watch::channel(false);
        let server = runtime.spawn(server::serve(listener, door, max_connections, client_timeout, stopped));
        let server = runtime.spawn(async move {
            let outcome = server.await;
            let _ = tell.send(Happening::ServerEnded);
            outcome
        });
        Ok(Self { relay, address, grace, runtime, server, stop })
    }

    /// Stops listening, delivers what was accepted, within the grace, or until it is interrupted, and accounts
    /// for the rest.
    pub(crate) fn stop(self, mut happenings: impl Iterator<Item = Happening> + Send + 'static) -> Ended {
        let Self { relay, grace, runtime, server, stop, .. } = self;
        // First: who still comes in is told to come again.
        let closing = relay.stop();
        stop.send_replace(true);
        let hurried = closing.clone();
        thread::spawn(move || {
            happenings.any(|happening| happening == Happening::Interrupted).then(|| hurried.abort())
        });
        let outcome = closing.within(grace);
        let server = runtime.block_on(server).and_then(|outcome| outcome);
        let file = relay.settle();
        Ended { relay, outcome, server, file }
    }
}

/// A service that has stopped.
pub(crate) struct Ended {
    pub(crate) relay: Arc<Relay>,
    pub(crate) outcome: Result<(), CloseError>,
    /// Whether the server lasted until it was stopped.
    pub(crate) server: Result<(), JoinError>,
    /// Whether the file of what was not delivered stands on the disk.
    pub(crate) file: io::Result<()>,
}

impl Ended {
    /// Prints the table, and says how it went: a success is that every event was delivered, or stands in the
    /// file, or was dropped as asked for, and that everything lasted until it was stopped.
    pub(crate) fn conclude(&self) -> ExitCode {
        if report::conclude(self) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
