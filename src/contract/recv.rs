//! Why a reader has no next event: the same for a channel's events and for a log's cursors.

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
    /// The cursor skipped ahead, as [`Lag::Skip`](crate::log::Lag::Skip) says; the next call reads on from there.
    #[error("skipped ahead: {0}")]
    Lagged(Lagged),
    /// The cursor is closed, as [`Lag::Close`](crate::log::Lag::Close) says. Its
    /// [`position`](crate::log::Cursor::position) is the event that it would have read next.
    #[error("the cursor is closed: {0}")]
    Closed(Lagged),
    /// The cursor was [cancelled](crate::log::CursorHandle::cancel).
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
