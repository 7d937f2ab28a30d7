//! `examples/registry_relay` behind a real Docker Registry: what its receivers get is what the registry
//! tells, all of it, in order, whatever becomes of them meanwhile.
//!
//! Needs `docker-registry` and `skopeo`, both of Debian. Without them it says so and passes, unless
//! `OUTFLOW_TEST_REGISTRY` is set, as it is in CI: then it fails.

#![cfg(unix)]

mod service;

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ring::digest;
use serde_json::{Value, json};

use service::{
    Client, Cut, DEAD, Ended, Refuse, Relay, Running, Scratch, Take, TakeAndCut, Webhook, id_of, wait_until,
    without_repeats,
};

/// Set where the test has to run.
const REQUIRED: &str = "OUTFLOW_TEST_REGISTRY";

const TOKEN: &str = "the-registry-brings-this";

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How many requests fail while the receiver is down.
const OUTAGE: usize = 12;

#[test]
fn both_receivers_get_what_the_registry_tells_all_of_it_in_order() {
    let Some(programs) = Programs::find() else { return };
    let scratch = Scratch::new("registry");

    let healthy = Webhook::healthy();
    let failing = Webhook::start(half_and_an_outage());
    // It never fails: what it records is the truth.
    let recorder = Webhook::healthy();
    let undelivered = scratch.join("undelivered.ndjson");
    let relay = Relay::run(
        Relay::command(&["--listen", "127.0.0.1:0", "--token", "--threshold", "3", "--backoff", "50ms"])
            .args(["--to", &healthy.url("/hook"), "--to", &failing.url("/hook")])
            // Few enough that there are many requests, of several events.
            .args(["--batch", "4", "--grace", "30s", "--undelivered", &undelivered])
            .env("REGISTRY_RELAY_TOKEN", TOKEN)
            .env("REGISTRY_RELAY_SIGNING_SECRETS", SECRET),
    );
    let registry = Registry::start(&programs, &scratch, relay.address, &recorder);

    use_it(&Skopeo { programs: &programs, registry: registry.address, scratch: scratch.path() });
    registry.wait_until_all_is_told(&recorder);
    let ended = relay.terminate();
    drop(registry);

    let truth = recorder.events();
    assert_eq!(without_repeats(&recorder.ids()), (recorder.ids(), 0), "the recorder never fails");
    let actions: BTreeSet<String> = truth.iter().map(|event| field(event, "action")).collect();
    assert_eq!(actions, ["delete", "mount", "pull", "push"].map(String::from).into(), "there is one of each");

    let requests = failing.all().len();
    assert!(
        requests - failing.taken().len() > requests / 3,
        "it fails half its requests, and more when it is down"
    );
    assert_eq!(assert_got(&healthy, &truth, &ended), 0, "nothing is repeated to one that never fails");
    let repeats = assert_got(&failing, &truth, &ended);
    assert!(repeats > 0, "the outage cuts off a request that has arrived");
    println!(
        "{} events; the failing receiver failed {} of {requests} requests and got {repeats} repeats",
        truth.len(),
        requests - failing.taken().len()
    );

    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!fs::exists(&undelivered).unwrap(), "there is nothing to write");
    for row in ended.rows() {
        assert_eq!((row.accepted, row.delivered), (truth.len() as u64, truth.len() as u64), "{ended:?}");
    }
}

