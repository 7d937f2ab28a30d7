//! The file of what was not delivered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
#[cfg(unix)]
use nix::fcntl::{Flock, FlockArg, OFlag};
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::Notification;
use crate::lines::Lines;

/// How each line begins: with the endpoint that did not get the event, or, of what no endpoint got, the reason.
const BEGINNINGS: [&str; 2] = [r#"{"endpoint":""#, r#"{"reason":""#];

/// A file of one JSON object a line. Clones share.
///
/// - `endpoint`, `reason`, `event`: an event that did not reach this endpoint.
/// - `reason`, `envelope`: what was posted and cannot be relayed, and went to no endpoint.
/// - `reason`, `base64`: the same, where it is no JSON.
///
/// It is made by the first line, so that a run that delivers everything leaves none. One that a run has left is
/// appended to. When it was moved away, as by who rotates logs, or removed, the next line makes it anew.
#[derive(Clone)]
pub(crate) struct Undelivered(Arc<Mutex<Place>>);

struct Place {
    path: PathBuf,
    open: Option<Open>,
}

/// The file, and what keeps other processes from writing to it: a line that fails is cut off, and theirs would be.
struct Open {
    lines: Lines<File>,
    _lock: Lock,
}

#[cfg(unix)]
type Lock = Option<Flock<File>>;
#[cfg(not(unix))]
type Lock = ();

impl Undelivered {
    /// Also answers how many lines are there, if there is a file. If there is none, makes it and removes it again,
    /// to know now that it can be made.
    pub(crate) fn at(path: &Path) -> io::Result<(Self, Option<u64>)> {
        let (open, there) = match make(path) {
            Ok(file) => {
                drop(file);
                fs::remove_file(path)?;
                (None, None)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let (open, lines) = reopen(path)?;
                (Some(open), Some(lines))
            }
            Err(error) => return Err(error),
        };
        Ok((Self(Arc::new(Mutex::new(Place { path: path.to_path_buf(), open }))), there))
    }

    /// An event that did not reach this endpoint: one line, whole or not at all.
    pub(crate) fn write(&self, endpoint: &str, reason: &str, event: &Notification) -> io::Result<()> {
        let [endpoint, reason] = [endpoint, reason].map(Value::from);
        let head = format!(r#"{{"endpoint":{endpoint},"reason":{reason},"event":"#);
        let mut event = event.text().as_bytes().to_vec();
        put_on_one_line(&mut event);
        // In one piece, so that a reader sees it whole, too.
        self.0.lock().write(&[&[head.as_bytes(), &event, b"}\n"].concat()])
    }

    /// What was posted and cannot be relayed: one line, whole or not at all. It may be large, and is not copied if
    /// it is JSON.
    pub(crate) fn park(&self, reason: &str, mut body: Vec<u8>) -> io::Result<()> {
        let reason = Value::from(reason);
        let is_json = serde_json::from_slice::<&RawValue>(&body).is_ok();
        let (name, end): (&str, &[u8]) = if is_json {
            put_on_one_line(&mut body);
            (r#""envelope":"#, b"}\n")
        } else {
            body = BASE64_STANDARD.encode(&body).into_bytes();
            (r#""base64":""#, b"\"}\n")
        };
        let head = format!(r#"{{"reason":{reason},{name}"#);
        self.0.lock().write(&[head.as_bytes(), &body, end])
    }

    /// Once it has returned, a machine that stops loses nothing of the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Place { path, open } = &mut *self.0.lock();
        let Some(Open { lines, .. }) = open else { return Ok(()) };
        lines.sync()?;
        // That it is there stands in its folder.
        #[cfg(unix)]
        {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Place {
    fn write(&mut self, line: &[&[u8]]) -> io::Result<()> {
        loop {
            let here = self.open.as_ref().map_or(Ok(true), |open| is_at(open.lines.file(), &self.path))?;
            if !here {
                if let Some(mut elsewhere) = self.open.take() {
                    elsewhere.lines.sync()?;
                }
            }
            let Open { lines, .. } = match &mut self.open {
                Some(open) => open,
                none => none.insert(open(&self.path)?),
            };
            lines.write(line)?;
            // It may have been removed before the line came. One that was moved has it, wherever it is.
            if !is_removed(lines.file())? {
                return Ok(());
            }
        }
    }
}

fn open(path: &Path) -> io::Result<Open> {
    loop {
        match make(path) {
            Ok(file) => return Ok(Open { _lock: lock(&file)?, lines: Lines::new(file) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        match reopen(path) {
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            there => return there.map(|(open, _)| open),
        }
    }
}

/// A file that was not there: `create_new` neither opens one that is, nor follows a symbolic link.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path)
}

/// A file that is there, and how many lines it has, if it is one that a run has left. No other is written to, nor
/// one behind a symbolic link, nor another user's, who could read what is written.
fn reopen(path: &Path) -> io::Result<(Open, u64)> {
    let refuse = |what: &str| {
        let message = format!("{what}: move it away, or name another file");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
    };
    if !fs::symlink_metadata(path)?.is_file() {
        return refuse("what is there is no file");
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    // For what has taken its place since: no link is followed, and a pipe is not waited for.
    #[cfg(unix)]
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return refuse("what is there is no file");
    }
    #[cfg(unix)]
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("the file that is there belongs to another user");
    }
    let lock = lock(&file)?;

    let (mut length, mut lines, mut unended) = (0, 0, false);
    let mut reader = BufReader::with_capacity(1 << 16, &file);
    loop {
        let bytes = reader.fill_buf()?;
        let Some(last) = bytes.last() else { break };
        // A machine that stops in the middle of the first line leaves a part of its beginning.
        let begins = |with: &&str| with.bytes().zip(bytes).all(|(expected, byte)| expected == *byte);
        if length == 0 && !BEGINNINGS.iter().any(begins) {
            return refuse("the file that is there is none of what was not delivered");
        }
        unended = *last != b'\n';
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = bytes.len();
        length += read as u64;
        reader.consume(read);
    }
    Ok((Open { lines: Lines::after(file, length, unended), _lock: lock }, lines + u64::from(unended)))
}

/// Kept as long as the file is open. Where a file system has no locks there is none.
#[cfg(unix)]
fn lock(file: &File) -> io::Result<Lock> {
    match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"))
        }
        Err(_) => Ok(None),
    }
}

#[cfg(not(unix))]
fn lock(_file: &File) -> io::Result<Lock> {
    Ok(())
}

/// Whether this file, and not another or none, is at this path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        #[cfg(unix)]
        Ok(there) => {
            let file = file.metadata()?;
            Ok((there.dev(), there.ino()) == (file.dev(), file.ino()))
        }
        // What is open is not moved elsewhere.
        #[cfg(not(unix))]
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether this file is at no path at all any more.
fn is_removed(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(file.metadata()?.nlink() == 0);
    #[cfg(not(unix))]
    Ok(false)
}

/// Takes the whitespace out of JSON, and nothing else: registries write events on many lines.
fn put_on_one_line(json: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    json.retain(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\r' | b'\n' => return in_string,
            _ => {}
        }
        true
    });
}
