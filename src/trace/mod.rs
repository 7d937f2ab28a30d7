//! What is logged through `tracing`. The targets, messages and fields are listed in `docs::observability`.
//!
//! Every call is on a cold path: a failed attempt, an event that is shed or given up, a panic, a slow close. Without
//! the feature the types are empty and the calls do nothing, so that no other module depends on it.
//!
//! # Why a subscriber can do no harm
//!
//! A subscriber and its filters are a user's code. They are called without a lock held, and their panics are caught.
//! While a thread calls a subscriber, nothing is logged on that thread: the subscriber may write to a sink of this
//! crate, whose failures would otherwise be logged to it, without end.

#[cfg(feature = "tracing")]
mod listened;
#[cfg(not(feature = "tracing"))]
mod silent;

#[cfg(all(feature = "tracing", feature = "durable"))]
pub(crate) use self::listened::flush_failed;
#[cfg(feature = "tracing")]
pub(crate) use self::listened::{
    Losses, ShedLog, attempt_failed, breaker_closed, breaker_opened, downstream_closed, follower_ended,
    follower_lagged, follower_panicked, hears_slow_closes, on_worker_of, panicked, sink_ended, slow_close,
};
#[cfg(all(not(feature = "tracing"), feature = "durable"))]
pub(crate) use self::silent::flush_failed;
#[cfg(not(feature = "tracing"))]
pub(crate) use self::silent::{
    Losses, ShedLog, attempt_failed, breaker_closed, breaker_opened, downstream_closed, follower_ended,
    follower_lagged, follower_panicked, hears_slow_closes, on_worker_of, panicked, sink_ended, slow_close,
};
