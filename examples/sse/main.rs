//! A service on tokio: events that are posted go to all who listen, and to the webhook of their tenant.
//!
//! ```text
//! cargo run --release --example sse --features futures,http-async -- 127.0.0.1:8080 acme=https://acme.example/hook
//! curl -N http://127.0.0.1:8080/events
//! curl http://127.0.0.1:8080/events -d '{"tenant":"acme","text":"hello"}'
//! ```
//!
//! ```text
//! POST /events -> log -+-> a cursor for each subscriber -> GET /events, as server-sent events
//!                      +-> queue, keyed by tenant -> the tenant's webhook: retry -> rate limit -> http
//! ```
//!
//! Nothing here waits for anything slow. A post appends to the log and is answered. A subscriber that falls too far behind is
//! cut off, and resumes where it was by its `Last-Event-ID`. A webhook that is down is tried again and again; its
//! tenant's events wait meanwhile, and no other tenant's do.
//!
//! SIGTERM refuses posts, ends the streams once they have everything, and gives the webhooks four seconds. What was not
//! delivered by then is printed, tenant by tenant. `--self-test` shows all that: see `self_test.rs`.

mod self_test;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use outflow::http::{BuildError, HttpSink};
use outflow::log::{Lag, LogOptions, Seq, Start, SubscribeOptions};
use outflow::queue::QueueOptions;
use outflow::retry::ExponentialBackoff;
use outflow::{
    AsyncSink, AsyncSinkExt, Buffer, Closing, Counter, Flushing, Log, Queue, Rate, SharedAsyncSink, Sink,
    SinkExt, WriteError, sink,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::{task, time};

/// How many events there may be that wait for webhooks; then the oldest is dropped, and counted.
const MOST_PENDING: usize = 100_000;
/// How far a subscriber may be behind, and how many events there are for one that comes back.
const MOST_BEHIND: u64 = 10_000;
/// How long webhooks and streams have at the end.
const GRACE: Duration = Duration::from_secs(4);

#[derive(Deserialize, Serialize)]
struct Posted {
    tenant: String,
    text: String,
}

/// An event, written as JSON once for all that it goes to.
struct Event {
    tenant: String,
    json: String,
}

type Events = Log<Arc<Event>>;

async fn post_event(State(events): State<Events>, body: String) -> Result<StatusCode, (StatusCode, String)> {
    let bad_request = |error: serde_json::Error| (StatusCode::BAD_REQUEST, error.to_string());
    let posted: Posted = serde_json::from_str(&body).map_err(bad_request)?;
    let json = serde_json::to_string(&posted).map_err(bad_request)?;
    match events.append(Arc::new(Event { tenant: posted.tenant, json })) {
        Ok(_) => Ok(StatusCode::ACCEPTED),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "the service is about to end".into())),
    }
}

async fn subscribe(State(events): State<Events>, headers: HeaderMap) -> Response {
    let last: Option<Seq> = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let start = last.map_or(Start::Now, |last| Start::At(last + 1));
    let options = SubscribeOptions::new().start(start).max_lag(MOST_BEHIND, Lag::Close);
    let cursor = match events.subscribe_with(options) {
        Ok(cursor) => cursor,
        // What it missed is gone, and the subscriber has to know.
        Err(error) => return (StatusCode::GONE, error.to_string()).into_response(),
    };
    // The cursor is an iterator as well, which would block.
    let stream = StreamExt::map(cursor.numbered(), |(number, event)| {
        Ok::<_, Infallible>(sse::Event::default().id(number.to_string()).data(&event.json))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

/// The webhook of one tenant.
fn webhook(url: &str, refused: &Counter) -> Result<SharedAsyncSink<Arc<Event>>, BuildError> {
    let http = HttpSink::post(url)
        .encode(|event: &Arc<Event>| Ok::<_, Infallible>(event.json.clone().into_bytes()))
        .timeout(Duration::from_secs(10))
        .build_async()?;
    let sink = http
        .rate_limit(Rate::per_second(50).burst(10))
        .retry(ExponentialBackoff::default().per_write())
        .honor_retry_after()
        .give_up_when(|failure| !failure.error.is_transient())
        .lossy_counted(refused);
    Ok(AsyncSinkExt::shared(sink))
}

/// Hands an event to the webhook of its tenant.
struct Webhooks(HashMap<String, SharedAsyncSink<Arc<Event>>>);

impl AsyncSink<Arc<Event>> for Webhooks {
    type Error = Infallible;

    async fn write(&self, event: Arc<Event>) -> Result<(), WriteError<Arc<Event>, Infallible>> {
        match self.0.get(&event.tenant) {
            Some(webhook) => webhook.write(event).await,
            None => Ok(()),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::all(self.0.values().map(AsyncSink::flush))
    }

    fn close(&self) -> Closing {
        Closing::all(self.0.values().map(AsyncSink::close))
    }
}

/// How many events of each tenant were not delivered.
type Undelivered = Arc<Mutex<BTreeMap<String, u64>>>;

/// A queue before all webhooks. One that is down holds up its own tenant alone.
fn queue(
    webhooks: Webhooks,
    undelivered: &Undelivered,
) -> Queue<Arc<Event>, impl outflow::buffer::Reliable + use<>> {
    let (undelivered, tenants) = (Arc::clone(undelivered), webhooks.0.len().max(1));
    let count = sink::for_each(move |event: Arc<Event>| {
        *undelivered.lock().unwrap().entry(event.tenant.clone()).or_default() += 1;
    });
    let options = QueueOptions::new(Buffer::bounded(MOST_PENDING).drop_oldest().spill(count))
        .keyed(tenants, |event: &Arc<Event>| event.tenant.clone())
        .on(Handle::current());
    webhooks.queued_with(options)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((address, tenants)) = args.split_first() else {
        return Err("usage: sse ADDRESS [TENANT=URL ...], or sse --self-test".into());
    };
    if address == "--self-test" {
        return self_test::run().await;
    }
    let (refused, undelivered) = (Counter::new(), Undelivered::default());
    let mut webhooks = Webhooks(HashMap::new());
    for tenant in tenants {
        let (name, url) = tenant.split_once('=').ok_or_else(|| format!("{tenant}: not TENANT=URL"))?;
        webhooks.0.insert(name.to_string(), webhook(url, &refused)?);
    }
    let log = Events::with(LogOptions::new().retain(MOST_BEHIND));
    let known: Vec<String> = webhooks.0.keys().cloned().collect();
    log.follow(queue(webhooks, &undelivered).filter(move |event| known.contains(&event.tenant)));

    let terminated = Arc::new(Notify::new());
    let signal = Arc::clone(&terminated);
    ctrlc::set_handler(move || signal.notify_one())?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Router::new().route("/events", get(subscribe).post(post_event)).with_state(log.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async { _ = stopped.await });
    let server = tokio::spawn(server.into_future());

    terminated.notified().await;
    // From here on posts are refused, and each stream ends after the last event.
    let closing = log.close();
    drop(stop);
    let delivered = task::spawn_blocking(move || closing.within(GRACE));
    let (delivered, _) = tokio::join!(delivered, time::timeout(GRACE, server));
    let delivered = delivered?;
    if let Err(error) = &delivered {
        eprintln!("{error}");
    }
    for (tenant, events) in &*undelivered.lock().unwrap() {
        eprintln!("{tenant}: {events} events were not delivered");
    }
    eprintln!("{} events were refused by webhooks", refused.get());
    Ok(if delivered.is_ok() && refused.get() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
