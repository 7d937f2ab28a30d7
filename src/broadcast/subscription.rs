use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use super::shared::Shared;
use crate::channel::{self, Events};
use crate::lifecycle::ended::Refusals;
use crate::sync::SinkId;

/// The receiving end of a subscription: [`Events`] that unsubscribe when dropped. Made by
/// [`Broadcaster::subscribe`](crate::Broadcaster::subscribe).
///
/// # Examples
///
/// ```
/// use outflow::{Broadcaster, Buffer, Sink};
///
/// let broadcaster = Broadcaster::new();
/// let watcher = broadcaster.subscribe(Buffer::unbounded());
/// broadcaster.write("pushed").unwrap();
/// assert_eq!(watcher.recv(), Ok("pushed"));
/// drop(watcher);
/// assert!(broadcaster.is_empty());
/// ```
pub struct Subscription<E> {
    id: SinkId,
    unsubscribe: Arc<dyn RemoveSink>,
    pub(super) events: Events<E>,
}

trait RemoveSink: Send + Sync {
    fn remove(&self);
}

/// By its refusals beside its id, under which another sink may have taken its place.
struct Unsubscribe<E> {
    id: SinkId,
    shared: Weak<Shared<E>>,
    refusals: Arc<Refusals>,
}

impl<E> RemoveSink for Unsubscribe<E>
where
    E: Send,
{
    fn remove(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.remove_refusing(self.id, &self.refusals);
        }
    }
}

impl<E> Subscription<E> {
    pub(super) fn new(id: SinkId, shared: Weak<Shared<E>>, refusals: Arc<Refusals>, events: Events<E>) -> Self
    where
        E: Send + 'static,
    {
        Self { id, unsubscribe: Arc::new(Unsubscribe { id, shared, refusals }), events }
    }

    /// How many events wait, were dropped and were spilled, and whether these are the last counts.
    #[cfg(feature = "metrics")]
    pub(crate) fn observer(&self) -> impl Fn() -> (u64, u64, u64, bool) + Send + Sync + use<E>
    where
        E: Send + 'static,
    {
        self.events.observer()
    }

    /// The id under which the broadcaster has it.
    pub fn id(&self) -> SinkId {
        self.id
    }
}

impl<E> Deref for Subscription<E> {
    type Target = Events<E>;

    fn deref(&self) -> &Events<E> {
        &self.events
    }
}

impl<E> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.unsubscribe.remove();
    }
}

impl<'a, E> IntoIterator for &'a Subscription<E> {
    type Item = E;
    type IntoIter = channel::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.iter()
    }
}

/// Yields the events, waiting for each; dropped, it unsubscribes. Made by [`Subscription::into_iter`].
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct SubscriptionIntoIter<E> {
    subscription: Subscription<E>,
}

impl<E> Iterator for SubscriptionIntoIter<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.subscription.recv().ok()
    }
}

impl<E> IntoIterator for Subscription<E> {
    type Item = E;
    type IntoIter = SubscriptionIntoIter<E>;

    fn into_iter(self) -> SubscriptionIntoIter<E> {
        SubscriptionIntoIter { subscription: self }
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).field("events", &self.events).finish()
    }
}
