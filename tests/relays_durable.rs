//! `examples/relay` and `examples/registry_relay` with `--durable`: what was accepted is delivered, to each endpoint, in
//! order, however often the relay is killed; and what an endpoint that is down costs.

#![cfg(unix)]

mod service;

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::durable::{DurableOptions, Encoding, inspect};
use outflow::retry::Constant;
use outflow::{Sink, SinkExt, sink};

use service::{
    Client, Cut, DEAD, Refuse, Relay, Running, Scratch, Take, TakeAndCut, Webhook, envelope, event, example,
    wait_until, without_repeats,
};

/// How often a relay is killed. `OUTFLOW_TEST_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var("OUTFLOW_TEST_KILLS").map_or(10, |kills| kills.parse().unwrap())
}

/// How many events may come twice after a kill, as the pages of the relays say.
const UNCONFIRMED: usize = 256;

const CLIENTS: usize = 4;

/// Of each eight requests it fails five, one of them after it has taken what is in it.
fn failing() -> Webhook {
    Webhook::start(|number, _| match number % 8 {
        0 | 3 => Refuse("503 Service Unavailable"),
        1 | 6 => Cut,
        4 => TakeAndCut,
        _ => Take("200 OK"),
    })
}

/// One that is down until it is up.
fn down_until(is_up: &'static AtomicBool) -> Webhook {
    Webhook::start(move |_, _| if is_up.load(Ordering::SeqCst) { Take("200 OK") } else { Cut })
}

#[test]
fn every_event_that_was_answered_2xx_is_delivered_to_each_endpoint_in_order_through_kills() {
    static IS_UP: AtomicBool = AtomicBool::new(false);
    let scratch = Scratch::new("kills");
    let directory = scratch.join("queues");
    let webhooks = [Webhook::healthy(), failing(), down_until(&IS_UP)];
    let urls = webhooks.each_ref().map(|webhook| webhook.url("/hook"));
    let mut args = vec!["--durable", &*directory, "--batch", "7", "--threshold", "3", "--backoff", "5ms"];
    args.extend(["--timeout", "5s", "--grace", "1m"]);
    urls.iter().for_each(|url| args.extend(["--to", url]));

    // Whatever is not answered 202 is posted again, as a registry does, before anything else.
    let (address, over) = (Mutex::new(None::<SocketAddr>), AtomicBool::new(false));
    let unanswered = AtomicUsize::new(0);
    let client = |client: usize| {
        let mut accepted = Vec::new();
        for envelope_number in 0.. {
            let ids: Vec<String> =
                (0..=envelope_number % 3).map(|part| format!("{client}-{}", accepted.len() + part)).collect();
            let posted = envelope(&ids.iter().map(|id| event(id)).collect::<Vec<_>>());
            loop {
                let to = *address.lock().unwrap();
                if let Some(stream) = to.and_then(|address| TcpStream::connect(address).ok()) {
                    match Client::try_post(stream, &posted) {
                        Some(status) => {
                            assert_eq!(status, 202);
                            break;
                        }
                        // The relay was killed, and may have taken it.
                        None => _ = unanswered.fetch_add(ids.len(), Ordering::SeqCst),
                    }
                }
                thread::sleep(Duration::from_millis(1));
            }
            accepted.extend(ids);
            if over.load(Ordering::SeqCst) {
                return accepted;
            }
        }
        unreachable!()
    };
    let client = &client;
    let (accepted, relay) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        for round in 0..kills() {
            let mut relay = Relay::start(&args);
            *address.lock().unwrap() = Some(relay.address);
            // Every fourth has hardly begun.
            let longest = if round % 4 == 3 { 5 } else { 200 };
            thread::sleep(Duration::from_millis(fastrand::u64(0..longest)));
            relay.kill();
            *address.lock().unwrap() = None;
        }
        let relay = Relay::start(&args);
        *address.lock().unwrap() = Some(relay.address);
        over.store(true, Ordering::SeqCst);
        let accepted: Vec<Vec<String>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (accepted, relay)
    });
    IS_UP.store(true, Ordering::SeqCst);
    let count = accepted.iter().map(Vec::len).sum::<usize>();
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.rows_on_disk().iter().all(|[.., on_disk]| *on_disk == 0), "{ended:?}");

    let reposted = unanswered.into_inner();
    let allowed = [
        kills() * UNCONFIRMED + reposted,
        // And each request that was cut off after it was taken.
        kills() * UNCONFIRMED + reposted + webhooks[1].all().len().div_ceil(8) * 7,
        kills() * UNCONFIRMED + reposted,
    ];
    for (webhook, allowed) in webhooks.iter().zip(allowed) {
        let (firsts, repeats) = without_repeats(&webhook.ids());
        assert_eq!(firsts.len(), count, "all, and nothing that was not posted");
        for (client, accepted) in accepted.iter().enumerate() {
            let own = firsts.iter().filter(|id| id.starts_with(&format!("{client}-")));
            assert!(own.eq(accepted), "in order, of client {client}");
        }
        println!("{count} events, {repeats} repeats, {allowed} allowed, {reposted} reposted");
        assert!(repeats <= allowed, "{repeats} > {allowed}");
    }
}

