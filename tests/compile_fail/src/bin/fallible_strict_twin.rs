use outflow::{SinkExt, sink};

fn main() {
    let http = sink::from_fn(|_: &u32| Err("no route to host"));
    http.close_on_failure().closeable().queued();
}
