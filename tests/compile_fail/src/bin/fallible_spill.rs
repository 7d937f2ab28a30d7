use outflow::{Buffer, sink};

fn main() {
    //~ E0277: this sink can fail with `&str`, and nothing says what happens to an event that does
    let _ = Buffer::bounded(8).drop_oldest().spill(sink::from_fn(|_: &u32| Err("disk full")));
}
