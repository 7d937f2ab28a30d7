use outflow::{Broadcaster, SinkExt, sink};

fn main() {
    let _ = Broadcaster::new().extend([sink::from_fn(|_: &u32| Err("no route to host")).lossy()]);
}
