//! How a durable queue delivers: an event to the sink, or a pause until there is something to do.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::state::DurableState;
use crate::lifecycle::{Flushing, MaybeDone, flush_caught};
use crate::sync::timer::sleep_until;
use crate::worker::Deliver;

/// What the worker has to do next.
pub(super) enum Step<E> {
    Event(E),
    /// There may be events, and none is to be delivered before this. The worker's flushes are not due meanwhile.
    Pause {
        until: Option<Instant>,
        /// Ends the pause when it is done.
        flushing: Option<MaybeDone>,
    },
}

/// Delivers as `D` does, by value to a synchronous sink or awaited to an asynchronous one.
pub(super) struct Confirming<D> {
    pub(super) sink: D,
    pub(super) state: Arc<DurableState>,
}

impl<D> Confirming<D> {
    async fn pause(&self, until: Option<Instant>, flushing: Option<MaybeDone>) {
        let mut timer = until.map(sleep_until);
        poll_fn(|context| {
            self.state.waker.register(context.waker());
            if self.state.is_asked() || flushing.as_ref().is_some_and(MaybeDone::is_done) {
                return Poll::Ready(());
            }
            match &mut timer {
                Some(timer) => Pin::new(timer).poll(context),
                None => Poll::Pending,
            }
        })
        .await;
    }
}

impl<E, D> Deliver<Step<E>> for Confirming<D>
where
    E: Send,
    D: Deliver<E, Receipt = ()>,
{
    /// Whether it was an event.
    type Receipt = bool;

    async fn deliver(&self, step: Step<E>) -> Result<bool, Step<E>> {
        match step {
            Step::Event(event) => self.sink.deliver(event).await.map(|()| true).map_err(Step::Event),
            Step::Pause { until, flushing } => {
                self.pause(until, flushing).await;
                Ok(false)
            }
        }
    }

    fn deliver_now(&self, step: Step<E>) -> Result<Result<bool, Step<E>>, Step<E>> {
        match step {
            Step::Event(event) => {
                let delivered = self.sink.deliver_now(event).map_err(Step::Event)?;
                Ok(delivered.map(|()| true).map_err(Step::Event))
            }
            Step::Pause { .. } => Err(step),
        }
    }

    fn wants(&self, step: &Step<E>) -> bool {
        match step {
            Step::Event(event) => self.sink.wants(event),
            Step::Pause { .. } => false,
        }
    }

    /// One that was asked for above. If it fails, a later one may come through all the same, as a sync of a file does; so
    /// the next that confirms events fails with it.
    fn flush(&self) -> Flushing {
        let flushing = flush_caught(|| self.sink.flush());
        self.state.passed_on(&flushing);
        flushing
    }
}
