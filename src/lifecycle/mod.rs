//! Closing and flushing: begun at once, waited for where one likes.

mod abort;
mod closing;
pub(crate) mod completion;
mod deferred;
pub(crate) mod ended;
mod error;
mod flushing;
mod graph;
mod maybe_done;
mod slow_close;
mod task;
mod trail;
mod wait;

pub(crate) use self::closing::close_caught;
pub use self::closing::{Closing, PendingClose};
pub(crate) use self::completion::{MaybeDone, Remaining};
pub use self::ended::{Ended, EndedSink};
pub use self::error::{CloseError, FlushError};
pub(crate) use self::flushing::flush_caught;
pub use self::flushing::{Flushing, PendingFlush};
pub(crate) use self::maybe_done::join;
#[cfg(feature = "durable")]
pub(crate) use self::trail::GivenUp;
pub(crate) use self::trail::Trail;
