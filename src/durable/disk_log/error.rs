use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a store could not be opened. Nothing was changed on the disk, unless it is [`Io`](OpenError::Io).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is open already, in this process or in another.
    #[error("the store {} is open already: one at a time", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// It is something else, which is left alone.
    #[error("{} is not a store: {why}", path.display())]
    NotAStore {
        /// What was to be the store.
        path: PathBuf,
        /// What was found there.
        why: String,
    },
    /// A newer version of this crate wrote it.
    #[error("the store {} has format {version}, and this version reads up to {newest}", path.display())]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// The format that it has.
        version: u32,
        /// The newest that can be read.
        newest: u32,
    },
    /// It holds events of another schema.
    #[error("the store {} has schema {found:?}, and {wanted:?} was asked for", path.display())]
    OtherSchema {
        /// The store.
        path: PathBuf,
        /// The schema that it was made with.
        found: String,
        /// The schema that was asked for.
        wanted: String,
    },
    /// The path is a symbolic link, and none is followed.
    #[error("{} is a symbolic link, and none is followed", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("{doing} {} failed: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, doing: &'static str, error: io::Error) -> Self {
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
            return Self::Symlink { path: path.to_owned() };
        }
        Self::Io { path: path.to_owned(), doing, error }
    }
}

/// Why something was not stored. All writers of a group get the same.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It works again once there is room.
    #[error("the disk is full: {0}")]
    DiskFull(Arc<io::Error>),
    /// It works again once events have been delivered.
    #[error("the store has as many bytes as it may ({max_bytes})")]
    MaxBytes { max_bytes: u64 },
    #[error("an event of {len} bytes is larger than a record may be ({max})")]
    TooLarge { len: usize, max: usize },
    /// The store refuses from now on: what is in its file is not known until it is read again.
    #[error("the store failed and has to be opened again: {0}")]
    Failed(Arc<io::Error>),
    #[error("the store is closed")]
    Closed,
}
