//! The flush and the close of two sinks: a panic of one leaves the other to be flushed or closed all the same.

use crate::lifecycle::{Closing, Flushing, close_caught, flush_caught};

pub(super) fn flush_both(sink: impl FnOnce() -> Flushing, other: impl FnOnce() -> Flushing) -> Flushing {
    Flushing::all([flush_caught(sink), flush_caught(other)])
}

/// Begins with `other`, to which the sink may divert events.
pub(super) fn close_both(sink: impl FnOnce() -> Closing, other: impl FnOnce() -> Closing) -> Closing {
    let other = close_caught(other);
    Closing::all([close_caught(sink), other])
}
