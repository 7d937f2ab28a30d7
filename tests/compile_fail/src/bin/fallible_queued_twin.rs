use outflow::{SinkExt, sink};

fn main() {
    sink::from_fn(|_: &u32| Err("no route to host")).lossy().queued();
}
