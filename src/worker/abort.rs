//! What ends a worker before its time.

use std::sync::Weak;
use std::time::Instant;

use super::end::flush_outcome;
use super::source::Drain;
use crate::lifecycle::completion::Abort;
use crate::lifecycle::{Remaining, join};
use crate::sync::caught::run_caught;

/// Ends the drain of a queue or of a follower.
pub(crate) struct AbortDrain<T>(pub(crate) Weak<T>);

impl<T> Abort for AbortDrain<T>
where
    T: Drain,
{
    fn begin(&self) {
        // `join` fails if the worker has finished, and everything else but the downstream.
        let Some(drain) = self.0.upgrade().filter(|drain| drain.join()) else {
            return;
        };
        // Whatever happens in here, the party leaves.
        run_caught(|| {
            let first = drain.stop_because(None);
            drain.fix_end();
            if !drain.is_detached() {
                drop(drain.close_downstream());
            }
            if first {
                drain.shed_rest();
            } else {
                drain.help_shed();
            }
            if !drain.is_detached() {
                drain.worker().flushes.fail(&flush_outcome(&*drain));
            }
        });
        drain.leave();
    }

    fn settle(&self, deadline: Instant) {
        let Some(drain) = self.0.upgrade() else {
            return;
        };
        let state = drain.worker();
        if state.downstream.is_beginning_here() {
            return;
        }
        state.wait_finished(drain.is_writer_here(), deadline);
        let own = drain.own_outcome();
        let downstream =
            if drain.is_detached() { Some(Ok(())) } else { drain.close_downstream().0.outcome() };
        // If it has no outcome, it is awaited only since the abort last looked, which looks again.
        if let Some(downstream) = downstream {
            drain.completion().complete(join([own, downstream]));
        }
    }

    fn is_under_way_here(&self) -> bool {
        self.0.upgrade().is_some_and(|drain| drain.worker().downstream.is_beginning_here())
    }

    fn count_remaining(&self, remaining: &mut Remaining) {
        if let Some(drain) = self.0.upgrade() {
            drain.count_remaining(remaining);
        }
    }
}
