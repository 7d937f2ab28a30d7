//! Tasks that are polled by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "futures")]
use std::task::{Context, Poll};
use std::task::{Wake, Waker};

/// Counts how often it was woken.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub fn new() -> (Arc<Self>, Waker) {
        let count = Arc::<Self>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls a stream once.
#[cfg(feature = "futures")]
pub fn poll<S: futures::Stream + Unpin>(stream: &mut S, waker: &Waker) -> Poll<Option<S::Item>> {
    std::pin::Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

/// A runtime of two threads, for as long as the process.
#[cfg(feature = "tokio")]
pub fn runtime() -> &'static tokio::runtime::Handle {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("threads");
    RUNTIME.get_or_init(build).handle()
}
