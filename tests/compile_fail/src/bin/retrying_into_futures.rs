use outflow::{SinkExt, retry::Constant, sink};
use std::time::Duration;

fn main() {
    let sink = sink::from_fn(|_: &u32| Err("refused")).retry(Constant::new(Duration::ZERO));
    //~ E0277: a write to `Retry<FromFn<u32,
    sink.into_futures();
}
