use std::time::Duration;

use outflow::retry::Breaker;
use outflow::{SinkExt, sink};

fn main() {
    let http = sink::from_fn(|_: &u32| Err("no route to host"));
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    http.retry(Breaker::new(5, Duration::from_secs(1))).max_attempts(8).queued();
}
