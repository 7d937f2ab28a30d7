//! Where a worker's events come from.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::downstream::Closes;
use super::state::{Cause, WorkerState};
use crate::lifecycle::completion::{Completion, Outcome};
use crate::lifecycle::{Closing, Remaining};
use crate::sync::caught::Payload;
use crate::trace;

/// What a source has next.
pub(crate) enum Next<T> {
    /// Something to deliver. It counts as taken.
    Event(T),
    /// Nothing now; the time is when to look again at the latest.
    Empty(Option<Instant>),
    /// A flush may have been asked for.
    Asked,
    End(End),
}

/// Why a worker stops.
pub(crate) enum End {
    Drained,
    /// By an abort or a detach.
    Stopped,
    /// By itself.
    Ended(Cause),
    /// Its future was dropped.
    Dropped,
}

/// Where the events of one worker come from.
pub(crate) trait Source: Send + 'static {
    type Drain: Drain;
    /// What is delivered at once: an event, a batch.
    type Item: Send;
    /// What a delivery leaves of it.
    type Receipt: Send;

    /// Whether it is one of several for one drain, which end one by one.
    const SHARED: bool = false;

    fn drain(&self) -> &Arc<Self::Drain>;

    /// What is next, without waiting. A batch is not to wait beyond the event `flush_at`.
    fn next(&mut self, flush_at: u64) -> Next<Self::Item>;

    fn delivered(&mut self, receipt: Self::Receipt);

    /// The worker gives way to others. What was delivered is known to them from now on, if it was not before.
    fn give_way(&mut self) {}

    /// The sink is closed, and this came back. What it did not want, as a filter does not, counts as delivered, as it
    /// does while the sink is open.
    fn refused(&mut self, item: Self::Item, wanted: bool);

    /// Sheds what was taken and not handed to the sink. `panicked`: so has the sink.
    fn shed_held(&mut self, _panicked: bool) {}

    /// How many events were taken and handed to the sink, or skipped.
    fn position(&self) -> u64;

    /// The position at which everything is delivered that was accepted by now.
    fn mark(&self) -> u64;

    /// The first flush that waits is due at that position. Returns where the worker is to look for it; `u64::MAX` if
    /// another worker may find it due, and [`next`](Self::next) says so to one of them.
    fn share_flush(&mut self, flush_at: u64) -> u64 {
        flush_at
    }

    /// Gives writers a moment. Whether there is something to do by then.
    fn spin(&self) -> bool;

    /// Has `waker` woken, once, when there is something new to find; `false` if there is already. The caller looks once more
    /// before it sleeps.
    fn register(&mut self, waker: &Waker) -> bool;

    /// Has nothing woken any more.
    fn unregister(&mut self);

    /// How many events are with this worker.
    fn lost(&self) -> u64 {
        self.drain().held()
    }

    /// What end of the drain it is if the worker ends so.
    fn amend(&self, end: Result<End, Payload>) -> Result<End, Payload> {
        end
    }

    /// The worker delivers no more. Whether that was the last worker of the drain.
    fn retire(&mut self) -> bool {
        true
    }

    /// The worker has dropped its sink. Whether that was the last worker of the drain.
    fn let_go(&mut self) -> bool {
        true
    }
}

/// What a worker, its handles and an abort share.
pub(crate) trait Drain: Send + Sync + 'static {
    type Sink: Closes + Clone;

    fn worker(&self) -> &WorkerState<Self::Sink>;

    fn completion(&self) -> &Arc<Completion>;

    fn log(&self) -> &trace::ShedLog;

    /// Until it is dropped, this thread is the worker's.
    fn enter(&self) -> impl Sized {
        self.worker().scope.enter()
    }

    /// Has no event taken any more. Whether this was the first call.
    fn stop(&self) -> bool;

    /// As [`stop`](Self::stop), and the first call gives the cause of the end.
    fn stop_because(&self, why: Option<Cause>) -> bool {
        self.worker().stop(why, || self.stop())
    }

    fn is_stopped(&self) -> bool;

    /// Whether the sink was handed back.
    fn is_detached(&self) -> bool {
        false
    }

    /// Has it end where it is, after it was stopped: wakes the worker, and accepts no event any more.
    fn fix_end(&self);

    /// Sheds everything that is not taken, and accepts no event any more. For the thread that has stopped it.
    fn shed_rest(&self);

    /// Sheds what another thread is shedding, if that is in a spill and several can.
    fn help_shed(&self) {}

    /// Nothing is left: keeps no event alive that others may still read.
    fn release(&self) {}

    /// How many of the events that it ever accepted it gave up: dropped, spilled or skipped.
    fn given_up(&self) -> u64;

    /// How many events are with the worker.
    fn held(&self) -> u64;

    /// Logs that it has ended by itself.
    fn log_end(&self, cause: &Cause, lost: u64);

    /// Whether this thread is in a write that counts: see [`WorkerState::wait_finished`].
    fn is_writer_here(&self) -> bool {
        false
    }

    fn count_remaining(&self, remaining: &mut Remaining);

    fn close_downstream(&self) -> Closing {
        self.worker().close_downstream(self.completion())
    }

    /// Joins the parties: those that may shed. `false` if all have left.
    fn join(&self) -> bool;

    /// Leaves them. The last one completes the close.
    fn leave(&self);

    /// What became of it, without what is downstream.
    fn own_outcome(&self) -> Outcome;
}
