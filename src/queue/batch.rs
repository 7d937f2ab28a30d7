use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::buffer::Weighing;

/// How many events a queue's worker writes at once, what they may weigh, and how long one may wait for the others. In a
/// [keyed](crate::queue::QueueOptions::keyed) queue they are of one key.
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
#[must_use = "a batch does nothing until a queue takes it"]
pub struct Batch<E> {
    pub(super) size: usize,
    pub(super) time: Duration,
    pub(super) weighing: Option<Weighing<E>>,
}

/// The room that a batch is given before it is known how long it gets.
pub(super) const ROOM: usize = 1024;

impl<E> Batch<E> {
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
        Self { size, time: Duration::ZERO, weighing: None }
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

    /// Bounds a batch by what its events weigh, too: in bytes, say. It is written when it weighs `max_weight`, or when the
    /// next event would make it heavier; that begins the next one. An event that is heavier than `max_weight` by itself is
    /// a batch of its own.
    ///
    /// What a request has around its events weighs something, too: leave room for it.
    ///
    /// `weigh` is called once for each event, on the worker. If it panics, the queue ends as if the sink had panicked,
    /// but no event is lost: this one, and those that wait, are spilled or dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, queue::Batch, sink};
    ///
    /// let batches = sink::collector();
    /// let bytes = |event: &&str| event.len() as u64;
    /// let batch = Batch::of(100).within(Duration::from_secs(60)).weighing(9, bytes);
    /// let queue = batches.clone().batched(batch);
    /// queue.write_all(["push", "mount", "pull", "a repository", "tag"]).unwrap();
    /// queue.close().wait()?;
    /// assert_eq!(batches.take(), [vec!["push", "mount"], vec!["pull"], vec!["a repository"], vec!["tag"]]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn weighing<F>(mut self, max_weight: u64, weigh: F) -> Self
    where
        F: Fn(&E) -> u64 + Send + Sync + 'static,
    {
        self.weighing = Some(Weighing { max: max_weight, weigh: Arc::new(weigh) });
        self
    }
}

impl<E> Clone for Batch<E> {
    fn clone(&self) -> Self {
        Self { size: self.size, time: self.time, weighing: self.weighing.clone() }
    }
}

impl<E> fmt::Debug for Batch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("size", &self.size)
            .field("time", &self.time)
            .field("max_weight", &self.weighing.as_ref().map(|weighing| weighing.max))
            .finish()
    }
}
