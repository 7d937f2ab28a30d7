//! Which sinks of this crate never make a writer wait.

use super::{
    CatchPanic, CloseOnFailure, CloseWithLast, Closeable, DeadLetter, DeadLettered, Fallback, Filter,
    FilterMap, Inspect, KeepOpen, Lossy, Map, MapOwned, Metered, Tee,
};
use crate::buffer::Immediate;
use crate::channel::ChannelSink;
use crate::contract::{ImmediateSink, Sink};
use crate::leaf::{Collector, Discard};
use crate::queue::Queue;

impl<E, P: Immediate> ImmediateSink<E> for Queue<E, P> {}
impl<E, P: Immediate> ImmediateSink<E> for ChannelSink<E, P> {}

impl<E> ImmediateSink<E> for Discard<E> {}
impl<E> ImmediateSink<E> for Collector<E> where Collector<E>: Sink<E> {}

// What `Sink` asks of a combinator's closure and event is asked for by `Self: Sink<_>`.

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
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for CloseOnFailure<S> {}
impl<E, S: ImmediateSink<E>> ImmediateSink<E> for CloseWithLast<S, E> {}
