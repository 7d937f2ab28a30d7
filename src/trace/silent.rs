//! Nobody can listen. See `listened` for what each of these would do.

use std::time::{Duration, Instant};

use crate::SinkId;
use crate::lifecycle::completion::Left;

pub(crate) fn attempt_failed(_attempt: u32, _elapsed: Duration, _error_type: &'static str) {}

pub(crate) fn breaker_opened(_breaker: Option<&str>, _failures: u32, _backoff: Duration) {}

pub(crate) fn breaker_closed(_breaker: Option<&str>) {}

pub(crate) fn panicked(_queue: Option<&str>, _lost: u64, _left: u64) {}

pub(crate) fn downstream_closed(_queue: Option<&str>, _left: u64) {}

pub(crate) fn sink_ended(_id: SinkId) {}

pub(crate) fn on_worker_of(_given_up: &GivenUp) {}

pub(crate) fn follower_panicked(_id: SinkId, _lost: u64, _left: u64) {}

pub(crate) fn follower_ended(_id: SinkId, _left: u64) {}

pub(crate) fn follower_lagged(_id: SinkId, _left: u64) {}

#[derive(Default)]
pub(crate) struct GivenUp {}

impl GivenUp {
    pub(crate) fn of_queue(&self, _name: Option<&str>) {}

    pub(crate) fn of_sink(&self, _id: SinkId) {}

    pub(crate) fn queue(&self) -> Option<&str> {
        None
    }

    #[inline]
    pub(crate) fn some(&self, _spilled: bool, _events: u64, _event_type: &'static str) {}

    pub(crate) fn rest(&self, _event_type: &'static str) {}
}

#[derive(Clone)]
pub(crate) struct Losses;

impl Losses {
    pub(crate) fn of_retry() -> Self {
        Self
    }

    pub(crate) fn of_lossy() -> Self {
        Self
    }

    #[inline]
    pub(crate) fn one(&self, _error_type: &'static str) {}

    pub(crate) fn rest(&self) {}
}

pub(crate) struct SlowClose;

impl SlowClose {
    pub(crate) fn begin() -> Self {
        Self
    }

    pub(crate) fn sooner(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline
    }

    pub(crate) fn log(&mut self, _deadline: Option<Instant>, _left: impl FnOnce() -> Left) -> bool {
        false
    }
}
