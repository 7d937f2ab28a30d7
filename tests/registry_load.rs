//! `examples/registry_relay` under load, and the registry itself with an endpoint that is down: the figures
//! of the example's page. Each takes half a minute and wants the machine for itself, so they run when asked
//! for:
//!
//! ```text
//! cargo build --release --all-features --example registry_relay
//! cargo test --release --all-features --test registry_load -- --ignored --nocapture --test-threads 1
//! ```
//!
//! Needs `wrk`; the last also `docker-registry`.

#![cfg(target_os = "linux")]

mod service;

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use service::{DEAD, Refuse, Relay, Running, Scratch, Webhook, wait_until};

const CLIENTS: u32 = 64;

const SECONDS: u32 = 30;

/// What the page says that a relay needs at most, with the usual backlog and a registry's events.
const BOUND: u64 = 128 << 20;

#[test]
#[ignore = "takes half a minute, and the machine"]
fn with_live_endpoints_all_is_accepted_and_nothing_is_lost() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let relay =
        Relay::start(&["--grace", "1m", "--to", &first.webhook.url("/"), "--to", &second.webhook.url("/")]);
    let wrk = wrk(&post_events(), relay.address, "/events");
    let peak = memory(&relay.process, "VmHWM");
    let draining = Instant::now();
    let ended = relay.terminate();
    println!("live: {wrk:?}; {} peak, drained in {:?}", mib(peak), draining.elapsed());
    println!("{}", ended.stdout);

    assert_eq!(wrk.refused, 0, "it accepts all");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (receiver, row) in [first, second].iter().zip(ended.rows()) {
        let (ids, repeats) = receiver.ids();
        assert_eq!((ids, repeats), (row.accepted, 0), "what was accepted is there, once");
        // wrk stops in the middle of the last request of each client.
        assert!((wrk.answered..=wrk.answered + u64::from(CLIENTS)).contains(&row.accepted), "{ended:?}");
    }
    assert!(peak < BOUND, "{peak}");
}

#[test]
#[ignore = "takes half a minute, and the machine"]
fn with_a_dead_endpoint_memory_is_bounded_and_the_registry_is_refused() {
    let live = Receiver::start();
    let relay = Relay::start(&["--grace", "0s", "--to", &live.webhook.url("/"), "--to", DEAD]);
    let wrk = wrk(&post_events(), relay.address, "/events");
    let peak = memory(&relay.process, "VmHWM");
    let ended = relay.terminate();
    println!("dead, refuse: {wrk:?}; {} peak", mib(peak));
    println!("{}", ended.stdout);

    let accepted = ended.rows()[0].accepted;
    assert!(wrk.refused > 0);
    assert!(
        (50_000..60_000).contains(&accepted),
        "no more than a backlog, and what was under way: {accepted}"
    );
    assert_eq!(live.ids(), (accepted, 0), "the live endpoint got what was accepted, and nothing else");
    assert!(peak < BOUND, "{peak}");
}

#[test]
#[ignore = "takes half a minute, and the machine"]
fn with_a_dead_endpoint_memory_is_bounded_and_the_oldest_are_dropped() {
    let live = Receiver::start();
    let to_live = live.webhook.url("/");
    let relay =
        Relay::start(&["--when-full", "drop-oldest", "--grace", "10s", "--to", &to_live, "--to", DEAD]);
    let wrk = wrk(&post_events(), relay.address, "/events");
    let peak = memory(&relay.process, "VmHWM");
    for waiting in ["pending", "in_flight"] {
        relay.wait_for_metric(&format!("outflow_queue_{waiting}{{queue=\"{}\"}}", live.webhook.url("")), 0);
    }
    let ended = relay.terminate();
    println!("dead, drop-oldest: {wrk:?}; {} peak", mib(peak));
    println!("{}", ended.stdout);

    let rows = ended.rows();
    assert_eq!(wrk.refused, 0, "it goes on");
    assert_eq!(live.ids(), (rows[0].accepted - rows[0].dropped, 0));
    assert_eq!(rows[0].dropped, 0, "the live endpoint kept up");
    assert!(
        (50_000..=50_100).contains(&(rows[1].accepted - rows[1].dropped)),
        "the newest of them waited: {rows:?}"
    );
    assert!(peak < BOUND, "{peak}");
}

/// Nothing is asserted: it is what the relay is compared with.
#[test]
#[ignore = "takes half a minute, and the machine"]
fn what_the_registry_itself_does_with_a_dead_endpoint() {
    let scratch = Scratch::new("registry-load");
    let [address, debug] = service::free_ports();
    let config = scratch.join("config.json");
    let endpoint = serde_json::json!({
        "name": "dead", "url": DEAD, "timeout": "1s", "threshold": 10, "backoff": "1s",
    });
    let config_of = serde_json::json!({
        "version": "0.1", "log": { "level": "error", "accesslog": { "disabled": true } },
        "storage": { "inmemory": {} },
        "http": { "addr": address.to_string(), "debug": { "addr": debug.to_string() } },
        "notifications": { "endpoints": [endpoint] },
    });
    fs::write(&config, config_of.to_string()).unwrap();
    let registry = Running::start(Command::new("docker-registry").args(["serve", &config]));
    wait_until("the registry is up", || std::net::TcpStream::connect(address).is_ok());

    // A blob that is asked for, again and again: each time is an event.
    let path = put_blob(address, b"a blob");
    let before = memory(&registry, "VmRSS");
    let wrk = wrk("", address, &path);
    let after = memory(&registry, "VmRSS");
    let vars = service::Client::connect(debug).request("GET /debug/vars HTTP/1.0\r\n\r\n", b"").body;
    let vars: serde_json::Value = serde_json::from_str(&vars).unwrap();
    let pending = &vars["registry"]["notifications"]["endpoints"][0]["Metrics"]["Pending"];
    println!("registry: {wrk:?}; from {} to {}, {pending} events pending", mib(before), mib(after));
}

