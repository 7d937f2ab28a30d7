use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    sink::from_fn(|_: &u32| Err("no route to host")).queued_with(Buffer::bounded(8));
}
