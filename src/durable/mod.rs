//! Events that survive the process: a queue whose events are on disk from before a write returns until the sink below has
//! accepted them. Feature `durable`; asks for Rust 1.89, where the rest of the crate asks for 1.85.
//!
//! [`durable`](crate::SinkExt::durable) makes a [`Durable`] queue, [`inspect`] looks at one on disk, beside a process that
//! works with it. What it costs and how to choose: [`docs::durable`](crate::docs::durable).
//!
//! # What it promises
//!
//! - A write returns `Ok` when its event is committed as [`Sync`] says. Concurrent writers share one sync, and
//!   [`write_all`](crate::SinkExt::write_all) commits up to 1,024 events at once.
//! - An event is acknowledged on disk only after the sink has accepted it *and* a flush of that sink, begun afterwards, has
//!   come through, during which no buffer between has dropped, spilled or skipped anything. Otherwise its events are delivered
//!   again, in order, one by one, after a pause of 100 ms, which doubles up to 10 s. It is told: in `stats`, and to `tracing`.
//! - After a crash, everything that was committed and not acknowledged is delivered, in order, at least once. What comes
//!   twice after a crash of the process is what was delivered and not acknowledged, at most
//!   [`unconfirmed`](DurableOptions::unconfirmed) events. After a power failure it is up to 4,096 more, those acknowledged
//!   since the last sync. With [`Sync::Os`] a power failure may take anything that was not synced yet, acknowledgements
//!   too, and a number may be given twice.
//! - An event whose write failed may be delivered after a crash all the same.
//! - Damage costs the records that are damaged, and is reported by number ([`Damage`]). The bytes are kept, in files
//!   `damaged-*`, which nothing here removes.
//! - On a full disk a write is an error, and works again once there is room, unless there is a policy:
//!   [`wait_for_room`](DurableOptions::wait_for_room) or [`drop_oldest`](DurableOptions::drop_oldest). The store makes some itself, when events are
//!   acknowledged: whole segments of 32 MiB. What remains when all is acknowledged is at most 1 MiB, and while it is open
//!   256 KiB more.
//! - After any other failure of a write, and after every failure of a sync, the store refuses until it is opened again.
//! - Files have the mode 0600, the directory 0700; no symbolic link is followed.
//! - One queue at a time has a store open. An event that stays on disk is no loss: no error of a close counts it.

#![allow(clippy::incompatible_msrv, reason = "the feature asks for Rust 1.89")]

mod backlog;
mod confirm;
mod disk_log;
mod encoding;
mod error;
mod options;
mod queue;
mod state;
mod stats;
#[cfg(test)]
mod tests;

pub use self::disk_log::{Damage, Inspection, OpenError, Recovered, Sync, inspect};
pub use self::encoding::{Encoding, MessagePack};
pub use self::error::CommitError;
pub use self::options::{DurableOptions, Undecodable};
pub use self::queue::Durable;
pub use self::stats::DurableStats;
