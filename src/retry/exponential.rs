use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Failure, RetryStrategy};
use crate::sync::clock::{Clock, ClockSlot, nanos};

/// Waits longer the more attempts in a row have failed: for a random time, up to a bound that doubles. It never gives
/// up.
///
/// After `n` failures in a row the wait is uniform in `[0, min(max, base + factor * 2^(n-1)))`. This is the formula of
/// go-events; with a `base` of zero it is the *full jitter* of Marc Brooker, "Exponential Backoff And
/// Jitter", AWS Architecture Blog, 2015. There is no wait before the first failure. A clone has the same settings and
/// starts without failures.
///
/// Writers that share a strategy share its count and the wait drawn last. A failed attempt counts whichever writer made
/// it: when eight writers fail at the same time, that is eight failures in a row, and with the default settings the next
/// wait is drawn from up to 20 s, where a single writer would wait up to 2 s. Behind a queue there is one writer.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{Sink, SinkExt, retry::ExponentialBackoff, sink};
///
/// let backoff = ExponentialBackoff::default()
///     .base(Duration::from_millis(1))
///     .factor(Duration::from_millis(1))
///     .max(Duration::from_millis(5));
/// let mut attempts = 0;
/// let flaky = sink::from_fn_mut(move |_: &&str| {
///     attempts += 1;
///     if attempts < 4 { Err("overloaded") } else { Ok(()) }
/// });
/// assert!(flaky.retry(backoff).write("push").is_ok());
/// ```
#[derive(Debug)]
pub struct ExponentialBackoff {
    base: Duration,
    factor: Duration,
    max: Duration,
    /// Consecutive failures.
    failures: AtomicU32,
    /// The end of the wait, by the clock.
    until: AtomicU64,
    /// The seed that was set.
    first_seed: Option<u64>,
    /// The seed of the next random number.
    seed: AtomicU64,
    clock: ClockSlot,
}

impl Default for ExponentialBackoff {
    /// A base of 1 s, a factor of 1 s, and a maximum of 20 s.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            factor: Duration::from_secs(1),
            max: Duration::from_secs(20),
            failures: AtomicU32::new(0),
            until: AtomicU64::new(0),
            first_seed: None,
            seed: AtomicU64::new(fastrand::u64(..)),
            clock: ClockSlot::default(),
        }
    }
}

impl Clone for ExponentialBackoff {
    /// A strategy with the same settings, for another endpoint: without failures. To share one, clone an `Arc` of it.
    ///
    /// It draws its own random waits. If a [`seed`](ExponentialBackoff::seed) was set, they are the same as those of the
    /// original from its start.
    fn clone(&self) -> Self {
        let clone = Self {
            base: self.base,
            factor: self.factor,
            max: self.max,
            clock: self.clock.clone(),
            ..Self::default()
        };
        match self.first_seed {
            Some(seed) => clone.seed(seed),
            None => clone,
        }
    }
}

