use outflow::{WorkerFuture, queue::QueueOptions};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let runtime: Runtime = Builder::new_current_thread().build().unwrap();
    // It returns a `JoinHandle`, and what would become of that is the program's to say.
    let spawn = move |worker: WorkerFuture| runtime.spawn(worker);
    //~ E0277: `{closure@
    let _ = QueueOptions::<u32>::default().on(spawn);
}
