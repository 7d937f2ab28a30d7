use std::convert::Infallible;

use outflow::log::Log;
use outflow::sink;

fn main() {
    //~ E0277: `FromAsyncFn<u32
    Log::new().follow(sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }));
}
