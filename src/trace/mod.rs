//! What is logged to `tracing`: its targets, messages and fields are in `docs::observability`.
//!
//! Every call stands on a cold path: a failed attempt, an event given up, a panic, a slow close. Without the
//! feature the types are empty and the calls do nothing, so that no other module has to know whether it is on.
//!
//! # Why a subscriber can do no harm
//!
//! It is a user's code, and so are its filters. It is called without a lock held. A panic of it goes no further.
//! And what happens on a thread while that thread calls it is not logged: a subscriber may write what it gets to
//! a sink of this crate, whose failure would otherwise be logged to it, without end.

#[cfg(feature = "tracing")]
mod listened;
#[cfg(not(feature = "tracing"))]
mod silent;

#[cfg(feature = "tracing")]
pub(crate) use self::listened::{
    Losses, ShedLog, attempt_failed, breaker_closed, breaker_opened, downstream_closed, follower_ended,
    follower_lagged, follower_panicked, hears_slow_closes, on_worker_of, panicked, sink_ended, slow_close,
};
#[cfg(not(feature = "tracing"))]
pub(crate) use self::silent::{
    Losses, ShedLog, attempt_failed, breaker_closed, breaker_opened, downstream_closed, follower_ended,
    follower_lagged, follower_panicked, hears_slow_closes, on_worker_of, panicked, sink_ended, slow_close,
};
