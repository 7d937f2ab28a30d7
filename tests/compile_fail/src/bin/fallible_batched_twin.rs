use outflow::queue::Batch;
use outflow::{SinkExt, sink};

fn main() {
    sink::from_fn(|_: &Vec<u32>| Err("no route to host")).fallback(sink::discard()).batched(Batch::of(8));
}
