//! What `Closing` and `Flushing` do with what is inside them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::completion::{Completion, Gather, MaybeDone, Outcome};
use super::error::CloseError;
use super::wait::Waited;
use super::{abort, graph};
use crate::sync::blocking::blocking;

/// How long an abort gives a write that is under way to come back.
const ABORT_GRACE: Duration = Duration::from_millis(100);

impl MaybeDone {
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Waited {
        match self {
            Self::Done(outcome) => Waited::Done(outcome.clone()),
            Self::Pending(completion) => blocking(|| completion.wait(deadline)),
        }
    }

    /// Has `completion` await this one: for a thread that would wait for itself and, if `aborts`, for aborts. `false`
    /// if this one awaits `completion`: in a ring neither could complete.
    pub(crate) fn awaited_by(&self, completion: &Arc<Completion>, aborts: bool) -> bool {
        match self {
            Self::Done(_) => true,
            Self::Pending(awaited) => graph::link(completion, awaited, aborts),
        }
    }

    /// Has `completion` complete with what `finish` makes of the outcomes of all parts, which it gets in their order. An
    /// abort of it goes on to those beside which there is a `true`. A part that awaits `completion` is not waited for,
    /// and counts as `Ok`, but the others are: that one is in a ring, and done when they are.
    pub(crate) fn gather<F>(
        completion: &Arc<Completion>,
        parts: impl IntoIterator<Item = (Self, bool)>,
        finish: F,
    ) where
        F: FnOnce(Vec<Outcome>) -> Outcome + Send + 'static,
    {
        let unless_in_ring = |(part, aborts): (Self, bool)| match part.awaited_by(completion, aborts) {
            true => part,
            false => Self::Done(Ok(())),
        };
        let parts = parts.into_iter().map(unless_in_ring).collect();
        completion.gather(Gather { parts, next: 0, finish: Box::new(finish) });
    }

    /// What `finish` makes of the outcome.
    pub(crate) fn map<F>(&self, finish: F) -> Self
    where
        F: FnOnce(Outcome) -> Outcome + Send + 'static,
    {
        Self::gathered(vec![self.clone()], |outcomes| finish(join(outcomes)))
    }

    /// Done when all are; their errors in the order of `parts`.
    pub(crate) fn all(mut parts: Vec<Self>) -> Self {
        match parts.len() {
            1 => parts.remove(0),
            _ => Self::gathered(parts, join),
        }
    }

    /// What `finish` makes of the outcomes of all parts, which it gets in their order.
    pub(crate) fn gathered<F>(parts: Vec<Self>, finish: F) -> Self
    where
        F: FnOnce(Vec<Outcome>) -> Outcome + Send + 'static,
    {
        if parts.iter().all(|part| matches!(part, Self::Done(_))) {
            return Self::Done(finish(parts.iter().filter_map(Self::outcome).collect()));
        }
        Self::Pending(Completion::gathering(Gather { parts, next: 0, finish: Box::new(finish) }, true))
    }

    pub(crate) fn abort(&self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome.clone(),
            Self::Pending(completion) => {
                blocking(|| abort::abort(completion, Instant::now() + ABORT_GRACE));
                completion.outcome().unwrap_or(Err(CloseError::Aborted))
            }
        }
    }
}

/// Several outcomes as one.
pub(crate) fn join(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let errors: Vec<CloseError> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(CloseError::join(errors)) }
}
