//! The leaves: sinks that wrap no other. Public as `outflow::sink`.

/// The lifecycle of a sink that holds no events: what was accepted is delivered, so a close only sets the
/// flag.
macro_rules! closed_by_flag {
    ($closed:ident) => {
        fn flush(&self) -> $crate::lifecycle::Flushing {
            $crate::lifecycle::Flushing::done()
        }

        fn close(&self) -> $crate::lifecycle::Closing {
            self.$closed.set();
            $crate::lifecycle::Closing::done()
        }

        fn is_closed(&self) -> bool {
            self.$closed.is_set()
        }
    };
}

mod collector;
mod discard;
mod for_each;
mod from_async_fn;
mod from_fn;
mod from_fn_mut;
#[cfg(feature = "tower")]
mod from_service;

pub use self::collector::{Collector, collector};
pub use self::discard::{Discard, discard};
pub use self::for_each::{ForEach, for_each};
pub use self::from_async_fn::{FromAsyncFn, from_async_fn};
pub use self::from_fn::{FromFn, from_fn};
pub use self::from_fn_mut::{FromFnMut, from_fn_mut};
#[cfg(feature = "tower")]
pub use self::from_service::{FromService, from_service};
