use std::error::Error;
use std::io;
use std::sync::Arc;

use super::disk_log::StoreError;

/// Why an event was not committed. It is handed back beside this, and may be delivered after a crash all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The disk is full. It works again once there is room.
    #[error("the disk is full: {0}")]
    DiskFull(#[source] Arc<io::Error>),
    /// It works again once events have been delivered.
    #[error("the store has as many bytes as it may ({max_bytes})")]
    MaxBytes {
        /// How many it may have.
        max_bytes: u64,
    },
    /// No event may be as large.
    #[error("an event of {len} bytes is larger than a record may be ({max})")]
    TooLarge {
        /// The bytes of the event.
        len: usize,
        /// How many it may have.
        max: usize,
    },
    /// The event could not be encoded.
    #[error("the event could not be encoded: {0}")]
    Encoding(#[source] Arc<dyn Error + Send + Sync>),
    /// A write or a sync of the store has failed. It refuses from now on, until it is opened again and has read its files:
    /// what is on disk is not known before.
    #[error("the store failed and has to be opened again: {0}")]
    Failed(#[source] Arc<io::Error>),
}

impl CommitError {
    /// `None` if the store is closed.
    pub(super) fn of(error: StoreError) -> Option<Self> {
        Some(match error {
            StoreError::DiskFull(error) => Self::DiskFull(error),
            StoreError::MaxBytes { max_bytes } => Self::MaxBytes { max_bytes },
            StoreError::TooLarge { len, max } => Self::TooLarge { len, max },
            StoreError::Failed(error) => Self::Failed(error),
            StoreError::Closed => return None,
        })
    }
}
