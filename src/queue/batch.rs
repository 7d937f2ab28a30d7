use std::time::Duration;

/// How many events a queue's worker writes at once, and how long one may wait for the others.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, queue::Batch, sink};
///
/// let batches = sink::collector();
/// let queue = batches.clone().batched(Batch::of(3).within(Duration::from_secs(60)));
/// for event in 0..7 {
///     queue.write(event).unwrap();
/// }
/// queue.close().wait().unwrap();
/// assert_eq!(batches.take(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a batch does nothing until a queue takes it"]
pub struct Batch {
    size: usize,
    time: Duration,
}

impl Batch {
    /// Up to `size` events: whatever is waiting, unless [`within`](Batch::within) says to wait for more.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, queue::Batch, sink};
    ///
    /// let batches = sink::collector();
    /// let queue = batches.clone().batched(Batch::of(100));
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(batches.events(), [[1]]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    #[track_caller]
    pub fn of(size: usize) -> Self {
        assert!(size > 0, "a batch of 0 events would never be written: give it a size of at least 1");
        Self { size, time: Duration::ZERO }
    }

    /// Waits for a batch to fill up, but holds no event at the worker longer than `time`. A flush, and a
    /// close, have what there is written at once. A time of zero is the same as none given: no waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, queue::Batch, sink};
    ///
    /// let batches = sink::collector();
    /// let queue = batches.clone().batched(Batch::of(100).within(Duration::from_secs(60)));
    /// queue.write_all([1, 2]).unwrap();
    /// queue.flush().wait()?; // Does not wait for the other 98.
    /// assert_eq!(batches.events(), [[1, 2]]);
    /// # queue.close().wait().unwrap();
    /// # Ok::<(), outflow::FlushError>(())
    /// ```
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    pub(super) fn size(self) -> usize {
        self.size
    }

    pub(super) fn time(self) -> Duration {
        self.time
    }
}
