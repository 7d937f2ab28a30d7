use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::wall_clock;

/// The `Retry-After` of an answer: seconds, or a date (RFC 9110, 10.2.3). `None` if there is none that can be read.
///
/// A date is counted from the `Date` of the answer, if it has one, so that a wrong clock on either side does not matter.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit saturates. The caller limits the wait.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    wall_clock::until(value, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(fields: &[(&'static str, &'static str)]) -> Option<Duration> {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        read(&fields.collect::<HeaderMap>())
    }

    #[test]
    fn seconds_are_seconds_however_many() {
        assert_eq!(read_from(&[("retry-after", "0")]), Some(Duration::ZERO));
        assert_eq!(read_from(&[("retry-after", " 120 ")]), Some(Duration::from_secs(120)));
        let more_than_fits = "99999999999999999999999999";
        assert_eq!(read_from(&[("retry-after", more_than_fits)]), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn dates_of_all_three_forms_are_counted_from_the_answers_own() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for after in
            ["Sun, 06 Nov 1994 08:50:07 GMT", "Sunday, 06-Nov-94 08:50:07 GMT", "Sun Nov  6 08:50:07 1994"]
        {
            assert_eq!(read_from(&[date, ("retry-after", after)]), Some(Duration::from_secs(30)), "{after}");
        }
        let before = ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT");
        assert_eq!(read_from(&[date, before]), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_date_of_the_answer_the_machines_own_clock_counts() {
        assert_eq!(read_from(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::ZERO));
        let far = read_from(&[("date", "yesterday"), ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]);
        assert!(far > Some(Duration::from_secs(7000 * 365 * 24 * 60 * 60)), "{far:?}");
    }

    #[test]
    fn what_is_neither_says_nothing() {
        assert_eq!(read_from(&[]), None);
        for value in ["", "-1", "1.5", "soon", "12 s", "+5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read_from(&[("retry-after", value)]), None, "{value:?}");
        }
    }
}
