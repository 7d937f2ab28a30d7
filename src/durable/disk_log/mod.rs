//! The store beneath a durable queue: a log of records on disk. Its promises are those of [`durable`](super).
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
pub(crate) use self::error::StoreError;
pub(crate) use self::format::MAX_PAYLOAD;
pub use self::inspect::{Inspection, inspect};
pub use self::journal::Recovered;
pub(crate) use self::options::Options;
pub use self::options::Sync;
pub(crate) use self::reader::{Next, Reader};
pub use self::recover::Damage;
pub(crate) use self::store::Store;
pub(crate) use self::wall_clock::age;

#[cfg(test)]
pub(super) mod tests;
