use outflow::{SinkExt, sink};

fn main() {
    //~ E0599: the method `filter` exists for struct `FromAsyncFn<u32
    let _ = sink::from_async_fn(|_: u32| async { Err("down") }).filter(|event: &u32| *event > 1);
}
