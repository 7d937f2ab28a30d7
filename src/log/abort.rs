//! What ends the drain of a follower, and of the whole log, before its time.

use std::sync::Weak;
use std::time::Instant;

use super::follower_state::FollowerState;
use super::shared::Shared;
use crate::lifecycle::completion::Abort;
use crate::lifecycle::{CloseError, Remaining, join};
use crate::sync::caught::run_caught;

pub(super) struct AbortFollower<E>(pub(super) Weak<FollowerState<E>>);

impl<E> Abort for AbortFollower<E>
where
    E: Clone + Send + Sync,
{
    fn begin(&self) {
        let Some(state) = self.0.upgrade() else {
            return;
        };
        if !state.enter() {
            // The worker has left, and only what is downstream still drains.
            return;
        }
        // Whatever happens in here, the party leaves.
        run_caught(|| {
            let first = state.stop(None);
            state.fix_end();
            if !state.claims.is_detached() {
                drop(state.close_sink());
            }
            if first {
                state.shed_rest();
                let left = CloseError::Undelivered { events: state.undelivered(), in_flight: 0 };
                for flush in state.flushes.end() {
                    flush.completion.complete(Err(left.clone()));
                }
            }
        });
        state.leave();
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        if let Some(state) = self.0.upgrade() {
            let stats = state.stats();
            remaining.add(state.label.name.as_deref(), stats.pending, stats.in_flight);
        }
    }

    fn is_under_way_here(&self) -> bool {
        self.0.upgrade().is_some_and(|state| state.sink.is_beginning_here())
    }

    fn settle(&self, deadline: Instant) {
        let Some(state) = self.0.upgrade() else {
            return;
        };
        if state.sink.is_beginning_here() {
            return;
        }
        if !state.scope.is_current() {
            state.wait_finished(deadline);
        }
        let own = state.own_outcome();
        let downstream = if state.claims.is_detached() {
            Ok(())
        } else {
            // Without an outcome, it is awaited only since the abort looked last, and the abort looks again.
            match state.close_sink().0.outcome() {
                Some(outcome) => outcome,
                None => return,
            }
        };
        state.completion.complete(join([own, downstream]));
    }
}

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
