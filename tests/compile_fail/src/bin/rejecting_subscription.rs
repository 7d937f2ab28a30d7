use outflow::{Broadcaster, Buffer};

fn main() {
    //~ E0277: a write by the policy `outflow::buffer::Reject` can fail, and a subscription has nowhere
    Broadcaster::<u32>::new().subscribe(Buffer::bounded(8).reject());
}
