use outflow::{AsyncSink, sink};

fn deliver(_: impl AsyncSink<u32>) {}

fn main() {
    //~ E0277: `outflow::sink::FromFn<u32
    deliver(sink::from_fn(|_: &u32| Err("down")));
}