/// While one endpoint is dead, and another fails.
#[test]
fn a_relay_that_is_killed_loses_nothing_that_the_registry_was_told_is_taken() {
    const KILLS: usize = 5;

    let Some(programs) = Programs::find() else { return };
    let scratch = Scratch::new("registry-killed");
    let (healthy, failing) = (Webhook::healthy(), Webhook::start(half_and_an_outage()));
    let recorder = Webhook::healthy();
    // The registry knows it by its address.
    let [address, _] = service::free_ports();
    let (address, directory) = (address.to_string(), scratch.join("queues"));
    let start = || {
        Relay::run(
            Relay::command(&["--listen", &address, "--durable", &directory, "--threshold", "3"])
                .args(["--to", &healthy.url("/hook"), "--to", &failing.url("/hook"), "--to", DEAD])
                .args(["--backoff", "50ms", "--batch", "4", "--grace", "1s"])
                .env("REGISTRY_RELAY_TOKEN", TOKEN)
                .env("REGISTRY_RELAY_SIGNING_SECRETS", SECRET),
        )
    };
    let mut relay = start();
    let registry = Registry::start(&programs, &scratch, relay.address, &recorder);

    let skopeo = Skopeo { programs: &programs, registry: registry.address, scratch: scratch.path() };
    let in_use = AtomicUsize::new(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            use_it(&skopeo);
            in_use.store(0, Ordering::SeqCst);
        });
        for kill in 1..=KILLS {
            // In the middle of it, but for the last.
            wait_until("there is more to tell", || {
                healthy.all().len() >= 5 * kill || in_use.load(Ordering::SeqCst) == 0
            });
            relay.kill();
            relay = start();
        }
    });
    registry.wait_until_the_last_event_is_recorded(&recorder);
    // Though one endpoint gets nothing at all.
    registry.wait_until_nothing_is_pending();
    let truth = recorder.events();
    for receiver in [&healthy, &failing] {
        wait_until("all of it has arrived", || without_repeats(&receiver.ids()).0.len() >= truth.len());
    }
    let ended = relay.terminate();
    drop(registry);

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let repeats = [&healthy, &failing].map(|receiver| assert_got(receiver, &truth, &ended));
    println!("{} events; repeats: {repeats:?}", truth.len());
    let left: Vec<u64> = ended.rows_on_disk().iter().map(|[.., on_disk]| *on_disk).collect();
    assert!(left[..2] == [0, 0] && left[2] >= truth.len() as u64, "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("on disk for {DEAD}: {}, for the next start", left[2])),
        "{ended:?}"
    );
}

/// Anybody who may pull can make one.
#[test]
fn an_event_that_is_too_large_holds_up_none_behind_it() {
    let Some(programs) = Programs::find() else { return };
    let scratch = Scratch::new("registry-large");
    let (webhook, recorder) = (Webhook::healthy(), Webhook::healthy());
    let undelivered = scratch.join("undelivered.ndjson");
    let relay = Relay::run(
        Relay::command(&["--listen", "127.0.0.1:0", "--undelivered", &undelivered])
            .args(["--to", &webhook.url("/")])
            .env("REGISTRY_RELAY_TOKEN", TOKEN),
    );
    let registry = Registry::start(&programs, &scratch, relay.address, &recorder);
    let skopeo = Skopeo { programs: &programs, registry: registry.address, scratch: scratch.path() };
    let image = image(&scratch.path().join("image"), "image");
    skopeo.copy(&format!("oci:{}:v1", image.display()), &skopeo.docker("library/image:v1"));

    let pull = |agent: &str| {
        let head = format!(
            "GET /v2/library/image/manifests/v1 HTTP/1.0\r\nhost: registry\r\n\
             accept: application/vnd.oci.image.manifest.v1+json\r\nuser-agent: {agent}\r\n\r\n"
        );
        assert_eq!(Client::connect(registry.address).request(&head, b"").status, 200);
    };
    pull(&"long ".repeat(14_000));
    pull("behind");
    for receiver in [&recorder, &webhook] {
        wait_until("the last event arrives", || {
            receiver.events().last().is_some_and(|event| event.contains("behind"))
        });
    }
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (large, others): (Vec<String>, Vec<String>) =
        recorder.events().into_iter().partition(|event| event.len() > 70_000);
    assert_eq!(webhook.events(), others);
    let written = fs::read_to_string(&undelivered).unwrap();
    let line: Value = serde_json::from_str(&written).unwrap();
    let events = [serde_json::from_str::<Value>(&large[0]).unwrap()];
    assert_eq!((line["envelope"]["events"].as_array().unwrap().as_slice(), large.len()), (&events[..], 1));
}

/// Every other request is refused before it is recorded; and once, in the middle of a request that is
/// recorded, it goes down for a while.
fn half_and_an_outage() -> impl Fn(usize, &service::Request) -> service::Reply {
    let down_for = AtomicUsize::new(0);
    move |number, _| {
        if number == 9 {
            down_for.store(OUTAGE, Ordering::SeqCst);
            return TakeAndCut;
        }
        let down = down_for.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match (down, number % 2) {
            (Ok(_), _) => Cut,
            (Err(_), 0) => Refuse("503 Service Unavailable"),
            (Err(_), _) => Take("204 No Content"),
        }
    }
}

