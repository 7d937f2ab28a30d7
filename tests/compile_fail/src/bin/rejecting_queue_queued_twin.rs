use outflow::{Buffer, SinkExt, sink};

fn main() {
    sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8)).queued();
}