#[test]
fn what_the_relay_of_a_file_had_taken_is_delivered_to_each_endpoint_in_order_through_kills() {
    let scratch = Scratch::new("kills-of-a-file");
    let directory = scratch.join("queues");
    let webhooks = [Webhook::healthy(), failing()];
    let urls = webhooks.each_ref().map(|webhook| webhook.url("/"));
    let relay = || {
        let mut command = Command::new(example("relay"));
        command.args(["--durable", &directory, "--threshold", "3", "--backoff", "5ms", "--timeout", "5s"]);
        urls.iter().for_each(|url| _ = command.args(["--to", url]));
        Running::piped(&mut command)
    };
    // Where each endpoint's queue is, once there is one: the port is in its name.
    let store = |webhook: &Webhook| {
        let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let port = format!("_{}_", webhook.address.port());
        entries.into_iter().find(|path| path.to_str().unwrap().contains(&port)).unwrap()
    };
    let mut taken = [Vec::new(), Vec::new()];
    let mut before = [0, 0];
    for round in 0..kills() {
        let (mut process, mut stdin) = relay();
        process.wait_for_stderr(&format!("on disk for {}", webhooks[1].url(""))).expect("it starts");
        let writing = thread::spawn(move || {
            // Until it is killed.
            let line = |number| writeln!(stdin, "{}", envelope(&[event(&format!("{round}-{number}"))]));
            let mut lines = (0..).map(line);
            lines.find(Result::is_err);
        });
        thread::sleep(Duration::from_millis(fastrand::u64(0..60)));
        process.signal("KILL");
        process.finish();
        writing.join().unwrap();
        for ((webhook, taken), before) in webhooks.iter().zip(&mut taken).zip(&mut before) {
            let next = inspect(store(webhook)).unwrap().next;
            taken.extend((0..next - *before).map(|number| format!("{round}-{number}")));
            *before = next;
        }
    }
    let (process, stdin) = relay();
    drop(stdin);
    let ended = process.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (webhook, taken) in webhooks.iter().zip(&taken) {
        let (firsts, repeats) = without_repeats(&webhook.ids());
        assert_eq!(&firsts, taken);
        // A request has one event.
        let cut_off = webhook.all().len().div_ceil(8);
        println!("{} events, {repeats} repeats", taken.len());
        assert!(repeats <= kills() * UNCONFIRMED + cut_off, "{repeats}");
        assert_eq!(inspect(store(webhook)).unwrap().pending, 0);
    }
    assert!(taken[0].len() > kills(), "something was taken");
}

