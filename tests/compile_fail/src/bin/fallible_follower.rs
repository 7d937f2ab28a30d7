use outflow::log::Log;
use outflow::sink;

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    Log::new().follow(sink::from_fn(|_: &u32| Err("no route to host")));
}
