use std::time::Duration;

use outflow::{AsyncSinkExt, sink};

fn main() {
    let _ = sink::from_async_fn(|_: u32| async { Err("down") }).timeout(Duration::from_secs(1));
}
