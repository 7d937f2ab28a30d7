use outflow::queue::Batch;
use outflow::{Buffer, SinkExt, sink};

fn main() {
    sink::from_fn(|_: &Vec<u32>| Err("no route to host"))
        .lossy()
        .batched_with(Batch::of(8), Buffer::bounded(8));
}
