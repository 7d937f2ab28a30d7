//! The transparent combinators: one file each, made by the methods of [`SinkExt`](crate::SinkExt).
//!
//! They hold no events of their own. A write runs on the writer's thread and takes as long as what is
//! downstream does; a panic in a closure goes on to the writer.
//!
//! # All combinators
//!
//! A sink is *reliable* when its error is `Infallible`: then the only way in which it refuses an event is by
//! being closed. `X` stands for the error of the sink that a method is called on, and "reliable" for a sink
//! that has to be it.
//!
//! | you want | method | what it does | its error |
//! | --- | --- | --- | --- |
//! | **other events** | [`filter`](crate::SinkExt::filter) | writes those that a predicate holds for | `X` |
//! | | [`map`](crate::SinkExt::map) | writes what a closure makes of a borrowed event | `X` |
//! | | [`map_owned`](crate::SinkExt::map_owned) | writes what a closure makes of an event it takes | `X` |
//! | | [`filter_map`](crate::SinkExt::filter_map) | writes what a closure makes of an event, if it does | `X` |
//! | **to see them** | [`inspect`](crate::SinkExt::inspect) | calls a closure before each write | `X` |
//! | | [`metered`](crate::SinkExt::metered) | counts writes and outcomes | `X` |
//! | **something done about failures** | [`retry`](crate::SinkExt::retry) | writes again what fails | `Infallible` |
//! | | ... with [`max_attempts`](crate::retry::Retry::max_attempts) or [`give_up_when`](crate::retry::Retry::give_up_when) | gives up | `X` |
//! | | [`dead_letter`](crate::SinkExt::dead_letter) | writes what fails to another sink, with the error | the other's |
//! | | [`fallback`](crate::SinkExt::fallback) | writes what fails or is refused to another sink | the other's |
//! | | [`lossy`](crate::SinkExt::lossy), [`lossy_counted`](crate::SinkExt::lossy_counted) | drops what fails, and counts it | `Infallible` |
//! | | [`close_on_failure`](crate::SinkExt::close_on_failure) | closes the sink at its first failure | `Infallible` |
//! | | [`catch_panic`](crate::SinkExt::catch_panic) | makes an error of a panic | [`CatchPanicError<X>`](CatchPanicError) |
//! | **writers that do not wait** | [`queued`](crate::SinkExt::queued) (reliable) | puts a queue without a bound before it | `Infallible` |
//! | | [`queued_with`](crate::SinkExt::queued_with), [`try_queued_with`](crate::SinkExt::try_queued_with) (reliable) | puts a queue with a [`Buffer`](crate::Buffer) before it | `Infallible`; with `reject` or `block_for` [`Full`](crate::buffer::Full) |
//! | | [`batched`](crate::SinkExt::batched), [`batched_with`](crate::SinkExt::batched_with) (reliable) | puts a queue before a sink of vectors | as `queued`, `queued_with` |
//! | **several sinks** | [`tee`](crate::SinkExt::tee) (both reliable) | writes each event to two sinks | `Infallible` |
//! | | [`Broadcaster`](crate::Broadcaster) (all reliable) | writes each event to any number of sinks | `Infallible` |
//! | **a say in closing** | [`keep_open`](crate::SinkExt::keep_open) | passes a close on to nothing | `X` |
//! | | [`close_with_last`](crate::SinkExt::close_with_last) | is closed with the last of its clones | `X` |
//! | | [`closeable`](crate::SinkExt::closeable) | refuses writes after a close, whatever the sink does | `X` |
//! | | [`close_on_drop`](crate::SinkExt::close_on_drop) | closes when dropped, and waits: for `main` | `X` |
//! | **another type** | [`shared`](crate::SinkExt::shared) | erases the type of the sink | `X` |
//! | | `into_futures` (reliable, and never waits; feature `futures`) | makes a `futures::Sink` | `IntoFuturesError` |

mod catch_panic;
mod close_guard;
mod close_on_failure;
mod close_with_last;
mod closeable;
mod dead_letter;
mod fallback;
mod filter;
mod filter_map;
#[cfg(feature = "futures")]
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
mod tee;

pub use self::catch_panic::{CatchPanic, CatchPanicError};
pub use self::close_guard::CloseGuard;
pub use self::close_on_failure::CloseOnFailure;
pub use self::close_with_last::CloseWithLast;
pub use self::closeable::Closeable;
pub use self::dead_letter::{DeadLetter, DeadLettered};
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
pub use self::tee::Tee;
