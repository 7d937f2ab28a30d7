use std::sync::Arc;

use super::Sink;

/// A sink whose writes never wait: what `into_futures` (feature `futures`) asks for, and what an
/// asynchronous sink may have as its [`fallback`](crate::AsyncSinkExt::fallback).
///
/// Implemented for a queue or a channel whose policy is [`Immediate`](crate::buffer::Immediate), for
/// [`discard`](crate::sink::discard()) and [`collector`](crate::sink::collector()), and for a transparent
/// combinator of such a sink. The closures of combinators and the spills of buffers are trusted to be quick.
///
/// Not implemented for a [`Retry`](crate::retry::Retry), which sleeps; for a sink made of a closure, which
/// does the work itself; for a [`Broadcaster`](crate::Broadcaster) and a [`SharedSink`](crate::SharedSink),
/// since the types of the sinks behind them are erased. Put a queue before those.
///
/// You may implement it for a sink of your own, and promise by that that its writes never wait.
///
/// # Examples
///
/// ```
/// use outflow::{SinkExt, sink::{self, ImmediateSink}};
///
/// fn for_an_executor(_: &impl ImmediateSink<u32>) {}
/// for_an_executor(&sink::for_each(|_: u32| {}).queued().filter(|event| event % 2 == 0));
/// ```
#[diagnostic::on_unimplemented(
    message = "a write to `{Self}` may wait, which blocks an executor",
    label = "needs a sink whose writes never wait",
    note = "let a thread of its own wait: `.queued()`, or `.queued_with(buffer)` with a buffer without a bound or \
            with `.drop_oldest()`, `.drop_newest()` or `.reject()`"
)]
pub trait ImmediateSink<E>: Sink<E> {}

impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for &S {}
impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for Box<S> {}
impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for Arc<S> {}