/// Uploads a blob, and answers its path.
fn put_blob(address: SocketAddr, blob: &[u8]) -> String {
    let request = |method: &str, path: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n");
        service::Client::connect(address).request(&head, body)
    };
    let upload = request("POST", "/v2/library/alpine/blobs/uploads/", b"");
    let location = upload.header("location").unwrap_or_else(|| panic!("{upload:?}"));
    let upload = location.strip_prefix(&format!("http://{address}")).unwrap_or(location);
    let hash = ring::digest::digest(&ring::digest::SHA256, blob);
    let digest: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let put = request("PUT", &format!("{upload}&digest=sha256:{digest}"), blob);
    assert_eq!(put.status, 201, "{put:?}");
    format!("/v2/library/alpine/blobs/sha256:{digest}")
}

/// An endpoint that remembers which events it got.
struct Receiver {
    webhook: Webhook,
    ids: Arc<Mutex<(HashSet<u64>, u64)>>,
}

impl Receiver {
    fn start() -> Self {
        let ids = Arc::new(Mutex::new((HashSet::new(), 0)));
        let webhook = Webhook::forgetful({
            let ids = Arc::clone(&ids);
            move |_, request| {
                let (seen, repeats) = &mut *ids.lock().unwrap();
                // By hand: a parser would take the time that the relay is to be measured with.
                for part in request.body.split(r#"{"id":""#).skip(1) {
                    // The request that an event tells of has an id, too, which is no number.
                    if let Ok(id) = part[..part.find('"').unwrap()].parse() {
                        *repeats += u64::from(!seen.insert(id));
                    }
                }
                Refuse("200 OK")
            }
        });
        Self { webhook, ids }
    }

    /// How many different ones, and how many repeats.
    fn ids(&self) -> (u64, u64) {
        let (seen, repeats) = &*self.ids.lock().unwrap();
        (seen.len() as u64, *repeats)
    }
}

/// What wrk counted.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Wrk {
    /// With a status below 400.
    answered: u64,
    refused: u64,
    /// A second.
    rate: u64,
    half_within: Duration,
    nearly_all_within: Duration,
}

fn wrk(script: &str, address: SocketAddr, path: &str) -> Wrk {
    const DONE: &str = "\nfunction done(summary, latency, requests)\n\
        io.write(string.format('RESULT %d %d %d %d %d\\n', summary.requests, summary.errors.status,\n\
        summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99)))\nend\n";
    let scratch = Scratch::new("wrk");
    let file = scratch.join("script.lua");
    fs::write(&file, script.to_string() + DONE).unwrap();
    let output = Command::new("wrk")
        .args(["-t", "2", "-c", &CLIENTS.to_string(), "-d", &format!("{SECONDS}s"), "-s", &file])
        .arg(format!("http://{address}{path}"))
        .stdin(Stdio::null())
        .output()
        .expect("wrk is needed");
    let output = String::from_utf8(output.stdout).unwrap();
    let result =
        output.lines().find_map(|line| line.strip_prefix("RESULT ")).unwrap_or_else(|| panic!("{output}"));
    let counts: Vec<u64> = result.split(' ').map(|count| count.parse().unwrap()).collect();
    let [requests, refused, rate, half, nearly_all] = counts[..] else { panic!("{output}") };
    let micros = Duration::from_micros;
    Wrk {
        answered: requests - refused,
        refused,
        rate,
        half_within: micros(half),
        nearly_all_within: micros(nearly_all),
    }
}

/// A script that posts envelopes as a registry does, each with one event, of an id of its own.
fn post_events() -> String {
    let rest = r#"","timestamp":"2026-11-23T21:31:13.90220979Z","action":"push","target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":418,"digest":"sha256:5f5198b585b380be3f7f032a29f5ffc2f3e6f3b1e8ac08ea85fc3a45b6b8e08b","length":418,"repository":"library/alpine","url":"http://127.0.0.1:5055/v2/library/alpine/manifests/sha256:5f5198b585b380be3f7f032a29f5ffc2f3e6f3b1e8ac08ea85fc3a45b6b8e08b","tag":"v0"},"request":{"id":"be7c464b-f736-473c-8b8c-54cdea4ec50c","addr":"127.0.0.1:41854","host":"127.0.0.1:5055","method":"PUT","useragent":"skopeo/1.9.3"},"actor":{},"source":{"addr":"registry.local:5055","instanceID":"74b645bf-8537-4114-9be8-248dbe73835a"}}]}"#;
    let media_type = service::MEDIA_TYPE;
    format!(
        "local threads = 0\n\
         function setup(thread) thread:set('number', threads); threads = threads + 1 end\n\
         local count = 0\n\
         local headers = {{ ['content-type'] = '{media_type}' }}\n\
         local rest = '{rest}'\n\
         function request()\n\
           count = count + 1\n\
           local id = string.format('%d', count * 2 + number)\n\
           return wrk.format('POST', nil, headers, '{{\"events\":[{{\"id\":\"' .. id .. rest)\n\
         end\n"
    )
}

/// Bytes of memory, as Linux counts them for a process.
fn memory(process: &Running, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