/// Panics unless the receiver got the truth, in its order. Answers how many events came more than once.
fn assert_got(receiver: &Webhook, truth: &[String], ended: &Ended) -> usize {
    receiver.all().iter().for_each(|request| request.assert_signed_with(SECRET));

    let events = receiver.events();
    let ids: Vec<String> = events.iter().map(|event| id_of(event)).collect();
    let (firsts, repeats) = without_repeats(&ids);
    let expected: Vec<String> = truth.iter().map(|event| id_of(event)).collect();
    assert_eq!(firsts, expected, "{ended:?}");
    for event in &events {
        assert!(truth.contains(event), "it is not as it came in: {event}");
    }
    repeats
}

fn field(event: &str, name: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    event[name].as_str().unwrap_or_default().to_string()
}

/// Pushes, copies, pulls and deletes, several at a time.
fn use_it(skopeo: &Skopeo<'_>) {
    let images = ["one", "two", "three", "four", "five", "six"]
        .map(|name| (name, image(&skopeo.scratch.join(name), name)));
    thread::scope(|scope| {
        for (name, image) in &images {
            scope.spawn(move || {
                let here = skopeo.docker(&format!("library/{name}:v1"));
                skopeo.copy(&format!("oci:{}:v1", image.display()), &here);
                // Within the registry, so that layers are mounted.
                let there = skopeo.docker(&format!("mirror/{name}:v1"));
                skopeo.copy(&here, &there);
                let out = skopeo.scratch.join(format!("{name}-pulled"));
                skopeo.copy(&there, &format!("dir:{}", out.display()));
                skopeo.run(&["delete", "--tls-verify=false", &there]);
            });
        }
    });
    // The last, alone: when its last event is recorded, all the others are.
    let last = skopeo.docker("library/last:v1");
    skopeo.copy(&format!("oci:{}:v1", images[0].1.display()), &last);
    skopeo.run(&["delete", "--tls-verify=false", &last]);
}

/// The programs that this needs.
struct Programs {
    registry: PathBuf,
    skopeo: PathBuf,
}

impl Programs {
    fn find() -> Option<Self> {
        let find = |name: &str| {
            let path = env::var_os("PATH").unwrap_or_default();
            let found =
                env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
            found.ok_or_else(|| format!("there is no {name} here"))
        };
        match (find("docker-registry"), find("skopeo")) {
            (Ok(registry), Ok(skopeo)) => Some(Self { registry, skopeo }),
            (Err(why), _) | (_, Err(why)) => {
                assert!(env::var_os(REQUIRED).is_none(), "{why}, and {REQUIRED} is set");
                // To the terminal, past the harness, which shows only what failing tests print.
                let notice = format!("SKIPPED: nothing was tested with a real registry: {why}\n");
                let _ = std::io::Write::write_all(&mut std::io::stderr(), notice.as_bytes());
                None
            }
        }
    }
}

/// A registry that tells the relay and the recorder.
struct Registry {
    process: Running,
    address: SocketAddr,
    debug: SocketAddr,
}

impl Registry {
    /// On ports that were free a moment ago: somebody else may take them, and then it tries others.
    fn start(programs: &Programs, scratch: &Scratch, relay: SocketAddr, recorder: &Webhook) -> Self {
        for _ in 0..5 {
            let [address, debug] = service::free_ports();
            let config = scratch.join("config.json");
            fs::write(&config, config_of(address, debug, relay, recorder).to_string()).unwrap();
            let mut command = Command::new(&programs.registry);
            command.args(["serve", &config]).current_dir(scratch.path());
            // What the environment says would go before the file.
            for (name, _) in env::vars_os() {
                if name.to_string_lossy().starts_with("REGISTRY_") {
                    command.env_remove(name);
                }
            }
            let mut registry = Self { process: Running::start(&mut command), address, debug };
            let mut up = false;
            wait_until("the registry is up, or has ended", || {
                up = registry.is_up();
                up || registry.process.has_ended()
            });
            if up {
                return registry;
            }
            println!("{:?}", registry.process.finish());
        }
        panic!("the registry does not start");
    }

