use outflow::{SinkExt, queue::QueueOptions, sink};

struct Event {
    tenant: String,
}

fn main() {
    //~ : lifetime may not live long enough
    let options = QueueOptions::default().keyed(8, |event: &Event| event.tenant.as_str());
    let _queue = sink::discard().queued_with(options);
}
