//! The envelopes to relay, one a line.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::str;

use crate::envelope::{self, Event, Malformed};

/// 251 notifications of a real registry.
const REAL_ONES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/registry-notifications.ndjson");

/// Iterates over the lines of a file or of standard input: the events of each, or what is wrong with it.
pub(crate) struct Input {
    name: String,
    lines: Box<dyn BufRead + Send>,
    line: usize,
}

impl Input {
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, InputError> {
        let file = file.unwrap_or(Path::new(REAL_ONES));
        if file == Path::new("-") {
            let lines = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { name: "standard input".to_string(), lines, line: 0 });
        }
        let name = file.display().to_string();
        match File::open(file) {
            Ok(file) => Ok(Self { name, lines: Box::new(BufReader::new(file)), line: 0 }),
            Err(error) => Err(InputError::Unreadable { name, error }),
        }
    }

    /// The next line that is not blank, without its end.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            if self.lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            line.truncate(line.trim_ascii_end().len());
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

impl Iterator for Input {
    type Item = Result<Vec<Event>, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.next_line() {
            Ok(line) => line?,
            Err(error) => {
                self.lines = Box::new(io::empty());
                return Some(Err(InputError::Unreadable { name: self.name.clone(), error }));
            }
        };
        let events = match str::from_utf8(&line) {
            Ok(text) => envelope::parse(text),
            Err(error) => {
                Err(Malformed { column: error.valid_up_to() + 1, reason: "this is not UTF-8".to_string() })
            }
        };
        Some(events.map_err(|malformed| InputError::Malformed {
            name: self.name.clone(),
            line: self.line,
            malformed,
        }))
    }
}

/// What is wrong with the input, and where.
#[derive(Debug)]
pub(crate) enum InputError {
    Unreadable { name: String, error: io::Error },
    Malformed { name: String, line: usize, malformed: Malformed },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { name, error } => write!(f, "{name}: {error}"),
            Self::Malformed { name, line, malformed: Malformed { column, reason } } => {
                write!(f, "{name}:{line}:{column}: {reason}")
            }
        }
    }
}

impl Error for InputError {}
