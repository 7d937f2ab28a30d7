use std::time::Duration;

/// How many events may pass in which time. Given to [`rate_limit`](crate::SinkExt::rate_limit).
///
/// In no stretch of time `t` more events pass than `burst + rate * t`. Without a [`burst`](Rate::burst) they are evenly
/// spaced.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::Rate;
///
/// let rates = [Rate::per_second(50).burst(10), Rate::per_minute(100), Rate::every(Duration::from_secs(5))];
/// assert_eq!(rates.map(Rate::interval), [20, 600, 5_000].map(Duration::from_millis));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a rate does nothing until a sink is limited to it"]
pub struct Rate {
    /// So many events in each `period`.
    events: u32,
    period: Duration,
    burst: u32,
}

impl Rate {
    /// `events` a second.
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    #[track_caller]
    pub fn per_second(events: u32) -> Self {
        Self::per(events, Duration::from_secs(1))
    }

    /// `events` a minute.
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    #[track_caller]
    pub fn per_minute(events: u32) -> Self {
        Self::per(events, Duration::from_secs(60))
    }

    /// One event in each `interval`.
    ///
    /// # Panics
    ///
    /// If `interval` is zero.
    #[track_caller]
    pub fn every(interval: Duration) -> Self {
        assert!(!interval.is_zero(), "an event every 0 s is no limit: leave the rate limit out");
        Self::per(1, interval)
    }

    #[track_caller]
    fn per(events: u32, period: Duration) -> Self {
        assert!(events > 0, "at a rate of 0 events nothing would ever be written: allow at least 1");
        Self { events, period, burst: 1 }
    }

    /// Sets how many events may pass at once after a pause. Default: 1.
    ///
    /// A burst also makes up for the time that it takes to wake a writer. Without one that time is added to each interval:
    /// of 5,000 events a second 3,100 were reached on a busy machine of two cores, and 44,000 of 50,000 with a burst of
    /// 100.
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    #[track_caller]
    pub fn burst(mut self, events: u32) -> Self {
        assert!(events > 0, "with a burst of 0 events nothing would ever be written: allow at least 1");
        self.burst = events;
        self
    }

    /// The time between two events at this rate, rounded down to nanoseconds.
    pub fn interval(self) -> Duration {
        self.period / self.events
    }
}

/// The state of a limit: the *generic cell rate algorithm* (ITU-T I.371), a leaky bucket in one number.
///
/// Times are in ticks, of which a nanosecond has as many as there are events in a period. So the time between two events
/// is a whole number of them, and nothing is ever rounded: `u128` holds the longest [`Duration`] (94 bits of nanoseconds)
/// times any number of events or any burst (32 bits), and the sum of two such.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When the next event is due if all events are evenly spaced from now on.
    due: u128,
}

impl Bucket {
    /// The time until the event after `others` more may pass.
    pub(super) fn remaining(&self, rate: &Rate, now: Duration, others: usize) -> Duration {
        let now = ticks(rate, now);
        let ahead = self.due.max(now).saturating_add(spacing(rate).saturating_mul(others as u128));
        let allowed = ahead.saturating_sub(spacing(rate) * u128::from(rate.burst - 1));
        let nanos = allowed.saturating_sub(now).div_ceil(u128::from(rate.events));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// An event passes now.
    pub(super) fn take(&mut self, rate: &Rate, now: Duration) {
        self.due = self.due.max(ticks(rate, now)) + spacing(rate);
    }
}

fn ticks(rate: &Rate, time: Duration) -> u128 {
    time.as_nanos() * u128::from(rate.events)
}

fn spacing(rate: &Rate) -> u128 {
    rate.period.as_nanos()
}
