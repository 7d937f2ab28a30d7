//! Events on disk: the store beneath a durable queue, and a look at one. Feature `durable`; asks for Rust 1.89, where the
//! rest of the crate asks for 1.85.
//!
//! A store is a directory of segments, which hold records one after the other: events, and how far they are acknowledged
//! and how often they were tried. [`inspect`] reads one, beside a process that works with it.
//!
//! # What it promises
//!
//! - A write returns when it is committed as [`Sync`] says. Concurrent writers share one sync.
//! - After a crash, everything that was committed and not acknowledged is there, in order. After a crash of the process
//!   alone nothing that was acknowledged comes twice, unless the disk was full; after a power failure at most as many events
//!   as were acknowledged since the last sync, fewer than 4,096. With [`Sync::Os`] a power failure may take anything that was
//!   not synced yet, acknowledgements too, and a number may be given twice.
//! - An event whose write failed may be found after a crash all the same.
//! - Damage costs the records that are damaged, and is reported by number ([`Damage`]). The bytes are kept, in files
//!   `damaged-*`, which nothing here removes.
//! - On a full disk a write is an error, and works again once there is room. The store makes some itself, when events are
//!   acknowledged: whole segments of 32 MiB. What remains when all is acknowledged is
//!   at most 1 MiB.
//! - After any other failure of a write, and after every failure of a sync, the store refuses until it is opened again.
//! - Files have the mode 0600, the directory 0700; no symbolic link is followed.
//!
//! # Why a log of its own
//!
//! An embedded store that others keep would have been better. Measured were redb 4.6, SQLite 3 (rusqlite 0.40, WAL), fjall
//! 3.1 and persistent-queue 0.2, with events of 256 bytes, on 27 November 2026, on two busy cores where an `fdatasync` took
//! 2 to 4 ms: medians of the pairwise ratios to the same done by hand, of three runs in turn, and of nine for the last two of this.
//!
//! | | at most | redb | SQLite | fjall | this |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 writer, `Always`; append and `fdatasync` | 1.4 | 1.19 | **1.64** | 1.14 | 1.26 |
//! | 8 writers, `Always`; the same for 8 at once | 1.5 | **5.69** | **10.0** | **8.67** | 0.26 |
//! | runs of 1,000, `Always`; the same for 1,000 | 2.0 | **4.79** | **3.60** | 1.21 | 1.51 |
//! | 1 writer, `Os`; one `write` each | 2.0 | **5.44** | **12.0** | **3.13** | 1.34 |
//! | a backlog of 100,000; reading the same bytes | 5 | **6.57** | **89** | **67** | **5.7 to 8.9** |
//!
//! Bold is a bar that was missed. (The row of 8 writers has no leader over the stores that do not group commits themselves:
//! with one it would be near the row above. It is the other rows that decide.) No candidate comes near one `write` for each
//! event, since each changes pages or a tree; and none of them loses only a record when a page is damaged. So this is a log:
//! one format of file, a number and a checksum in each record, no file beside it that could disagree.
//!
//! Its own backlog misses the bar on that machine: in a run under `strace` that took 84 ms, 25 were syncs, for one segment
//! that is sealed and one that is begun, and 4 the removal of files. Against persistent-queue with its group policy, 8 writers,
//! short runs gave 0.56, 0.70 and 1.07 with `Always`, where 0.7 is the bar, and at most 0.05 with the other policies.
//!
//! ```text
//! cargo run --release --manifest-path benches/durable/Cargo.toml
//! ```

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
