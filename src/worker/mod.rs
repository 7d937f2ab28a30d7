//! What every worker is: the life that a queue and a follower of a log share.

mod downstream;
mod pool;

pub(crate) use self::downstream::Downstream;
pub use self::pool::{Workers, WorkersBuilder, WorkersStats};
