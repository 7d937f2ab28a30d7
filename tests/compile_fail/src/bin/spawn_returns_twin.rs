use outflow::{WorkerFuture, queue::QueueOptions};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let runtime: Runtime = Builder::new_current_thread().build().unwrap();
    let spawn = move |worker: WorkerFuture| drop(runtime.spawn(worker));
    let _ = QueueOptions::<u32>::default().on(spawn);
}
