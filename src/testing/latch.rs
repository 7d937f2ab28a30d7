use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::PATIENCE;
use crate::sync::caught::wake_caught;

/// Threads that [`pass`](Latch::pass) it wait until it is opened; then it stays open. Clones share one latch.
///
/// # Examples
///
/// ```
/// use outflow::testing::Latch;
///
/// let latch = Latch::new();
/// let waits = latch.clone();
/// let thread = std::thread::spawn(move || waits.pass());
/// latch.arrived(1); // Without a sleep: waits until the thread is there.
/// assert!(!thread.is_finished());
/// latch.open();
/// thread.join().unwrap();
/// assert_eq!(latch.arrivals(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Latch {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    open: bool,
    arrivals: usize,
    /// Of the tasks that wait, by the number of their arrival.
    wakers: HashMap<usize, Waker>,
}

impl Latch {
    /// Makes a closed latch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it for good: the threads that wait return, and later calls of [`pass`](Latch::pass) return at once.
    pub fn open(&self) {
        let mut state = self.shared.0.lock();
        state.open = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.shared.1.notify_all();
        wakers.into_values().for_each(wake_caught);
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.shared.0.lock().open
    }

    /// Waits until it is open, without a time limit.
    pub fn pass(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock();
        state.arrivals += 1;
        changed.notify_all();
        while !state.open {
            changed.wait(&mut state);
        }
    }

    /// The twin of [`pass`](Latch::pass) for a task. It arrives with the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::{Latch, block_on};
    ///
    /// let latch = Latch::new();
    /// let waits = latch.clone();
    /// let thread = std::thread::spawn(move || block_on(waits.passed()));
    /// latch.arrived(1);
    /// latch.open();
    /// thread.join().unwrap();
    /// ```
    pub async fn passed(&self) {
        Passing { latch: self, number: None }.await;
    }

    /// How many times [`pass`](Latch::pass) was called so far, calls that have returned included.
    pub fn arrivals(&self) -> usize {
        self.shared.0.lock().arrivals
    }

    /// Waits until [`pass`](Latch::pass) has been called `n` times.
    ///
    /// # Panics
    ///
    /// If that takes longer than 30 s.
    #[track_caller]
    pub fn arrived(&self, n: usize) {
        let deadline = Instant::now() + PATIENCE;
        let (state, changed) = &*self.shared;
        let mut state = state.lock();
        while state.arrivals < n {
            if changed.wait_until(&mut state, deadline).timed_out() && state.arrivals < n {
                panic!("{} of {n} arrived within {PATIENCE:?}", state.arrivals);
            }
        }
    }
}

/// A task that waits at a latch.
struct Passing<'a> {
    latch: &'a Latch,
    /// Of its arrival.
    number: Option<usize>,
}

impl Future for Passing<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A waker is the executor's code: it is cloned and dropped without the lock.
        let waker = context.waker().clone();
        let (state, changed) = &*self.latch.shared;
        let mut state = state.lock();
        let number = self.number.unwrap_or_else(|| {
            state.arrivals += 1;
            changed.notify_all();
            state.arrivals
        });
        if state.open {
            return Poll::Ready(());
        }
        let before = state.wakers.insert(number, waker);
        drop(state);
        drop(before);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.latch.shared.0.lock().wakers.remove(&number);
            drop(waker);
        }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.0.lock();
        f.debug_struct("Latch").field("open", &state.open).field("arrivals", &state.arrivals).finish()
    }
}
