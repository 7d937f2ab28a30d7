use outflow::{AsyncSinkExt, sink};

fn main() {
    sink::from_async_fn(|_: u32| async { Err("no route to host") }).lossy().queued();
}
