//! The feature `tracing` is off, and these do nothing. `listened` says what each does with it.

use std::time::Duration;

use crate::sync::Label;

pub(crate) fn attempt_failed(_attempt: u32, _elapsed: Duration, _error_type: &'static str) {}

pub(crate) fn breaker_opened(_breaker: Option<&str>, _failures: u32, _backoff: Duration) {}

pub(crate) fn breaker_closed(_breaker: Option<&str>) {}

pub(crate) fn panicked(_queue: Option<&str>, _lost: u64, _left: u64) {}

pub(crate) fn downstream_closed(_queue: Option<&str>, _left: u64) {}

#[cfg(feature = "durable")]
pub(crate) fn flush_failed(_queue: Option<&str>, _events: u64, _backoff: Duration, _shed: bool) {}

pub(crate) fn sink_ended(_label: &Label) {}

pub(crate) fn on_worker_of(_shed: &ShedLog) {}

pub(crate) fn follower_panicked(_label: &Label, _lost: u64, _left: u64) {}

pub(crate) fn follower_ended(_label: &Label, _left: u64) {}

pub(crate) fn follower_lagged(_label: &Label, _left: u64) {}

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

pub(crate) fn hears_slow_closes() -> bool {
    false
}

pub(crate) fn slow_close(
    _waited: Duration,
    _pending: u64,
    _in_flight: u64,
    _queues: u64,
    _queue: Option<&str>,
) {
}
