use outflow::{SinkExt, channel};

fn main() {
    //~ E0277: a write by the policy `outflow::buffer::Block` may wait for room, which blocks an executor
    channel::bounded::<u32>(8).0.into_futures();
}
