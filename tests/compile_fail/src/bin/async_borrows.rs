use outflow::{AsyncSinkExt, SharedAsyncSink, sink};

async fn publish(_topic: &str, _event: u32) -> Result<(), &'static str> {
    Ok(())
}

fn main() {
    let topic = String::from("pushes");
    //~ E0373: closure may outlive the current function, but it borrows `topic`
    let sink = sink::from_async_fn(|event: u32| {
        let topic = &topic;
        async move { publish(topic, event).await }
    });
    let _: SharedAsyncSink<u32, &'static str> = sink.shared();
}
