use outflow::{SinkExt, sink};

fn main() {
    let _ = sink::discard().tee(sink::from_fn(|_: &u32| Err("no route to host")).lossy());
}
