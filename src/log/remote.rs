//! What others need of a reader: the handles of a cursor, to cancel it, and the log, to wake the task that polls a cursor
//! or is a follower's worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::sync::caught::{drop_caught, wake_caught};

/// Shared by a reader, the handles of a cursor and, while a task waits, the log's list of sleepers.
#[derive(Default)]
pub(super) struct Remote {
    cancelled: AtomicBool,
    sleep: Mutex<Sleep>,
}

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
