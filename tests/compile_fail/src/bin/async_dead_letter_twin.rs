use outflow::{AsyncSinkExt, DeadLetter, Sink, SinkExt, sink};

fn letters() -> impl outflow::sink::ImmediateSink<DeadLetter<u32, &'static str>> + Send + Sync {
    sink::for_each(|_: DeadLetter<u32, &'static str>| ()).queued()
}

fn main() {
    let _ = sink::from_async_fn(|_: u32| async { Err("down") }).dead_letter(letters());
    let _ = Sink::close(&letters());
}
