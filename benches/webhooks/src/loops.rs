use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outflow::http::{AsyncHttpSink, HttpSink};
use outflow::queue::QueueOptions;
use outflow::{AsyncSink, AsyncSinkExt, Queue, Sink};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(10);

type Event = String;

fn event(number: usize) -> Event {
    format!("{{\"action\":\"push\",\"repository\":\"library/alpine\",\"number\":{number}}}")
}

/// What posts events one after the other over a connection.
trait Post: Send + 'static {
    fn post(&mut self, event: Event) -> impl Future<Output = ()> + Send;
}

/// Posts events from a task for each of the posters.
fn all<P: Post>(runtime: &Runtime, posters: Vec<P>) -> Box<dyn FnMut(usize)> {
    let runtime = runtime.handle().clone();
    let mut posters = posters;
    Box::new(move |each| {
        let tasks: Vec<_> = posters
            .drain(..)
            .map(|mut poster| {
                runtime.spawn(async move {
                    for number in 0..each {
                        poster.post(event(number)).await;
                    }
                    poster
                })
            })
            .collect();
        for task in tasks {
            posters.push(runtime.block_on(task).expect("it does not panic"));
        }
    })
}

/// Posts events from tasks that take them from a channel each.
fn all_from_channels<P: Post>(runtime: &Runtime, posters: Vec<P>) -> Box<dyn FnMut(usize)> {
    let (done, mut counted) = mpsc::unbounded_channel();
    let senders: Vec<_> = posters
        .into_iter()
        .map(|mut poster| {
            let (sender, mut events) = mpsc::unbounded_channel::<(Event, bool)>();
            let done = done.clone();
            runtime.spawn(async move {
                while let Some((event, last)) = events.recv().await {
                    poster.post(event).await;
                    if last {
                        done.send(()).expect("somebody who counts");
                    }
                }
            });
            sender
        })
        .collect();
    Box::new(move |each| {
        for number in 0..each {
            for sender in &senders {
                sender.send((event(number), number + 1 == each)).expect("an open channel");
            }
        }
        for _ in &senders {
            counted.blocking_recv().expect("a task");
        }
    })
}

fn build(runtime: &Runtime, url: &str) -> AsyncHttpSink<Event> {
    let _entered = runtime.enter();
    HttpSink::post(url).timeout(TIMEOUT).build_async().expect("a good URL")
}

impl Post for AsyncHttpSink<Event> {
    async fn post(&mut self, event: Event) {
        self.write(event).await.expect("a delivery");
    }
}

/// Ours, awaited: a sink for each connection.
pub fn sink(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    all(runtime, (0..connections).map(|_| build(runtime, url)).collect())
}

/// Ours, behind a queue each.
pub fn queue(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    let options = || QueueOptions::default().on(runtime.handle().clone());
    let queues: Vec<Queue<Event>> =
        (0..connections).map(|_| build(runtime, url).lossy().queued_with(options())).collect();
    Box::new(move |each| {
        let before = queues[0].stats().delivered as usize;
        for number in 0..each {
            for queue in &queues {
                queue.write(event(number)).expect("an open queue");
            }
        }
        let flushes: Vec<_> = queues.iter().map(Queue::flush).collect();
        for (queue, flush) in queues.iter().zip(flushes) {
            flush.wait().expect("a delivery");
            assert_eq!(queue.stats().delivered as usize, before + each);
        }
    })
}

fn json(event: &Event) -> Bytes {
    serde_json::to_vec(event).expect("a string").into()
}

/// By hand, over hyper's connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    uri: Uri,
}

impl Connection {
    async fn open(url: &str) -> Self {
        let uri: Uri = url.parse().expect("a URL");
        let stream =
            TcpStream::connect(uri.authority().expect("a host").as_str()).await.expect("an endpoint");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        Self { sender, uri }
    }

    fn several(runtime: &Runtime, url: &str, connections: usize) -> Vec<Self> {
        (0..connections).map(|_| runtime.block_on(Self::open(url))).collect()
    }
}

impl Post for Connection {
    async fn post(&mut self, event: Event) {
        let request = Request::post(self.uri.path())
            .header("host", self.uri.authority().expect("a host").as_str())
            .header("user-agent", "loop/1")
            .header("content-type", "application/json")
            .body(Full::new(json(&event)))
            .expect("a request");
        let answered = timeout(TIMEOUT, async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            Ok::<_, hyper::Error>(status)
        });
        let status = answered.await.expect("in time").expect("an answer");
        assert!(status.is_success());
    }
}

pub fn connection(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    all(runtime, Connection::several(runtime, url, connections))
}

pub fn channel(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    all_from_channels(runtime, Connection::several(runtime, url, connections))
}

/// By hand, over hyper-util's client.
struct Legacy {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Legacy {
    fn several(url: &str, connections: usize) -> Vec<Self> {
        let new = |_| {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client = Client::builder(TokioExecutor::new()).build(connector);
            Self { client, uri: url.parse().expect("a URL") }
        };
        (0..connections).map(new).collect()
    }
}

impl Post for Legacy {
    async fn post(&mut self, event: Event) {
        let request = Request::post(self.uri.clone())
            .header("user-agent", "loop/1")
            .header("content-type", "application/json")
            .body(Full::new(json(&event)))
            .expect("a request");
        let answered = timeout(TIMEOUT, async {
            let answer = self.client.request(request).await.expect("an answer");
            let status = answer.status();
            answer.into_body().collect().await.expect("a body");
            status
        });
        assert!(answered.await.expect("in time").is_success());
    }
}

pub fn legacy(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    all(runtime, Legacy::several(url, connections))
}

pub fn channel_legacy(runtime: &Runtime, url: &str, connections: usize) -> Box<dyn FnMut(usize)> {
    all_from_channels(runtime, Legacy::several(url, connections))
}
