//! Primitives that know no event: they import from no other room of this crate.

pub(crate) mod blocking;
pub(crate) mod caught;
pub mod clock;
pub(crate) mod gate;
mod id;
pub(crate) mod limiter;
pub(crate) mod permits;
mod rate;
pub(crate) mod scope;
pub(crate) mod spin;
pub(crate) mod stop;
pub(crate) mod timer;
pub(crate) mod waker;

pub(crate) use self::id::Label;
pub use self::id::SinkId;
pub use self::rate::Rate;
pub use self::scope::is_delivering;
