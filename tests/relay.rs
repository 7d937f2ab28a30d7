//! `examples/relay` does what its help says: nothing is lost, and nothing secret is shown.
//!
//! Runs the binary that `cargo test` builds; after a `cargo test --test relay` it may be an old one.

#![cfg(unix)]

#[path = "../examples/relay/check.rs"]
mod check;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use check::Check;

/// Longer than any of this takes.
const SOON: Duration = Duration::from_secs(60);

/// An endpoint where nobody listens: the port is reserved.
const DEAD: &str = "http://127.0.0.1:1";

/// What is relayed to endpoints where it does not matter what.
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/registry-notifications.ndjson");

const ONE: &str = r#"{"id":"one","action":"push","size":1.50e2,"unheard-of":{"a" : [1, 2]}}"#;
const TWO: &str = r#"{"id":"two","action":"pull"}"#;
const THREE: &str = r#"{"id":"three","action":"delete"}"#;

#[test]
fn every_event_reaches_receivers_that_fail() {
    let run = relay(&[]).finish();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout.matches(": all 251 events arrived, in order").count(), 2, "{run:?}");

    let rows = run.rows();
    let [overloaded, outage] = &rows[..] else { panic!("{run:?}") };
    for row in &rows {
        let Row { accepted, posted, failed, pending, acknowledged, .. } = row;
        assert_eq!((*accepted, *pending, *acknowledged), (251, 0, 251), "{run:?}");
        assert_eq!(*posted, acknowledged + failed, "{run:?}");
    }
    assert!(overloaded.failed >= 125, "a third of the requests is answered with 503: {run:?}");
    assert!(outage.failed > 1, "nobody answers for a second: {run:?}");
    assert!(run.stdout.contains("arrived more than once"), "the outage cuts a request off: {run:?}");
}

#[test]
fn only_the_actions_asked_for_are_relayed() {
    let run = relay(&["--only", "push,delete"]).finish();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.rows().iter().all(|row| row.acknowledged == 69), "{run:?}");
    assert_eq!(run.stdout.matches(": all 69 events arrived, in order").count(), 2, "{run:?}");
}

