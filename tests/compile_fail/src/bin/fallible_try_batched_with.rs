use outflow::queue::Batch;
use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    let _ = sink::from_fn(|_: &Vec<u32>| Err("down")).try_batched_with(Batch::of(8), Buffer::bounded(8));
}
