use std::sync::Arc;

use super::Sink;

/// A sink whose writes never wait: what [`into_futures`](crate::SinkExt::into_futures) asks for. With the
/// feature `futures`.
///
/// A queue or a channel is one if its policy is [`Immediate`]; a transparent combinator is one if what is
/// downstream of it is; [`discard`](crate::sink::discard()) and [`collector`](crate::sink::collector()) are. A
/// closure of a combinator is taken to be quick, and so is a spill: what they do there is their author's to
/// answer for.
///
/// Not one: a [`Retry`](crate::retry::Retry), which sleeps; a sink made of a closure, which is there to do the
/// work; a [`Broadcaster`](crate::Broadcaster) and a [`SharedSink`](crate::SharedSink), whose sinks have lost
/// their types. A queue before any of them is.
///
/// It can be implemented for a sink of your own, and is then a promise of yours.
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
