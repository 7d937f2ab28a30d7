use outflow::queue::Batch;
use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    sink::from_fn(|_: &Vec<u32>| Err("no route to host")).batched_with(Batch::of(8), Buffer::bounded(8));
}
