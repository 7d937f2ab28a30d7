use outflow::queue::QueueOptions;
use tokio::runtime::{Builder, Runtime};

fn main() {
    let runtime: Runtime = Builder::new_current_thread().build().unwrap();
    let _ = QueueOptions::<u32>::default().on(runtime.handle());
}
