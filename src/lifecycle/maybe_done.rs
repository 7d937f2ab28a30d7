use std::sync::Arc;

use parking_lot::Mutex;

use super::completion::{Completion, LifecycleError, Node, Outcome, Waited, begin_abort};

/// An outcome, told already or to be told: what is inside `Closing` and `Flushing`.
pub(crate) enum Answer<X> {
    Told(Outcome<X>),
    Pending(Arc<Completion<X>>),
}

impl<X: Clone> Clone for Answer<X> {
    fn clone(&self) -> Self {
        match self {
            Self::Told(outcome) => Self::Told(outcome.clone()),
            Self::Pending(completion) => Self::Pending(Arc::clone(completion)),
        }
    }
}

impl<X> Answer<X>
where
    X: LifecycleError,
{
    pub(crate) fn outcome(&self) -> Option<Outcome<X>> {
        match self {
            Self::Told(outcome) => Some(outcome.clone()),
            Self::Pending(completion) => completion.outcome(),
        }
    }

    pub(crate) fn wait(&self, deadline: Option<std::time::Instant>) -> Waited<X> {
        match self {
            Self::Told(outcome) => Waited::Done(outcome.clone()),
            Self::Pending(completion) => completion.wait(deadline),
        }
    }

    /// Calls `f` once the outcome is told: on this thread, if it is already.
    pub(crate) fn then<F>(&self, f: F)
    where
        F: FnOnce(&Outcome<X>) + Send + 'static,
    {
        match self {
            Self::Told(outcome) => f(outcome),
            Self::Pending(completion) => completion.then(f),
        }
    }

    /// Tells `completion`, which may be of the other kind, what `f` makes of this outcome. An abort of
    /// `completion` goes on to this one if `aborts`.
    pub(crate) fn resolve<Y, F>(&self, completion: &Arc<Completion<Y>>, aborts: bool, f: F)
    where
        Y: LifecycleError,
        F: FnOnce(Outcome<X>) -> Outcome<Y> + Send + 'static,
    {
        match self {
            Self::Told(outcome) => completion.complete(f(outcome.clone())),
            Self::Pending(awaited) => {
                let node: Arc<dyn Node> = awaited.clone();
                if completion.await_on(node, aborts) {
                    let completion = Arc::clone(completion);
                    awaited.then(move |outcome| completion.complete(f(outcome.clone())));
                } else {
                    // It awaits us: this is a ring of sinks, and it is through when the rest of it is.
                    completion.complete(f(Ok(())));
                }
            }
        }
    }

    /// Has `completion` await this one, for those who would wait for themselves and, if `aborts`, for aborts.
    /// `false` if this one awaits `completion`: in a ring nobody can be told.
    pub(crate) fn awaited_by<Y>(&self, completion: &Arc<Completion<Y>>, aborts: bool) -> bool
    where
        Y: LifecycleError,
    {
        match self {
            Self::Told(_) => true,
            Self::Pending(awaited) => completion.await_on(awaited.clone(), aborts),
        }
    }

    /// Tells `completion` what `f` makes of all the outcomes together. Those beside which there is a `true`
    /// are aborted with it. One that awaits `completion` is not waited for, but the others are: that one is
    /// part of a ring, and through when they are.
    pub(crate) fn resolve_all<F>(
        completion: &Arc<Completion<X>>,
        answers: impl IntoIterator<Item = (Self, bool)>,
        f: F,
    ) where
        F: FnOnce(Outcome<X>) -> Outcome<X> + Send + 'static,
    {
        let awaited = answers.into_iter().filter(|(answer, aborts)| answer.awaited_by(completion, *aborts));
        let all = Self::all(awaited.map(|(answer, _)| answer).collect());
        let completion = Arc::clone(completion);
        all.then(move |outcome| completion.complete(f(outcome.clone())));
    }

    /// The outcome after `f`.
    pub(crate) fn map<F>(&self, f: F) -> Self
    where
        F: FnOnce(Outcome<X>) -> Outcome<X> + Send + 'static,
    {
        match self {
            Self::Told(outcome) => Self::Told(f(outcome.clone())),
            Self::Pending(awaited) => {
                let completion = Completion::new();
                let node: Arc<dyn Node> = awaited.clone();
                completion.await_first(&node);
                let told = Arc::clone(&completion);
                awaited.then(move |outcome| told.complete(f(outcome.clone())));
                Self::Pending(completion)
            }
        }
    }

    /// Told when all are; their errors in the order of `answers`.
    pub(crate) fn all(answers: Vec<Self>) -> Self {
        if let [one] = &answers[..] {
            return one.clone();
        }
        if answers.iter().all(|answer| matches!(answer, Self::Told(_))) {
            return Self::Told(join(answers.iter().filter_map(Self::outcome)));
        }

        let completion = Completion::new();
        // One more than there are, so that it is not through before the last is looked at.
        let missing = answers.len() + 1;
        let gathered = Arc::new(Mutex::new((missing, vec![Ok(()); answers.len()])));
        let tell = {
            let completion = Arc::clone(&completion);
            move |at: usize, outcome: &Outcome<X>| {
                let mut gathered = gathered.lock();
                gathered.0 -= 1;
                if let Some(slot) = gathered.1.get_mut(at) {
                    *slot = outcome.clone();
                }
                if gathered.0 == 0 {
                    let outcomes = std::mem::take(&mut gathered.1);
                    drop(gathered);
                    completion.complete(join(outcomes));
                }
            }
        };
        for (at, answer) in answers.iter().enumerate() {
            if let Self::Pending(awaited) = answer {
                let awaited: Arc<dyn Node> = awaited.clone();
                completion.await_first(&awaited);
            }
            let tell = tell.clone();
            answer.then(move |outcome| tell(at, outcome));
        }
        tell(answers.len(), &Ok(()));
        Self::Pending(completion)
    }

    pub(crate) fn abort(&self) -> Outcome<X> {
        match self {
            Self::Told(outcome) => outcome.clone(),
            Self::Pending(completion) => {
                begin_abort(&**completion);
                completion.settle_abort(std::time::Instant::now() + super::ABORT_GRACE);
                completion.outcome().unwrap_or_else(|| Err(X::aborted()))
            }
        }
    }
}

pub(crate) fn join<X>(outcomes: impl IntoIterator<Item = Outcome<X>>) -> Outcome<X>
where
    X: LifecycleError,
{
    let errors: Vec<X> = outcomes.into_iter().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(X::join(errors)) }
}
