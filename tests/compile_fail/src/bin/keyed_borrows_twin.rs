use outflow::{SinkExt, queue::QueueOptions, sink};

struct Event {
    tenant: String,
}

fn main() {
    // A key outlives the event.
    let options = QueueOptions::default().keyed(8, |event: &Event| event.tenant.clone());
    let _queue = sink::discard().queued_with(options);
}
