//! The trait, and the leaves: sinks that wrap no other.
//!
//! | function | closure | error |
//! | --- | --- | --- |
//! | [`from_fn(f)`](from_fn) | `Fn(&E) -> Result<(), X>` | `X` |
//! | [`from_fn_mut(f)`](from_fn_mut) | `FnMut(&E) -> Result<(), X>`, behind a mutex | `X` |
//! | [`for_each(f)`](for_each) | `Fn(E)` | `Infallible` |
//! | [`discard()`](discard) | | `Infallible` |
//! | [`collector()`](collector) | keeps the events, for tests | `Infallible` |
//!
//! Each refuses writes once closed.

pub use crate::contract::{Never, SharedSink, Sink};
pub use crate::leaf::{
    Collector, Discard, ForEach, FromFn, FromFnMut, collector, discard, for_each, from_fn, from_fn_mut,
};

#[cfg(feature = "futures")]
pub use crate::adapter::ImmediateSink;
