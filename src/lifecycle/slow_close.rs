use std::time::{Duration, Instant};

use super::completion::Remaining;
use crate::trace;

/// How long a close may take before that is logged.
const PERIOD: Duration = Duration::from_secs(1);

/// Logs a close that is waited for, after 1, 2, 4, 8, ... seconds, if a subscriber wants to hear of it.
pub(super) struct SlowClose(Option<Waiting>);

struct Waiting {
    since: Instant,
    logged: u32,
}

impl SlowClose {
    /// The wait begins.
    pub(super) fn begin() -> Self {
        Self(trace::hears_slow_closes().then(|| Waiting { since: Instant::now(), logged: 0 }))
    }

    /// Until when to wait, at most until `deadline`.
    pub(super) fn sooner(&self, deadline: Option<Instant>) -> Option<Instant> {
        let log = self.0.as_ref().and_then(|waiting| {
            let periods = 1_u32.checked_shl(waiting.logged)?;
            waiting.since.checked_add(PERIOD.checked_mul(periods)?)
        });
        match (log, deadline) {
            (Some(log), Some(deadline)) => Some(log.min(deadline)),
            (log, deadline) => log.or(deadline),
        }
    }

    /// Logs what remains; `false`, and logs nothing, if the wait is over.
    pub(super) fn log(&mut self, deadline: Option<Instant>, remaining: impl FnOnce() -> Remaining) -> bool {
        let Some(waiting) = &mut self.0 else {
            return false;
        };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        waiting.logged += 1;
        let Remaining { pending, in_flight, queues, longest, .. } = remaining();
        trace::slow_close(waiting.since.elapsed(), pending, in_flight, queues, longest.as_deref());
        true
    }
}
