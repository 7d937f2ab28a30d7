use outflow::{Buffer, SinkExt, sink};

fn main() {
    let _ = Buffer::bounded(8).drop_oldest().spill(sink::from_fn(|_: &u32| Err("disk full")).lossy());
}
