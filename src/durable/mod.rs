//! Events on disk: the store beneath a durable queue.

#![allow(clippy::incompatible_msrv, reason = "the feature asks for Rust 1.89")]

mod acked;
mod disk;
mod error;
mod format;
mod inspect;
mod journal;
mod options;
mod reader;
mod recover;
mod store;
mod wall_clock;

pub use self::error::OpenError;
pub use self::inspect::{Inspection, inspect};
pub use self::options::Sync;
pub use self::recover::Damage;
#[allow(unused_imports, reason = "the durable queue will stand on it; benches/durable does")]
pub(crate) use self::{
    options::Options,
    reader::{Next, Reader},
    store::Store,
};

#[cfg(test)]
mod tests;
