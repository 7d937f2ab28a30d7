use crate::contract::{AsyncSink, SharedAsyncSink, SharedSink};
use crate::lifecycle::Closing;
use crate::worker::Closes;

/// The sink of a follower, as its close and a detach see it.
pub(super) enum FollowerSink<E> {
    Sync(SharedSink<E>),
    Async(SharedAsyncSink<E>),
}

impl<E> Closes for FollowerSink<E> {
    fn close(&self) -> Closing {
        match self {
            Self::Sync(sink) => Closes::close(sink),
            Self::Async(sink) => AsyncSink::close(sink),
        }
    }
}

impl<E> Clone for FollowerSink<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Sync(sink) => Self::Sync(sink.clone()),
            Self::Async(sink) => Self::Async(sink.clone()),
        }
    }
}
