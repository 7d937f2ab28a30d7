use std::sync::Arc;

use super::life::WorkerFuture;
use super::place::Runs;
use super::pool::Workers;

/// What runs the workers of queues and followers, for [`QueueOptions::on`](crate::queue::QueueOptions::on) and
/// [`FollowOptions::on`](crate::log::FollowOptions::on). Sealed.
///
/// | executor | sinks |
/// | --- | --- |
/// | `&`[`Workers`] | of both kinds |
/// | `tokio::runtime::Handle`, or a reference to one (feature `tokio`) | asynchronous |
/// | a closure `Fn(`[`WorkerFuture`]`)`, which has it polled by an executor of yours | asynchronous |
///
/// The closure is called when the queue is made, hands the worker over and returns: polled to its end in there, the
/// worker would wait for a close of a queue that nobody has yet. Whatever `spawn` returns is not to cancel the task when
/// it is dropped: `async-executor` and `smol` have `detach` for that.
///
/// A [`Sink`](crate::Sink) may block. On an async runtime it would hold up other tasks, and does not compile there:
///
/// ```compile_fail,E0277
/// use outflow::{SinkExt, queue::QueueOptions, sink};
///
/// let options = QueueOptions::default().on(|worker| smol_like_spawn(worker));
/// # fn smol_like_spawn(_: outflow::WorkerFuture) {}
/// sink::for_each(|_: u32| {}).queued_with(options);
/// ```
///
/// ```
/// # use std::convert::Infallible;
/// use outflow::{AsyncSinkExt, queue::QueueOptions, sink};
///
/// let options = QueueOptions::default().on(|worker| smol_like_spawn(worker));
/// # fn smol_like_spawn(_: outflow::WorkerFuture) {}
/// sink::from_async_fn(|_: u32| async { Ok::<_, Infallible>(()) }).queued_with(options);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` runs no workers",
    label = "needs `&Workers`, a tokio `Handle`, or a closure that returns `()`",
    note = "tokio's handle needs the feature `tokio`: `QueueOptions::on(tokio::runtime::Handle::current())`",
    note = "any other executor is a closure that spawns and returns `()`: \
            `.on(|worker: WorkerFuture| executor.spawn(worker).detach())`"
)]
pub trait Executor: sealed::Executor {
    /// [`MayBlock`] or [`AsyncOnly`].
    type Sinks;
}

/// The worker runs where a sink may block: on a thread of its own or on [`Workers`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MayBlock;

/// The worker runs on an async runtime, where a sink must not block: the sink has to be an
/// [`AsyncSink`](crate::AsyncSink).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AsyncOnly;

/// Bound on the conversion of options for asynchronous sinks into options for any. Nothing implements it; the compiler's
/// message is what it is for. Public for that bound.
#[diagnostic::on_unimplemented(
    message = "this sink may block, and the options run its worker on an async runtime",
    label = "`.on(..)` with a runtime's handle or a closure is for asynchronous sinks",
    note = "leave `.on(..)` out, or give it `&Workers`: a sink may block there",
    note = "or await the client instead of blocking on it: `sink::from_async_fn(|event| async move {{ .. }})`, with \
            `use outflow::AsyncSinkExt`"
)]
pub trait BlocksFor<E> {}

impl Executor for &Workers {
    type Sinks = MayBlock;
}

impl sealed::Executor for &Workers {
    fn runs(self) -> Runs {
        Runs::On(self.clone())
    }
}

#[diagnostic::do_not_recommend]
impl<F> Executor for F
where
    F: Fn(WorkerFuture) + Send + Sync + 'static,
{
    type Sinks = AsyncOnly;
}

#[diagnostic::do_not_recommend]
impl<F> sealed::Executor for F
where
    F: Fn(WorkerFuture) + Send + Sync + 'static,
{
    fn runs(self) -> Runs {
        Runs::Spawned(Arc::new(self))
    }
}

#[cfg(feature = "tokio")]
mod tokio {
    use std::sync::Arc;

    use ::tokio::runtime::Handle;

    use super::{AsyncOnly, Executor, Runs, sealed};

    impl Executor for Handle {
        type Sinks = AsyncOnly;
    }

    impl sealed::Executor for Handle {
        fn runs(self) -> Runs {
            Runs::Spawned(Arc::new(move |worker| drop(self.spawn(worker))))
        }
    }

    impl Executor for &Handle {
        type Sinks = AsyncOnly;
    }

    impl sealed::Executor for &Handle {
        fn runs(self) -> Runs {
            self.clone().runs()
        }
    }
}

pub(crate) mod sealed {
    use super::Runs;

    pub trait Executor {
        #[doc(hidden)]
        fn runs(self) -> Runs;
    }
}
