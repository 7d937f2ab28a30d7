use std::convert::Infallible;

use outflow::log::Log;
use outflow::sink;

fn main() {
    Log::new().follow_async(sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }));
}