#[test]
fn an_event_is_posted_as_it_came_in() {
    let webhook = Webhook::start(|_| "204 No Content");
    let mut run = relay(&["--timeout", "1m", "--to", &webhook.url("user:pass@", "/hook?token=1"), "-"]);
    run.stdin(format!("{{\"events\":[{ONE},{TWO}]}}\n\n  {{ \"events\" : [ {THREE} ] }}\r\n"));
    let run = run.finish();
    assert_eq!(run.code, Some(0), "{run:?}");

    let requests = webhook.requests();
    let bodies: Vec<&str> = requests.iter().map(|request| &*request.body).collect();
    assert_eq!(bodies, [ONE, TWO, THREE].map(|event| format!(r#"{{"events":[{event}]}}"#)));
    for Request { head, .. } in &requests {
        assert!(head.starts_with("POST /hook?token=1 HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/vnd.docker.distribution.events.v1+json\r\n"),
            "{head}"
        );
        assert!(head.contains("authorization: basic "), "{head}");
    }
}

#[test]
fn a_malformed_line_is_named_and_the_good_ones_are_relayed() {
    let file = Scratch::file("malformed.ndjson", |file| {
        writeln!(file, r#"{{"events":[{ONE}]}}"#)?;
        writeln!(file, r#"{{"events":[{TWO},{{"id":"cut"#)?;
        writeln!(file)?;
        writeln!(file, r#"{{"events":[{TWO},{{"id":"no action"}}]}}"#)?;
        writeln!(file, r#"  [{{"id":"x","action":"push"}}]"#)?;
        file.write_all(b"{\"events\":[\xff]}\n")?;
        writeln!(file, r#"{{"events":[["x","push"]]}}"#)?;
        writeln!(file, r#"{{"events":[{{"id":"","action":"push"}}]}}"#)?;
        writeln!(file, r#"{{}}"#)?;
        write!(file, r#"{{"events":[{THREE}]}}"#)
    });
    let webhook = Webhook::start(|_| "200 OK");
    let run = relay(&["--timeout", "1m", "--to", &webhook.url("", "/"), file.path()]).finish();
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(webhook.ids(), ["one", "three"]);

    let begin = r#"{"events":["#.len();
    let second = begin + TWO.len() + 1;
    for (line, column, reason) in [
        (2, second + r#"{"id":"cut"#.len(), "EOF while parsing a string"),
        (4, second + r#"{"id":"no action"}"#.len(), "missing field `action`"),
        (5, 3, "an envelope is a JSON object"),
        (6, begin + 1, "this is not UTF-8"),
        (7, begin + 1, "an event is a JSON object"),
        (8, begin + 1, "the `id` of this event is empty"),
        (9, 2, "missing field `events`"),
    ] {
        let message = format!("{}:{line}:{column}: {reason}\n", file.path());
        assert!(run.stderr.contains(&message), "{message:?} is not in {run:?}");
    }
    assert!(run.stderr.contains("malformed and not relayed: 7"), "{run:?}");
}

#[test]
fn samples_go_to_no_endpoint_that_was_given() {
    let webhook = Webhook::start(|_| "200 OK");
    let url = webhook.url("", "/");
    let piped = |text: &str| {
        let mut run = relay(&["--timeout", "1m", "--to", &url]);
        run.stdin(text.to_string());
        let run = run.finish();
        assert_eq!(run.code, Some(0), "{run:?}");
        webhook.ids()
    };
    assert_eq!(piped(""), [""; 0]);
    assert_eq!(piped(&format!("{{\"events\":[{ONE}]}}\n")), ["one"], "it relays what it is piped");

    // With a terminal there is nothing to read.
    if cfg!(target_os = "linux") {
        let mut command = Command::new("script");
        let command_line = format!("exec '{}' --to {url}", program().display());
        command.args(["--quiet", "--return", "--command", &command_line, "/dev/null"]);
        let run = Running::start(&mut command).finish();
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.shows("name a file of envelopes, or pipe them in"), "{run:?}");
        assert_eq!(webhook.ids(), [""; 0]);
    }
}

#[test]
fn what_a_relay_service_wrote_down_is_replayed_as_it_came_in() {
    let webhook = Webhook::start(|_| "200 OK");
    let mut run = relay(&["--timeout", "1m", "--to", &webhook.url("", "/")]);
    let lines = [
        format!(r#"{{"endpoint":"{DEAD}","reason":"{DEAD} answered 422","event":{ONE}}}"#),
        format!(r#"{{"reason":"the body has more than 10 bytes","envelope":{{"events":[{TWO},{THREE}]}}}}"#),
        r#"{"reason":"this is no envelope","envelope":{"events":[{"id":"x"}]}}"#.to_string(),
        r#"{"reason":"this is no envelope","base64":"bm9uZQ=="}"#.to_string(),
        format!(r#"{{"endpoint":"{DEAD}","reason":"cut off","event":{{"id":"four"#),
    ];
    run.stdin(lines.join("\n"));
    let run = run.finish();
    assert_eq!(run.code, Some(1), "{run:?}");
    let bodies: Vec<String> = webhook.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [ONE, TWO, THREE].map(|event| format!(r#"{{"events":[{event}]}}"#)));
    let third = r#"{"reason":"this is no envelope","envelope":{"events":[{"id":"x"}"#.len();
    for said in [
        format!("standard input:3:{third}: missing field `action`"),
        "standard input:4:1: a body that was no JSON".to_string(),
        format!("standard input:5:{}: EOF while parsing", lines[4].len()),
        "malformed and not relayed: 3".to_string(),
    ] {
        assert!(run.stderr.contains(&said), "{said:?} is not in {run:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for file in ["/nonexistent/notifications.ndjson", env!("CARGO_TARGET_TMPDIR")] {
        let run = relay(&[file]).finish();
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains(file), "{run:?}");
        assert!(!run.stderr.contains("malformed"), "nothing of it is: {run:?}");
    }
    // A folder is opened, and then it cannot be read.
    for receivers in [&[][..], &["--to", DEAD]] {
        let run = relay(&[receivers, &[env!("CARGO_TARGET_TMPDIR")]].concat()).finish();
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains("the input was not read to its end"), "{run:?}");
    }
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for (url, reason) in [
        ("s3cret", "it does not begin with http:// or https://"),
        ("127.0.0.1:80/s3cret", "it is not a URL"),
        ("http://a b/s3cret", "it is not a URL"),
        ("ftp://127.0.0.1/s3cret", "its scheme is neither http nor https"),
        ("http:///s3cret", "it is not a URL"),
        ("http://s3cret@:80/", "it has no host"),
        ("http://127.0.0.1:65536/s3cret", "its port is not between 1 and 65535"),
        ("http://127.0.0.1:0/s3cret", "its port is not between 1 and 65535"),
        ("http://[::1]8080/s3cret", "what follows its host is no port"),
        ("http://[::1].evil.example/s3cret", "what follows its host is no port"),
        ("http://127.0.0.1:+8080/s3cret", "what follows its host is no port"),
        ("http://127.0.0.1:http/s3cret", "what follows its host is no port"),
    ] {
        let run = relay(&["--to", "http://127.0.0.1:1/s3cret", "--to", url]).finish();
        assert_eq!(run.code, Some(1), "{url}: {run:?}");
        assert!(run.stderr.contains("--to number 2"), "{url}: {run:?}");
        assert!(run.stderr.contains(reason), "{url}: {run:?}");
        assert!(!run.shows("s3cret"), "{url}: {run:?}");
    }
    for misplaced in [
        &["http://127.0.0.1:1/s3cret"][..],
        &["-", "http://127.0.0.1:1/s3cret"],
        &["https:/hooks.example/s3cret"],
        &["HTTPS:hooks.example/s3cret"],
        &["-", "https:/hooks.example/s3cret"],
        &["--too=https:/hooks.example/s3cret"],
    ] {
        let run = relay(&[&["--to", DEAD], misplaced].concat()).finish();
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(!run.shows("s3cret"), "{run:?}");
    }
}

#[test]
fn no_secret_of_an_endpoint_is_shown() {
    let failing = Webhook::start(|request| if request < 3 { "500 Internal Server Error" } else { "200 OK" });
    let no_tls = Webhook::start(|_| "200 OK");
    let urls = [
        failing.url("s3cret:s3cret@", "/s3cret?s3cret#s3cret"),
        no_tls.url("s3cret@", "/s3cret").replace("http:", "https:"),
        format!("{DEAD}/s3cret").replace("//", "//s3cret@"),
    ];
    let mut args = vec![SAMPLES, "--backoff", "10ms", "--grace", "0s"];
    urls.iter().for_each(|url| args.extend(["--to", url]));
    let mut run = relay(&args);
    run.wait_for_stderr(&format!("{DEAD}: 0/251 acknowledged, "));
    run.interrupt();
    let run = run.finish();

    let names: Vec<String> = run.rows().into_iter().map(|row| row.endpoint).collect();
    let no_tls = no_tls.url("", "").replace("http:", "https:");
    assert_eq!(names, [failing.url("", ""), no_tls, DEAD.to_string()], "{run:?}");
    assert!(!run.shows("s3cret"), "{run:?}");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Webhook::start(|_| "200 OK");
    let moved = format!("302 Found\r\nlocation: {}", elsewhere.url("", "/"));
    let webhook = Webhook::start(move |request| if request == 0 { moved.clone().leak() } else { "200 OK" });
    let mut run = relay(&["--timeout", "1m", "--to", &webhook.url("", "/"), "-"]);
    run.stdin(format!("{{\"events\":[{ONE}]}}\n"));
    let run = run.finish();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(webhook.ids(), ["one", "one"]);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn ctrl_c_ends_it_within_the_grace_and_says_what_was_not_delivered() {
    let healthy = Webhook::start(|_| "200 OK");
    let mut run = relay(&[SAMPLES, "--to", &healthy.url("", "/"), "--to", DEAD, "--grace", "500ms"]);
    run.wait_for_stderr("251/251");
    run.interrupt();
    let begun = Instant::now();
    let run = run.finish();
    assert!(begun.elapsed() < Duration::from_secs(5), "{run:?}");

    assert_eq!(run.code, Some(130), "{run:?}");
    assert!(run.stderr.contains(&format!("not delivered: 251\n  251 to {DEAD}\n")), "{run:?}");
    let pending: Vec<u64> = run.rows().iter().map(|row| row.pending).collect();
    assert_eq!(pending, [0, 251], "{run:?}");
}

#[test]
fn ctrl_c_does_not_wait_for_standard_input() {
    let webhook = Webhook::start(|_| "200 OK");
    let mut run = relay(&["--timeout", "1m", "--to", &webhook.url("", "/"), "--grace", "1h", "-"]);
    let mut stdin = run.child.stdin.take().unwrap();
    writeln!(stdin, r#"{{"events":[{ONE}]}}"#).unwrap();
    webhook.wait_for_request();
    run.interrupt();
    let run = run.finish();
    assert_eq!(run.code, Some(130), "{run:?}");
    assert!(run.stderr.contains("the input was not read to its end"), "{run:?}");
    assert_eq!(run.rows()[0].acknowledged, 1, "what was accepted is delivered: {run:?}");
    drop(stdin);
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut run = relay(&[SAMPLES, "--to", DEAD, "--grace", "1h"]);
    run.wait_for_stderr("acknowledged");
    run.interrupt();
    run.wait_for_stderr("closing");
    run.interrupt();
    assert_eq!(run.finish().code, Some(130));
}

#[test]
fn nobody_reading_the_table_is_no_failure() {
    let mut run = relay(&[]);
    drop(run.child.stdout.take());
    let run = run.finish();
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn the_check_finds_what_is_missing_foreign_or_out_of_order() {
    let ids = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    for (relayed, arrived, passes, says) in [
        ("", "", true, "all 0 events"),
        ("a b c", "a b c", true, "all 3 events arrived, in order"),
        ("a b c", "a b b c a", true, "2 arrived more than once"),
        ("a b a", "a b a", true, "all 3 events"),
        ("a b a", "a b", false, "1 never arrived"),
        ("a b c", "a c", false, "1 never arrived"),
        ("a b c", "a c b", false, "1 arrived out of order"),
        ("a b c", "a b c d", false, "1 arrived, but were not relayed"),
    ] {
        let (relayed, arrived) = (ids(relayed), ids(arrived));
        let check = Check::new(&relayed, &arrived);
        assert_eq!(check.passed(), passes, "{relayed:?} {arrived:?}: {check}");
        assert!(check.to_string().contains(says), "{relayed:?} {arrived:?}: {check}");
    }
}

/// A relay that runs.
struct Running {
    child: Child,
    /// The lines of standard error.
    stderr: Receiver<String>,
    seen: String,
}

fn program() -> PathBuf {
    let test = env::current_exe().unwrap();
    let relay = test.ancestors().nth(2).unwrap().join("examples/relay");
    assert!(relay.exists(), "{} is missing: cargo build --example relay", relay.display());
    relay
}

fn relay(args: &[&str]) -> Running {
    Running::start(Command::new(program()).args(args))
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, stderr) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line + "\n")));
        Self { child, stderr, seen: String::new() }
    }

    fn stdin(&mut self, text: String) {
        self.child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn wait_for_stderr(&mut self, text: &str) {
        while !self.seen.contains(text) {
            match self.stderr.recv_timeout(SOON) {
                Ok(line) => self.seen += &line,
                Err(error) => panic!("{text:?} is never said: {error}; {}", self.seen),
            }
        }
    }

    fn interrupt(&self) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    fn finish(mut self) -> Ended {
        let deadline = Instant::now() + SOON;
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            // A table is smaller than a pipe: it is all there when the process has ended.
            self.wait_until(deadline);
            pipe.read_to_string(&mut stdout).unwrap();
        }
        let code = self.wait_until(deadline);
        let mut stderr = mem::take(&mut self.seen);
        stderr.extend(self.stderr.iter());
        Ended { code, stdout, stderr }
    }

    fn wait_until(&mut self, deadline: Instant) -> Option<i32> {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() > deadline {
                panic!("it does not end: {}{}", self.seen, self.stderr.try_iter().collect::<String>());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    /// A test that fails leaves no relay behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay that has run.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

#[derive(Debug)]
struct Row {
    endpoint: String,
    accepted: u64,
    posted: u64,
    failed: u64,
    pending: u64,
    acknowledged: u64,
}

impl Ended {
    fn shows(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.stdout.lines().skip(1).map_while(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (endpoint, counts) = words.split_first()?;
            let counts: Vec<u64> = counts.iter().map_while(|count| count.parse().ok()).collect();
            let [accepted, posted, failed, pending, acknowledged] = counts[..] else { return None };
            let endpoint = endpoint.to_string();
            Some(Row { endpoint, accepted, posted, failed, pending, acknowledged })
        });
        rows.collect()
    }
}

struct Request {
    head: String,
    body: String,
}

/// An endpoint that answers what it is told to.
struct Webhook {
    port: u16,
    requests: Receiver<Request>,
}

impl Webhook {
    /// `answer` is called with the number of the request, from 0.
    fn start(answer: impl Fn(usize) -> &'static str + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, requests) = mpsc::channel();
        thread::spawn(move || {
            for (number, connection) in listener.incoming().enumerate() {
                let mut connection = connection.unwrap();
                let Some(request) = read_request(&connection) else { continue };
                tell.send(request).unwrap();
                let status = answer(number);
                let _ =
                    write!(connection, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { port, requests }
    }

    fn url(&self, user: &str, path: &str) -> String {
        format!("http://{user}127.0.0.1:{}{path}", self.port)
    }

    fn wait_for_request(&self) {
        self.requests.recv_timeout(SOON).unwrap();
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }

    fn ids(&self) -> Vec<String> {
        let id = |request: Request| {
            let envelope: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            envelope["events"][0]["id"].as_str().unwrap().to_string()
        };
        self.requests().into_iter().map(id).collect()
    }
}

fn read_request(connection: &TcpStream) -> Option<Request> {
    let mut from = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).ok()? })
}

/// A file that is there as long as this is.
struct Scratch(PathBuf);

impl Scratch {
    fn file(name: &str, write: impl FnOnce(&mut fs::File) -> std::io::Result<()>) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        write(&mut fs::File::create(&path).unwrap()).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
