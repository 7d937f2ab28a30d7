use outflow::{SinkExt, sink};

fn main() {
    let http = sink::from_fn(|_: &u32| Err("no route to host"));
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    http.closeable().queued();
}
