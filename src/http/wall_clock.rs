//! The one place of this crate that looks at a clock that can be set: a signature's timestamp and a date in
//! `Retry-After` are times of day. Nothing waits or measures by it.

#![allow(clippy::disallowed_types, reason = "the time of day is what is asked for here")]

use std::time::{Duration, SystemTime};

/// Seconds since 1970, without leap seconds; 0 on a machine whose clock is set before.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long it is until an HTTP date, from `from` on if that is one, else from now on. Zero if it is past,
/// `None` if it is no date.
pub(super) fn until(date: &str, from: Option<&str>) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let from = from.and_then(|from| httpdate::parse_http_date(from).ok()).unwrap_or_else(SystemTime::now);
    Some(date.duration_since(from).unwrap_or_default())
}
