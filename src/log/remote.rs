//! What others need of a cursor: its handles, to cancel it, and the log, to wake the task that polls it.

use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "futures")]
use std::task::Waker;

#[cfg(feature = "futures")]
use parking_lot::Mutex;

#[cfg(feature = "futures")]
use crate::sync::caught::{drop_caught, wake_caught};

/// Shared by a cursor, its handles and, while a task waits, the log's list of sleepers.
#[derive(Default)]
pub(super) struct Remote {
    cancelled: AtomicBool,
    #[cfg(feature = "futures")]
    sleep: Mutex<Sleep>,
}

#[cfg(feature = "futures")]
#[derive(Default)]
struct Sleep {
    waker: Option<Waker>,
    /// The generation of sleepers in which the task registered last.
    generation: Option<u64>,
}

impl Remote {
    /// To be called under the log's lock, so that a reader sees it before it goes to sleep.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

#[cfg(feature = "futures")]
impl Remote {
    /// Has this waker woken, in the place of the one before.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.sleep.lock().waker.replace(waker);
        // Without the lock: dropping it may drop the task, and the destructor of a waker is an executor's code.
        drop_caught(before);
    }

    /// Registers in `generation`; `false` if that was done before.
    pub(super) fn enter(&self, generation: u64) -> bool {
        self.sleep.lock().generation.replace(generation) != Some(generation)
    }

    /// Whether it registered in this generation.
    pub(super) fn is_in(&self, generation: u64) -> bool {
        self.sleep.lock().generation == Some(generation)
    }

    pub(super) fn wake(&self) {
        let waker = self.sleep.lock().waker.take();
        if let Some(waker) = waker {
            wake_caught(waker);
        }
    }

    /// Has no task woken any more.
    pub(super) fn clear_waker(&self) {
        let waker = self.sleep.lock().waker.take();
        drop_caught(waker);
    }
}
