use outflow::{Broadcaster, SinkExt, sink};

fn main() {
    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(sink::discard()).unwrap();
    let _ = broadcaster.replace(id, sink::from_fn(|_: &u32| Err("no route to host")).lossy());
}
