//! Nobody can listen. See `listened` for what each of these would do.

use std::time::{Duration, Instant};

use crate::lifecycle::Remaining;
use crate::sync::{Label, SinkId};

pub(crate) fn attempt_failed(_attempt: u32, _elapsed: Duration, _error_type: &'static str) {}

pub(crate) fn panicked(_queue: Option<&str>, _lost: u64, _left: u64) {}

pub(crate) fn downstream_closed(_queue: Option<&str>, _left: u64) {}

pub(crate) fn sink_ended(_label: &Label) {}

pub(crate) fn on_worker_of(_given_up: &ShedLog) {}

pub(crate) fn follower_panicked(_id: SinkId, _lost: u64, _left: u64) {}

pub(crate) fn follower_ended(_id: SinkId, _left: u64) {}

pub(crate) fn follower_lagged(_id: SinkId, _left: u64) {}

#[derive(Default)]
pub(crate) struct ShedLog {}

impl ShedLog {
    pub(crate) fn of_queue(&self, _name: Option<&str>) {}

    pub(crate) fn of_sink(&self, _label: &Label) {}

    pub(crate) fn queue(&self) -> Option<&str> {
        None
    }

    #[inline]
    pub(crate) fn count(&self, _spilled: bool, _events: u64, _event_type: &'static str) {}

    pub(crate) fn flush(&self, _event_type: &'static str) {}

    pub(crate) fn overdue(&self, _event_type: &'static str) -> Option<Instant> {
        None
    }
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

#[derive(Debug, Default)]
pub(crate) struct BreakerLog {}

impl BreakerLog {
    #[inline]
    pub(crate) fn failed(
        &self,
        _name: Option<&str>,
        _failures: u32,
        _threshold: u32,
        _backoff: Duration,
        _now: impl Fn() -> u32,
    ) {
    }

    #[inline]
    pub(crate) fn succeeded(&self, _name: Option<&str>, _failures: u32, _threshold: u32) {}
}

pub(crate) struct SlowClose;

impl SlowClose {
    pub(crate) fn begin() -> Self {
        Self
    }

    pub(crate) fn sooner(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline
    }

    pub(crate) fn tell(&mut self, _deadline: Option<Instant>, _left: impl FnOnce() -> Remaining) -> bool {
        false
    }
}
