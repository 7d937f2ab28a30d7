//! Sinks whose writes never wait, so that an executor can write to them.

use std::sync::Arc;

use crate::adapter::{
    CatchPanic, Closeable, DeadLetter, DeadLettered, Fallback, Filter, FilterMap, Inspect, KeepOpen, Lossy,
    Map, MapOwned, Metered, Tee,
};
use crate::buffer::Immediate;
use crate::channel::ChannelSink;
use crate::contract::Sink;
use crate::queue::Queue;
use crate::sink::{Collector, Discard};

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

impl<E, P: Immediate> ImmediateSink<E> for Queue<E, P> {}
impl<E, P: Immediate> ImmediateSink<E> for ChannelSink<E, P> {}

impl<E> ImmediateSink<E> for Discard<E> {}
impl<E> ImmediateSink<E> for Collector<E> where Collector<E>: Sink<E> {}

impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for &S {}
impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for Box<S> {}
impl<E, S: ImmediateSink<E> + ?Sized> ImmediateSink<E> for Arc<S> {}

// Of the combinators, what `Sink` asks of the closure and the event is asked for as a whole.

impl<E, S: ImmediateSink<E>, P> ImmediateSink<E> for Filter<S, P> where Self: Sink<E> {}
impl<E, T, S: ImmediateSink<E>, F> ImmediateSink<T> for Map<S, T, E, F> where Self: Sink<T> {}
impl<E, T, S: ImmediateSink<E>, I, B> ImmediateSink<T> for MapOwned<S, T, E, I, B> where Self: Sink<T> {}
impl<E, T, S: ImmediateSink<E>, F> ImmediateSink<T> for FilterMap<S, T, E, F> where Self: Sink<T> {}
impl<E, S: ImmediateSink<E>, F> ImmediateSink<E> for Inspect<S, F> where Self: Sink<E> {}
impl<E, S: ImmediateSink<E>, T: ImmediateSink<E>> ImmediateSink<E> for Tee<S, T> where Self: Sink<E> {}
impl<E, S: ImmediateSink<E>, T: ImmediateSink<E>> ImmediateSink<E> for Fallback<S, T> {}
impl<E, S, T> ImmediateSink<E> for DeadLettered<S, T>
where
    S: ImmediateSink<E>,
    T: ImmediateSink<DeadLetter<E, S::Error>>,
{
}
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for Lossy<S> {}
impl<E: Clone, S: ImmediateSink<E>> ImmediateSink<E> for CatchPanic<S> {}
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for Metered<S> {}
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for KeepOpen<S> {}
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for Closeable<S> {}
