//! The transparent combinators: one file each, made by the methods of [`SinkExt`](crate::SinkExt).
//!
//! They hold no events of their own. A write runs on the writer's thread and takes as long as what is
//! downstream does; a panic in a closure goes on to the writer.
//!
//! # All combinators
//!
#![doc = include_str!("../docs/combinators.md")]

mod both;
mod catch_panic;
mod close_guard;
mod close_on_failure;
mod close_with_last;
mod closeable;
mod dead_letter;
mod expire_after;
mod fallback;
mod filter;
mod filter_map;
mod immediate;
mod inspect;
#[cfg(feature = "futures")]
mod into_futures;
mod keep_open;
mod latency;
mod lossy;
mod map;
mod map_owned;
mod metered;
mod rate_limit;
mod split_on;
mod tee;
mod timeout;

pub use self::catch_panic::{CatchPanic, CatchPanicError};
pub use self::close_guard::CloseGuard;
pub use self::close_on_failure::CloseOnFailure;
pub use self::close_with_last::CloseWithLast;
pub use self::closeable::Closeable;
pub use self::dead_letter::{DeadLetter, DeadLettered};
pub use self::expire_after::{ExpireAfter, ExpireError};
pub use self::fallback::Fallback;
pub use self::filter::Filter;
pub use self::filter_map::FilterMap;
pub use self::inspect::Inspect;
#[cfg(feature = "futures")]
pub use self::into_futures::{IntoFutures, IntoFuturesError};
pub use self::keep_open::KeepOpen;
#[cfg(feature = "metrics")]
pub(crate) use self::latency::Histograms;
pub use self::lossy::{Counter, Lossy};
pub use self::map::Map;
pub use self::map_owned::MapOwned;
pub use self::metered::{Meter, MeterSnapshot, Metered};
pub use self::rate_limit::RateLimit;
pub use self::split_on::SplitOn;
pub use self::tee::Tee;
pub use self::timeout::{Timeout, TimeoutError};
