use std::future::ready;
use std::sync::Arc;

use outflow::sink;

fn main() {
    let _ = sink::from_async_fn(|event: u32| async move {
        let kept = Arc::new(event);
        ready(()).await;
        if *kept > 9 { Err("too large") } else { Ok(()) }
    });
}
