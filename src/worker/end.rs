//! What becomes of what is left when a worker ends.
//!
//! # Why each event is accounted for
//!
//! What stops a worker first owns everything that was not taken by then, and sheds it; no event is taken any more. What
//! was taken is the worker's: it was delivered, or it came back and was shed, or, if the sink panicked or the worker was
//! dropped in the middle of a write, it is lost. Nothing else is counted by the worker, so what it still holds here is lost.
//! Only parties shed, and the worker leaves them last.

use std::sync::Arc;

use super::deliver::Deliver;
use super::flushes::pass_on;
use super::source::{Drain, End, Source};
use super::state::Cause;
use crate::lifecycle::CloseError;
use crate::lifecycle::completion::Outcome;
use crate::sync::caught::{Payload, drop_caught, panic_message, run_caught};

/// Sees to what is left, ends the flushes, closes the sink and drops it.
pub(super) fn wind_up<S, D>(mut source: S, sink: D, end: Result<End, Payload>)
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    let drain = Arc::clone(source.drain());
    {
        let _inside = drain.enter();
        // Whatever happens in here, the worker ends.
        run_caught(|| {
            source.unregister();
            source.shed_held(end.is_err());
            let drained = account(&*drain, end);
            let flushes = &drain.worker().flushes;
            if drained {
                pass_on::<S::Item, _>(flushes.end(), &sink, drain.worker().scope, || drain.given_up());
            } else {
                flushes.answer(&flush_outcome(&*drain));
            }
        });
        if !drain.is_detached() {
            run_caught(|| drop(drain.close_downstream()));
        }
        // The sink is dropped before the close completes, as far as this worker holds it.
        drop_caught(sink);
        drop_caught(source);
        drain.worker().worker_finished();
        run_caught(|| drain.leave());
    }
    drop_caught(drain);
}

/// Counts what is lost, and sheds what is left unless something stopped it before. Whether it is drained.
fn account<T: Drain>(drain: &T, end: Result<End, Payload>) -> bool {
    let state = drain.worker();
    let lost = drain.held();
    state.counts.set_lost(lost);
    let drained = matches!(end, Ok(End::Drained));
    let cause = match end {
        Ok(End::Drained | End::Stopped | End::Dropped) => None,
        Ok(End::Ended(cause)) => Some(cause),
        Err(panic) => Some(Cause::Panicked(panic_message(panic))),
    };
    let first = drain.stop_because(cause.clone());
    let panicked = matches!(cause, Some(Cause::Panicked(_)));
    if panicked {
        // Whatever has stopped it, an event is lost.
        state.set_cause(cause.clone());
    }
    match first {
        true if drained => drain.release(),
        true => drain.shed_rest(),
        false => {}
    }
    // Otherwise it is the doing of an abort.
    if let Some(cause) = cause.filter(|_| first || panicked) {
        drain.log_end(&cause, lost);
    }
    drained && first
}

/// What a flush gets that waits when the worker ends before its time.
pub(super) fn flush_outcome<T: Drain>(drain: &T) -> Outcome {
    if drain.is_detached() {
        // What is not delivered is not its own any more.
        return Ok(());
    }
    drain.own_outcome().and(Err(CloseError::Undelivered { events: 0, in_flight: 0 }))
}
