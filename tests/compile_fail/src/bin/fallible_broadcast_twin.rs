use std::time::Duration;

use outflow::retry::Breaker;
use outflow::{Broadcaster, SinkExt, sink};

fn main() {
    let http = sink::from_fn(|_: &u32| Err("no route to host"));
    let _ = Broadcaster::new().add(http.retry(Breaker::new(5, Duration::from_secs(1))));
}
