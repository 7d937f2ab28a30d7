use outflow::{Buffer, SinkExt, channel};

fn main() {
    let _ = channel::with(Buffer::<u32, _>::bounded(8).drop_oldest()).0.into_futures();
}
