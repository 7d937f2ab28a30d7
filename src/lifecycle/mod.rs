//! Closing and flushing: begun at once, waited for where one likes.

mod closing;
pub(crate) mod completion;
mod deferred;
pub(crate) mod ended;
mod error;
mod flushing;
mod graph;
mod maybe_done;
mod task;
mod trail;

pub(crate) use self::closing::close_caught;
pub use self::closing::{Closing, PendingClose};
pub use self::ended::{Ended, EndedSink};
pub use self::error::{CloseError, FlushError};
pub(crate) use self::flushing::flush_caught;
pub use self::flushing::{Flushing, PendingFlush};
pub(crate) use self::graph::Remaining;
pub(crate) use self::maybe_done::{MaybeDone, join};
pub(crate) use self::trail::Trail;

use std::time::{Duration, Instant};

/// How long an abort gives a write that is under way to come back.
pub(crate) const ABORT_GRACE: Duration = Duration::from_millis(100);

/// `None` is never: a timeout beyond what the clock can count.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
