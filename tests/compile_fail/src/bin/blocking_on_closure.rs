use outflow::queue::{Batch, QueueOptions};
use outflow::{SinkExt, WorkerFuture, sink};

fn main() {
    let options = QueueOptions::default().on(|worker: WorkerFuture| drop(worker));
    //~ E0277: this sink may block, and the options run its worker on an async runtime
    let _ = sink::for_each(|_: Vec<u32>| ()).try_batched_with(Batch::of(8), options);
}
