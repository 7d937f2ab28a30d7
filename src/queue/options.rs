use std::fmt;

use crate::buffer::{Buffer, Unbounded};

/// A [`Buffer`] and what the worker thread is to be like.
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
    pub(super) name: Option<String>,
    pub(super) stack_size: Option<usize>,
}

impl<E, P> QueueOptions<E, P> {
    /// A buffer, and a thread as [`std::thread::spawn`] makes it.
    pub fn new(buffer: Buffer<E, P>) -> Self {
        Self { buffer, name: None, stack_size: None }
    }

    /// Names the worker thread.
    ///
    /// # Panics
    ///
    /// Starting the queue panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says.
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
        self.name = Some(name.into());
        self
    }

    /// The size of the worker thread's stack, in bytes: see [`std::thread::Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
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
        Self { buffer: self.buffer.clone(), name: self.name.clone(), stack_size: self.stack_size }
    }
}

impl<E, P: fmt::Debug> fmt::Debug for QueueOptions<E, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueOptions")
            .field("buffer", &self.buffer)
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .finish()
    }
}
