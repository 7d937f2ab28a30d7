//! Writing many events: in runs, if the sink is better at that.
//!
//! # Why no lock of the sink's is held while the iterator runs
//!
//! A run is pulled into a vector first, and then written as a whole. The iterator may call the sink, wait or panic. One
//! that does not know how many events it has, such as that of a channel's receiver, may wait for the next; so each of
//! its events is written before that.

use std::fmt;
use std::iter::Chain;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::vec;

use super::error::WriteError;
use crate::sync::caught::drop_caught;

/// Where [`write_all`](crate::SinkExt::write_all) stopped.
pub struct WriteAllError<E, X, I> {
    /// The event that was refused, and why.
    pub refused: WriteError<E, X>,
    /// The events after it: those that were taken from the iterator to be written with it, then the iterator.
    pub rest: Chain<vec::IntoIter<E>, I>,
}

/// Writes `events` in runs of at most `longest`, and those of which the iterator does not say that there are more one
/// at a time.
#[inline]
pub(crate) fn write_all<E, X, I>(
    mut events: I,
    longest: usize,
    write: impl Fn(E) -> Result<(), WriteError<E, X>>,
    write_run: impl Fn(&mut vec::IntoIter<E>) -> Result<(), WriteError<E, X>>,
) -> Result<(), WriteAllError<E, X, I>>
where
    I: Iterator<Item = E>,
{
    loop {
        let length = if longest > 1 { longest.min(events.size_hint().0) } else { 1 };
        if length > 1 {
            let mut run = Vec::with_capacity(length);
            let pulled = catch_unwind(AssertUnwindSafe(|| run.extend(events.by_ref().take(length))));
            let mut run = run.into_iter();
            let written = write_run(&mut run);
            if let Err(panic) = pulled {
                // Closed meanwhile: a destructor that panics as well would be the end of the process.
                drop_caught(written);
                run.for_each(drop_caught);
                resume_unwind(panic);
            }
            if let Err(refused) = written {
                return Err(WriteAllError { refused, rest: run.chain(events) });
            }
        } else {
            let Some(event) = events.next() else {
                return Ok(());
            };
            if let Err(refused) = write(event) {
                return Err(WriteAllError { refused, rest: Vec::new().into_iter().chain(events) });
            }
        }
    }
}

impl<E, X: fmt::Debug, I> fmt::Debug for WriteAllError<E, X, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAllError").field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl<E, X: fmt::Display, I> fmt::Display for WriteAllError<E, X, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.fmt(f)
    }
}

impl<E, X: std::error::Error + 'static, I> std::error::Error for WriteAllError<E, X, I> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.refused)
    }
}
