//! What can share a process: one binary, a file for each promise or room. What needs a process of its own (a global
//! logger, a service, Miri) is a test beside this folder.

mod common;

#[cfg(feature = "testing")]
mod abort;
mod accounting;
#[cfg(all(feature = "testing", feature = "tokio"))]
mod async_conformance;
#[cfg(all(feature = "futures", feature = "tokio"))]
mod async_queues;
#[cfg(all(feature = "futures", feature = "testing", feature = "tokio"))]
mod async_races;
#[cfg(feature = "testing")]
mod async_sinks;
mod auto_traits;
#[cfg(feature = "futures")]
mod awaiting;
#[cfg(feature = "testing")]
mod backoff;
mod bad_input;
#[cfg(all(feature = "testing", feature = "tokio"))]
mod batch_weight;
#[cfg(feature = "testing")]
mod bounds;
#[cfg(feature = "testing")]
mod broadcast;
#[cfg(feature = "testing")]
mod close;
#[cfg(feature = "testing")]
mod closing_combinators;
#[cfg(feature = "testing")]
mod conformance;
#[cfg(feature = "testing")]
mod conformance_catches;
#[cfg(feature = "testing")]
mod depth;
#[cfg(feature = "testing")]
mod expire;
#[cfg(feature = "testing")]
mod flush;
mod getters;
#[cfg(feature = "testing")]
mod go_events;
#[cfg(feature = "testing")]
mod keyed;
#[cfg(feature = "testing")]
mod limits;
mod lives;
#[cfg(feature = "testing")]
mod log;
#[cfg(feature = "testing")]
mod log_flush;
mod log_model;
#[cfg(feature = "testing")]
mod log_panics;
#[cfg(feature = "testing")]
mod log_runs;
#[cfg(feature = "futures")]
mod log_streams;
#[cfg(feature = "metrics")]
mod metrics;
mod ordering;
mod owned;
mod panics;
#[cfg(feature = "testing")]
mod reentrancy;
mod retry;
#[cfg(feature = "testing")]
mod retry_after;
#[cfg(feature = "testing")]
mod rings;
mod rounds;
mod split;
#[cfg(feature = "futures")]
mod streams;
#[cfg(feature = "testing")]
mod testing;
mod wants;
#[cfg(feature = "testing")]
mod workers;
mod write_all;
mod write_ref;
