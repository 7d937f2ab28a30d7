use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    let _ = sink::from_fn(|_: &u32| Err("no route to host")).try_queued_with(Buffer::bounded(8));
}