#[test]
fn a_dead_endpoint_costs_disk_and_no_memory_and_holds_up_nothing() {
    const ENVELOPES: usize = 400;
    /// In memory so many events are about 25 MiB.
    const BOUND: u64 = 8 << 20;

    let padding = "x".repeat(1000);
    let event = |id: usize| format!(r#"{{"id":"{id}","action":"push","padding":"{padding}"}}"#);
    let envelope_of =
        |number: usize| envelope(&(0..50).map(|part| event(number * 50 + part)).collect::<Vec<_>>());
    let growth = |args: &[&str]| {
        let healthy = Webhook::healthy();
        let relay =
            Relay::start(&[args, &["--to", &healthy.url("/"), "--to", DEAD, "--grace", "0s"]].concat());
        let mut client = relay.client();
        let mut longest = Duration::ZERO;
        let mut post = |number| {
            let (body, begun) = (envelope_of(number), Instant::now());
            assert_eq!(client.post(&[], body.as_bytes()).status, 202);
            longest = longest.max(begun.elapsed());
        };
        // What it needs for any: threads, buffers, connections.
        (0..40).for_each(&mut post);
        healthy.wait_for_events(40 * 50);
        let before = memory(&relay.process, "VmRSS");
        (40..ENVELOPES).for_each(&mut post);
        wait_until("the other endpoint has everything", || {
            healthy.taken().len() >= ENVELOPES / 2 && { healthy.events().len() == ENVELOPES * 50 }
        });
        let after = memory(&relay.process, "VmRSS");
        let (firsts, repeats) = without_repeats(&healthy.ids());
        assert!(firsts.iter().enumerate().all(|(number, id)| *id == number.to_string()), "in order");
        assert_eq!(repeats, 0);
        println!("{} KiB more, answered within {longest:?}", after.saturating_sub(before) / 1024);
        assert!(longest < Duration::from_secs(5), "a post was held up: {longest:?}");
        (after.saturating_sub(before), relay)
    };

    let (in_memory, _relay) = growth(&[]);
    assert!(in_memory > 2 * BOUND, "{in_memory}: the bound would not tell");
    let scratch = Scratch::new("dead");
    let directory = scratch.join("queues");
    let (on_disk, relay) = growth(&["--durable", &directory, "--durable-sync", "os"]);
    assert!(on_disk < BOUND, "{on_disk}");
    let waiting = format!("registry_relay_on_disk_events{{endpoint=\"{DEAD}\"}}");
    assert_eq!(relay.metric(&waiting), Some(ENVELOPES as u64 * 50));
    let bytes = relay.metric(&format!("registry_relay_on_disk_bytes{{endpoint=\"{DEAD}\"}}"));
    assert!(bytes > Some(ENVELOPES as u64 * 50_000), "{bytes:?}");
    assert_eq!(relay.get("/healthz").status, 200);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(&format!("on disk for {DEAD}: 20000, for the next start")), "{ended:?}");
}

