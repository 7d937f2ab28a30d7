use outflow::log::{FollowOptions, Log};
use outflow::sink;
use tokio::runtime::Handle;

fn main() {
    let options = FollowOptions::new().on(Handle::current());
    //~ E0277: this sink may block, and the options run its worker on an async runtime
    let _ = Log::new().follow_with(options, sink::for_each(|_: u32| ()));
}
