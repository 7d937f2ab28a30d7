use outflow::{Broadcaster, Buffer};

fn main() {
    //~ E0277: this sink can fail with `outflow::buffer::Full`, and nothing says what happens to an event that does
    Broadcaster::<u32>::new().subscribe(Buffer::bounded(8).reject());
}