    /// Both of its servers, and they are its own.
    fn is_up(&self) -> bool {
        let up = std::net::TcpStream::connect(self.address).is_ok();
        up && self.endpoints().is_some_and(|endpoints| endpoints.len() == 2)
    }

    /// What `/debug/vars` says of its endpoints.
    fn endpoints(&self) -> Option<Vec<Value>> {
        std::net::TcpStream::connect(self.debug).ok()?;
        let answer =
            Client::connect(self.debug).request("GET /debug/vars HTTP/1.0\r\nhost: registry\r\n\r\n", b"");
        let vars: Value = serde_json::from_str(&answer.body).ok()?;
        vars["registry"]["notifications"]["endpoints"].as_array().cloned()
    }

    fn wait_until_the_last_event_is_recorded(&self, recorder: &Webhook) {
        // What was asked of it last has two events: the manifest, and the tag.
        wait_until("the last event is recorded", || {
            let events = recorder.events();
            let last: Value = events.last().map_or(Value::Null, |event| serde_json::from_str(event).unwrap());
            last["action"] == "delete"
                && last["target"]["repository"] == "library/last"
                && last["target"]["tag"] == "v1"
        });
    }

    fn wait_until_nothing_is_pending(&self) {
        wait_until("nothing is pending", || {
            let endpoints = self.endpoints().unwrap();
            endpoints.iter().all(|endpoint| endpoint["Metrics"]["Pending"] == 0)
        });
    }

    fn wait_until_all_is_told(&self, recorder: &Webhook) {
        self.wait_until_the_last_event_is_recorded(recorder);
        self.wait_until_nothing_is_pending();
        let told = recorder.events().len();
        for endpoint in self.endpoints().unwrap() {
            assert_eq!(endpoint["Metrics"]["Events"], told, "{endpoint}");
            assert_eq!(
                endpoint["Metrics"]["Successes"], told,
                "every post was answered 2xx at once: {endpoint}"
            );
        }
    }
}

fn config_of(address: SocketAddr, debug: SocketAddr, relay: SocketAddr, recorder: &Webhook) -> Value {
    json!({
        "version": "0.1",
        // Nobody reads what is on standard output, and a pipe holds less than a long `User-Agent`.
        "log": { "level": "warn", "accesslog": { "disabled": true } },
        "storage": { "inmemory": {}, "delete": { "enabled": true } },
        "http": { "addr": address.to_string(), "debug": { "addr": debug.to_string() } },
        "notifications": { "endpoints": [
            {
                "name": "relay",
                "url": format!("http://{relay}/events"),
                "headers": { "Authorization": [format!("Bearer {TOKEN}")] },
                "timeout": "10s", "threshold": 3, "backoff": "100ms",
            },
            { "name": "recorder", "url": recorder.url("/"), "timeout": "10s", "threshold": 3, "backoff": "100ms" },
        ] },
    })
}

struct Skopeo<'a> {
    programs: &'a Programs,
    registry: SocketAddr,
    scratch: &'a Path,
}

impl Skopeo<'_> {
    fn docker(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry)
    }

    fn copy(&self, from: &str, to: &str) {
        self.run(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    }

    fn run(&self, args: &[&str]) {
        let output = Command::new(&self.programs.skopeo)
            .arg("--insecure-policy")
            .args(args)
            // Nothing of the user's is read or written.
            .env("HOME", self.scratch)
            .env("XDG_DATA_HOME", self.scratch)
            .env("XDG_RUNTIME_DIR", self.scratch)
            .env("REGISTRY_AUTH_FILE", self.scratch.join("no-credentials.json"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Writes an image in the OCI layout, with one layer that nobody else has.
fn image(folder: &Path, name: &str) -> PathBuf {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8], media_type: &str| {
        let hash = hex(digest::digest(&digest::SHA256, bytes).as_ref());
        fs::write(blobs.join(&hash), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hash}"), "size": bytes.len() })
    };

    let layer = blob(&tar("name", name.as_bytes()), "application/vnd.oci.image.layer.v1.tar");
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer] });
    let mut manifest = blob(manifest.to_string().as_bytes(), manifest_type);
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    folder.to_path_buf()
}

/// An archive with one short file.
fn tar(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", contents.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut archive = header.to_vec();
    archive.extend(contents);
    archive.resize(512 * (1 + contents.len().div_ceil(512) + 2), 0);
    archive
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
