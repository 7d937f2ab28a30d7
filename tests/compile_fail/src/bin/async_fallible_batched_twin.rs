use outflow::queue::Batch;
use outflow::{AsyncSinkExt, sink};

fn main() {
    sink::from_async_fn(|_: Vec<u32>| async { Err("no route to host") }).lossy().batched(Batch::of(8));
}
