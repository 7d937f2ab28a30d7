//! The only place in this crate that reads the time of day, for a signature's timestamp and for a date in `Retry-After`.
//! Everything that waits or measures uses the monotonic clock.

#![allow(clippy::disallowed_types, reason = "the time of day is what is asked for here")]

use std::time::{Duration, SystemTime};

/// Seconds since 1970, without leap seconds; 0 if the machine's clock is before that.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The time until an HTTP date, counted from `from` if that is a date, else from now. Zero if the date is past, `None` if
/// it is no date.
pub(super) fn until(date: &str, from: Option<&str>) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let from = from.and_then(|from| httpdate::parse_http_date(from).ok()).unwrap_or_else(SystemTime::now);
    Some(date.duration_since(from).unwrap_or_default())
}
