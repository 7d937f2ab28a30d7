//! `examples/registry_relay` as a process, a client of it, and webhooks behind it.
//!
//! Runs the binary that `cargo test` builds; after a `cargo test --test NAME` it may be an old one.

#![allow(dead_code, unreachable_pub, reason = "each of the tests that share this uses a part of it")]

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Longer than any of this takes.
pub const SOON: Duration = Duration::from_secs(60);

/// An endpoint where nobody listens: the port is reserved.
pub const DEAD: &str = "http://127.0.0.1:1";

pub const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// The example's binary.
pub fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(example.exists(), "{} is missing: cargo build --examples --all-features", example.display());
    example
}

/// A process whose standard error is read, and that is stopped with the test.
pub struct Running {
    child: Child,
    /// The lines of standard error.
    stderr: Receiver<String>,
    seen: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// What is written to the pipe is its standard input.
    pub fn piped(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::spawn(command.stdin(Stdio::piped()));
        let stdin = running.child.stdin.take().unwrap();
        (running, stdin)
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, stderr) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line + "\n")));
        Self { child, stderr, seen: String::new() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that was said up to the line with `text`; `None` if it ends without.
    pub fn wait_for_stderr(&mut self, text: &str) -> Option<&str> {
        while !self.seen.contains(text) {
            match self.stderr.recv_timeout(SOON) {
                Ok(line) => self.seen += &line,
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(error) => panic!("{text:?} is never said: {error}; {}", self.seen),
            }
        }
        Some(&self.seen)
    }

    pub fn signal(&self, name: &str) {
        let killed =
            Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn finish(mut self) -> Ended {
        let deadline = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                panic!("it does not end: {}{}", self.seen, self.stderr.try_iter().collect::<String>());
            }
            thread::sleep(Duration::from_millis(2));
        };
        // What it prints is smaller than a pipe: it is all there when the process has ended.
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let mut stderr = mem::take(&mut self.seen);
        stderr.extend(self.stderr.iter());
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has run.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What a relay's table says of one endpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub endpoint: String,
    pub accepted: u64,
    pub posted: u64,
    pub failed: u64,
    pub delivered: u64,
    pub refused: u64,
    pub dropped: u64,
    pub written: u64,
    pub lost: u64,
}

impl Ended {
    /// What the table of a relay with `--durable` says: of each endpoint seven counts.
    pub fn rows_on_disk(&self) -> Vec<[u64; 7]> {
        let counts = |line: &str| {
            let counts: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
            counts.try_into().ok()
        };
        self.stdout.lines().skip(1).map_while(counts).collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        let rows = self.stdout.lines().skip(1).map_while(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (endpoint, counts) = words.split_first()?;
            let counts: Vec<u64> = counts.iter().map_while(|count| count.parse().ok()).collect();
            let [accepted, posted, failed, delivered, refused, dropped, written, lost] = counts[..] else {
                return None;
            };
            let endpoint = endpoint.to_string();
            Some(Row { endpoint, accepted, posted, failed, delivered, refused, dropped, written, lost })
        });
        rows.collect()
    }
}

/// A relay that listens.
pub struct Relay {
    pub process: Running,
    pub address: SocketAddr,
}

impl Relay {
    pub fn command(args: &[&str]) -> Command {
        let mut command = Command::new(example("registry_relay"));
        command.args(args).env_remove("REGISTRY_RELAY_TOKEN").env_remove("REGISTRY_RELAY_SIGNING_SECRETS");
        command
    }

    /// On a port of its own, unless `args` say otherwise.
    pub fn start(args: &[&str]) -> Self {
        let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        Self::run(&mut Self::command(&[args, listen].concat()))
    }

