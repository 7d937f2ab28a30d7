use outflow::{Buffer, SinkExt, sink};

fn main() {
    let _ = sink::from_fn(|_: &u32| Err("no route to host")).lossy().try_queued_with(Buffer::bounded(8));
}
