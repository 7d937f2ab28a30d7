use outflow::log::{Log, Start};
use outflow::sink;

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    let _ = Log::new().follow_with(Start::Oldest, sink::from_fn(|_: &u32| Err("no route to host")));
}
