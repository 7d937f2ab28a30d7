use outflow::sink;
use outflow::{Log, log::FollowerHandle};

fn main() {
    let log = Log::<u32>::new();
    //~ E0277: `ForEach<u32
    let _: FollowerHandle<u32> = log.follow_async(sink::for_each(|_: u32| ()));
}
