use std::sync::Arc;

use outflow::{AsyncSinkExt, SharedAsyncSink, sink};

async fn publish(_topic: &str, _event: u32) -> Result<(), &'static str> {
    Ok(())
}

fn main() {
    let topic: Arc<str> = Arc::from("pushes");
    let sink = sink::from_async_fn(move |event: u32| {
        let topic = Arc::clone(&topic);
        async move { publish(&topic, event).await }
    });
    let _: SharedAsyncSink<u32, &'static str> = sink.shared();
}
