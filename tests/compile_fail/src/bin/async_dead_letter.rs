use outflow::{AsyncSink, AsyncSinkExt, DeadLetter, sink};

fn letters() -> impl AsyncSink<DeadLetter<u32, &'static str>> {
    sink::from_async_fn(|_: DeadLetter<u32, &'static str>| async { Ok::<_, &'static str>(()) })
}

fn main() {
    //~ E0277: a write to `impl AsyncSink<DeadLetter<u32, &'static str>>` may wait, which blocks an executor
    let _ = sink::from_async_fn(|_: u32| async { Err("down") }).dead_letter(letters());
}
