//! What every worker is: the life that a queue and a follower of a log share.

mod downstream;

pub(crate) use self::downstream::Downstream;
