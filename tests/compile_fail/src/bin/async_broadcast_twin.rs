use outflow::{Broadcaster, sink};

fn main() {
    let broadcaster = Broadcaster::<u32>::new();
    let _ = broadcaster.add(sink::for_each(|_: u32| ()));
}
