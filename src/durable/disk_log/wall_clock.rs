//! The only place of this module that reads the time of day: an event's age has to be right after a restart.

#![allow(clippy::disallowed_types, reason = "the time of day is what is asked for here")]

use std::time::{Duration, SystemTime};

/// Milliseconds since 1970; 0 if the machine's clock is before that.
pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago that was; zero if it is to come.
pub(crate) fn age(millis: u64) -> Duration {
    Duration::from_millis(unix_millis().saturating_sub(millis))
}
