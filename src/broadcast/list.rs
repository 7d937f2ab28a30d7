use std::sync::Arc;

use super::shared::QuiescedWhenDropped;
use crate::contract::SharedSink;
use crate::lifecycle::close_caught;
use crate::lifecycle::ended::{EndedEntry, Refusals};
use crate::pipe::{Pipe, ReadEnd};
use crate::sync::{Label, SinkId};

/// The sinks that a write goes to. Never changed: an add or a remove puts another list in its place.
pub(super) struct List<E> {
    pub(super) entries: Vec<Entry<E>>,
    /// The same in every list of a broadcaster; dropped after the entries.
    pub(super) quiesced: Arc<QuiescedWhenDropped<E>>,
}

pub(super) struct Entry<E> {
    pub(super) sink: SharedSink<E>,
    pub(super) label: Label,
    pub(super) refusals: Arc<Refusals>,
    pub(super) subscription: Option<Arc<dyn Subscribed>>,
}

impl<E> Entry<E> {
    pub(super) fn new(sink: SharedSink<E>, name: Option<Arc<str>>) -> Self {
        Self { sink, label: Label::new(name), refusals: Arc::default(), subscription: None }
    }

    pub(super) fn id(&self) -> SinkId {
        self.label.id
    }

    pub(super) fn close(&self) -> EndedEntry {
        let closing = close_caught(|| self.sink.close());
        EndedEntry { label: self.label.clone(), refusals: Arc::clone(&self.refusals), closing }
    }
}

impl<E> Clone for Entry<E> {
    fn clone(&self) -> Self {
        Self {
            sink: Arc::clone(&self.sink),
            label: self.label.clone(),
            refusals: Arc::clone(&self.refusals),
            subscription: self.subscription.clone(),
        }
    }
}

/// The pipe of a subscription, without its type.
pub(super) trait Subscribed: Send + Sync {
    /// Wakes the writes that wait in it.
    fn stop_waiting(&self);

    /// It was closed and missed an event, which is counted unless nothing reads it any more.
    fn missed(&self);
}

impl<E, R> Subscribed for Pipe<E, R>
where
    E: Send,
    R: ReadEnd<E> + Send + Sync,
{
    fn stop_waiting(&self) {
        Pipe::stop_waiting(self);
    }

    fn missed(&self) {
        if self.is_read() {
            self.shed.count_dropped(1);
        }
    }
}
