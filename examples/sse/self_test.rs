//! The service in a process of its own, between webhooks of which some are dead or never answer, and 2,000 subscribers.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{BufRead, BufReader as StdBufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, future};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};
use tokio::time;

use crate::Posted;

const SUBSCRIBERS: usize = 2000;
const GOOD: usize = 14;
const DEAD: usize = 3;
const SILENT: usize = 3;
/// Of each tenant.
const EVENTS: usize = 10;

type Failed = Box<dyn Error + Send + Sync>;

/// What the webhooks of the good tenants were sent.
type Received = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// Kills the service if the test ends before it.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn run() -> Result<ExitCode, Failed> {
    time::timeout(Duration::from_secs(50), test()).await.map_err(|_| "the self-test takes too long")??;
    Ok(ExitCode::SUCCESS)
}

async fn test() -> Result<(), Failed> {
    // A socket for each subscriber, here and there.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(16_384)), hard)?;

    let received = Received::default();
    let webhooks = receivers(Arc::clone(&received)).await?;
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let url = |tenant: &String| match tenant.split('-').next() {
        Some("dead") => format!("{tenant}=http://{dead}/"),
        _ => format!("{tenant}=http://{webhooks}/{tenant}"),
    };
    let tenants: Vec<String> = [("good", GOOD), ("dead", DEAD), ("silent", SILENT)]
        .into_iter()
        .flat_map(|(kind, count)| (0..count).map(move |n| format!("{kind}-{n}")))
        .collect();

    let mut service = Service(
        Command::new(env::current_exe()?)
            .arg("127.0.0.1:0")
            .args(tenants.iter().map(url))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let mut line = String::new();
    StdBufReader::new(service.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().rsplit(' ').next().ok_or("no address")?.parse()?;

    // By turns, so that the events of a tenant whose webhook is down are among those of all others.
    let posted: Arc<Vec<String>> = Arc::new(
        (0..EVENTS)
            .flat_map(|n| tenants.iter().map(move |tenant| (tenant.clone(), n)))
            .map(|(tenant, n)| Posted { tenant, text: format!("event {n}") })
            .map(|event| serde_json::to_string(&event))
            .collect::<Result<_, _>>()?,
    );
    let reached = Arc::new(AtomicUsize::new(0));
    let mut streams = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let stream = open(address, "").await?;
        streams.spawn(read(stream, Arc::clone(&posted), Arc::clone(&reached)));
    }

    let begun = Instant::now();
    let (url, events) = (format!("http://{address}/events"), Arc::clone(&posted));
    task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        events.iter().try_for_each(|event| agent.post(&url).send(event).map(drop))
    })
    .await??;
    let good = |received: &Received| received.lock().unwrap().values().map(Vec::len).sum::<usize>();
    while reached.load(Ordering::SeqCst) < SUBSCRIBERS || good(&received) < GOOD * EVENTS {
        check(service.0.try_wait()?.is_none(), "the service has ended")?;
        if let Some(ended) = streams.try_join_next() {
            ended??;
            return Err("a stream has ended".into());
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "{SUBSCRIBERS} subscribers and {GOOD} webhooks had {} events after {:.1?}",
        posted.len(),
        begun.elapsed()
    );
    let status = fs::read_to_string(format!("/proc/{}/status", service.0.id())).unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("Threads") || line.starts_with("VmHWM"))
        .for_each(|line| println!("{line}"));

    // One that was cut off before the last two events.
    let (last, missed) = (posted.len() - 3, Arc::new(posted[posted.len() - 2..].to_vec()));
    let stream = open(address, &format!("last-event-id: {last}\r\n")).await?;
    streams.spawn(read(stream, missed, Arc::clone(&reached)));

    let begun = Instant::now();
    kill(Pid::from_raw(service.0.id().try_into()?), Signal::SIGTERM)?;
    let mut said = String::new();
    let mut errors = service.0.stderr.take().ok_or("no errors")?;
    let said = task::spawn_blocking(move || errors.read_to_string(&mut said).map(|_| said)).await??;
    let status = service.0.wait()?;
    let took = begun.elapsed();
    print!("SIGTERM, {took:.1?}: {status}\n{said}");
    check(took < Duration::from_secs(5), "it took longer than 5 s to end")?;
    check(status.code() == Some(1), "it does not exit with 1, though not everything was delivered")?;

    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    let received = received.lock().unwrap();
    let mut by_tenant: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for event in &*posted {
        let tenant = serde_json::from_str::<Posted>(event)?.tenant;
        by_tenant
            .entry(tenants.iter().find(|name| **name == tenant).ok_or("a tenant")?)
            .or_default()
            .push(event);
    }
    for (tenant, events) in by_tenant {
        match received.get(tenant) {
            Some(received) => {
                check(received.iter().eq(events), "a webhook missed an event, or got it out of order")?
            }
            None => check(said.contains(&format!("{tenant}: ")), "what a webhook did not get is not told")?,
        }
    }
    println!("passed");
    Ok(())
}

fn check(holds: bool, otherwise: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// Webhooks that keep what they are sent, or never answer.
async fn receivers(received: Received) -> Result<SocketAddr, Failed> {
    let receive = |Path(tenant): Path<String>, State(received): State<Received>, event: String| async move {
        if tenant.starts_with("silent") {
            future::pending::<()>().await;
        }
        received.lock().unwrap().entry(tenant).or_default().push(event);
        StatusCode::NO_CONTENT
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/{tenant}", post(receive)).with_state(received);
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}

/// Subscribes, and returns when the service has answered: from then on it gets every event.
async fn open(address: SocketAddr, header: &str) -> Result<BufReader<TcpStream>, Failed> {
    let mut stream = BufReader::with_capacity(1024, TcpStream::connect(address).await?);
    let request = format!("GET /events HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    check(line.starts_with("HTTP/1.1 200"), "a subscriber is refused")?;
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    Ok(stream)
}

/// Reads a stream to its end.
async fn read(
    mut stream: BufReader<TcpStream>,
    posted: Arc<Vec<String>>,
    reached: Arc<AtomicUsize>,
) -> Result<(), Failed> {
    let (mut next, mut line) = (0, String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().strip_prefix("data: ") {
            Some(event) => {
                check(
                    posted.get(next).is_some_and(|posted| posted == event),
                    "a subscriber missed an event",
                )?;
                next += 1;
                if next == posted.len() {
                    reached.fetch_add(1, Ordering::SeqCst);
                }
            }
            // The last chunk. Without it the stream was cut off.
            None if line == "0\r\n" => return check(next == posted.len(), "a stream ended too early"),
            None => check(!line.is_empty(), "a stream was cut off")?,
        }
    }
}
