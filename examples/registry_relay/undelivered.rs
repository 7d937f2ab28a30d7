//! The file of what was not delivered.

use std::fs::{self, File, OpenOptions};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::envelope::Notification;
use crate::lines::Lines;

/// A file of one JSON object a line: the endpoint, why the event did not reach it, and the event. Clones
/// share.
///
/// It is made by the first line, so that a run that delivers everything leaves none, and nothing stands in
/// the way of the next. When it was moved away, as by who rotates logs, or removed, the next line makes it anew.
#[derive(Clone)]
pub(crate) struct Undelivered(Arc<Mutex<Place>>);

struct Place {
    path: PathBuf,
    lines: Option<Lines<File>>,
}

#[derive(Serialize)]
struct Line<'a> {
    endpoint: &'a str,
    reason: &'a str,
    event: Box<RawValue>,
}

impl Undelivered {
    /// Makes the file and removes it again, to know now that it can be made.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        drop(make(path)?);
        fs::remove_file(path)?;
        Ok(Self(Arc::new(Mutex::new(Place { path: path.to_path_buf(), lines: None }))))
    }

    /// One line, whole or not at all.
    pub(crate) fn write(&self, endpoint: &str, reason: &str, event: &Notification) -> io::Result<()> {
        let event = RawValue::from_string(on_one_line(event.text()))?;
        let mut line = serde_json::to_vec(&Line { endpoint, reason, event })?;
        line.push(b'\n');

        self.0.lock().write(&line)
    }

    /// Once it has returned, a machine that stops loses nothing of the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Place { path, lines } = &mut *self.0.lock();
        let Some(lines) = lines else { return Ok(()) };
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
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        loop {
            let here = self.lines.as_ref().map_or(Ok(true), |lines| is_at(lines.file(), &self.path))?;
            if !here {
                if let Some(mut elsewhere) = self.lines.take() {
                    elsewhere.sync()?;
                }
            }
            let lines = match &mut self.lines {
                Some(lines) => lines,
                none => none.insert(Lines::new(make(&self.path)?)),
            };
            lines.write(line)?;
            // It may have been removed before the line came. One that was moved has it, wherever it is.
            if !is_removed(lines.file())? {
                return Ok(());
            }
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

/// JSON without its whitespace, and otherwise as it is: registries write events on many lines.
fn on_one_line(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |character: &char| {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            ' ' | '\t' | '\r' | '\n' => return in_string,
            _ => {}
        }
        true
    };
    json.chars().filter(keep).collect()
}
