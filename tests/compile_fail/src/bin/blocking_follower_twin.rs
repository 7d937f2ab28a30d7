use std::convert::Infallible;

use outflow::log::{FollowOptions, Log};
use outflow::sink;
use tokio::runtime::Handle;

fn main() {
    let options = FollowOptions::new().on(Handle::current());
    let accepts = sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) });
    let _ = Log::new().follow_async_with(options, accepts);
}
