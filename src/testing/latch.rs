use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::PATIENCE;

/// Closed until it is opened, and then for good; who passes waits. Clones share.
///
/// # Examples
///
/// ```
/// use outflow::testing::Latch;
///
/// let latch = Latch::new();
/// let waits = latch.clone();
/// let thread = std::thread::spawn(move || waits.pass());
/// latch.arrived(1);
/// assert!(!thread.is_finished());
/// latch.open();
/// thread.join().unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Latch {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    open: bool,
    arrivals: usize,
}

impl Latch {
    /// A closed one.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Latch;
    ///
    /// let latch = Latch::new();
    /// assert!(!latch.is_open());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody pass, from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// let latch = outflow::testing::Latch::new();
    /// latch.open();
    /// latch.pass(); // comes back at once
    /// assert!(latch.is_open());
    /// ```
    pub fn open(&self) {
        self.shared.0.lock().open = true;
        self.shared.1.notify_all();
    }

    /// Whether it was opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Latch;
    ///
    /// let latch = Latch::new();
    /// latch.open();
    /// assert!(latch.is_open());
    /// ```
    pub fn is_open(&self) -> bool {
        self.shared.0.lock().open
    }

    /// Waits until it is open, for as long as that takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Latch;
    ///
    /// let latch = Latch::new();
    /// latch.open();
    /// latch.pass();
    /// ```
    pub fn pass(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock();
        state.arrivals += 1;
        changed.notify_all();
        while !state.open {
            changed.wait(&mut state);
        }
    }

    /// How many have come to pass so far; those that have passed are counted too.
    ///
    /// # Examples
    ///
    /// ```
    /// let latch = outflow::testing::Latch::new();
    /// latch.open();
    /// latch.pass();
    /// assert_eq!(latch.arrivals(), 1);
    /// ```
    pub fn arrivals(&self) -> usize {
        self.shared.0.lock().arrivals
    }

    /// Waits until `n` have come to pass.
    ///
    /// # Panics
    ///
    /// If they have not come within 30 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::testing::Latch;
    ///
    /// let latch = Latch::new();
    /// let inside = latch.clone();
    /// let thread = std::thread::spawn(move || inside.pass());
    /// latch.arrived(1);
    /// assert_eq!(latch.arrivals(), 1);
    /// latch.open();
    /// thread.join().unwrap();
    /// ```
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

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.0.lock();
        f.debug_struct("Latch").field("open", &state.open).field("arrivals", &state.arrivals).finish()
    }
}
