use std::time::Duration;

use outflow::{Broadcaster, Buffer};

fn main() {
    //~ E0277: a write by the policy `BlockFor` can fail, and a subscription has nowhere
    Broadcaster::<u32>::new().subscribe(Buffer::bounded(8).block_for(Duration::from_secs(1)));
}
