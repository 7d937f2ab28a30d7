use outflow::{Broadcaster, sink};

fn main() {
    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(sink::discard()).unwrap();
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    let _ = broadcaster.replace(id, sink::from_fn(|_: &u32| Err("no route to host")));
}
