use outflow::queue::QueueOptions;
use outflow::{SinkExt, sink};
use tokio::runtime::Handle;

fn main() {
    let options = QueueOptions::default().on(Handle::current());
    //~ E0277: this sink may block, and the options run its worker on an async runtime
    sink::for_each(|event: u32| Handle::current().block_on(async move { drop(event) })).queued_with(options);
}