impl ExponentialBackoff {
    /// Sets the part of the bound that is the same after every failure. Default: 1 s.
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the part of the bound that doubles: it counts twice after the second failure, four times after the third.
    /// Default: 1 s.
    pub fn factor(mut self, factor: Duration) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the maximum of the bound. Default: 20 s.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Seeds the random numbers, so that every run draws the same waits: for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.first_seed = Some(seed);
        self.seed = AtomicU64::new(seed);
        self
    }

    /// Uses `clock` instead of the monotonic one: for tests. Set the clock of the [`Retry`](super::Retry::clock) too.
    pub fn clock<C>(mut self, clock: C) -> Self
    where
        C: Clock + 'static,
    {
        self.clock = ClockSlot::of(clock);
        self
    }

    /// Backs off by the failures of each write, and not by those of all: a write that fails waits longer each time, and
    /// delays no other. For an endpoint that is many, of which one is down: a shard for each tenant, a container for each
    /// id. There is no wait for the endpoint as a whole, so several writers that share it all go on making attempts.
    ///
    /// # Examples
    ///
    /// As in containerd's CRI plugin, an event that cannot be handled is retried with a backoff of its container's own:
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use outflow::{Sink, SinkExt, retry::ExponentialBackoff, sink};
    ///
    /// let handled = sink::collector();
    /// let (log, ready) = (handled.clone(), handled.clone());
    /// let handle = sink::from_fn(move |container: &&str| {
    ///     if *container == "web" && ready.len() < 2 {
    ///         return Err("its task does not answer");
    ///     }
    ///     log.write(*container).unwrap();
    ///     Ok(())
    /// });
    /// let backoff = ExponentialBackoff::default()
    ///     .base(Duration::ZERO)
    ///     .factor(Duration::from_millis(1))
    ///     .max(Duration::from_secs(300));
    /// let handle = handle.retry(backoff.per_write());
    ///
    /// thread::scope(|scope| {
    ///     scope.spawn(|| handle.write("web").unwrap()); // Retried until the others are handled.
    ///     scope.spawn(|| handle.write_all(["db", "cache"]).unwrap());
    /// });
    /// assert_eq!(handled.events(), ["db", "cache", "web"]);
    /// ```
    pub fn per_write(self) -> PerWrite {
        PerWrite { backoff: self }
    }

    /// The bound of the wait after `failures` failures in a row: by default 0, 2, 3, 5, 9, 17, 20 and 20 s after 0 to 7
    /// of them. Saturates.
    pub fn bound(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let doubled = if self.factor.is_zero() {
            Duration::ZERO
        } else {
            let times = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            // A factor of a nanosecond, times 2^31, may still be less than `max`.
            let more = doublings.saturating_sub(31);
            let doubled = self.factor.saturating_mul(times.max(1));
            if more == 0 { doubled } else { double(self.factor.saturating_mul(1 << 31), more) }
        };
        self.base.saturating_add(doubled).min(self.max)
    }

    /// A random wait after `failures` failures in a row.
    fn wait_after(&self, failures: u32) -> Duration {
        Duration::from_nanos(self.draw(self.bound(failures)))
    }

    fn draw(&self, bound: Duration) -> u64 {
        // A step of the golden ratio: the increment of SplitMix64 (Steele, Lea and Flood, 2014).
        let seed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        match nanos(bound) {
            0 => 0,
            bound => fastrand::Rng::with_seed(seed).u64(0..bound),
        }
    }
}

fn double(mut time: Duration, times: u32) -> Duration {
    // Any duration above zero is at its maximum after 94 doublings.
    for _ in 0..times.min(128) {
        time = time.saturating_mul(2);
    }
    time
}

impl<E, X> RetryStrategy<E, X> for ExponentialBackoff {
    type Stop = Infallible;

    fn backoff(&self, _event: &E) -> Duration {
        // Acquire: pairs with the release in `failure`, which sets `until` first. SeqCst, as in `success`: see `Alarm`.
        if self.failures.load(Ordering::SeqCst) == 0 {
            return Duration::ZERO;
        }
        let until = self.until.load(Ordering::Acquire);
        Duration::from_nanos(until.saturating_sub(nanos(self.clock.now())))
    }

    fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        let wait = self.draw(self.bound(failures));
        self.until.store(nanos(self.clock.now()).saturating_add(wait), Ordering::Release);
        let _ = self.failures.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |failures| {
            (failures < u32::MAX).then(|| failures + 1)
        });
        Ok(())
    }

    fn success(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::SeqCst);
        }
    }
}

/// An exponential backoff by the failures of one write. Made by [`per_write`](ExponentialBackoff::per_write). A clone has
/// the same settings.
#[derive(Clone, Debug)]
pub struct PerWrite {
    backoff: ExponentialBackoff,
}

impl<E, X> RetryStrategy<E, X> for PerWrite {
    type Stop = Infallible;

    fn backoff(&self, _event: &E) -> Duration {
        Duration::ZERO
    }

    fn failure(&self, _failure: Failure<'_, E, X>) -> Result<(), Infallible> {
        Ok(())
    }

    fn own_backoff(&self, failure: Failure<'_, E, X>) -> Duration {
        self.backoff.wait_after(failure.attempt)
    }

    fn success(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_never_shrinks_and_never_exceeds_the_maximum() {
        let shapes = [
            (1_u64, 1_u64, 5_u64),
            (0, 1, u64::MAX),
            (0, 0, 0),
            (5, 0, 9),
            (u64::MAX, u64::MAX, u64::MAX),
            (9, 9, 1),
        ];
        for (base, factor, max) in shapes {
            let of = Duration::from_nanos;
            let backoff = ExponentialBackoff::default().base(of(base)).factor(of(factor)).max(of(max));
            let bounds: Vec<_> = (0..300).chain([u32::MAX]).map(|n| backoff.bound(n)).collect();
            assert!(bounds.is_sorted(), "{base} {factor} {max}: {bounds:?}");
            assert!(bounds.iter().all(|bound| *bound <= of(max)));
            if factor > 0 {
                assert_eq!(bounds.last(), Some(&of(max)));
            }
        }
    }
}
