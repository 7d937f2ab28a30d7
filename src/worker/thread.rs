//! A thread of its own for one future.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

thread_local! {
    /// When this thread is to poll again at the latest.
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A thread that polls when it is woken. A token of its own, since a user's code may take that of `thread::park`.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with the swap of the thread, which sees what it was woken for.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls `future` on this thread until it is ready.
pub(super) fn block_on(future: impl Future<Output = ()>) {
    let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    while future.as_mut().poll(&mut context).is_pending() {
        let until = UNTIL.take();
        while !parked.woken.swap(false, Ordering::Acquire) {
            let Some(until) = until else {
                thread::park();
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
    }
}

/// Has the future that [`block_on`] runs on this thread polled at `until` at the latest, if the poll under way is not ready.
pub(super) fn park_at_most_until(until: Option<Instant>) {
    UNTIL.set(until);
}
