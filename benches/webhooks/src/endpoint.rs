//! An endpoint that answers 200 to every request, as a process of its own.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{self, Child, Command, Stdio};
use std::{env, thread};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const FLAG: &str = "--endpoint";

pub struct Endpoint {
    pub url: String,
    process: Child,
}

impl Endpoint {
    pub fn start() -> Self {
        let program = env::current_exe().expect("the path of this program");
        let mut process = Command::new(program)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("an endpoint");
        let mut url = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut url).expect("a URL");
        Self { url: url.trim().to_string(), process }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

pub fn serve() -> ! {
    // However the benchmark ends.
    thread::spawn(|| {
        _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("http://{}/hook", listener.local_addr().expect("an address"));
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        }
    })
}

async fn answer(mut stream: TcpStream) {
    _ = stream.set_nodelay(true);
    let mut input = Vec::new();
    loop {
        let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            match stream.read_buf(&mut input).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&input[..end]).to_lowercase();
        let length =
            head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let whole = end + 4 + length.unwrap_or(0usize);
        while input.len() < whole {
            let Ok(1..) = stream.read_buf(&mut input).await else { return };
        }
        input.drain(..whole);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}
