use outflow::{AsyncSink, sink};

fn deliver(_: impl AsyncSink<u32>) {}

fn main() {
    deliver(sink::from_async_fn(|_: u32| async { Err("down") }));
}