#[test]
fn what_a_stop_leaves_on_disk_is_told_and_is_no_loss() {
    static IS_UP: AtomicBool = AtomicBool::new(false);
    let scratch = Scratch::new("stop");
    let (directory, file) = (scratch.join("queues"), scratch.join("undelivered.ndjson"));
    let (webhook, healthy) = (down_until(&IS_UP), Webhook::healthy());
    let args = ["--durable", &directory, "--undelivered", &file, "--backoff", "5ms", "--grace", "300ms"];
    let (url, other) = (webhook.url("/hook?token=s3cr3t"), healthy.url("/"));

    let relay = Relay::start(&[&args[..], &["--to", &url, "--to", &other]].concat());
    for id in ["a", "b", "c"] {
        assert_eq!(relay.post(&envelope(&[event(id)])).status, 202);
    }
    healthy.wait_for_events(3);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("what is not delivered in 300ms stays on disk"), "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("on disk for {}: 3, for the next start", webhook.url(""))),
        "{ended:?}"
    );
    let rows = ended.rows_on_disk();
    let [recovered, accepted, _, _, delivered, refused, on_disk] = rows[0];
    assert_eq!((recovered, accepted, delivered, refused, on_disk), (0, 3, 0, 0, 3), "{ended:?}");
    assert_eq!(rows[1], [0, 3, rows[1][2], 0, 3, 0, 0], "{ended:?}");
    assert!(!fs::exists(&file).unwrap(), "nothing is written there that comes again");

    // Without the endpoint its events stay.
    let relay = Relay::start(&[&args[..], &["--to", &other]].concat());
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("is of no endpoint that is given: 3 events stay on disk there"),
        "{ended:?}"
    );
    assert!(!format!("{ended:?}").contains("s3cr3t"), "{ended:?}");

    // With it they come first.
    IS_UP.store(true, Ordering::SeqCst);
    let relay = Relay::start(&[&args[..], &["--to", &other, "--to", &url]].concat());
    assert_eq!(relay.post(&envelope(&[event("d")])).status, 202);
    webhook.wait_for_events(4);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for said in [
        format!("on disk for {}: 3 events of before", webhook.url("")),
        format!("on disk for {}: 0 events of before", healthy.url("")),
    ] {
        assert!(ended.stderr.contains(&said), "{said:?} is not in {ended:?}");
    }
    assert!(!ended.stderr.contains("is of no endpoint"), "{ended:?}");
    assert_eq!(webhook.ids(), ["a", "b", "c", "d"]);
    assert_eq!(healthy.ids(), ["a", "b", "c", "d"]);
    assert_modes(Path::new(&directory));
}

/// Nobody else reads what waits.
fn assert_modes(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;

    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
    for store in fs::read_dir(directory).unwrap() {
        let store = store.unwrap().path();
        assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(&store).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!store.to_str().unwrap().contains("s3cr3t"), "{store:?}");
    }
}

