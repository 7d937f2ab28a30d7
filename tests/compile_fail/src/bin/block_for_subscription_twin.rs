use std::time::Duration;

use outflow::{Broadcaster, Buffer, SinkExt, channel};

fn main() {
    let (watcher, _events) = channel::with(Buffer::bounded(8).block_for(Duration::from_secs(1)));
    let _ = Broadcaster::<u32>::new().add(watcher.close_on_failure());
}
