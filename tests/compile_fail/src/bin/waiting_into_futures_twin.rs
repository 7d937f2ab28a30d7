use outflow::{Buffer, SinkExt, sink};

fn main() {
    let _ = sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8).drop_oldest()).into_futures();
}
