//! What ends a cursor from another thread.

use std::fmt;
use std::sync::{Arc, Weak};

use super::bound::Bound;
use super::cursor::Cursor;
use super::remote::Remote;
use super::shared::Shared;

/// Cancels a [`Cursor`] from any thread. Made by [`Cursor::handle`].
///
/// Cheap to clone. It keeps neither the cursor nor an event alive, and does nothing when it is dropped.
pub struct CursorHandle<E> {
    shared: Weak<Shared<E>>,
    remote: Weak<Remote>,
    bound: Bound,
}

impl<E> Cursor<E> {
    /// A handle, to end the cursor while another thread or a task waits in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::log::{Log, RecvError};
    ///
    /// let log = Log::<u32>::new();
    /// let mut cursor = log.subscribe();
    /// let handle = cursor.handle();
    /// let reader = std::thread::spawn(move || cursor.recv());
    /// handle.cancel();
    /// assert_eq!(reader.join().unwrap(), Err(RecvError::Cancelled));
    /// ```
    pub fn handle(&mut self) -> CursorHandle<E> {
        CursorHandle {
            shared: Arc::downgrade(&self.shared),
            remote: Arc::downgrade(&self.remote()),
            bound: self.reader.bound.clone(),
        }
    }
}

impl<E> CursorHandle<E> {
    /// Ends the cursor: what waits in it returns, and every later read fails with
    /// [`Cancelled`](super::RecvError::Cancelled), whatever there is to read. Writers wait for it no longer. What is
    /// kept for it is released at its next read, or when it is dropped.
    ///
    /// Does nothing if the cursor is dropped already. Waits for nothing.
    pub fn cancel(&self) {
        let (Some(shared), Some(remote)) = (self.shared.upgrade(), self.remote.upgrade()) else {
            return;
        };
        shared.interrupt(|_| remote.cancel());
        shared.open_gate(&self.bound);
    }
}

impl<E> Clone for CursorHandle<E> {
    fn clone(&self) -> Self {
        Self {
            shared: Weak::clone(&self.shared),
            remote: Weak::clone(&self.remote),
            bound: self.bound.clone(),
        }
    }
}

impl<E> fmt::Debug for CursorHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = self.remote.upgrade().map(|remote| remote.is_cancelled());
        f.debug_struct("CursorHandle").field("cancelled", &cancelled).finish_non_exhaustive()
    }
}
