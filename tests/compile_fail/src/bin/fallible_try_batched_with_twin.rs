use outflow::queue::Batch;
use outflow::{Buffer, SinkExt, sink};

fn main() {
    let _ = sink::from_fn(|_: &Vec<u32>| Err("down")).lossy().try_batched_with(Batch::of(8), Buffer::bounded(8));
}
