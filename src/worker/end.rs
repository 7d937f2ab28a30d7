//! What becomes of what is left when a worker ends.
//!
//! # Why each event is accounted for
//!
//! What stops a worker first owns everything that was not taken by then, and sheds it; no event is taken any more. What
//! was taken is the worker's: it was delivered, or it came back and was shed, or, if the sink panicked or the worker was
//! dropped in the middle of a write, it is lost. Nothing else is counted by the worker, so what it still holds here is lost.
//! Only parties shed, and the worker leaves them last.
//!
//! Several workers of one drain ([`Source::SHARED`]) end one by one. What stops it first sheds the rest. Each that ends after
//! that sheds again, since an event may have been on its way from one place to another. The last counts what is lost, closes
//! the sink, and leaves.

use std::sync::Arc;

use super::deliver::Deliver;
use super::flushes::pass_on;
use super::source::{Drain, End, Source};
use super::state::Cause;
use crate::lifecycle::CloseError;
use crate::lifecycle::completion::Outcome;
use crate::sync::caught::{Payload, drop_caught, panic_message, run_caught};

/// Sees to what is left; and if no other worker of the drain is left either, ends the flushes and closes the sink. Drops it.
pub(super) fn wind_up<S, D>(mut source: S, sink: D, end: Result<End, Payload>)
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    let drain = Arc::clone(source.drain());
    {
        let _inside = drain.enter();
        let end = source.amend(end);
        let drained = matches!(end, Ok(End::Drained));
        // Whatever happens in here, the worker ends.
        run_caught(|| {
            source.unregister();
            source.shed_held(end.is_err());
            stop(&source, end);
        });
        if source.retire() {
            run_caught(|| {
                let state = drain.worker();
                if S::SHARED {
                    // What was with any of them.
                    state.counts.set_lost(drain.held());
                }
                let drained = drained && drain.stop_because(None);
                if drained {
                    drain.release();
                    pass_on::<S::Item, _>(state.flushes.end(), &sink, state.scope, || drain.given_up());
                } else {
                    state.flushes.answer(&flush_outcome(&*drain));
                }
            });
            if !drain.is_detached() {
                run_caught(|| drop(drain.close_downstream()));
            }
        }
        // The sink is dropped before the close completes, as far as workers hold it.
        drop_caught(sink);
        let last = source.let_go();
        drop_caught(source);
        if last {
            finish(&*drain);
        }
    }
    drop_caught(drain);
}

/// No worker of the drain holds its sink any more.
pub(crate) fn finish<T: Drain>(drain: &T) {
    drain.worker().worker_finished();
    run_caught(|| drain.leave());
}

/// Unless the drain has come to its end: stops it, counts what is lost, and sheds what is left unless something stopped it
/// before.
fn stop<S: Source>(source: &S, end: Result<End, Payload>) {
    let drain = &**source.drain();
    let cause = match end {
        Ok(End::Drained) => return,
        Ok(End::Stopped | End::Dropped) => None,
        Ok(End::Ended(cause)) => Some(cause),
        Err(panic) => Some(Cause::Panicked(panic_message(panic))),
    };
    let state = drain.worker();
    let lost = source.lost();
    if !S::SHARED {
        state.counts.set_lost(lost);
    }
    let first = drain.stop_because(cause.clone());
    let panicked = matches!(cause, Some(Cause::Panicked(_)));
    if panicked {
        // Whatever has stopped it, an event is lost.
        state.set_cause(cause.clone());
    }
    if first {
        drain.shed_rest();
    } else if S::SHARED {
        // An event may have been on its way from one place to another when the rest was shed.
        drain.help_shed();
    }
    // Otherwise it is the doing of an abort.
    if let Some(cause) = cause.filter(|_| first || panicked) {
        drain.log_end(&cause, lost);
    }
}

/// What a flush gets that waits when the worker ends before its time.
pub(super) fn flush_outcome<T: Drain>(drain: &T) -> Outcome {
    if drain.is_detached() {
        // What is not delivered is not its own any more.
        return Ok(());
    }
    drain.own_outcome().and(Err(CloseError::Undelivered { events: 0, in_flight: 0 }))
}
