//! Waiting for an outcome, on a thread or as a task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::completion::{Completion, Outcome};
use super::deferred;
use super::graph::{self, ScopedWaiter};
#[cfg(feature = "futures")]
use super::task::Task;
use crate::sync::scope::Scope;

/// `None` is never: a timeout beyond what the clock can count.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

pub(crate) enum Waited {
    Done(Outcome),
    TimedOut,
    WouldDeadlock,
}

impl Completion {
    pub(crate) fn wait(self: &Arc<Self>, deadline: Option<Instant>) -> Waited {
        deferred::run_all();
        let scoped = Scope::any_is_current().then(ScopedWaiter::new);
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Waited::Done(outcome.clone());
            }
            if scoped.is_some() {
                let notified = state.notified;
                drop(state);
                if graph::would_deadlock(self) {
                    return Waited::WouldDeadlock;
                }
                state = self.state.lock();
                if state.outcome.is_some() || state.notified != notified {
                    continue;
                }
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    let timed_out = self.changed.wait_until(&mut state, deadline).timed_out();
                    if timed_out && state.outcome.is_none() {
                        return Waited::TimedOut;
                    }
                }
            }
        }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn poll(&self, task: &mut Task, context: &std::task::Context<'_>) -> std::task::Poll<Outcome> {
        use std::task::Poll;

        deferred::run_all();
        if let Some(outcome) = self.outcome() {
            task.forget();
            return Poll::Ready(outcome);
        }
        // The waker is in its place before the outcome is looked at again: a thread that sets it after that finds it.
        let first = task.sleep(context.waker());
        let mut state = self.state.lock();
        if let Some(outcome) = state.outcome.clone() {
            drop(state);
            task.forget();
            return Poll::Ready(outcome);
        }
        if let Some(slot) = first {
            state.sleepers.add(slot);
        }
        Poll::Pending
    }
}
