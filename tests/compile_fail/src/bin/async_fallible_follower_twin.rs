use outflow::log::Log;
use outflow::{AsyncSinkExt, sink};

fn main() {
    Log::new().follow_async(sink::from_async_fn(|_: u32| async { Err("no route to host") }).lossy());
}
