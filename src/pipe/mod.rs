//! What queues, channels and subscriptions are made of: see [`shared`].

mod reserve;
mod shared;
mod writer;

pub(crate) use self::reserve::Reserved;
pub(crate) use self::shared::{Pipe, ReadEnd};
pub(crate) use self::writer::{Handle, Writer, pipe};