    pub fn run(command: &mut Command) -> Self {
        let mut process = Running::start(command);
        let Some(said) = process.wait_for_stderr("listening on ") else {
            panic!("it does not start: {:?}", process.finish());
        };
        let address = said.split("listening on ").nth(1).unwrap().trim().parse().unwrap();
        Self { process, address }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Posts an envelope, over a connection of its own.
    pub fn post(&self, envelope: &str) -> Answer {
        self.client().post(&[], envelope.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.client().request(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"), b"")
    }

    /// The value of a metric, given with its labels.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let metrics = self.get("/metrics").body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    pub fn wait_for_metric(&self, name: &str, value: u64) {
        wait_until(&format!("{name} is {value}"), || self.metric(name) == Some(value));
    }

    /// Ends it where it is.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        wait_until("it has ended", || self.process.has_ended());
    }

    pub fn terminate(self) -> Ended {
        self.process.signal("TERM");
        self.process.finish()
    }
}

/// For what can be asked for and is told by nothing.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "it never comes to this: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A connection to a server, used for one request after the other.
pub struct Client {
    pub stream: TcpStream,
    from: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // Head and body are written one after the other.
        stream.set_nodelay(true).unwrap();
        Self { from: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// Posts an envelope with these header lines beside the usual ones.
    pub fn post(&mut self, headers: &[&str], body: &[u8]) -> Answer {
        let length = format!("content-length: {}", body.len());
        self.post_with(&[headers, &[&length, &format!("content-type: {MEDIA_TYPE}")]].concat(), body)
    }

    /// Posts with these header lines alone.
    pub fn post_with(&mut self, headers: &[&str], body: &[u8]) -> Answer {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.request(&format!("POST /events HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"), body)
    }

    pub fn request(&mut self, head: &str, body: &[u8]) -> Answer {
        self.stream.write_all(head.as_bytes()).unwrap();
        // Who is refused in the middle of it may be cut off there; the answer is what counts.
        let _ = self.stream.write_all(body);
        self.answer().unwrap_or_else(|| panic!("no answer to {head}"))
    }

    /// Posts an envelope. `None` if it is not answered.
    pub fn try_post(mut stream: TcpStream, envelope: &str) -> Option<u16> {
        stream.set_read_timeout(Some(SOON)).ok()?;
        stream.set_nodelay(true).ok()?;
        let length = envelope.len();
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {MEDIA_TYPE}\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(envelope.as_bytes())).ok()?;
        let from = BufReader::new(stream.try_clone().ok()?);
        Some(Self { stream, from }.answer()?.status)
    }

    /// The next answer; `None` if the connection is closed instead.
    pub fn answer(&mut self) -> Option<Answer> {
        let head = read_head(&mut self.from)?;
        let mut body = Vec::new();
        match header(&head, "content-length") {
            Some(length) => {
                body.resize(length.parse().ok()?, 0);
                self.from.read_exact(&mut body).ok()?;
            }
            None => _ = self.from.read_to_end(&mut body).ok()?,
        }
        let body = String::from_utf8(body).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head, body })
    }
}

/// `None` if it breaks off.
fn read_head(from: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn read_request(from: &mut impl BufRead) -> Option<Request> {
    let head = read_head(from)?;
    let length = header(&head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Request { head, body: String::from_utf8(body).ok()? })
}

/// A request that a webhook got.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The events of its envelope, as they stand there.
    pub fn events(&self) -> Vec<String> {
        let envelope: Envelope<'_> = serde_json::from_str(&self.body).unwrap();
        envelope.events.iter().map(|event| event.get().to_string()).collect()
    }

    /// Panics unless it is signed with this secret, as the Standard Webhooks specification has it.
    pub fn assert_signed_with(&self, secret: &str) {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let part = |name| self.header(name).unwrap_or_else(|| panic!("no {name}: {}", self.head));
        let signed = format!("{}.{}.{}", part("webhook-id"), part("webhook-timestamp"), self.body);
        let good = part("webhook-signature").split(' ').any(|signature| {
            let signature = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
        });
        assert!(good, "not signed with that secret: {}", self.head);
    }
}

pub fn id_of(event: &str) -> String {
    serde_json::from_str::<Id>(event).unwrap().id
}

