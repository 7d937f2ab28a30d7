//! Why a reader has no next event, or cannot begin.

use std::io;

use super::seq::Seq;

/// How many events a reader missed because it was further behind than its `max_lag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader fell behind and missed {missed} events")]
#[non_exhaustive]
pub struct Lagged {
    /// How many events.
    pub missed: u64,
}

/// Why a read that waits has no next event.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, log::{Log, RecvError}};
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// log.append(1)?;
/// log.close().wait()?;
/// assert_eq!(cursor.recv(), Ok(1));
/// assert_eq!(cursor.recv(), Err(RecvError::Ended));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// What it reads from is closed, and everything is read.
    #[error("closed, and everything is read")]
    Ended,
    /// The cursor skipped ahead, as [`Lag::Skip`](super::Lag::Skip) says; the next call reads on from there.
    #[error("skipped ahead: {0}")]
    Lagged(Lagged),
    /// The cursor is closed, as [`Lag::Close`](super::Lag::Close) says. Its
    /// [`position`](super::Cursor::position) is the event that it would have read next.
    #[error("the cursor is closed: {0}")]
    Closed(Lagged),
    /// The cursor was [cancelled](super::CursorHandle::cancel).
    #[error("the cursor was cancelled")]
    Cancelled,
}

/// Why a read that does not wait, or not for ever, has no next event.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, log::{Log, TryRecvError}};
///
/// let log = Log::new();
/// let mut cursor = log.subscribe();
/// assert_eq!(cursor.try_recv(), Err(TryRecvError::Empty));
/// log.append(1)?;
/// log.close().wait()?;
/// assert_eq!(cursor.try_recv(), Ok(1));
/// assert_eq!(cursor.try_recv(), Err(TryRecvError::Ended));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is none now, or there was none in time.
    #[error("there is no event yet")]
    Empty,
    /// See [`RecvError::Ended`].
    #[error("{}", RecvError::Ended)]
    Ended,
    /// See [`RecvError::Lagged`].
    #[error("{}", RecvError::Lagged(*.0))]
    Lagged(Lagged),
    /// See [`RecvError::Closed`].
    #[error("{}", RecvError::Closed(*.0))]
    Closed(Lagged),
    /// See [`RecvError::Cancelled`].
    #[error("{}", RecvError::Cancelled)]
    Cancelled,
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Ended => Self::Ended,
            RecvError::Lagged(lagged) => Self::Lagged(lagged),
            RecvError::Closed(lagged) => Self::Closed(lagged),
            RecvError::Cancelled => Self::Cancelled,
        }
    }
}

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
