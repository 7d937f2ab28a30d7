use std::future::ready;
use std::rc::Rc;

use outflow::sink;

fn main() {
    //~ : future cannot be sent between threads safely
    let _ = sink::from_async_fn(|event: u32| async move {
        let kept = Rc::new(event);
        ready(()).await;
        if *kept > 9 { Err("too large") } else { Ok(()) }
    });
}
