//! What every worker is: the life that a queue and a follower of a log share, and where it runs.
//!
//! A worker takes events from a [`Source`] and hands each to a [`Deliver`]. [`life`] has its loop, [`end`] what becomes
//! of what is left when that ends, however it does, [`abort`] how it is ended before its time. What it shares with its
//! handles and with an abort is a [`Drain`].

mod abort;
mod deliver;
mod downstream;
mod end;
mod executor;
mod flushes;
mod life;
mod place;
mod pool;
mod source;
mod state;
#[cfg(test)]
pub(crate) mod testing;
mod thread;
mod together;

pub(crate) use self::abort::AbortDrain;
pub(crate) use self::deliver::{Awaited, Deliver, Direct};
pub(crate) use self::downstream::{Closes, ClosesAsync};
pub(crate) use self::end::finish;
pub(crate) use self::executor::BlocksFor;
pub use self::executor::{AsyncOnly, Executor, MayBlock};
pub(crate) use self::life::Life;
pub use self::life::WorkerFuture;
pub(crate) use self::place::Place;
pub use self::pool::{Workers, WorkersBuilder, WorkersStats};
pub(crate) use self::source::{Drain, End, Next, Source};
pub(crate) use self::state::{Cause, WorkerState, count};
pub(crate) use self::together::Together;
