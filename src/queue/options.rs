use std::fmt;

use crate::buffer::{Buffer, Unbounded};
use crate::worker::{Place, Workers};

/// A [`Buffer`], and where the worker is to run.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, buffer::Buffer, queue::QueueOptions, sink};
///
/// let names = sink::collector();
/// let seen = names.clone();
/// let queue = sink::for_each(move |_: u32| {
///     let name = std::thread::current().name().map(str::to_owned);
///     seen.write(name).unwrap();
/// })
/// .queued_with(QueueOptions::new(Buffer::bounded(8)).name("webhooks"));
///
/// queue.write(1).unwrap();
/// queue.close().wait().unwrap();
/// assert_eq!(names.take(), [Some("webhooks".to_string())]);
/// ```
#[must_use = "options do nothing until a queue takes them"]
pub struct QueueOptions<E, P = Unbounded> {
    pub(super) buffer: Buffer<E, P>,
    pub(super) place: Place,
}

impl<E, P> QueueOptions<E, P> {
    /// A buffer, and a thread as [`std::thread::spawn`] makes it.
    pub fn new(buffer: Buffer<E, P>) -> Self {
        Self { buffer, place: Place::new() }
    }

    /// Names the worker thread.
    ///
    /// # Panics
    ///
    /// Starting the queue panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says; on a pool, where
    /// it names no thread, it does not.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, sink};
    ///
    /// let queue = sink::for_each(|_: u32| assert_eq!(std::thread::current().name(), Some("webhooks")))
    ///     .queued_with(QueueOptions::default().name("webhooks"));
    /// queue.write(1).unwrap();
    /// queue.close().wait()?;
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    pub fn name<N>(mut self, name: N) -> Self
    where
        N: Into<String>,
    {
        self.place.name = Some(name.into());
        self
    }

    /// The size of the worker thread's stack, in bytes: see [`std::thread::Builder::stack_size`].
    /// It asks for a thread of the queue's own, so it takes an earlier [`on`](QueueOptions::on) back.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.place.set_stack_size(bytes);
        self
    }

    /// Has the queue's worker run on a pool, as a task, and not on a thread of its own: for queues by the thousand.
    ///
    /// A thread of the pool delivers for this queue as long as there is something to deliver, and gives way to others
    /// after some events. The first write after a pause has a thread of the pool wake up. A batch that waits for more
    /// events [within](crate::queue::Batch::within) a time holds up no thread. A sink that blocks holds up no other queue: see [`Workers`].
    ///
    /// The stack is that of the pool's threads, so a [`stack_size`](QueueOptions::stack_size) that was set before is taken
    /// back; the [`name`](QueueOptions::name) is the queue's in logs, and no thread's.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, SinkExt, Workers, queue::QueueOptions, sink};
    ///
    /// let workers = Workers::global();
    /// let delivered = sink::collector();
    /// let broadcaster = Broadcaster::new();
    /// for _ in 0..1000 {
    ///     broadcaster.add(delivered.clone().keep_open().queued_with(QueueOptions::default().on(workers)))?;
    /// }
    /// broadcaster.write("pushed").unwrap();
    /// broadcaster.close().wait()?;
    /// assert_eq!(delivered.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on(mut self, workers: &Workers) -> Self {
        self.place.set_workers(Some(workers));
        self
    }

    /// Has the queue's worker run on a thread of its own, which is the default.
    pub fn dedicated(mut self) -> Self {
        self.place.set_workers(None);
        self
    }
}

impl<E> Default for QueueOptions<E, Unbounded> {
    fn default() -> Self {
        Self::new(Buffer::unbounded())
    }
}

impl<E, P> From<Buffer<E, P>> for QueueOptions<E, P> {
    fn from(buffer: Buffer<E, P>) -> Self {
        Self::new(buffer)
    }
}

/// Clones share the spill: see [`Buffer`].
impl<E, P: Clone> Clone for QueueOptions<E, P> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer.clone(), place: self.place.clone() }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for QueueOptions<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("QueueOptions");
        f.field("buffer", &self.buffer);
        self.place.fields(&mut f);
        f.finish()
    }
}
