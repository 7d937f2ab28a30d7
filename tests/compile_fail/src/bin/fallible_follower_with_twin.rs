use outflow::log::{Log, Start};
use outflow::{SinkExt, sink};

fn main() {
    let _ = Log::new().follow_with(Start::Oldest, sink::from_fn(|_: &u32| Err("no route to host")).lossy());
}
