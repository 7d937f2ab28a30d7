use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: this sink can fail with `outflow::buffer::Full`, and nothing says what happens to an event that does
    sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8).reject()).into_futures();
}
