use outflow::sink;
use outflow::{Log, log::FollowerHandle};

fn main() {
    let log = Log::<u32>::new();
    let _: FollowerHandle<u32> = log.follow(sink::for_each(|_: u32| ()));
}
