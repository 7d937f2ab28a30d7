use outflow::log::Log;
use outflow::{SinkExt, sink};

fn main() {
    Log::new().follow(sink::from_fn(|_: &u32| Err("no route to host")).lossy());
}
