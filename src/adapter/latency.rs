use std::fmt;
use std::marker::PhantomData;
#[cfg(feature = "metrics")]
use std::{sync::OnceLock, time::Instant};

use crate::contract::WriteError;

/// How long metered writes take, once `Publisher::latency` asks for it. Without the feature `metrics` there is none,
/// and this is empty.
#[derive(Default)]
pub(crate) struct Latency {
    #[cfg(feature = "metrics")]
    histograms: OnceLock<Histograms>,
}

#[cfg(feature = "metrics")]
pub(crate) struct Histograms {
    pub(crate) success: metrics::Histogram,
    pub(crate) failure: metrics::Histogram,
}

/// A write that is under way.
pub(crate) struct Stopwatch<'a> {
    #[cfg(feature = "metrics")]
    running: Option<(&'a Histograms, Instant)>,
    latency: PhantomData<&'a Latency>,
}

impl Latency {
    /// Has writes timed from now on; `false` if they are already.
    #[cfg(feature = "metrics")]
    pub(crate) fn record_to(&self, histograms: Histograms) -> bool {
        self.histograms.set(histograms).is_ok()
    }

    /// One load, unless writes are timed.
    #[inline]
    pub(crate) fn start(&self) -> Stopwatch<'_> {
        Stopwatch {
            #[cfg(feature = "metrics")]
            running: self.histograms.get().map(|histograms| (histograms, Instant::now())),
            latency: PhantomData,
        }
    }
}

impl Stopwatch<'_> {
    /// Records the time, unless the sink was closed. The recorder is a user's, and its panic costs
    /// this sample and nothing else: where panics are caught, the write would seem to have failed.
    #[inline]
    pub(crate) fn stop<T, X>(self, _written: &Result<(), WriteError<T, X>>) {
        #[cfg(feature = "metrics")]
        if let Some((histograms, begun)) = self.running {
            let histogram = match _written {
                Ok(()) => &histograms.success,
                Err(WriteError::Failed { .. }) => &histograms.failure,
                Err(WriteError::Closed(_)) => return,
            };
            let took = begun.elapsed();
            crate::sync::caught::run_caught(|| histogram.record(took));
        }
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency").finish_non_exhaustive()
    }
}
