use outflow::{AsyncSinkExt, sink};

fn main() {
    let _ = sink::from_async_fn(|_: u32| async { Err("down") }).filter(|event: &u32| *event > 1);
}
