use outflow::{Broadcaster, Buffer};

fn main() {
    Broadcaster::<u32>::new().subscribe(Buffer::bounded(8).drop_newest());
}