#[test]
fn what_is_refused_for_good_goes_into_the_file_and_leaves_the_disk() {
    let scratch = Scratch::new("refused");
    let (directory, file) = (scratch.join("queues"), scratch.join("undelivered.ndjson"));
    let webhook = Webhook::start(|_, request| match request.body.contains(r#""id":"bad"#) {
        true => Refuse("422 Unprocessable Content"),
        false => Take("200 OK"),
    });
    let args = ["--durable", &directory, "--undelivered", &file, "--to", &webhook.url("/")];
    let mut relay = Relay::start(&args);
    for id in ["a", "bad-1", "b", "bad-2", "c"] {
        assert_eq!(relay.post(&envelope(&[event(id)])).status, 202);
    }
    webhook.wait_for_events(3);
    let waiting = format!("registry_relay_on_disk_events{{endpoint=\"{}\"}}", webhook.url(""));
    wait_until("nothing is on disk", || relay.metric(&waiting) == Some(0));
    relay.kill();
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 2, "{written}");
    assert!(written.contains(r#""id":"bad-1""#) && written.contains(r#""id":"bad-2""#), "{written}");

    let ended = Relay::start(&args).terminate();
    assert_eq!(ended.rows_on_disk(), [[0; 7]], "{ended:?}");
    assert_eq!(webhook.ids(), ["a", "b", "c"]);
}

/// Such as what a newer relay has left, of the same schema.
#[test]
fn what_is_on_disk_and_cannot_be_read_goes_into_the_file_and_holds_up_nothing() {
    struct Bytes;

    impl Encoding<Vec<u8>> for Bytes {
        fn encode(&self, event: &Vec<u8>, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
            bytes.extend(event);
            Ok(())
        }

        fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
            Ok(bytes.to_vec())
        }
    }

    static IS_UP: AtomicBool = AtomicBool::new(false);
    let scratch = Scratch::new("unreadable");
    let (directory, file) = (scratch.join("queues"), scratch.join("undelivered.ndjson"));
    let webhook = down_until(&IS_UP);
    let args = ["--durable", &directory, "--backoff", "5ms", "--grace", "200ms", "--to", &webhook.url("/")];
    let relay = Relay::start(&args);
    assert_eq!(relay.post(&envelope(&[event("a")])).status, 202);
    assert_eq!(relay.terminate().code, Some(0));

    let store = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let stuck = sink::from_fn(|_: &Vec<u8>| Err("down")).retry(Constant::new(Duration::from_secs(3600)));
    let options = DurableOptions::with_encoding(&store, Bytes).schema("registry-notification/1");
    let queue = stuck.durable_with(options).unwrap();
    for bytes in [&b"\xff"[..], b"{\"id\":\"no action\"}", event("b").as_bytes()] {
        queue.write(bytes.to_vec()).unwrap();
    }
    drop(queue);

    IS_UP.store(true, Ordering::SeqCst);
    let relay = Relay::start(&args);
    webhook.wait_for_events(2);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let left = format!("on disk for {}: 2, for the next start", webhook.url(""));
    assert!(ended.stderr.contains(&left), "without a file they stay: {ended:?}");

    let ended = Relay::start(&[&args[..], &["--undelivered", &file]].concat()).terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.rows_on_disk()[0][6], 0, "{ended:?}");
    let written = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert!(lines[0].starts_with(r#"{"reason":"event 1 on disk cannot be read: "#), "{written}");
    assert!(lines[0].ends_with(r#","base64":"/w=="}"#), "{written}");
    assert!(lines[1].ends_with(r#"missing field `action`","envelope":{"id":"no action"}}"#), "{written}");
    assert_eq!(lines.len(), 2, "{written}");
    assert_eq!(webhook.ids(), ["a", "b"]);
}

#[test]
fn when_one_endpoint_has_no_room_on_the_disk_the_others_get_what_is_posted_again_twice_at_most() {
    static IS_UP: AtomicBool = AtomicBool::new(false);
    let scratch = Scratch::new("full");
    let directory = scratch.join("queues");
    let (healthy, webhook) = (Webhook::healthy(), down_until(&IS_UP));
    let relay = Relay::start(&[
        "--durable",
        &directory,
        "--durable-sync",
        "os",
        "--durable-bytes",
        "16777216",
        "--backoff",
        "5ms",
        "--to",
        &healthy.url("/"),
        "--to",
        &webhook.url("/"),
    ]);
    let padding = "x".repeat(60_000);
    let body = |id: usize| envelope(&[format!(r#"{{"id":"{id}","action":"push","padding":"{padding}"}}"#)]);
    let full = (0..1000).find(|id| match relay.post(&body(*id)) {
        answer if answer.status == 202 => false,
        answer => {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
            let why = format!("there is no room on the disk for {}: ", webhook.url(""));
            assert!(answer.body.contains(&why), "{answer:?}");
            true
        }
    });
    let full = full.expect("16 MiB are less than 60 MB");
    for _ in 0..20 {
        assert_eq!(relay.post(&body(full)).status, 503);
    }
    // Until then nothing that comes after it is posted, by a registry.
    IS_UP.store(true, Ordering::SeqCst);
    wait_until("there is room", || relay.post(&body(full)).status == 202);
    assert_eq!(relay.post(&body(full + 1)).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("what was posted is not taken before there is room: "), "{ended:?}");
    let all: Vec<String> = (0..=full + 1).map(|id| id.to_string()).collect();
    assert_eq!(webhook.ids(), all);
    let mut twice = all.clone();
    twice.insert(full, full.to_string());
    assert_eq!(healthy.ids(), twice);
}

#[test]
fn what_cannot_be_on_disk_is_refused_at_the_start() {
    let scratch = Scratch::new("durable-arguments");
    let directory = scratch.join("queues");
    let file = scratch.join("file");
    fs::write(&file, "precious").unwrap();
    let missing = scratch.join("no/queues");
    let usual = ["--to", DEAD, "--durable"];
    let both = ["relay", "registry_relay"];
    for (programs, args, code, said) in [
        (&both[1..], &[&usual[..], &[&directory, "--backlog", "5"]].concat()[..], 2, "cannot be used with"),
        (
            &both[1..],
            &[&usual[..], &[&directory, "--when-full", "refuse"]].concat(),
            2,
            "cannot be used with",
        ),
        (&both, &["--to", DEAD, "--durable-sync", "os"], 2, "--durable <DIR>"),
        (&both, &["--to", DEAD, "--durable-bytes", "1000000000"], 2, "--durable <DIR>"),
        (&both, &[&usual[..], &[&directory, "--durable-bytes", "1000"]].concat(), 2, "1000 is not in"),
        (&both, &[&usual[..], &[&directory, "--durable-sync", "never"]].concat(), 2, "neither `always`"),
        (&both, &[&usual[..], &[&directory, "--durable-sync", "0s"]].concat(), 2, "that is `always`"),
        (&both, &[&usual[..], &["https:/hooks.example/s3cr3t"]].concat(), 2, "a URL where none belongs"),
        (&both, &[&usual[..], &[&missing]].concat(), 1, "No such file or directory"),
        (&both, &[&usual[..], &[&file]].concat(), 1, "File exists"),
        (
            &both,
            &[&usual[..], &[&directory, "--to", DEAD]].concat(),
            1,
            "--to number 2 is that number 1 again",
        ),
        (
            &both[1..],
            &[&usual[..], &[&directory, "--durable-bytes", "16777216", "--max-body", "5000000"]].concat(),
            1,
            "--durable-bytes is less than four envelopes",
        ),
    ] {
        for program in programs {
            let mut command = Command::new(example(program));
            command.args(args);
            if *program == "registry_relay" {
                command.args(["--listen", "127.0.0.1:0"]);
            }
            let ended = Running::start(&mut command).finish();
            assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
            assert!(ended.stderr.contains(said), "{said:?} is not in {ended:?}");
            assert!(!format!("{ended:?}").contains("s3cr3t"), "{ended:?}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // One at a time.
    let relay = Relay::start(&["--durable", &directory, "--to", DEAD]);
    for program in both {
        let mut command = Command::new(example(program));
        command.args(["--durable", &directory, "--to", DEAD]);
        if program == "registry_relay" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let ended = Running::start(&mut command).finish();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("is open already: one at a time"), "{ended:?}");
    }
    assert_eq!(relay.terminate().code, Some(0));
}

#[test]
fn ctrl_c_leaves_on_disk_what_is_not_delivered_for_the_next_run() {
    static IS_UP: AtomicBool = AtomicBool::new(false);
    let scratch = Scratch::new("ctrl-c");
    let directory = scratch.join("queues");
    let webhook = down_until(&IS_UP);
    let relay = || {
        let mut command = Command::new(example("relay"));
        command.args(["--durable", &directory, "--backoff", "5ms", "--grace", "200ms", "--to"]);
        Running::piped(command.arg(webhook.url("/")))
    };
    let (mut process, mut stdin) = relay();
    let lines = ["a", "b", "c"].map(|id| envelope(&[event(id)]) + "\n").concat();
    stdin.write_all(lines.as_bytes()).unwrap();
    process.wait_for_stderr("0/3 acknowledged").unwrap();
    process.signal("INT");
    let ended = process.finish();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let left = format!("on disk for {}: 3, for the next run", webhook.url(""));
    assert!(ended.stderr.contains(&left), "{ended:?}");
    assert!(!ended.stderr.contains("not delivered:"), "it is no loss: {ended:?}");
    drop(stdin);

    IS_UP.store(true, Ordering::SeqCst);
    let (process, mut stdin) = relay();
    writeln!(stdin, "{}", envelope(&[event("d")])).unwrap();
    drop(stdin);
    let ended = process.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("3 events of before"), "{ended:?}");
    assert_eq!(webhook.ids(), ["a", "b", "c", "d"]);
}

/// Bytes of memory, as Linux counts them for a process.
fn memory(process: &Running, what: &str) -> u64 {
    let mut status = String::new();
    let mut file = fs::File::open(format!("/proc/{}/status", process.id())).unwrap();
    file.read_to_string(&mut status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
