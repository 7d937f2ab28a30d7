use std::time::Duration;

use outflow::{AsyncSinkExt, sink};

fn main() {
    //~ E0599: the method `timeout` exists for struct `outflow::sink::FromFn<u32
    let _ = sink::from_fn(|_: &u32| Err("down")).timeout(Duration::from_secs(1));
}
