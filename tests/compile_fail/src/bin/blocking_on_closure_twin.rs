use outflow::queue::{Batch, QueueOptions};
use outflow::{SinkExt, Workers, sink};

fn main() {
    let options = QueueOptions::default().on(&Workers::builder().threads(2).build());
    let _ = sink::for_each(|_: Vec<u32>| ()).try_batched_with(Batch::of(8), options);
}
