use outflow::{Buffer, SinkExt, sink};

fn main() {
    //~ E0277: a write by the policy `outflow::buffer::Block` may wait for room, which blocks an executor
    sink::for_each(|_: u32| {}).queued_with(Buffer::bounded(8)).into_futures();
}
