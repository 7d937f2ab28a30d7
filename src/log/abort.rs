//! What ends the drain of a whole log before its time; a follower's is as a queue's.

use std::sync::Weak;
use std::time::Instant;

use super::shared::Shared;
use crate::lifecycle::completion::Abort;

pub(super) struct AbortLog<E>(pub(super) Weak<Shared<E>>);

impl<E> Abort for AbortLog<E>
where
    E: Send + Sync,
{
    /// The followers are aborted along the edges that the close has made to them.
    fn begin(&self) {
        if let Some(shared) = self.0.upgrade() {
            drop(shared.close());
        }
    }

    fn settle(&self, _deadline: Instant) {}
}
