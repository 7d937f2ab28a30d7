//! What the store asks of a file system. The tests have one that loses what was not synced.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::OpenError;

/// Where a sync is made, so that the tests can leave out each in turn and see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// A group of writers, [`Sync::Always`](super::Sync).
    Group,
    /// The interval of [`Sync::Every`](super::Sync).
    Every,
    /// A segment, before the next one begins.
    Seal,
    /// A new segment, before it gets its name.
    Header,
    /// The directory, after a segment got its name.
    Entry,
    /// The last segment, after it was recovered.
    Recovered,
    /// The directory, when a store is recovered: a process may have died between a name and its sync.
    Names,
    /// The copy of damaged bytes, before they are overwritten.
    Aside,
    /// The directory, after that copy was made.
    AsideEntry,
    /// Acknowledgements, so that there is a bound on what comes twice, and before segments are removed.
    Acknowledged,
    /// The directory, before a segment that was delivered is emptied, on a full disk.
    Reclaim,
    /// The last of all.
    Close,
}

/// A directory of files, without the subdirectories.
pub(super) trait Disk: Send + Sync {
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_entries(&self, site: Site) -> io::Result<()>;
}

pub(super) trait DiskFile: Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer, up to the end of the file.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of it, or fails and may have written a part.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self, site: Site) -> io::Result<()>;
}

/// A directory of this machine.
pub(super) struct Directory {
    path: PathBuf,
    writable: bool,
}

impl Directory {
    /// To look only: nothing is made.
    pub(super) fn look(path: &Path) -> Result<Self, OpenError> {
        Self::check(path)?;
        Ok(Self { path: path.to_owned(), writable: false })
    }

    /// Makes it if it is not there; its parent has to be.
    pub(super) fn make(path: &Path) -> Result<Self, OpenError> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Ok(()) => {
                let parent = match path.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                sync_directory(parent).map_err(|error| OpenError::io(parent, "syncing", error))?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(OpenError::io(path, "making the directory", error)),
        }
        Self::check(path)?;
        Ok(Self { path: path.to_owned(), writable: true })
    }

    fn check(path: &Path) -> Result<(), OpenError> {
        let found =
            std::fs::symlink_metadata(path).map_err(|error| OpenError::io(path, "looking at", error))?;
        if found.is_symlink() {
            return Err(OpenError::Symlink { path: path.to_owned() });
        }
        if !found.is_dir() {
            let why = "it is a file, and a store is a directory".to_owned();
            return Err(OpenError::NotAStore { path: path.to_owned(), why });
        }
        Ok(())
    }

    /// Locks it for as long as the file that is returned is open.
    pub(super) fn lock(&self, name: &str) -> Result<File, OpenError> {
        let path = self.path.join(name);
        let file = self
            .options()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| OpenError::io(&path, "opening", error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => Err(OpenError::io(&path, "locking", error)),
        }
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(self.writable);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        }
        options
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.options().create(true).truncate(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.options().open(self.path.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_entries(&self, _: Site) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

/// On Windows a directory cannot be opened as a file; names are durable there with the file.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<usize> {
        let asked = into.len();
        while !into.is_empty() {
            match read_some(self, at, into) {
                Ok(0) => break,
                Ok(read) => {
                    at += read as u64;
                    into = &mut into[read..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(asked - into.len())
    }

    fn write_at(&self, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match write_some(self, at, bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self, _: Site) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(unix)]
fn read_some(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, at)
}

#[cfg(unix)]
fn write_some(file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, at)
}

#[cfg(windows)]
fn read_some(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, at)
}

#[cfg(windows)]
fn write_some(file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, at)
}
