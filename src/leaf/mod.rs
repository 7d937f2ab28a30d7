//! The leaves: sinks that wrap no other. Public as `outflow::sink`.

mod collector;
mod discard;
mod for_each;
mod from_fn;
mod from_fn_mut;

pub use self::collector::{Collector, collector};
pub use self::discard::{Discard, discard};
pub use self::for_each::{ForEach, for_each};
pub use self::from_fn::{FromFn, from_fn};
pub use self::from_fn_mut::{FromFnMut, from_fn_mut};
