use std::convert::Infallible;

use outflow::queue::QueueOptions;
use outflow::{AsyncSinkExt, sink};
use tokio::runtime::Handle;

fn main() {
    let options = QueueOptions::default().on(Handle::current());
    sink::from_async_fn(|event: u32| async move { Ok::<_, Infallible>(drop(event)) }).queued_with(options);
}
