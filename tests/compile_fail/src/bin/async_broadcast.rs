use std::convert::Infallible;

use outflow::{Broadcaster, sink};

fn main() {
    let broadcaster = Broadcaster::<u32>::new();
    //~ E0277: `FromAsyncFn<u32
    let _ = broadcaster.add(sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }));
}
