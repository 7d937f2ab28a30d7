//! The file of what was not delivered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::envelope::Notification;

/// A file of one JSON object a line: the endpoint, why the event did not reach it, and the event. Clones
/// share.
///
/// It is made by the first line, so that a run that delivers everything leaves none, and nothing stands in
/// the way of the next.
#[derive(Clone)]
pub(crate) struct Undelivered(Arc<Mutex<Lines>>);

struct Lines {
    path: PathBuf,
    file: Option<File>,
    /// How long the file is: what a line that failed has left behind is cut off.
    length: u64,
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
        Ok(Self(Arc::new(Mutex::new(Lines { path: path.to_path_buf(), file: None, length: 0 }))))
    }

    /// One line, whole or not at all.
    pub(crate) fn write(&self, endpoint: &str, reason: &str, event: &Notification) -> io::Result<()> {
        let event = RawValue::from_string(on_one_line(event.text()))?;
        let mut line = serde_json::to_vec(&Line { endpoint, reason, event })?;
        line.push(b'\n');

        let mut lines = self.0.lock();
        let Lines { path, file, length } = &mut *lines;
        let file = match file {
            Some(file) => file,
            none => none.insert(make(path)?),
        };
        if let Err(error) = file.write_all(&line) {
            let _ = file.set_len(*length);
            return Err(error);
        }
        *length += line.len() as u64;
        Ok(())
    }

    /// Once it has returned, a machine that stops loses nothing of the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let lines = self.0.lock();
        let Some(file) = &lines.file else { return Ok(()) };
        file.sync_all()?;
        // That it is there stands in its folder.
        #[cfg(unix)]
        {
            let folder = lines.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

/// A file that was not there: `create_new` neither opens one that is, nor follows a symbolic link.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