/// What a webhook does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// Records it, and answers this, 2xx.
    Take(&'static str),
    /// Answers this and does not record it.
    Refuse(&'static str),
    /// Records it and cuts the connection: the answer is lost.
    TakeAndCut,
    /// Cuts the connection and does not record it, as one that is down.
    Cut,
    /// Does not answer before `release`, and then cuts the connection.
    Hang,
}

pub use Reply::{Cut, Hang, Refuse, Take, TakeAndCut};

/// An endpoint that does as it is told. Serves any number of connections; ends with the test.
#[derive(Clone)]
pub struct Webhook {
    pub address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    forgets: bool,
    taken: Mutex<Vec<Request>>,
    /// Everything that came, whatever was answered.
    all: Mutex<Vec<Request>>,
    changed: Condvar,
    released: Mutex<bool>,
    release: Condvar,
}

impl Webhook {
    /// `reply` is called with the number of the request, from 0, and the request.
    pub fn start(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Desk::default(), reply)
    }

    fn with(desk: Desk, reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(desk);
        let (serving, reply) = (Arc::clone(&desk), Arc::new(reply));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (desk, reply) = (Arc::clone(&serving), Arc::clone(&reply));
                let connection = connection.unwrap();
                thread::spawn(move || desk.serve(connection, &*reply));
            }
        });
        Self { address, desk }
    }

    /// One that keeps no request, for those who get many.
    pub fn forgetful(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(Desk { forgets: true, ..Desk::default() }, reply)
    }

    pub fn healthy() -> Self {
        Self::start(|_, _| Take("200 OK"))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets go of those that hang.
    pub fn release(&self) {
        *self.desk.released.lock().unwrap() = true;
        self.desk.release.notify_all();
    }

    /// What was recorded.
    pub fn taken(&self) -> Vec<Request> {
        self.desk.taken.lock().unwrap().clone()
    }

    /// Every request, recorded or not.
    pub fn all(&self) -> Vec<Request> {
        self.desk.all.lock().unwrap().clone()
    }

    /// The events of what was recorded.
    pub fn events(&self) -> Vec<String> {
        self.taken().iter().flat_map(Request::events).collect()
    }

    pub fn ids(&self) -> Vec<String> {
        self.events().iter().map(|event| id_of(event)).collect()
    }

    pub fn wait_for_requests(&self, count: usize) {
        let all = self.desk.all.lock().unwrap();
        let (all, _) = self.desk.changed.wait_timeout_while(all, SOON, |all| all.len() < count).unwrap();
        assert!(all.len() >= count, "{} requests, not {count}", all.len());
    }

    pub fn wait_for_events(&self, count: usize) {
        wait_until(&format!("{count} events"), || self.events().len() >= count);
    }
}

impl Desk {
    fn serve(&self, mut connection: TcpStream, reply: &dyn Fn(usize, &Request) -> Reply) {
        let _ = connection.set_nodelay(true);
        let mut from = BufReader::new(connection.try_clone().unwrap());
        while let Some(request) = read_request(&mut from) {
            let number = {
                let mut all = self.all.lock().unwrap();
                if !self.forgets {
                    all.push(request.clone());
                }
                all.len().saturating_sub(1)
            };
            let reply = reply(number, &request);
            if let Take(_) | TakeAndCut = reply {
                self.taken.lock().unwrap().push(request);
            }
            self.changed.notify_all();
            let answered = match reply {
                Take(status) | Refuse(status) => {
                    write!(connection, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
                }
                Cut | TakeAndCut => return,
                Hang => {
                    let released: MutexGuard<'_, bool> = self.released.lock().unwrap();
                    let _released = self.release.wait_while(released, |released| !*released).unwrap();
                    return;
                }
            };
            if answered.is_err() {
                return;
            }
        }
    }
}

/// Ports that were free a moment ago.
pub fn free_ports() -> [SocketAddr; 2] {
    // Both are held until both are known.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A folder that is there as long as this is.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Envelopes, for those who need any.
pub fn envelope<T: AsRef<str>>(events: &[T]) -> String {
    let events: Vec<&str> = events.iter().map(AsRef::as_ref).collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

pub fn event(id: &str) -> String {
    format!(r#"{{"id":"{id}","action":"push","target":{{"repository":"library/alpine"}}}}"#)
}

/// How often each comes, and each once, where it is first.
pub fn without_repeats(ids: &[String]) -> (Vec<String>, usize) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut firsts = Vec::new();
    for id in ids {
        let times = seen.entry(id).or_default();
        *times += 1;
        if *times == 1 {
            firsts.push(id.clone());
        }
    }
    let repeats = ids.len() - firsts.len();
    (firsts, repeats)
}
