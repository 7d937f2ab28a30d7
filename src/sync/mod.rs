//! Primitives that know no event: they import from no other room of this crate.

pub(crate) mod blocking;
pub(crate) mod caught;
pub mod clock;
pub(crate) mod gate;
mod give_way;
mod id;
pub(crate) mod limiter;
mod parties;
pub(crate) mod permits;
mod rate;
pub(crate) mod scope;
pub(crate) mod spin;
pub(crate) mod stop;
pub(crate) mod timer;
pub(crate) mod until;
pub(crate) mod waker;

pub(crate) use self::give_way::give_way;
pub(crate) use self::id::Label;
pub use self::id::SinkId;
pub(crate) use self::parties::Parties;
pub use self::rate::Rate;
pub use self::scope::is_delivering;
