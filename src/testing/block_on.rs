use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Polls a future on this thread until it is done, and sleeps in between: for tests of asynchronous sinks, without a
/// runtime. Not for a service: see [`docs::async_sinks`](crate::docs::async_sinks).
///
/// # Examples
///
/// ```
/// use outflow::testing::block_on;
/// use outflow::{AsyncSink, sink};
///
/// let sink = sink::from_async_fn(|event: u32| async move { if event < 2 { Ok(()) } else { Err("too large") } });
/// assert!(block_on(sink.write(1)).is_ok());
/// assert_eq!(block_on(sink.write(2)).unwrap_err().error(), Some(&"too large"));
/// ```
pub fn block_on<F>(future: F) -> F::Output
where
    F: Future,
{
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            // A wake-up before this is kept, and it returns at once; one for something else is a poll too many.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
