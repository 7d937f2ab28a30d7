//! The trait, and the leaves: sinks that wrap no other.
//!
//! | function | closure | error |
//! | --- | --- | --- |
//! | [`from_fn(f)`](from_fn) | `Fn(&E) -> Result<(), X>` | `X` |
//! | [`from_fn_mut(f)`](from_fn_mut) | `FnMut(&E) -> Result<(), X>`, behind a mutex | `X` |
//! | [`from_async_fn(f)`](from_async_fn), an [`AsyncSink`] | `Fn(E)`, whose future returns `Result<(), X>` | `X` |
//! | `from_service(s)` (feature `tower`), an [`AsyncSink`] | a `tower::Service<E>` | that of the service |
//! | [`for_each(f)`](for_each) | `Fn(E)` | `Infallible` |
//! | [`discard()`](discard) | | `Infallible` |
//! | [`collector()`](collector) | keeps the events, for tests | `Infallible` |
//!
//! Each refuses writes once closed.

pub use crate::contract::{AsyncSink, ImmediateSink, Never, SharedAsyncSink, SharedSink, Sink};
pub use crate::leaf::{
    Collector, Discard, ForEach, FromAsyncFn, FromFn, FromFnMut, collector, discard, for_each, from_async_fn,
    from_fn, from_fn_mut,
};
#[cfg(feature = "tower")]
pub use crate::leaf::{FromService, from_service};
