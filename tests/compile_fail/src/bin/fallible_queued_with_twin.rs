use outflow::{Buffer, SinkExt, sink};

fn main() {
    let dead = sink::collector();
    sink::from_fn(|_: &u32| Err("no route to host")).dead_letter(dead).queued_with(Buffer::bounded(8));
}
