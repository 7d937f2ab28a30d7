//! Why a reader cannot begin.

use std::io;

use super::seq::Seq;

/// A reader cannot begin where it was to.
///
/// # Examples
///
/// ```
/// use outflow::log::{Log, Start, StartError};
///
/// let log = Log::new();
/// log.append("nobody reads this")?;
/// let error = log.subscribe_with(Start::At(0)).unwrap_err();
/// assert_eq!(error, StartError::NotHeld { seq: 0, oldest: 1 });
/// # Ok::<(), outflow::WriteError<&str, std::convert::Infallible>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log no longer holds this event.
    #[error("event {seq} is no longer held: the oldest that is held, or will be, is {oldest}")]
    NotHeld {
        /// The event to begin with.
        seq: Seq,
        /// The oldest one that is held; the next one, if none is.
        oldest: Seq,
    },
    /// There is no such event yet, nor is it the next one.
    #[error("event {seq} is yet to come: the next one is {next}")]
    Ahead {
        /// The event to begin with.
        seq: Seq,
        /// The number of the next event.
        next: Seq,
    },
}

/// A follower could not be started. Its sink's close was begun.
///
/// # Examples
///
/// ```
/// use outflow::log::{FollowError, Log, Start, StartError};
/// use outflow::{Sink, sink};
///
/// let log = Log::<u32>::new();
/// let late = sink::collector();
/// let error = log.follow_with(Start::At(7), late.clone()).unwrap_err();
/// assert!(matches!(error, FollowError::Start(StartError::Ahead { seq: 7, next: 0 })));
/// assert!(late.is_closed());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// It cannot begin where it was to.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system has no thread for it.
    #[error("the follower's thread could not be started: {0}")]
    Spawn(#[source] io::Error),
}
