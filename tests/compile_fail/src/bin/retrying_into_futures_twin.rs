use outflow::{SinkExt, retry::Constant, sink};
use std::time::Duration;

fn main() {
    let sink = sink::from_fn(|_: &u32| Err("refused")).retry(Constant::new(Duration::ZERO));
    let _ = sink.queued().into_futures();
}
