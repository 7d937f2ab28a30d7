//! `--durable`: a queue on disk for each endpoint. `disabled` stands in for it where the feature is off, so that the first
//! command of the README builds nothing that it does not use.

mod options;

#[cfg(not(feature = "durable"))]
#[path = "disabled.rs"]
mod stores;
#[cfg(feature = "durable")]
#[path = "enabled.rs"]
mod stores;

pub(crate) use self::options::DurableArgs;
pub(crate) use self::stores::{OnDisk, Stores};
#[cfg(feature = "durable")]
#[allow(unused_imports, reason = "for `registry_relay`")]
pub(crate) use self::stores::{Refusal, UNCONFIRMED};
