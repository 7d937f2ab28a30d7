use std::fmt;
use std::marker::PhantomData;

use crate::buffer::{Buffer, Unbounded};
use crate::worker::{AsyncOnly, BlocksFor, Executor, MayBlock, Place};

/// A [`Buffer`], and where the worker is to run. `R` says which kinds of sinks it may be for: both, unless it is
/// [`AsyncOnly`].
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
/// .queued_with(QueueOptions::new(Buffer::bounded(8)).name("webhooks").dedicated());
///
/// queue.write(1).unwrap();
/// queue.close().wait().unwrap();
/// assert_eq!(names.take(), [Some("webhooks".to_string())]);
/// ```
#[must_use = "options do nothing until a queue takes them"]
pub struct QueueOptions<E, P = Unbounded, R = MayBlock> {
    pub(super) buffer: Buffer<E, P>,
    pub(super) place: Place,
    sinks: PhantomData<fn() -> R>,
}

impl<E, P> QueueOptions<E, P> {
    /// A buffer, and a worker on the [global pool](crate::Workers::global).
    pub fn new(buffer: Buffer<E, P>) -> Self {
        Self { buffer, place: Place::new(), sinks: PhantomData }
    }
}

impl<E, P, R> QueueOptions<E, P, R> {
    /// Names the queue in logs, and the thread of one that is [`dedicated`](QueueOptions::dedicated).
    ///
    /// # Panics
    ///
    /// Starting a dedicated queue panics if the name has a NUL byte in it, as [`std::thread::Builder::name`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, queue::QueueOptions, sink};
    ///
    /// let queue = sink::for_each(|_: u32| assert_eq!(std::thread::current().name(), Some("webhooks")))
    ///     .queued_with(QueueOptions::default().dedicated().name("webhooks"));
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

    /// The size of the worker's stack, in bytes: see [`std::thread::Builder::stack_size`]. It asks for a thread of the queue's
    /// own, as [`dedicated`](QueueOptions::dedicated) does.
    pub fn stack_size(mut self, bytes: usize) -> QueueOptions<E, P> {
        self.place.set_stack_size(bytes);
        self.with_sinks()
    }

    /// Has the queue's worker run on this pool, and not on the [global](crate::Workers::global) one, or by another
    /// [`Executor`], which takes asynchronous sinks alone. See [`docs::workers`](crate::docs::workers) and
    /// [`docs::async_sinks`](crate::docs::async_sinks).
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Broadcaster, Sink, SinkExt, Workers, queue::QueueOptions, sink};
    ///
    /// let workers = Workers::builder().threads(2).name("webhooks").build();
    /// let delivered = sink::collector();
    /// let broadcaster = Broadcaster::new();
    /// for _ in 0..1000 {
    ///     broadcaster.add(delivered.clone().keep_open().queued_with(QueueOptions::default().on(&workers)))?;
    /// }
    /// broadcaster.write("pushed").unwrap();
    /// broadcaster.close().wait()?;
    /// assert_eq!(delivered.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<X>(mut self, executor: X) -> QueueOptions<E, P, X::Sinks>
    where
        X: Executor,
    {
        self.place.set(executor.runs());
        self.with_sinks()
    }

    /// Has the queue's worker run on a thread of its own: for a sink that keeps something in thread-local storage, needs a
    /// stack or a priority of its own, or blocks most of the time. See [`docs::workers`](crate::docs::workers).
    pub fn dedicated(mut self) -> QueueOptions<E, P> {
        self.place.set_dedicated();
        self.with_sinks()
    }

    fn with_sinks<T>(self) -> QueueOptions<E, P, T> {
        QueueOptions { buffer: self.buffer, place: self.place, sinks: PhantomData }
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

impl<E, P> From<Buffer<E, P>> for QueueOptions<E, P, AsyncOnly> {
    fn from(buffer: Buffer<E, P>) -> Self {
        QueueOptions::new(buffer).into()
    }
}

impl<E, P> From<QueueOptions<E, P>> for QueueOptions<E, P, AsyncOnly> {
    fn from(options: QueueOptions<E, P>) -> Self {
        options.with_sinks()
    }
}

/// Never applies: see [`BlocksFor`].
#[doc(hidden)]
impl<E, P> From<QueueOptions<E, P, AsyncOnly>> for QueueOptions<E, P>
where
    AsyncOnly: BlocksFor<E>,
{
    fn from(options: QueueOptions<E, P, AsyncOnly>) -> Self {
        options.with_sinks()
    }
}

/// Clones share the spill: see [`Buffer`].
impl<E, P: Clone, R> Clone for QueueOptions<E, P, R> {
    fn clone(&self) -> Self {
        Self { buffer: self.buffer.clone(), place: self.place.clone(), sinks: PhantomData }
    }
}

impl<E, P: fmt::Debug, R> fmt::Debug for QueueOptions<E, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("QueueOptions");
        f.field("buffer", &self.buffer);
        self.place.fields(&mut f);
        f.finish()
    }
}
