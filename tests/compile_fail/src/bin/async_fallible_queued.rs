use outflow::{AsyncSinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    sink::from_async_fn(|_: u32| async { Err("no route to host") }).queued();
}
