//! Endpoints on loopback: one that speaks HTTP and keeps the requests, and one that does what a test wants.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads a request; `None` if the connection ends before it does.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1..) => head.push(byte[0]),
                _ => return Ok(None),
            }
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut request = Self { head, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The value of a header; panics if there are two.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} came twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A server with a thread for each connection. The threads end with the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Calls a closure with each connection and its number, from 0.
    pub(crate) fn raw<F>(f: F) -> Self
    where
        F: Fn(TcpStream, usize) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, f) = (Arc::clone(&connections), Arc::new(f));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let f = Arc::clone(&f);
                thread::spawn(move || f(stream, number));
            }
        });
        Self { address, requests: Arc::default(), connections }
    }

    /// Reads requests, several on one connection, and answers each with what the closure returns for its number, from 0,
    /// and the request.
    pub(crate) fn answering<F>(f: F) -> Self
    where
        F: Fn(usize, &Request) -> String + Send + Sync + 'static,
    {
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let kept = Arc::clone(&requests);
        let mut server = Self::raw(move |mut stream, _| {
            while let Ok(Some(request)) = Request::read(&mut stream) {
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request.clone());
                    kept.len() - 1
                };
                let answer = f(number, &request);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        server.requests = requests;
        server
    }

    /// Answers every request with this status.
    pub(crate) fn status(status: &'static str) -> Self {
        Self::answering(move |_, _| empty(status))
    }

    /// Reads a request, then calls a closure with the connection and its number.
    pub(crate) fn after_request<F>(f: F) -> Self
    where
        F: Fn(TcpStream, usize) + Send + Sync + 'static,
    {
        Self::raw(move |mut stream, number| {
            if let Ok(Some(_)) = Request::read(&mut stream) {
                f(stream, number);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An answer without a body.
pub(crate) fn empty(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}

/// An answer with a body, and these header lines.
pub(crate) fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        answer += header;
        answer += "\r\n";
    }
    answer + "\r\n" + body
}

/// An address without a server: the port of a service that is no longer in use.
pub(crate) const NO_SERVER: &str = "127.0.0.1:1";

/// Runs one test of this program, by its path, in a process of its own, with this environment, and returns what it passed to
/// [`report`]. An environment cannot be changed safely in a process with threads, and a logger can be set only once.
pub(crate) fn in_a_process_of_its_own(test: &str, environment: &[(&str, &str)]) -> String {
    let (_crate, test) = test.split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().find_map(|line| line.split_once("OUTCOME ")).expect("an outcome").1.to_string()
}

/// Reports an outcome to the process that started this one.
pub(crate) fn report(outcome: &str) {
    println!("\nOUTCOME {outcome}");
}
